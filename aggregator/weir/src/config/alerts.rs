//! `alerts`: what people are told, and who they are.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use lettre::message::Mailbox;
use weir_contract::Timestamp;
use weir_contract::glob;
use weir_settings::duration::Millis;
use weir_settings::secret::SecretSource;
use weir_steer::alert::rule::{self, Rule};
use weir_steer::budget::Budget;
use weir_steer::doubt::{self, Known};
use weir_steer::message::signature;
use weir_steer::receiver::tenant_mail::TenantMailFile;
use weir_steer::receiver::{self, AlertsFile, EmailFile, Playbook, Receiver, ReceiverFile, Target};

use super::ConfigError;

/// How often the rules of alerts are compared where the file does not say, in milliseconds.
const EVERY_MS: u64 = 30_000;
/// The longest name of an owner, in characters.
const OWNER_MAX_CHARS: usize = 200;

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
    file: AlertsFile,
}

/// Checks receivers and rules of alerts.
pub(super) fn check(path: &Path, file: &AlertsFile, budgets: &[Budget]) -> Result<Alerts, ConfigError> {
    let wrong = |problem: String| ConfigError::Field { path: path.to_owned(), field: "alerts", problem };
    let receivers = receiver::compile(file).map_err(|error| wrong(error.to_string()))?;
    let rules = rule::compile(&file.rules, &file.without).map_err(|error| wrong(error.to_string()))?;
    if let Some(name) = file.without.iter().find(|name| !rule::is_built_in(name)) {
        return Err(wrong(format!("alerts.without: no built-in rule is named {name:?}")));
    }
    for (at, receiver) in file.receivers.iter().enumerate() {
        check_receiver(receiver, &rules, budgets)
            .map_err(|problem| wrong(format!("alerts.receivers[{at}] ({}): {problem}", receiver.name)))?;
    }
    let is_name = |owner: &&String| {
        !owner.trim().is_empty() && owner.chars().count() <= OWNER_MAX_CHARS && !owner.contains(char::is_control)
    };
    if let Some(tenant) = file.owners.iter().find(|(_, owner)| !is_name(owner)).map(|(tenant, _)| tenant) {
        return Err(wrong(format!(
            "alerts.owners: {tenant}: 1 to {OWNER_MAX_CHARS} characters, none a control character"
        )));
    }
    let every_ms = file.every.map_or(EVERY_MS, |Millis(every)| every);
    if !(1_000..=3_600_000).contains(&every_ms) {
        return Err(wrong("alerts.every: 1s to 1h".to_owned()));
    }
    let tenant_mail = file.tenant_mail.clone();
    tenant_mail.as_ref().map_or(Ok(()), check_tenant_mail).map_err(|problem| wrong(format!("alerts.{problem}")))?;
    let (owners, playbooks) = (file.owners.clone(), file.playbooks.clone());
    Ok(Alerts { receivers, rules: rules.into(), every_ms, tenant_mail, owners, playbooks, file: file.clone() })
}

/// Refuses a receiver that can never get what it names.
fn check_receiver(file: &ReceiverFile, rules: &[Rule], budgets: &[Budget]) -> Result<(), String> {
    let is_rule =
        |pattern: &&String| rule::is_built_in(pattern) || rules.iter().any(|rule| glob::matches(pattern, &rule.name));
    if let Some(pattern) = file.rules.iter().find(|pattern| !is_rule(pattern)) {
        return Err(format!(
            "rules: no rule is named {pattern:?}; `weir alerts list` shows them, docs/alerts.md the built-in ones"
        ));
    }
    let named = |name: &str| budgets.iter().find(|budget| *budget.name == *name);
    if let Some(name) = file.budgets.iter().find(|name| named(name).is_none()) {
        return Err(format!("budgets: no budget is named {name:?}"));
    }
    let shared = file.tenants.iter().filter_map(|tenant| Some((tenant, tenant.strip_prefix('#')?)));
    if let Some((tenant, _)) = shared.into_iter().find(|(_, name)| named(name).is_none_or(|budget| !budget.shared)) {
        return Err(format!("tenants: {tenant:?} is no budget that tenants share"));
    }
    let urls = [
        ("webhook.url", file.webhook.as_ref().map(|webhook| &webhook.url)),
        ("alertmanager.url", file.alertmanager.as_ref().map(|manager| &manager.url)),
    ];
    for (field, url) in urls.into_iter().filter_map(|(field, url)| Some((field, url?))) {
        if !is_url(url) {
            return Err(format!("{field}: {url:?} is no address; write https://HOST/PATH"));
        }
    }
    file.email.as_ref().map_or(Ok(()), check_email)
}

fn check_tenant_mail(mail: &TenantMailFile) -> Result<(), String> {
    mail.check()?;
    check_email(&mail.to("ann@example.com")).map_err(|problem| problem.replacen("email", "tenant_mail", 1))
}

fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

fn check_email(email: &EmailFile) -> Result<(), String> {
    for (field, text) in std::iter::once(("email.from", &email.from)).chain(email.to.iter().map(|to| ("email.to", to)))
    {
        let parsed: Result<Mailbox, _> = text.parse();
        if parsed.is_err() {
            return Err(format!(
                "{field}: {text:?} is no e-mail address; write ann@example.com or Ann <ann@example.com>"
            ));
        }
    }
    let place = email.server.split_once("://").map_or("", |(_, place)| place);
    let port =
        place.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !place.ends_with(']')).map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) || place.contains('/') {
        return Err(format!("email.server: {:?}: write smtps://HOST or smtps://HOST:PORT", email.server));
    }
    Ok(())
}

