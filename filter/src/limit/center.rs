//! The server that divides the limits of the fleet, as the configuration says.
use std::rc::Rc;

use weir_config::shape::{Config, Directory, Leases};
use weir_config::{ConfigError, Span};
use weir_contract::lease::ANSWER_MAX_MS;

use super::record::FIXED;
use crate::hash;

/// Where `weir serve` grants leases, where nothing else is configured.
const PATH: &str = "/v1/leases";

/// The server that grants leases.
#[derive(PartialEq, Eq)]
pub struct Center {
    /// The gateway's name for it.
    pub cluster: Box<str>,
    /// `:authority` of the calls.
    pub authority: Box<str>,
    /// Their path.
    pub path: Box<str>,
    /// Their `authorization`, whole.
    pub authorization: Box<str>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
    /// Keeps the leases of two servers apart that two configurations of one process name.
    pub(crate) salt: u64,
}

impl std::fmt::Debug for Center {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Center").field("cluster", &self.cluster).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Center {
    /// The server of `leases`, else that of `directory`.
    pub(crate) fn compile(config: &Config) -> Result<Option<Rc<Self>>, ConfigError> {
        let center = match (&config.leases, &config.directory) {
            (Some(leases), _) => Self::of_leases(leases)?,
            (None, Some(directory)) => Self::of_directory(directory),
            (None, None) => return Ok(None),
        };
        Ok(Some(Rc::new(center)))
    }

    fn of_leases(leases: &Leases) -> Result<Self, ConfigError> {
        let timeout_ms = leases.timeout.as_millis();
        if !(1..=ANSWER_MAX_MS).contains(&timeout_ms) {
            let right =
                "above 0 and at most 2s: a later answer is ignored, since the lease may have ended at weir serve";
            return Err(ConfigError::new("leases.timeout", right));
        }
        if leases.token.expose().is_empty() {
            let right = "the token that weir serve knows under the scope directory";
            return Err(ConfigError::new("leases.token", right));
        }
        Ok(Self::new(&leases.cluster, &leases.authority, &leases.path, leases.token.expose(), timeout_ms))
    }

    fn of_directory(directory: &Directory) -> Self {
        let timeout_ms = Span::as_millis(directory.timeout).clamp(1, ANSWER_MAX_MS);
        Self::new(&directory.cluster, &directory.authority, PATH, directory.token.expose(), timeout_ms)
    }

    fn new(cluster: &str, authority: &str, path: &str, token: &str, timeout_ms: u64) -> Self {
        let salt = hash::fixed(&[cluster, "\n", authority, "\n", path].concat()) & !FIXED;
        let authorization = format!("Bearer {token}").into();
        Center {
            cluster: cluster.into(),
            authority: authority.into(),
            path: path.into(),
            authorization,
            timeout_ms,
            salt,
        }
    }
}
