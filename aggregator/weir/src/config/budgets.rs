//! `budgets` and `alerts`: how much tenants may use, and who is told of stages.
use std::path::Path;

use weir_settings::duration::Millis;
use weir_steer::alert::rule;
use weir_steer::budget::{self, Budget};
use weir_steer::file::BudgetFile;
use weir_steer::receiver::{self, AlertsFile};

use super::ConfigError;
use crate::alerts::Alerts;

/// How often the rules of alerts are compared where the file does not say, in milliseconds.
const EVERY_MS: u64 = 30_000;

/// Checks and compiles the budgets of a file.
pub(super) fn check(path: &Path, files: &[BudgetFile]) -> Result<Vec<Budget>, ConfigError> {
    let wrong = |error: budget::BudgetError| ConfigError::Field {
        path: path.to_owned(),
        field: "budgets",
        problem: error.to_string(),
    };
    budget::compile(files).map_err(wrong)
}

/// Checks receivers and rules of alerts.
pub(super) fn check_alerts(path: &Path, file: &AlertsFile) -> Result<Alerts, ConfigError> {
    let wrong = |problem: String| ConfigError::Field { path: path.to_owned(), field: "alerts", problem };
    let receivers = receiver::compile(file).map_err(|error| wrong(error.to_string()))?;
    let rules = rule::compile(&file.rules, &file.without).map_err(|error| wrong(error.to_string()))?;
    if let Some(name) = file.without.iter().find(|name| !rule::is_built_in(name)) {
        return Err(wrong(format!("alerts.without: no built-in rule is named {name:?}")));
    }
    let every_ms = file.every.map_or(EVERY_MS, |Millis(every)| every);
    if !(1_000..=3_600_000).contains(&every_ms) {
        return Err(wrong("alerts.every: 1s to 1h".to_owned()));
    }
    let (owners, playbooks) = (file.owners.clone(), file.playbooks.clone());
    Ok(Alerts { receivers, rules: rules.into(), every_ms, owners, playbooks })
}
