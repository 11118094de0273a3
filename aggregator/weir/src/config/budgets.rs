//! `budgets` and `alerts`: how much tenants may use, and who is told of stages.
use std::path::Path;

use weir_steer::budget::{self, Budget};
use weir_steer::file::BudgetFile;
use weir_steer::receiver::{self, AlertsFile, Receiver};

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

/// Checks the receivers of alerts.
pub(super) fn check_alerts(path: &Path, file: &AlertsFile) -> Result<Vec<Receiver>, ConfigError> {
    let wrong = |error: receiver::ReceiverError| ConfigError::Field {
        path: path.to_owned(),
        field: "alerts",
        problem: error.to_string(),
    };
    receiver::compile(file).map_err(wrong)
}
