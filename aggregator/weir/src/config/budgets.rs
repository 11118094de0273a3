//! `budgets`: how much tenants may use.
use std::path::Path;

use weir_steer::budget::{self, Budget};
use weir_steer::file::BudgetFile;

use super::ConfigError;

/// Checks and compiles the budgets of a file. `has_price_plans`: whether the file says what tenants pay.
pub(super) fn check(path: &Path, files: &[BudgetFile], has_price_plans: bool) -> Result<Vec<Budget>, ConfigError> {
    let wrong = |error: budget::BudgetError| ConfigError::Field {
        path: path.to_owned(),
        field: "budgets",
        problem: error.to_string(),
    };
    if let Some(at) = files.iter().position(|file| file.of.is_charged() && !has_price_plans) {
        let problem = "revenue and credits follow from `price_plans`, and the file has none".to_owned();
        return Err(wrong(budget::BudgetError { at, field: "of", problem }));
    }
    budget::compile(files).map_err(wrong)
}
