//! Polls the tenants from `weir serve`.
//!
//! A new state arrives in pages, one page per answer, and each is taken in a part per tick ([`super::page`]). The
//! state in force stays complete until the last page is in, and is then replaced at once. A page that does not fit
//! the others, or a state that contradicts itself, ends the attempt; the state in force stays.
//!
//! Once a state is in force, only the difference to it is asked for ([`super::delta`]) and applied at once. If that
//! is not possible, the whole state is asked for.
//!
//! A call for a difference asks the aggregator to hold it until something changes ([`super::wait`]).
use std::cell::RefCell;
use std::rc::Rc;

use weir_config::{ConfigError, Secret, Span, shape};
use weir_contract::Timestamp;
use weir_contract::catalogue::GATEWAY_HEADER;
use weir_contract::flags::{Flags, KNOWS_FLAGS};
use weir_contract::hard::KNOWS_HARD_BUDGETS;
use weir_contract::placement::KNOWS_PLACEMENT;
use weir_contract::plans::{self, PLANS_HEADER};
use weir_contract::scopes::KNOWS_SCOPES;
use weir_contract::stage::{KNOWS_FURTHER_STAGES, KNOWS_HEADER, KNOWS_STAGES};
use weir_contract::vault::{KNOWS_VAULT, RECIPIENT_HEADER};
use weir_key_delivery::Recipient;

use super::delta::Delta;
use super::page::PageReader;
use super::parts::Parts;
use super::wait::{Ended, Patience, WAIT_MAX_MS};
use super::{Directory, DirectoryError};
use crate::fetch::{Failure, Fetch, Fetched, Schedule, Target};
use crate::hash::Keyed;
use crate::vault::{OwnKeys, PageOpener};

/// How long keys of tenants' own are lacking before the whole state is asked for again, in milliseconds: the token may have got
/// its scope meanwhile.
const LACKING_RETRY_MS: u64 = 600_000;

/// Where the tenants are polled from.
#[derive(Debug)]
pub struct Origin {
    cluster: Rc<str>,
    authority: Rc<str>,
    path: Box<str>,
    authorization: Box<str>,
    /// The gateway's name, told where the server may hand it a catalogue.
    gateway: Box<str>,
    /// The gateway's plans, told with each call, so that a tenant with another one is noticed where it is created.
    plans: Option<Box<str>>,
    refresh_ms: u64,
    /// How long the aggregator may hold a call; 0 is not at all.
    wait_ms: u64,
    timeout_ms: u64,
    staleness_max_ms: Option<u64>,
    /// Whether the tenants of the configuration count until the first answer.
    starts_inline: bool,
    /// The operator's secret from which key pairs are made.
    keys_seed: Option<Secret>,
}

/// The shortest seed, in bytes.
const SEED_MIN_BYTES: usize = 32;

impl Origin {
    /// The operator's secret from which key pairs are made.
    pub(crate) fn keys_seed(&self) -> Option<&str> {
        self.keys_seed.as_ref().map(Secret::expose)
    }

    /// Whether the tenants of the configuration count until the first answer.
    pub(crate) fn starts_inline(&self) -> bool {
        self.starts_inline
    }

    /// Whether both are the same place, so that the state of one is that of the other.
    pub(crate) fn is_place_of(&self, other: &Origin) -> bool {
        (&self.cluster, &self.authority, &self.path) == (&other.cluster, &other.authority, &other.path)
    }

