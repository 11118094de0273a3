//! The key-encryption key: from a file, the environment, or a command that asks a key management service.
//!
//! A file or a variable holds the key itself, 64 hex digits. A command keeps a key that weir has made: it is started with `wrap` or
//! `unwrap` as its last argument, gets one line of base64 on standard input, and answers with one line of base64 on standard output.
//! The database keeps what `wrap` answered.
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use weir_settings::secret::{Secret, SecretError, SecretSource};
use zeroize::Zeroizing;

use super::envelope::{Key, NoRandomness};

/// How long a command may take, in steps of [`STEP`].
const STEPS_MAX: u32 = 1_500;
const STEP: Duration = Duration::from_millis(20);
/// The longest answer of a command, in bytes.
const ANSWER_MAX_BYTES: u64 = 16 * 1024;

/// Where the key-encryption key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// An environment variable with 64 hex digits.
    Env(String),
    /// A file with 64 hex digits, which nobody but its owner may read; relative to the configuration.
    File(PathBuf),
    /// A command and its arguments, which wraps and unwraps a key that weir makes.
    Command(Vec<String>),
}

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// It cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Others may read the file.
    #[error("{}: others than its owner may read it: chmod 600", .0.display())]
    Open(PathBuf),
    /// It is no key.
    #[error("a key-encryption key is 64 hex digits: `openssl rand -hex 32` prints one")]
    Form,
    /// The command cannot be run.
    #[error("the command {command} {act}: {problem}")]
    Command {
        /// Its name.
        command: String,
        /// `wrap` or `unwrap`.
        act: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The command does not give back what it was given.
    #[error("the command unwraps another key than it has wrapped")]
    Another,
    /// A command was given as the key of before.
    #[error(
        "the keys of before that a command wraps are known by themselves; `previous_key` is for a file or a variable"
    )]
    Previous,
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// A key-encryption key.
#[derive(Clone, Debug)]
pub struct Kek {
    id: String,
    key: Key,
    /// Whether the database keeps it, wrapped by a command.
    is_kept: bool,
}

impl Kek {
    /// Names a key by the first digits of a hash of it, so that rows can say which one wraps them.
    pub fn of(key: Key) -> Self {
        let digest = Sha256::new_with_prefix(b"weir vault key 1").chain_update(key.bytes()).finalize();
        Kek { id: hex::encode(&digest[..8]), key, is_kept: false }
    }

    /// Whether the database keeps it, wrapped by a command. Any other is the operator's to keep.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, &mut *bytes).map_err(|_| KeyRingError::Form)?;
        Key::of(&*bytes).map(Kek::of).ok_or(KeyRingError::Form)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

/// The key-encryption key in use, and those of before.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: Kek,
    previous: Vec<Kek>,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(current: Kek, previous: Vec<Kek>) -> Self {
        KeyRing { current, previous }
    }

    /// The key that wraps.
    pub fn current(&self) -> &Kek {
        &self.current
    }

    /// The key of a name, if it is known.
    pub(crate) fn find(&self, id: &str) -> Option<&Kek> {
        std::iter::once(&self.current).chain(&self.previous).find(|kek| kek.id == id)
    }

    /// This ring with a new key in use.
    #[must_use]
    pub(crate) fn followed_by(&self, next: Kek) -> Self {
        let previous = std::iter::once(self.current.clone()).chain(self.previous.iter().cloned()).collect();
        KeyRing { current: next, previous }
    }
}

