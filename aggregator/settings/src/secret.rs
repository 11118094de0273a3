//! Secrets: read from the environment or a file, never shown.
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    #[error("the environment variable {0} is not set: set it before starting weir, or name a `file` instead")]
    Env(String),
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is empty.
    #[error("{}: empty, a secret was expected", .0.display())]
    Empty(PathBuf),
}

impl SecretSource {
    /// Reads the secret; relative paths start at `base`.
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
    fn a_missing_variable_is_named() {
        let error = SecretSource::Env("WEIR_TEST_NOT_SET".to_owned()).read(Path::new("."));
        assert!(error.expect_err("not set").to_string().contains("WEIR_TEST_NOT_SET"));
    }
}