    /// The gateway's name for the server.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Checks what the shape cannot say.
    pub fn compile<'p>(
        directory: shape::Directory,
        gateway: &str,
        plans: impl Iterator<Item = &'p str>,
    ) -> Result<Self, ConfigError> {
        let staleness_max_ms = directory.staleness_max.map(Span::as_millis);
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
        let wait_ms = directory.wait.as_millis();
        if wait_ms > WAIT_MAX_MS || (1..1_000).contains(&wait_ms) {
            return Err(ConfigError::new(
                "directory.wait",
                "0s, or 1s to 50s: proxies drop connections that are silent longer",
            ));
        }
        if directory.token.expose().is_empty() {
            return Err(ConfigError::new(
                "directory.token",
                "the token that weir serve knows under the scope directory",
            ));
        }
        let seed = directory.receive_keys_seed;
        if seed.as_ref().is_some_and(|seed| seed.expose().len() < SEED_MIN_BYTES) {
            let problem =
                format_args!("at least {SEED_MIN_BYTES} bytes: `openssl rand -hex 32` makes some").to_string();
            return Err(ConfigError::new("directory.receive_keys_seed", problem));
        }
        Ok(Origin {
            keys_seed: seed,
            cluster: directory.cluster.into(),
            authority: directory.authority.into(),
            path: directory.path.into(),
            authorization: format!("Bearer {}", directory.token.expose()).into(),
            gateway: gateway.into(),
            plans: announced(plans),
            refresh_ms,
            // A state must not grow too old while a call is held.
            wait_ms: staleness_max_ms.map_or(wait_ms, |max| wait_ms.min(max / 2)),
            timeout_ms: directory.timeout.as_millis(),
            staleness_max_ms,
            starts_inline: directory.at_start == shape::AtStart::Inline,
        })
    }
}

/// The same text for the same plans, in whichever order the policy has them.
fn announced<'p>(plans: impl Iterator<Item = &'p str>) -> Option<Box<str>> {
    let mut names: Vec<_> = plans.collect();
    names.sort_unstable();
    plans::write(names.into_iter()).map(Into::into)
}

/// The tenants in force, and the next state on its way.
#[derive(Debug)]
pub struct Poll {
    keyed: Keyed,
    /// The least length of the identifiers that answers are searched for, if they are.
    redaction: Option<usize>,
    schedule: Schedule,
    patience: Patience,
    current: Option<Rc<Directory>>,
    version: Option<Box<str>>,
    /// True after a difference that did not fit: the next fetch asks for the whole state.
    whole: bool,
    /// When the state in force was last confirmed.
    confirmed: Timestamp,
    staged: Option<Staged>,
    /// The page that is being taken in.
    page: Option<PageReader>,
    /// The key pair to which tenants' own keys are sealed; None where this gateway has no use for them.
    recipient: Option<Recipient>,
    /// Opens those of the page that is being taken in.
    opener: Option<PageOpener>,
    /// Since when some of them are lacking; a whole state may bring them.
    lacking_since: Option<Timestamp>,
    /// Whether feature flags are asked for.
    asks_flags: bool,
    /// The state in force was fetched without them: the next fetch asks for the whole state, changed or not.
    lacks_flags: bool,
    /// The catalogue of models, and their figures.
    pub(crate) parts: Parts,
}

/// A state of which some pages have arrived.
#[derive(Debug)]
struct Staged {
    version: Box<str>,
    /// Where its next page starts.
    next: Option<Box<str>>,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    /// A whole state.
    Whole(Box<Directory>),
    /// The difference to the state in force.
    Difference(Delta),
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing has changed.
    Confirmed,
    /// A page of a new state has arrived; [`Poll::step`] takes it in.
    Staged,
    /// A new state is in force, received whole.
    Replaced,
    /// A new state is in force, received as a difference.
    Changed,
    /// The difference cannot be used, for this reason; the state is asked for whole.
    Unfit(String),
    /// There was no answer with a state.
    Failed(Failure),
    /// The state cannot be used, for this reason.
    Refused(String),
}

impl Poll {
    /// Asks for the first state at once. `redaction`: see [`Directory::empty`].
    pub fn new(keyed: Keyed, redaction: Option<usize>, now: Timestamp) -> Self {
        Poll {
            keyed,
            redaction,
            schedule: Schedule::due_at(now),
            patience: Patience::default(),
            current: None,
            version: None,
            whole: false,
            confirmed: now,
            staged: None,
            page: None,
            recipient: None,
            opener: None,
            lacking_since: None,
            asks_flags: false,
            lacks_flags: false,
            parts: Parts::default(),
        }
    }

    /// Has tenants' own keys sealed to a key pair of these random bytes.
    pub(crate) fn receive_keys(&mut self, random: [u8; 32]) {
        self.recipient = Some(Recipient::new(random));
    }