impl Alerts {
    /// What names nobody who is known, for people. `plans`: the plan of each tenant; None where nothing says which tenants there are.
    pub(crate) fn doubts(&self, plans: Option<&HashMap<String, String>>, budgets: &[Budget]) -> Vec<String> {
        plans.map_or_else(Vec::new, |plans| doubt::doubts(&self.file, Known { plans, budgets, rules: &self.rules }))
    }

    /// Why the secrets of receivers cannot be used, by the place in the list.
    pub(crate) fn unusable(&self, base: &Path) -> Vec<(usize, String)> {
        let problem = |(at, receiver): (usize, &Receiver)| Some((at, unusable(&receiver.target, base)?));
        self.receivers.iter().enumerate().filter_map(problem).collect()
    }

    /// Reads the secrets of all receivers.
    pub(crate) fn check_secrets(&self, path: &Path, base: &Path) -> Result<(), ConfigError> {
        self.unusable(base).into_iter().next().map_or(Ok(()), |(at, problem)| {
            let name = self.receivers.get(at).map_or("", |receiver| receiver.name.as_str());
            let problem = format!("alerts.receivers[{at}] ({name}): {problem}");
            Err(ConfigError::Field { path: path.to_owned(), field: "alerts", problem })
        })
    }
}

/// Why nothing can be sent to a receiver.
fn unusable(target: &Target, base: &Path) -> Option<String> {
    let read = |field: &str, source: &SecretSource| source.read(base).map_err(|error| format!("{field}: {error}"));
    match target {
        Target::Webhook(webhook) => {
            let signs = |secret| {
                signature(&secret, "", Timestamp::default(), b"").map_err(|error| format!("webhook.secret: {error}"))
            };
            read("webhook.secret", &webhook.secret).and_then(signs).err()
        }
        Target::Slack(address) => match read("slack", address) {
            Ok(url) if !is_url(url.expose().trim()) => {
                Some("slack: the secret is no address that begins with https://".to_owned())
            }
            other => other.err(),
        },
        Target::Email(email) => email.password.as_ref().and_then(|password| read("email.password", password).err()),
        Target::Alertmanager(manager) => {
            manager.token.as_ref().and_then(|token| read("alertmanager.token", token).err())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Alerts, ConfigError> {
        let file = serde_saphyr::from_str(text).expect("the shape");
        let budgets = "[{name: monthly, of: requests, amount: 5, period: month}]";
        let budgets = serde_saphyr::from_str::<Vec<_>>(budgets).expect("the shape");
        check(Path::new("weir.yaml"), &file, &weir_steer::budget::compile(&budgets).expect("good"))
    }

    #[test]
    fn a_receiver_that_can_never_get_anything_is_refused_with_its_place_and_name() {
        let cases = [
            ("slack: {env: S}, rules: [margin-lwo]", "no rule is named \"margin-lwo\""),
            ("slack: {env: S}, budgets: [montly]", "no budget is named \"montly\""),
            ("slack: {env: S}, tenants: ['#monthly']", "no budget that tenants share"),
            ("webhook: {url: 'https://', secret: {env: S}}", "is no address"),
            ("alertmanager: {url: 'http://a b'}", "is no address"),
            ("email: {server: 'smtps://m', from: weir, to: [a@x.org]}", "email.from: \"weir\" is no e-mail address"),
            ("email: {server: 'smtps://m', from: w@x.org, to: [a@x.org, 'b@']}", "email.to: \"b@\""),
            ("email: {server: 'smtps://m:smtp', from: w@x.org, to: [a@x.org]}", "email.server"),
        ];
        for (receiver, needle) in cases {
            let error = of(&format!("receivers: [{{name: a, {receiver}}}]")).expect_err(receiver).to_string();
            assert!(error.contains("alerts.receivers[0] (a): ") && error.contains(needle), "{error}");
        }
        let good = "slack: {env: S}, rules: ['margin-*', weird], budgets: [monthly]";
        let own = "rules: [{name: weird, when: [{measure: cost, above: 1}]}]";
        assert!(of(&format!("{{receivers: [{{name: a, {good}}}], {own}}}")).is_ok());
        let owner = of("owners: {acme: \"Ann\\nBob\"}").expect_err("two lines").to_string();
        assert!(owner.contains("alerts.owners: acme"), "{owner}");
    }

    #[test]
    fn a_secret_that_is_missing_or_of_another_form_is_found_before_anything_is_sent() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("short"), "whsec_c2hvcnQ=").expect("written");
        std::fs::write(dir.path().join("words"), "hooks.slack.com").expect("written");
        let cases = [
            ("webhook: {url: 'https://x', secret: {file: none}}", "webhook.secret: "),
            ("webhook: {url: 'https://x', secret: {file: short}}", "not whsec_ and base64 of 24 to 64 bytes"),
            ("webhook: {url: 'https://x', secret: {env: WEIR_TEST_NEVER_SET}}", "WEIR_TEST_NEVER_SET is not set"),
            ("slack: {file: words}", "slack: the secret is no address"),
            (
                "email: {server: 'smtps://m', user: u, password: {file: none}, from: w@x.org, to: [a@x.org]}",
                "email.password",
            ),
            ("alertmanager: {url: 'http://x', token: {file: none}}", "alertmanager.token"),
        ];
        for (receiver, needle) in cases {
            let alerts = of(&format!("receivers: [{{name: a, {receiver}}}]")).expect(receiver);
            let error = alerts.check_secrets(Path::new("weir.yaml"), dir.path()).expect_err(receiver).to_string();
            assert!(error.contains("alerts.receivers[0] (a): ") && error.contains(needle), "{error}");
        }
    }
}
