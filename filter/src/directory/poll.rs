//! Polling the tenants from `weir serve`.
//!
//! A new state comes in pages, one page an answer, and each is taken in as it comes: a tick never does more than one
//! page's work. The state in force stays whole until the last page is in, and then gives way at once. A page that does
//! not fit the others, or a state that contradicts itself, ends the attempt, and what was in force stays.
use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::directory::{PAGE_MAX_BYTES, Page};

use super::Directory;
use crate::config::ConfigError;
use crate::config::shape;
use crate::fetch::{Fetch, Fetched, Schedule, Target};
use crate::hash::Keyed;

/// The longest version or cursor that is taken, in bytes.
const CURSOR_MAX_BYTES: usize = 256;

/// Where the tenants are polled from.
#[derive(Debug)]
pub struct Origin {
    cluster: Rc<str>,
    authority: Rc<str>,
    path: Box<str>,
    authorization: Box<str>,
    refresh_ms: u64,
    timeout_ms: u64,
    staleness_max_ms: Option<u64>,
}

impl Origin {
    /// Checks what the shape cannot say.
    pub fn compile(directory: shape::Directory) -> Result<Self, ConfigError> {
        let staleness_max_ms = directory.staleness_max.map(crate::config::Span::as_millis);
        let refresh_ms = directory.refresh.as_millis();
        if refresh_ms < 1_000 {
            return Err(ConfigError::new("directory.refresh", "at least 1s"));
        }
        if staleness_max_ms.is_some_and(|max| max < 2 * refresh_ms) {
            return Err(ConfigError::new(
                "directory.staleness_max",
                "at least twice refresh: one lost answer must not refuse everybody",
            ));
        }
        if directory.token.is_empty() {
            return Err(ConfigError::new(
                "directory.token",
                "the token that weir serve knows under the scope directory",
            ));
        }
        Ok(Origin {
            cluster: directory.cluster.into(),
            authority: directory.authority.into(),
            path: directory.path.into(),
            authorization: format!("Bearer {}", directory.token).into(),
            refresh_ms,
            timeout_ms: directory.timeout.as_millis(),
            staleness_max_ms,
        })
    }
}

/// The tenants in force, and the next ones on their way.
#[derive(Debug)]
pub struct Poll {
    keyed: Keyed,
    schedule: Schedule,
    current: Option<Rc<Directory>>,
    version: Option<Box<str>>,
    /// When the state in force was last confirmed.
    confirmed: Timestamp,
    staged: Option<Staged>,
}

/// A state of which some pages are in.
#[derive(Debug)]
struct Staged {
    version: Box<str>,
    next: Box<str>,
    directory: Directory,
}

/// What an answer meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing has changed.
    Confirmed,
    /// A page of a new state.
    Staged,
    /// A new state is in force.
    Replaced,
    /// No answer, or none that says anything.
    Failed(u16),
    /// A state that cannot be used, and why.
    Refused(String),
}

impl Poll {
    /// The first state is asked for at once.
    pub fn new(keyed: Keyed, now: Timestamp) -> Self {
        Poll { keyed, schedule: Schedule::due_at(now), current: None, version: None, confirmed: now, staged: None }
    }

    /// The tenants in force; None before the first state, and where the last one has grown too old.
    pub fn tenants(&self, origin: &Origin, now: Timestamp) -> Option<&Rc<Directory>> {
        let fresh = origin.staleness_max_ms.is_none_or(|max| now.millis_since(self.confirmed) <= max);
        self.current.as_ref().filter(|_| fresh)
    }

    /// How old the last confirmed state is.
    pub fn age_ms(&self, now: Timestamp) -> u64 {
        now.millis_since(self.confirmed)
    }

    /// The call that is due.
    pub fn due(&mut self, origin: &Origin, now: Timestamp) -> Option<Fetch> {
        if !self.schedule.start(now) {
            return None;
        }
        let mut headers = vec![("authorization", origin.authorization.to_string())];
        let path = match (&self.staged, &self.version) {
            (Some(staged), _) => format!("{}?from={}", origin.path, staged.next),
            (None, Some(version)) => {
                headers.push(("if-none-match", format!("\"{version}\"")));
                origin.path.to_string()
            }
            (None, None) => origin.path.to_string(),
        };
        Some(Fetch {
            target: Target::Directory,
            cluster: Rc::clone(&origin.cluster),
            scheme: "http",
            authority: Rc::clone(&origin.authority),
            path,
            headers,
            timeout_ms: origin.timeout_ms,
        })
    }

    /// The aggregator has answered, or not.
    pub fn answered(&mut self, origin: &Origin, answer: &Fetched<'_>, now: Timestamp) -> Update {
        let update = match answer {
            Fetched::Answer { status: 304, .. } if self.current.is_some() && self.staged.is_none() => Update::Confirmed,
            Fetched::Answer { status: 200, body, .. } => match self.take(body) {
                Ok(update) => update,
                Err(reason) => Update::Refused(reason),
            },
            Fetched::Answer { status, .. } => Update::Failed(*status),
            Fetched::Nothing => Update::Failed(0),
        };
        match &update {
            Update::Staged => self.schedule.succeeded(0, now),
            Update::Confirmed | Update::Replaced => {
                self.confirmed = now;
                self.schedule.succeeded(origin.refresh_ms, now);
            }
            Update::Failed(_) => self.schedule.failed(origin.refresh_ms, now),
            Update::Refused(_) => {
                self.staged = None;
                self.schedule.failed(origin.refresh_ms, now);
            }
        }
        update
    }

    fn take(&mut self, body: &[u8]) -> Result<Update, String> {
        if body.len() > PAGE_MAX_BYTES {
            return Err(format!("a page of {} bytes; at most {PAGE_MAX_BYTES} are taken", body.len()));
        }
        let page: Page = serde_json::from_slice(body).map_err(|error| format!("no page: {error}"))?;
        let plain = |text: &str| !text.is_empty() && text.len() <= CURSOR_MAX_BYTES && text.bytes().all(is_cursor_byte);
        if !plain(&page.version) || page.next.as_deref().is_some_and(|next| !plain(next)) {
            return Err("a version or cursor of another form than letters, digits, '.', '-' and '_'".to_owned());
        }
        if page.since.is_some() {
            return Err("a difference, which was not asked for".to_owned());
        }
        let mut directory = match self.staged.take() {
            Some(staged) if *staged.version == *page.version => staged.directory,
            // It changed between two pages: what comes is the first page of the new state.
            _ => Directory::empty(self.keyed),
        };
        if !page.revoked.is_empty() {
            directory.revoke(page.revoked).map_err(|error| error.to_string())?;
        }
        page.tenants.iter().try_for_each(|tenant| directory.add(tenant)).map_err(|error| error.to_string())?;
        match page.next {
            Some(next) => {
                self.staged = Some(Staged { version: page.version.into(), next: next.into(), directory });
                Ok(Update::Staged)
            }
            None => {
                self.version = Some(page.version.into());
                self.current = Some(Rc::new(directory));
                Ok(Update::Replaced)
            }
        }
    }
}

fn is_cursor_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests;
