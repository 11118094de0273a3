//! `budgets`: how much tenants may use.
use std::path::Path;

use weir_steer::budget::{self, Budget};
use weir_steer::file::BudgetFile;

use super::ConfigError;

/// Checks and compiles the budgets of a file.
pub(super) fn check(path: &Path, files: &[BudgetFile]) -> Result<Vec<Budget>, ConfigError> {
    let wrong = |error: budget::BudgetError| ConfigError::Field {
        path: path.to_owned(),
        field: "budgets",
        problem: error.to_string(),
    };
    budget::compile(files).map_err(wrong)
}
