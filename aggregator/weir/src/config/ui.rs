//! `ui:`: the dashboard.
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Default for UiFile {
    fn default() -> Self {
        UiFile { enabled: true, https: None }
    }
}

fn yes() -> bool {
    true
}

/// The dashboard's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ui {
    /// Whether there is a dashboard.
    pub is_enabled: bool,
    /// Whether its cookies are for https alone.
    pub is_https: bool,
}

/// The settings of a server that listens at `listen`, with TLS or without.
pub(super) fn check(file: Option<UiFile>, listen: SocketAddr, has_tls: bool) -> Ui {
    let file = file.unwrap_or_default();
    let is_https = file.https.unwrap_or(has_tls || !listen.ip().is_loopback());
    Ui { is_enabled: file.enabled, is_https }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_for_https_alone_unless_only_this_machine_can_see_them() {
        let of = |listen: &str, tls, https: Option<bool>| {
            let file = https.map(|https| UiFile { https: Some(https), ..UiFile::default() });
            check(file, listen.parse().expect("an address"), tls).is_https
        };
        assert!(!of("127.0.0.1:8090", false, None));
        assert!(of("127.0.0.1:8090", true, None));
        assert!(of("0.0.0.0:8090", false, None), "a proxy ends TLS");
        assert!(!of("0.0.0.0:8090", false, Some(false)), "a closed network");
        assert!(of("127.0.0.1:8090", false, Some(true)));
    }
}
