//! The feature flags of the configuration.
use std::path::Path;

use weir_contract::flags::{self, Flags};

use super::ConfigError;

/// Checks them, and gives every value the type of its flag.
pub(super) fn check(path: &Path, mut flags: Flags) -> Result<Flags, ConfigError> {
    let wrong = |problem| ConfigError::Field { path: path.to_owned(), field: "flags", problem };
    match flags::check(&mut flags) {
        Ok(()) => Ok(flags),
        Err(error) => Err(wrong(format!("{}: {}", error.path, error.problem))),
    }
}
