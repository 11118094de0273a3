//! Secrets: read from the environment or a file, never shown.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::mask;

/// A secret text. It is never printed; [`Secret::expose`] is called where it is used, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that is one.
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is. It is read by hand: an error of the derived reader would repeat what stands there, which may be the
/// secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// In this environment variable.
    Env(String),
    /// In this file, relative to the configuration; white space around it does not count.
    File(PathBuf),
}

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or empty.
    #[error(
        "the environment variable {} is not set: set it before starting weir, or name a `file` instead",
        mask::keys(.0)
    )]
    Env(String),
    /// The file cannot be read.
    #[error("{}: {source}", mask::keys(&path.to_string_lossy()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("{}: empty, a secret was expected", mask::keys(&.0.to_string_lossy()))]
    Empty(PathBuf),
}

/// What is said of anything else than where a secret is, without what was written.
const NAMED: &str = "a secret is not written here: name the environment variable or the file that has it, {env: NAME} or \
                     {file: PATH}";

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{env: NAME} or {file: PATH}")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_unit<E: Error>(self) -> Result<SecretSource, E> {
        Err(E::custom(NAMED))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<SecretSource, A::Error> {
        Err(A::Error::custom(NAMED))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let named = || A::Error::custom(NAMED);
        let source = match map.next_key::<String>()?.as_deref() {
            Some("env") => SecretSource::Env(map.next_value().map_err(|_| named())?),
            Some("file") => SecretSource::File(map.next_value().map_err(|_| named())?),
            _ => return Err(named()),
        };
        if map.next_key::<String>()?.is_some() { Err(named()) } else { Ok(source) }
    }
}

impl SecretSource {
    /// Reads the secret; relative files lie in `base`.
    pub fn read(&self, base: &Path) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Env(name) => read_env(name).ok_or_else(|| SecretError::Env(name.clone())),
            SecretSource::File(path) => read_file(&base.join(path)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one reader of secrets")]
fn read_env(name: &str) -> Option<Secret> {
    let text = std::env::var(name).ok()?;
    let text = text.trim();
    if text.is_empty() { None } else { Some(Secret(text.to_owned())) }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    let text = text.trim();
    if text.is_empty() { Err(SecretError::Empty(path.to_owned())) } else { Ok(Secret(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("sk_live_1".to_owned())), "Secret(…)");
    }

    #[test]
    fn a_file_is_read_without_the_white_space_around_it() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("key"), "abc\n").expect("written");
        let source = SecretSource::File("key".into());
        assert_eq!(source.read(dir.path()).expect("read").expose(), "abc");
        std::fs::write(dir.path().join("key"), " \n").expect("written");
        assert!(matches!(source.read(dir.path()), Err(SecretError::Empty(_))));
    }

    #[test]
    fn a_secret_written_in_place_of_its_name_is_repeated_by_no_error() {
        let path = Path::new("weir.yaml");
        for written in [
            "sk_live_51AbC",
            "12345",
            "1.5",
            "true",
            "[sk_live_51AbC]",
            "{value: sk_live_51AbC}",
            "{sk_live_51AbC: env}",
            "{env: [sk_live_51AbC]}",
            "{env: A, file: sk_live_51AbC}",
            "",
        ] {
            let error = crate::yaml::parse::<SecretSource>(path, written).expect_err(written).to_string();
            assert!(error.contains("name the environment variable or the file"), "{written}: {error}");
            assert!(!error.contains("51AbC") && !error.contains("12345"), "{error}");
        }
        let good: SecretSource = crate::yaml::parse(path, "{file: key}").expect("good");
        assert_eq!(good, SecretSource::File("key".into()));
        for source in [SecretSource::Env("sk_live_51AbC".to_owned()), SecretSource::File("sk_live_51AbC".into())] {
            let error = source.read(Path::new(".")).expect_err("not there").to_string();
            assert!(error.contains("sk_live_***") && !error.contains("51AbC"), "{error}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = SecretSource::Env("WEIR_TEST_NOT_SET".to_owned()).read(Path::new("."));
        assert!(error.expect_err("not set").to_string().contains("WEIR_TEST_NOT_SET"));
    }
}
