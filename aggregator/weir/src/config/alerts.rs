//! `alerts`: what people are told, and who they are.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use weir_settings::duration::Millis;
use weir_steer::alert::rule::{self, Rule};
use weir_steer::receiver::tenant_mail::TenantMailFile;
use weir_steer::receiver::{self, AlertsFile, Playbook, Receiver};

use super::ConfigError;

/// How often the rules of alerts are compared where the file does not say, in milliseconds.
const EVERY_MS: u64 = 30_000;

/// `alerts` of the configuration, checked.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// The rules, the built-in ones among them.
    pub rules: Arc<[Rule]>,
    /// The shortest pause between two comparisons, in milliseconds.
    pub every_ms: u64,
    /// The mail server by which tenants are told of their own budgets.
    pub tenant_mail: Option<TenantMailFile>,
    /// Who looks after each tenant.
    pub owners: BTreeMap<String, String>,
    /// What people do at each stage of a budget, by plan.
    pub playbooks: BTreeMap<String, Playbook>,
}

/// Checks receivers and rules of alerts.
pub(super) fn check(path: &Path, file: &AlertsFile) -> Result<Alerts, ConfigError> {
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
    let tenant_mail = file.tenant_mail.clone();
    tenant_mail.as_ref().map_or(Ok(()), TenantMailFile::check).map_err(|problem| wrong(format!("alerts.{problem}")))?;
    let (owners, playbooks) = (file.owners.clone(), file.playbooks.clone());
    Ok(Alerts { receivers, rules: rules.into(), every_ms, tenant_mail, owners, playbooks })
}
