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
    /// The address under which browsers reach this server, such as `https://weir.example.com`: messages of alerts link to its pages.
    /// Absent: that of `openid`; without it messages name commands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
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
        UiFile { enabled: true, https: None, url: None, openid: None, links: None, theme: None }
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
    /// The address under which browsers reach the server, without `/` at its end.
    pub url: Option<String>,
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
    let url = file.url.as_deref().map(|url| site(url, is_https)).transpose().map_err(|error| wrong("ui.url", error))?;
    let of_openid = || Some(file.openid.as_ref()?.url.as_ref()?.trim_end_matches('/').to_owned());
    let url = url.or_else(of_openid);
    Ok(Ui {
        is_enabled: file.enabled,
        is_https,
        openid: file
            .openid
            .map(|file| openid::check(file, url.as_deref(), is_https))
            .transpose()
            .map_err(|error| wrong("ui.openid", error))?,
        links: file
            .links
            .map(|file| links::check(file, is_https))
            .transpose()
            .map_err(|error| wrong("ui.links", error))?,
        theme: file.theme.map(theme::check).transpose().map_err(|error| wrong("ui.theme", error))?,
        url,
    })
}

/// Checks the address of a site that browsers reach, and takes `/` from its end.
fn site(url: &str, is_https: bool) -> Result<String, String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_site = rest.is_some_and(|rest| {
        let rest = rest.trim_end_matches('/');
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"/?#\"'<>\\`@".contains(c))
    });
    if !is_site {
        return Err(format!("an address such as https://weir.example.com, not {url:?}"));
    }
    if is_https && !url.starts_with("https://") {
        return Err("begins with http://, and `ui.https` says that browsers come by https".to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
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

    #[test]
    fn the_address_of_the_pages_is_a_site_and_nothing_else() {
        assert_eq!(site("https://weir.example.com/", true).as_deref(), Ok("https://weir.example.com"));
        assert_eq!(site("http://10.0.0.1:8090", false).as_deref(), Ok("http://10.0.0.1:8090"));
        assert!(site("http://weir.example.com", true).is_err(), "browsers come by https");
        for wrong in [
            "",
            "weir.example.com",
            "https://",
            "javascript:alert(1)",
            "https://a b",
            "https://a/b",
            "https://a?x",
            "https://u@a",
        ] {
            assert!(site(wrong, false).is_err(), "{wrong}");
        }
    }
}