    /// Whether it receives tenants' own keys.
    pub(crate) fn receives_keys(&self) -> bool {
        self.recipient.is_some()
    }

    /// Asks for feature flags, too.
    pub(crate) fn ask_flags(&mut self) {
        self.asks_flags = true;
    }

    /// The feature flags of the last state.
    pub(crate) fn flags(&self) -> Option<&Rc<Flags>> {
        self.current.as_ref().map(|current| current.flags())
    }

    /// Starts with tenants that were not fetched; the first state replaces them.
    #[must_use]
    pub(crate) fn starting_with(mut self, tenants: Rc<Directory>) -> Self {
        self.current = Some(tenants);
        self
    }

    /// Takes over the state of another configuration that polls the same directory, so that a change of the configuration
    /// needs no answer to go on. The next state comes whole, because both hold this one.
    pub fn inherit(&mut self, from: &Poll) {
        self.parts.inherit(&from.parts);
        // A state that was fetched without tenants' own keys would make them look as if there were none.
        if self.recipient.is_some() && from.recipient.is_none() {
            return;
        }
        if from.version.is_some() {
            self.current = from.current.as_ref().map(Rc::clone);
            self.version = from.version.clone();
            self.confirmed = from.confirmed;
            self.lacking_since = from.lacking_since;
            self.lacks_flags = self.asks_flags && !from.asks_flags;
        }
    }

    /// The tenants in force; None before the first state, and if the last one has grown too old.
    pub fn tenants(&self, origin: &Origin, now: Timestamp) -> Option<&Rc<Directory>> {
        let fresh = origin.staleness_max_ms.is_none_or(|max| now.millis_since(self.confirmed) <= max);
        self.current.as_ref().filter(|_| fresh)
    }

    /// Whether the tenants in force were fetched: those of the configuration have no keys of their own.
    pub(crate) fn has_fetched(&self) -> bool {
        self.version.is_some()
    }

    /// Milliseconds until the next call.
    pub fn wait_ms(&self, now: Timestamp) -> u64 {
        self.schedule.wait_ms(now)
    }

    /// How old the last confirmed state is.
    pub fn age_ms(&self, now: Timestamp) -> u64 {
        now.millis_since(self.confirmed)
    }

    /// The call that is due, if any.
    pub fn due(&mut self, origin: &Origin, now: Timestamp) -> Option<Fetch> {
        if !self.schedule.start(now) {
            return None;
        }
        let words = [KNOWS_STAGES, KNOWS_FURTHER_STAGES, KNOWS_HARD_BUDGETS, KNOWS_PLACEMENT, KNOWS_SCOPES];
        let mut knows = words.map(str::to_owned).to_vec();
        knows.extend(self.parts.words());
        let mut headers = vec![("authorization", origin.authorization.to_string())];
        if let Some(recipient) = &mut self.recipient {
            knows.push(KNOWS_VAULT.to_owned());
            headers.push((RECIPIENT_HEADER, recipient.ask()));
        }
        knows.extend(self.asks_flags.then(|| KNOWS_FLAGS.to_owned()));
        headers.push((KNOWS_HEADER, knows.join(",")));
        let asks_again = self.lacking_since.is_some_and(|since| now.millis_since(since) >= LACKING_RETRY_MS);
        if asks_again {
            self.lacking_since = Some(now);
        }
        headers.extend(origin.plans.as_ref().map(|plans| (PLANS_HEADER, plans.to_string())));
        headers.extend(self.parts.are_asked().then(|| (GATEWAY_HEADER, origin.gateway.to_string())));
        self.patience.asks(0, now);
        let mut timeout_ms = origin.timeout_ms;
        let next = self.staged.as_ref().and_then(|staged| staged.next.as_ref());
        let path = match (next, &self.version) {
            (Some(next), _) => format!("{}?from={next}", origin.path),
            (None, Some(version)) if !asks_again && !self.lacks_flags => {
                headers.push(("if-none-match", format!("\"{version}\"")));
                let wait_ms = if self.patience.may_wait(now) { origin.wait_ms } else { 0 };
                if wait_ms > 0 {
                    // Not in the query: an aggregator of a version before refuses parameters that it does not know.
                    headers.push(("prefer", format!("wait={}", wait_ms / 1_000)));
                    self.patience.asks(wait_ms, now);
                    timeout_ms = timeout_ms.saturating_add(wait_ms);
                }
                if self.takes_difference() {
                    format!("{}?since={version}", origin.path)
                } else {
                    origin.path.to_string()
                }
            }
            (None, _) => origin.path.to_string(),
        };
        Some(Fetch {
            target: Target::Directory,
            cluster: Rc::clone(&origin.cluster),
            scheme: "http",
            authority: Rc::clone(&origin.authority),
            path,
            headers,
            timeout_ms,
        })
    }

