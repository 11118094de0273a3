//! `ui.openid`: signing in by OpenID Connect.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_settings::secret::SecretSource;

use crate::config::tokens::Scope;

/// Where the provider sends browsers back to, below the dashboard's address.
pub const CALLBACK: &str = "/ui/openid/callback";
/// The most rules: each sign-in tries all of them.
const ROLES_MAX: usize = 64;

/// Signing in by OpenID Connect: the code flow with PKCE. Register `URL/ui/openid/callback` at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenIdFile {
    /// The provider's issuer: `/.well-known/openid-configuration` below it describes the provider.
    pub issuer: String,
    /// What the provider calls this dashboard.
    pub client_id: String,
    /// The client's secret. Absent: a public client, which PKCE alone protects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretSource>,
    /// The address under which browsers reach this server, such as `https://weir.example.com`. Absent: `ui.url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What is asked for besides `openid`, such as `groups`. Absent: `[email]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Vec<String>>,
    /// The claim that names the person in the audit. Absent: `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Who may do what, at most 64 rules. A person gets the scopes of all rules that fit; whom none fits is refused.
    pub roles: Vec<RoleRule>,
}

/// People whose ID token has this value get this scope. `email` counts only if the provider says `email_verified: true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// The claim: a text, or a list of texts such as `groups`.
    pub claim: String,
    /// The value that it must have, or contain; `*` stands for any text, as in `*@example.com`.
    pub value: String,
    /// `viewer`, `operator`, `admin` or `{tenant: ID}`.
    pub scope: Scope,
}

/// The same, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenId {
    /// The provider's issuer.
    pub issuer: String,
    /// What the provider calls this dashboard.
    pub client_id: String,
    /// The place of the client's secret.
    pub client_secret: Option<SecretSource>,
    /// Where the provider sends browsers back to.
    pub callback: String,
    /// What is asked for besides `openid`.
    pub ask: Vec<String>,
    /// The claim that names the person.
    pub person: String,
    /// Who may do what.
    pub roles: Vec<RoleRule>,
}

/// Checks the settings. `site`: the dashboard's address, where the settings of signing in name none.
pub(super) fn check(file: OpenIdFile, site: Option<&str>, is_https: bool) -> Result<OpenId, String> {
    let url = file.url.as_deref().or(site).ok_or("`url` is missing here and in `ui`: the address of this dashboard")?;
    let callback = format!("{}{CALLBACK}", url.trim_end_matches('/'));
    for (field, address) in [("issuer", file.issuer.as_str()), ("url", url)] {
        let is_private = address.starts_with("https://");
        // Without TLS a code could be read on its way, so that is for tests on one machine.
        let is_local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| {
            address.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        if !is_private && !is_local {
            return Err(format!("`{field}` begins with https:// (http:// is for 127.0.0.1 and localhost alone)"));
        }
    }
    if is_https && !url.starts_with("https://") {
        return Err("`url` begins with http://, and `ui.https` says that browsers come by https".to_owned());
    }
    if file.roles.is_empty() {
        return Err("`roles` is empty, so nobody could sign in: say which claim opens which scope".to_owned());
    }
    if file.roles.len() > ROLES_MAX {
        return Err(format!("{} `roles`; at most {ROLES_MAX}", file.roles.len()));
    }
    for RoleRule { claim, value, scope } in &file.roles {
        if !matches!(scope, Scope::Viewer | Scope::Operator | Scope::Admin | Scope::Tenant(_)) {
            return Err(format!(
                "{claim} = {value}: `{scope}` opens no page; say viewer, operator, admin or {{tenant: ID}}"
            ));
        }
        if claim.is_empty() || value.trim_matches('*').is_empty() {
            return Err(format!(
                "{claim:?} = {value:?} would let in everybody whom the provider knows: name a claim and a value"
            ));
        }
    }
    Ok(OpenId {
        issuer: file.issuer,
        client_id: file.client_id,
        client_secret: file.client_secret,
        callback,
        ask: file.ask.unwrap_or_else(|| vec!["email".to_owned()]),
        person: file.person.unwrap_or_else(|| "email".to_owned()),
        roles: file.roles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str, value: &str, scope: Scope) -> OpenIdFile {
        OpenIdFile {
            issuer: "https://login.example.com".to_owned(),
            client_id: "weir".to_owned(),
            client_secret: None,
            url: Some(url.to_owned()),
            ask: None,
            person: None,
            roles: vec![RoleRule { claim: "groups".to_owned(), value: value.to_owned(), scope }],
        }
    }

    #[test]
    fn browsers_come_back_to_the_servers_own_address() {
        let good = check(file("https://weir.example.com/", "platform", Scope::Admin), None, true).expect("valid");
        assert_eq!(good.callback, "https://weir.example.com/ui/openid/callback");
        assert_eq!((good.person.as_str(), good.ask), ("email", vec!["email".to_owned()]));
        assert!(check(file("http://127.0.0.1:8090", "platform", Scope::Viewer), None, false).is_ok());
        let of_ui = || OpenIdFile { url: None, ..file("", "platform", Scope::Admin) };
        assert_eq!(check(of_ui(), Some("https://weir.example.com"), true).expect("valid").callback, good.callback);
        assert!(check(of_ui(), None, true).expect_err("refused").contains("`url` is missing"));
    }

    #[test]
    fn what_would_let_in_too_many_or_nobody_is_refused() {
        let refused = |url: &str, value: &str, scope| check(file(url, value, scope), None, false).expect_err("refused");
        assert!(refused("http://weir.example.com", "x", Scope::Viewer).contains("https://"));
        assert!(refused("http://localhost.evil.example", "x", Scope::Viewer).contains("https://"));
        assert!(refused("https://weir.example.com", "**", Scope::Viewer).contains("everybody"));
        assert!(refused("https://weir.example.com", "x", Scope::Ingest).contains("opens no page"));
        let nobody = OpenIdFile { roles: Vec::new(), ..file("https://weir.example.com", "x", Scope::Viewer) };
        assert!(check(nobody, None, true).expect_err("refused").contains("nobody"));
        assert!(
            check(file("http://127.0.0.1:1", "x", Scope::Viewer), None, true)
                .expect_err("refused")
                .contains("ui.https")
        );
    }
}
