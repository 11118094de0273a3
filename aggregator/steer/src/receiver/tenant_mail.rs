//! The mail server by which tenants are told of their own budgets, at addresses that they set themselves.
use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_contract::stage::Stage;
use weir_settings::secret::SecretSource;

use super::{EmailFile, Receiver, Target, check_email};
use crate::alert::file::Severity;

/// `alerts.tenant_mail` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantMailFile {
    /// The mail server: `smtps://HOST`, `smtp://HOST` or `smtp+plain://127.0.0.1:PORT`, as of a receiver's `email`.
    pub server: String,
    /// The name to sign in with. Absent: without signing in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The place of its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// The sender, whose name tenants see: `Acme AI <alerts@example.com>`.
    pub from: String,
    /// Where browsers reach weir, such as `https://weir.example.com`: every message has a link there that ends the messages.
    pub url: String,
}

impl TenantMailFile {
    /// What sends a message to one address.
    pub fn to(&self, address: &str) -> EmailFile {
        EmailFile {
            server: self.server.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            from: self.from.clone(),
            to: vec![address.to_owned()],
        }
    }

    /// Says what cannot be used.
    pub fn check(&self) -> Result<(), String> {
        check_email(&self.to("a@example.com")).map_err(|problem| problem.replacen("email", "tenant_mail", 1))?;
        let is_place = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        let place = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        if place.is_some_and(is_place) && !self.url.contains(['?', '#']) {
            return Ok(());
        }
        Err(format!("tenant_mail.url: {:?} is no address; write https://…, as browsers reach weir", self.url))
    }
}

impl Receiver {
    /// An address that a tenant has set: it hears of that tenant's own budgets, and of its own keys that fail.
    pub fn of_tenant(tenant: &str, id: i64, address: &str, mail: &TenantMailFile) -> Self {
        Receiver {
            name: receiver_name(id, tenant),
            target: Target::Email(mail.to(address)),
            tenant: Some(tenant.to_owned()),
            from: Stage::Warn,
            severity: Severity::default(),
            tenants: HashSet::new(),
            budgets: HashSet::new(),
            rules: Vec::new(),
        }
    }
}

/// The name under which messages to an address of a tenant's own wait: its number, and the tenant. No receiver of the configuration has a
/// name of this form.
fn receiver_name(id: i64, tenant: &str) -> String {
    format!("{PREFIX}{id}:{tenant}")
}

/// The number and the tenant of such a name.
pub fn of_receiver(name: &str) -> Option<(i64, &str)> {
    let (id, tenant) = name.strip_prefix(PREFIX)?.split_once(':')?;
    Some((id.parse().ok()?, tenant))
}

const PREFIX: &str = "address:";

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(server: &str, url: &str) -> TenantMailFile {
        TenantMailFile {
            server: server.to_owned(),
            user: None,
            password: None,
            from: "Acme <a@example.com>".to_owned(),
            url: url.to_owned(),
        }
    }

    #[test]
    fn what_cannot_send_or_be_reached_is_refused() {
        assert_eq!(mail("smtps://mail.example.com", "https://weir.example.com").check(), Ok(()));
        for (server, url, needle) in [
            ("mail.example.com", "https://weir.example.com", "tenant_mail.server"),
            ("smtp+plain://mail.example.com", "https://weir.example.com", "this machine"),
            ("smtps://m", "weir.example.com", "tenant_mail.url"),
            ("smtps://m", "https://", "tenant_mail.url"),
            ("smtps://m", "https://weir.example.com/?a", "tenant_mail.url"),
        ] {
            let problem = mail(server, url).check().expect_err(server);
            assert!(problem.contains(needle), "{problem}");
        }
    }

    #[test]
    fn a_name_says_which_address_of_which_tenant_it_is() {
        assert_eq!(of_receiver(&receiver_name(7, "acme:eu")), Some((7, "acme:eu")));
        for name in ["on-call", "address:x:acme", "address:7"] {
            assert_eq!(of_receiver(name), None, "{name}");
        }
    }
}
