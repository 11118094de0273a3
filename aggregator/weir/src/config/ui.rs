//! `ui:`: the dashboard.
pub mod links;
pub mod openid;
pub mod theme;

use std::net::SocketAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use links::{Links, LinksFile};
use openid::{OpenId, OpenIdFile};
use theme::ThemeFile;

/// The dashboard under `/ui`. It shows nothing before a person has signed in with a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UiFile {
    /// Serves the dashboard. Absent: `true`.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether browsers reach the server by https, here or at a proxy in front: then they are told to send the session's cookie over
    /// https alone. Absent: `true`, unless this machine alone can reach `listen` and there is no `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<bool>,
    /// Signs people in by OpenID Connect, beside tokens. Absent: by tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<OpenIdFile>,
    /// Opens a tenant's own page by links that a backend of yours signs. Absent: such links are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<LinksFile>,
    /// The name, the logo and the colour that tenants see. Absent: those of weir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<ThemeFile>,
}

impl Default for UiFile {
    fn default() -> Self {
        UiFile { enabled: true, https: None, openid: None, links: None, theme: None }
    }
}

fn yes() -> bool {
    true
}

/// The dashboard's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// Whether there is a dashboard.
    pub is_enabled: bool,
    /// Whether its cookies are for https alone.
    pub is_https: bool,
    /// Who signs people in, beside tokens.
    pub openid: Option<OpenId>,
    /// Who signs links to tenants' own pages.
    pub links: Option<Links>,
    /// What tenants see instead of weir's name.
    pub theme: Option<ThemeFile>,
}

/// The settings of a server that listens at `listen`, with TLS or without.
pub(super) fn check(path: &Path, file: Option<UiFile>, listen: SocketAddr, has_tls: bool) -> Result<Ui, ConfigError> {
    let file = file.unwrap_or_default();
    let is_https = file.https.unwrap_or(has_tls || !listen.ip().is_loopback());
    let wrong = |field, problem| ConfigError::Field { path: path.to_owned(), field, problem };
    Ok(Ui {
        is_enabled: file.enabled,
        is_https,
        openid: file
            .openid
            .map(|file| openid::check(file, is_https))
            .transpose()
            .map_err(|error| wrong("ui.openid", error))?,
        links: file
            .links
            .map(|file| links::check(file, is_https))
            .transpose()
            .map_err(|error| wrong("ui.links", error))?,
        theme: file.theme.map(theme::check).transpose().map_err(|error| wrong("ui.theme", error))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_for_https_alone_unless_only_this_machine_can_see_them() {
        let of = |listen: &str, tls, https: Option<bool>| {
            let file = https.map(|https| UiFile { https: Some(https), ..UiFile::default() });
            let listen = listen.parse().expect("an address");
            check(Path::new("weir.yaml"), file, listen, tls).expect("valid").is_https
        };
        assert!(!of("127.0.0.1:8090", false, None));
        assert!(of("127.0.0.1:8090", true, None));
        assert!(of("0.0.0.0:8090", false, None), "a proxy ends TLS");
        assert!(!of("0.0.0.0:8090", false, Some(false)), "a closed network");
        assert!(of("127.0.0.1:8090", false, Some(true)));
    }
}
