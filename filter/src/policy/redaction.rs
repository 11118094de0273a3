//! Which answers are searched for identifiers of other tenants.
use weir_config::ConfigError;
use weir_config::plans;
use weir_config::shape::Redact;

use super::Route;

/// The bounds of `redact.min_bytes`.
const MIN_BYTES: std::ops::RangeInclusive<usize> = 3..=64;
/// What `redact.min_bytes` is where only a route asks for redaction.
const DEFAULT_MIN_BYTES: usize = 5;

/// The setting, compiled.
#[derive(Clone, Copy, Debug)]
pub struct Redaction {
    /// For routes that do not say.
    is_default: bool,
    /// Some answer may be searched, for identifiers of at least so many bytes.
    looks_for: Option<usize>,
}

impl Redaction {
    /// Checks and compiles it.
    pub fn compile(redact: Option<Redact>, routes: &[plans::Route]) -> Result<Self, ConfigError> {
        let min_bytes = redact.map_or(DEFAULT_MIN_BYTES, |redact| redact.min_bytes);
        if !MIN_BYTES.contains(&min_bytes) {
            let problem = format!("{min_bytes} is not between {} and {}", MIN_BYTES.start(), MIN_BYTES.end());
            return Err(ConfigError::new("redact.min_bytes", problem));
        }
        let is_default = redact.is_some_and(|redact| redact.identifiers);
        let is_used = is_default || routes.iter().any(|route| route.redact == Some(true));
        Ok(Redaction { is_default, looks_for: is_used.then_some(min_bytes) })
    }

    /// The least length of the identifiers to look for; None where no answer is searched.
    pub(crate) fn looks_for(&self) -> Option<usize> {
        self.looks_for
    }

    /// Whether the answers of a route are searched.
    pub(crate) fn covers(&self, route: Option<&Route>) -> bool {
        route.and_then(|route| route.redact).unwrap_or(self.is_default)
    }
}