    fn takes_difference(&self) -> bool {
        !self.whole && self.current.as_ref().is_some_and(|current| !current.is_worn())
    }

    /// Handles the aggregator's answer, or its absence.
    pub fn answered(&mut self, origin: &Origin, answer: &Fetched<'_>, now: Timestamp) -> Update {
        let update = match answer {
            Fetched::Answer { status: 304, .. } if self.current.is_some() && self.staged.is_none() => Update::Confirmed,
            other => match other.ok().map(|body| self.take(body)) {
                // No further call until the page is in.
                Ok(Ok(())) => return Update::Staged,
                Ok(Err(reason)) => Update::Refused(reason),
                Err(failure) => Update::Failed(failure),
            },
        };
        self.conclude(origin, &update, now);
        update
    }

    /// Takes in a part of the page; call it at every tick. Returns what became of the state once the page completes
    /// it.
    pub fn step(&mut self, origin: &Origin, now: Timestamp) -> Option<Update> {
        let update = match self.take_in() {
            Ok(true) => self.finish()?,
            Ok(false) => return None,
            Err(reason) => self.unusable(reason),
        };
        self.conclude(origin, &update, now);
        Some(update)
    }

    /// Schedules the next call.
    fn conclude(&mut self, origin: &Origin, update: &Update, now: Timestamp) {
        match update {
            Update::Staged => self.schedule.succeeded(0, now),
            Update::Confirmed | Update::Replaced | Update::Changed => {
                self.confirmed = now;
                self.whole = false;
                self.note_lacking(*update == Update::Replaced, now);
                let ended = match update {
                    Update::Changed => Ended::Difference,
                    Update::Replaced => Ended::Whole,
                    _ => Ended::Same,
                };
                let pause_ms = if origin.wait_ms == 0 { None } else { self.patience.ended(ended, now) };
                self.schedule.succeeded(pause_ms.unwrap_or(origin.refresh_ms).min(origin.refresh_ms), now);
            }
            Update::Failed(_) => {
                self.patience.failed(origin.refresh_ms, now);
                self.schedule.failed(origin.refresh_ms, now);
            }
            Update::Unfit(_) => {
                self.whole = true;
                self.schedule.succeeded(0, now);
            }
            Update::Refused(_) => self.schedule.failed(origin.refresh_ms, now),
        }
        if matches!(update, Update::Unfit(_) | Update::Refused(_)) {
            (self.staged, self.page) = (None, None);
        }
    }

    /// Notes since when some keys of tenants' own are lacking: the token has no scope for them, or the server could not read one.
    fn note_lacking(&mut self, is_whole: bool, now: Timestamp) {
        let lacks = self.current.as_ref().is_some_and(|current| current.lacks_keys());
        self.lacking_since = lacks.then(|| self.lacking_since.filter(|_| !is_whole).unwrap_or(now));
    }

