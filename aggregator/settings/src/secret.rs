//! Secrets: read from the environment or a file, never shown.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use weir_contract::placeholder;

/// A secret text. It is never printed; only its user calls [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
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

/// How secrets of Stripe, of weir and of LLM providers begin. The longest that fits stays visible.
const BEGINNINGS: [&str; 9] =
    ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_weir_", "sk_", "rk_", "sk-", "whsec_"];
/// Shorter texts after the beginning are part of a word or an explanation.
const SECRET_MIN_CHARS: usize = 4;
/// Headers carry a secret after one of these words, of at least so many characters: `a bearer token` is none.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];
const CREDENTIALS_MIN_CHARS: usize = 8;

/// `text` with everything left out that looks like a secret: for words of others (a provider's error echoes our key), and
/// for errors about a file in which somebody wrote a key where its place belongs.
pub fn masked(text: &str) -> String {
    let (mut out, mut rest, mut before) = (String::with_capacity(text.len()), text, None);
    while let Some(next) = rest.chars().next() {
        let (kept, hidden) = match secret_at(rest, before) {
            Some((kept, length)) => (kept, length),
            None => (next.len_utf8(), next.len_utf8()),
        };
        out.push_str(&rest[..kept]);
        if hidden > kept {
            out.push('…');
        }
        (before, rest) = (rest[..hidden].chars().next_back(), &rest[hidden..]);
    }
    out
}

/// Returns how many leading bytes of the secret at the start of `text` may be shown, and its length; none if there is no
/// secret.
fn secret_at(text: &str, before: Option<char>) -> Option<(usize, usize)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let scheme = SCHEMES
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let kept = scheme.or_else(|| BEGINNINGS.into_iter().find(|beginning| text.starts_with(beginning)))?.len();
    let of_secret = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '=' | '~');
    let length = text[kept..].find(|c| !of_secret(c)).unwrap_or(text.len() - kept);
    let least = if scheme.is_some() { CREDENTIALS_MIN_CHARS } else { SECRET_MIN_CHARS };
    (length >= least).then_some((kept, kept + length))
}

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, relative to the configuration; surrounding white space is ignored.
    File(PathBuf),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or empty.
    #[error("the environment variable {} is not set: set it before starting weir, or name a `file` instead", masked(.0))]
    Env(String),
    /// The file cannot be read.
    #[error("{}: {source}", masked(&path.display().to_string()))]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It is one that everybody knows.
    #[error(
        "{0} holds a placeholder of the documentation, which everybody knows: put a secret of your own there; `weir keys new` makes one"
    )]
    Known(String),
    /// The file holds nothing.
    #[error("{}: empty, a secret was expected", .0.display())]
    Empty(PathBuf),
}

/// How a secret is written.
const WRITTEN: &str = "`{env: NAME}` or `{file: PATH}`; the secret itself does not belong into this file";

fn plain<E: de::Error>() -> E {
    E::custom(format_args!("a secret is written as {WRITTEN}"))
}

impl<'de> Deserialize<'de> for SecretSource {
    /// By hand, since the error of a derived one repeats what stands there: the secret.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = SecretSource;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(WRITTEN)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
                Err(plain())
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
                Err(plain())
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
                Err(plain())
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
                Err(plain())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let source = match map.next_key::<String>()?.as_deref() {
                    Some("env") => SecretSource::Env(map.next_value()?),
                    Some("file") => SecretSource::File(map.next_value()?),
                    _ => return Err(plain()),
                };
                if map.next_key::<IgnoredAny>()?.is_some() { Err(plain()) } else { Ok(source) }
            }
        }
        deserializer.deserialize_any(Source)
    }
}

impl SecretSource {
    /// Reads the secret; relative paths start at `base`.
    pub fn read(&self, base: &Path) -> Result<Secret, SecretError> {
        let (secret, place) = match self {
            SecretSource::Env(name) => (
                read_env(name).ok_or_else(|| SecretError::Env(name.clone()))?,
                format!("the environment variable {name}"),
            ),
            SecretSource::File(path) => {
                let path = base.join(path);
                (read_file(&path)?, path.display().to_string())
            }
        };
        if placeholder::is_known(secret.expose()) { Err(SecretError::Known(place)) } else { Ok(secret) }
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
    fn whatever_looks_like_a_secret_is_masked_and_nothing_else() {
        for (text, shown) in [
            ("Invalid API Key provided: sk_live_abcdef1234.", "Invalid API Key provided: sk_live_…"),
            ("key=rk_test_abcd, again", "key=rk_test_…, again"),
            ("Authorization: Bearer abc.def-ghi, Basic dXNlcjpwYXNz", "Authorization: Bearer …, Basic …"),
            ("whsec_abcdefgh and sk-proj-abcdef", "whsec_… and sk-…"),
            ("sk_test_****1234 is masked already", "sk_test_****1234 is masked already"),
            ("the key must start with sk_live_ or sk_…", "the key must start with sk_live_ or sk_…"),
            ("task_sk_live, risk_management, a bearer of news", "task_sk_live, risk_management, a bearer of news"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn a_placeholder_is_no_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("key"), "CHANGE-ME: 32 random bytes or more\n").expect("written");
        let error = SecretSource::File("key".into()).read(dir.path()).expect_err("everybody knows it").to_string();
        assert!(error.contains("a placeholder") && !error.contains("CHANGE-ME"), "{error}");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = SecretSource::Env("WEIR_TEST_NOT_SET".to_owned()).read(Path::new("."));
        assert!(error.expect_err("not set").to_string().contains("WEIR_TEST_NOT_SET"));
    }
}