impl KeySource {
    /// Reads the key of a file or a variable; None for a command, whose keys the database keeps wrapped.
    pub(crate) fn read(&self, base: &Path) -> Result<Option<Kek>, KeyRingError> {
        let source = match self {
            KeySource::Env(name) => SecretSource::Env(name.clone()),
            KeySource::File(path) => {
                check_mode(&base.join(path))?;
                SecretSource::File(path.clone())
            }
            KeySource::Command(_) => return Ok(None),
        };
        let secret: Secret = source.read(base)?;
        Kek::parse(secret.expose()).map(Some)
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyRingError> {
    use std::os::unix::fs::PermissionsExt;
    // A missing file is reported when it is read.
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    if found.permissions().mode() & 0o077 == 0 { Ok(()) } else { Err(KeyRingError::Open(path.to_owned())) }
}

/// A command that wraps keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapper<'a>(pub(crate) &'a [String]);

impl Wrapper<'_> {
    /// Wraps a key.
    pub(crate) fn wrap(self, kek: &Kek) -> Result<String, KeyRingError> {
        let line = Zeroizing::new(STANDARD.encode(kek.key.bytes()));
        let answer = self.run("wrap", &line)?;
        let text = String::from_utf8(answer.to_vec()).map_err(|_| self.wrong("wrap", "its answer is no text"))?;
        Ok(text.trim().to_owned())
    }

    /// Unwraps a key.
    pub(crate) fn unwrap(self, wrapped: &str) -> Result<Kek, KeyRingError> {
        let answer = self.run("unwrap", wrapped)?;
        let bytes = STANDARD.decode(answer.trim_ascii()).map(Zeroizing::new);
        let key = bytes.ok().and_then(|bytes| Key::of(&bytes));
        key.map(|key| Kek { is_kept: true, ..Kek::of(key) })
            .ok_or_else(|| self.wrong("unwrap", "its answer is not the base64 of 32 bytes"))
    }

    fn wrong(self, act: &'static str, problem: impl ToString) -> KeyRingError {
        let command = self.0.first().cloned().unwrap_or_default();
        KeyRingError::Command { command, act, problem: problem.to_string() }
    }

    fn run(self, act: &'static str, line: &str) -> Result<Zeroizing<Vec<u8>>, KeyRingError> {
        let (program, arguments) = self.0.split_first().ok_or_else(|| self.wrong(act, "it is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(act).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| self.wrong(act, error))?;
        if let Some(mut stdin) = child.stdin.take() {
            // The answer shows it if the command has read nothing.
            let _closed = stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
        }
        let answer = self.wait(act, &mut child);
        if answer.is_err() {
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        }
        answer
    }

    fn wait(self, act: &'static str, child: &mut Child) -> Result<Zeroizing<Vec<u8>>, KeyRingError> {
        for _ in 0..STEPS_MAX {
            match child.try_wait().map_err(|error| self.wrong(act, error))? {
                None => std::thread::sleep(STEP),
                Some(status) if status.success() => {
                    let mut answer = Zeroizing::new(Vec::new());
                    if let Some(stdout) = child.stdout.take() {
                        let read = stdout.take(ANSWER_MAX_BYTES).read_to_end(&mut answer);
                        read.map_err(|error| self.wrong(act, error))?;
                    }
                    return Ok(answer);
                }
                Some(status) => return Err(self.wrong(act, status)),
            }
        }
        Err(self.wrong(act, "no answer in 30 s"))
    }
}

/// How a source is written.
const WRITTEN: &str = "the key-encryption key is written as `{file: PATH}`, `{env: NAME}` or `{command: [PROGRAM, …]}`; the key itself \
                       does not belong into this file";

impl<'de> Deserialize<'de> for KeySource {
    /// By hand, since the error of a derived one repeats what stands there: perhaps the key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = KeySource;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(WRITTEN)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<KeySource, E> {
                Err(E::custom(WRITTEN))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<KeySource, E> {
                Err(E::custom(WRITTEN))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeySource, A::Error> {
                let source = match map.next_key::<String>()?.as_deref() {
                    Some("env") => KeySource::Env(map.next_value()?),
                    Some("file") => KeySource::File(map.next_value()?),
                    Some("command") => KeySource::Command(map.next_value()?),
                    _ => return Err(de::Error::custom(WRITTEN)),
                };
                if map.next_key::<IgnoredAny>()?.is_some() { Err(de::Error::custom(WRITTEN)) } else { Ok(source) }
            }
        }
        deserializer.deserialize_any(Source)
    }
}