    /// Cuts a page that has arrived, and assigns it to the state that it belongs to.
    fn take(&mut self, body: &[u8]) -> Result<(), String> {
        let mut page = PageReader::cut(body)?;
        let opener = self.recipient.as_ref().zip(page.frame.sealed_by.as_ref()).and_then(|(to, by)| to.opener(by));
        self.opener = opener.map(RefCell::new).map(Rc::new);
        let frame = &mut page.frame;
        self.parts.keep(frame);
        let contents = match (self.staged.take(), &frame.since) {
            (_, Some(since)) if self.takes_difference() && self.version.as_ref() == Some(since) => {
                Contents::Difference(Delta {
                    removed: std::mem::take(&mut frame.removed),
                    totals: frame.totals,
                    ..Delta::default()
                })
            }
            (_, Some(_)) => return Err("a difference, which was not asked for".to_owned()),
            (Some(Staged { version, contents: contents @ Contents::Whole(_), .. }), None)
                if version == frame.version =>
            {
                contents
            }
            // The state changed between two pages: this is the first page of the new one.
            (_, None) => {
                let mut directory = Directory::empty(self.keyed, self.redaction);
                if frame.next.is_some() {
                    directory.reserve();
                }
                Contents::Whole(Box::new(directory))
            }
        };
        self.staged = Some(Staged { version: frame.version.clone(), next: frame.next.clone(), contents });
        self.page = Some(page);
        Ok(())
    }

    /// Takes in the next part of the page. True after the last part.
    fn take_in(&mut self) -> Result<bool, String> {
        let (Some(page), Some(staged)) = (&mut self.page, &mut self.staged) else { return Ok(false) };
        let revoked = std::mem::take(&mut page.frame.revoked);
        let flags = std::mem::take(&mut page.frame.flags);
        let was_done = page.is_done();
        let tenants = page.step()?;
        let own_keys: Vec<_> = match self.recipient {
            Some(_) => tenants.iter().map(|tenant| OwnKeys::of(tenant, self.opener.as_ref())).collect(),
            None => Vec::new(),
        };
        match &mut staged.contents {
            Contents::Whole(directory) => {
                let revoked = if revoked.is_empty() { Ok(()) } else { directory.revoke(revoked) };
                let own_keys = own_keys.into_iter().chain(std::iter::repeat(None));
                let taken = revoked.and_then(|()| {
                    let mut pairs = tenants.iter().zip(own_keys);
                    pairs.try_for_each(|(tenant, own_keys)| directory.add_with(tenant, own_keys))
                });
                taken.map_err(|error| error.to_string())?;
                if !flags.is_empty() {
                    directory.set_flags(flags);
                }
                Ok(page.is_done())
            }
            Contents::Difference(delta) => {
                if !revoked.is_empty() {
                    delta.revoked = revoked;
                }
                if !flags.is_empty() {
                    delta.flags = flags;
                }
                // One for each tenant before, so that they go on in the same order.
                delta.own_keys.resize(delta.tenants.len(), None);
                delta.own_keys.extend(own_keys);
                delta.tenants.extend(tenants);
                // Applying it is a step of its own.
                Ok(was_done)
            }
        }
    }

    /// A page is in: asks for the next one, or brings the complete state into force.
    fn finish(&mut self) -> Option<Update> {
        let totals = self.page.take()?.frame.totals;
        let staged = self.staged.take()?;
        if staged.next.is_some() {
            self.staged = Some(staged);
            return Some(Update::Staged);
        }
        let update = match staged.contents {
            Contents::Whole(directory) if totals.is_some_and(|totals| totals != directory.totals()) => {
                return Some(Update::Refused(DirectoryError::Totals.to_string()));
            }
            Contents::Whole(directory) => {
                self.current = Some(Rc::new(*directory));
                self.lacks_flags = false;
                Update::Replaced
            }
            Contents::Difference(delta) => {
                // Requests are decided within one callback: between callbacks nothing else refers to the state.
                let Some(current) = self.current.as_mut().and_then(Rc::get_mut) else {
                    return Some(Update::Unfit("the state is in use".to_owned()));
                };
                match current.apply(delta) {
                    Ok(()) => Update::Changed,
                    Err(error) => return Some(Update::Unfit(error.to_string())),
                }
            }
        };
        self.version = Some(staged.version);
        Some(update)
    }

    fn unusable(&self, reason: String) -> Update {
        match &self.staged {
            Some(Staged { contents: Contents::Difference(_), .. }) => Update::Unfit(reason),
            _ => Update::Refused(reason),
        }
    }
}

#[cfg(test)]
mod tests;
