//! Keeps requests away from providers that fail.
//!
//! One value of the gateway's shared data lists the providers with failures; while all work it is missing or empty, and a request
//! reads it once. A provider has up to two lines: one about the provider itself, which holds for everybody, and one about the operator's
//! account there, whose limit is no matter of requests that go up with a tenant's own key. What a provider says of a tenant's own account
//! changes neither (`super::accounts`). A provider whose last [`FAILURES_MAX`] attempts failed is *open*: no chain has it. After a time that doubles with
//! each failure it is *due*: one request that would go there first claims the probe, by compare-and-swap, and its result closes or
//! opens the provider; a request that claimed the probe and tried nothing releases it. Behind others in a chain a provider that is
//! due may stand unclaimed. A failure with `Retry-After` opens at once, for as long as it says.
//!
//! # Layout
//!
//! One line each: the provider's name, with `/house` behind it where it is about the operator's account, failures in a row, the time until which it is open, the time of the last failure, how often it
//! was opened in a row, and 1 while a request has the probe, else 0; separated by spaces, times in milliseconds. A line that cannot be
//! read is dropped: its provider works until it fails again.
use weir_contract::Timestamp;

use super::told::Attempted;
use super::{Catalogue, PROVIDERS_MAX};
use crate::store::{Read, Store, Write};

/// The key in the shared data.
const KEY: &str = "weir.breakers.v1";

/// How many attempts in a row fail before a provider is open.
pub(crate) const FAILURES_MAX: u32 = 5;

/// How long a provider is open the first time, in milliseconds.
const OPEN_MS: u64 = 5_000;

/// The longest time that it is open without being told to, in milliseconds.
const OPEN_MAX_MS: u64 = 60_000;

/// The longest `Retry-After` that is believed, in seconds.
pub(super) const RETRY_AFTER_MAX_SECS: u64 = 600;

/// How long the probe of one request keeps others from probing, in milliseconds.
const PROBE_MS: u64 = 10_000;

/// Failures older than this are forgotten, in milliseconds.
const FORGET_MS: u64 = 60_000;

/// A provider that nobody has probed for so long is forgotten, in milliseconds: it may have left the catalogue.
const FORGET_OPEN_MS: u64 = 3_600_000;

/// The most lines: two for each provider, of this configuration and those before it. What a further one would say counts as working.
const LINES_MAX: usize = 4 * PROVIDERS_MAX;

/// What stands behind a provider's name in the line about the operator's account. No name has a slash.
const HOUSE: &str = "/house";

/// How often a write is tried that another worker was ahead of. What is lost then is one failure of many.
const WRITES_MAX: usize = 4;

/// Whose account at a provider a request uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The operator's.
    House,
    /// The tenant's own.
    Tenant,
}

/// Which providers of a catalogue are kept away, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Open: no request goes there.
    pub open: u32,
    /// Due for a probe: one request may.
    pub due: u32,
    /// The operator's account there is kept away, whatever the provider does for tenants' own.
    pub house_open: u32,
    /// The operator's account is due for a probe.
    pub house_due: u32,
    /// Some provider has failed lately, so that a success is news.
    pub troubled: bool,
}

impl Standing {
    /// The providers to which a request does not go that goes up with tenants' own keys at the providers `own`.
    pub(crate) fn open_for(&self, own: u32) -> u32 {
        self.open | self.house_open & !own
    }

    /// Those that such a request may probe.
    pub(crate) fn due_for(&self, own: u32) -> u32 {
        (self.due | self.house_due & !own) & !self.open_for(own)
    }
}

/// What changed with an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Providers that were opened.
    pub opened: u64,
    /// Providers that were closed.
    pub closed: u64,
    /// Providers that are open for another time than before, or closed: until when.
    pub breakers: Vec<(String, Option<Timestamp>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    provider: String,
    /// It is about the operator's account there.
    of_house: bool,
    failures: u32,
    until_ms: u64,
    failed_ms: u64,
    opened: u32,
    /// A request has the probe.
    probing: bool,
}

/// How the providers of a catalogue stand.
pub fn standing(store: &mut dyn Store, catalogue: &Catalogue, now: Timestamp) -> Standing {
    let Read::Found(value, _) = store.read(KEY) else { return Standing::default() };
    let now = now.as_millis();
    let mut standing = Standing { troubled: !value.is_empty(), ..Standing::default() };
    for line in read(&value).filter(|line| line.until_ms > 0) {
        if let Some(at) = catalogue.providers.iter().position(|provider| *provider.name == *line.provider) {
            let bit = 1_u32.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
            let bits = match (line.of_house, now < line.until_ms) {
                (false, true) => &mut standing.open,
                (false, false) => &mut standing.due,
                (true, true) => &mut standing.house_open,
                (true, false) => &mut standing.house_due,
            };
            *bits |= bit;
        }
    }
    standing
}

/// Claims the probe of a provider that is due, for a request with that account. Returns false if another request has it.
pub fn claim(store: &mut dyn Store, provider: &str, account: Account, now: Timestamp) -> bool {
    let Read::Found(value, generation) = store.read(KEY) else { return true };
    let now = now.as_millis();
    let mut lines: Vec<Line> = read(&value).collect();
    let mut is_due = false;
    for line in lines.iter_mut().filter(|line| line.until_ms > 0 && line.concerns(provider, account)) {
        if now < line.until_ms {
            return false;
        }
        (line.until_ms, line.probing, is_due) = (now.saturating_add(PROBE_MS), true, true);
    }
    !is_due || store.write(KEY, &write(&lines), generation) != Write::Mismatch
}

/// Gives a probe back that was claimed and not used: the provider is due again.
pub fn release(store: &mut dyn Store, provider: &str, account: Account, now: Timestamp) {
    for _ in 0..WRITES_MAX {
        let Read::Found(value, generation) = store.read(KEY) else { return };
        let mut lines: Vec<Line> = read(&value).collect();
        let mut probed = lines.iter_mut().filter(|line| line.probing && line.concerns(provider, account)).peekable();
        if probed.peek().is_none() {
            return;
        }
        probed.for_each(|line| line.give_back(now.as_millis()));
        if store.write(KEY, &write(&lines), generation) != Write::Mismatch {
            return;
        }
    }
}

/// Takes in how attempts went, each with whose account. `troubled`: what [`Standing`] said before them.
pub fn learn<'a>(
    store: &mut dyn Store,
    attempts: impl Iterator<Item = (Attempted<'a>, Account)> + Clone,
    troubled: bool,
    now: Timestamp,
) -> Changes {
    if !troubled && !attempts.clone().any(|(attempt, account)| signs(&attempt, account).contains(&Sign::Fails)) {
        return Changes::default();
    }
    for _ in 0..WRITES_MAX {
        let (value, generation) = match store.read(KEY) {
            Read::Found(value, generation) => (value, generation),
            // Any number but 0 lets a second worker find out that the first one was there.
            Read::Missing => (Vec::new(), 1),
            Read::Failed => return Changes::default(),
        };
        let before: Vec<Line> = read(&value).collect();
        let (after, changes) = updated(&before, attempts.clone(), now.as_millis());
        if after == before {
            return Changes::default();
        }
        match store.write(KEY, &write(&after), generation) {
            Write::Written => return changes,
            Write::Mismatch => {}
            Write::Failed => return Changes::default(),
        }
    }
    Changes::default()
}

/// What an attempt says of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Works,
    Fails,
    /// Nothing: a probe that it had is given back.
    Silent,
    /// It had nothing to do with it.
    Foreign,
}

/// What an attempt says of its provider, and of the operator's account there.
fn signs(attempt: &Attempted<'_>, account: Account) -> [Sign; 2] {
    match (account, attempt.is_about_account(), attempt.failure()) {
        (Account::Tenant, true, _) => [Sign::Silent, Sign::Foreign],
        (Account::Tenant, false, Some(_)) => [Sign::Fails, Sign::Foreign],
        (Account::Tenant, false, None) => [Sign::Works, Sign::Foreign],
        (Account::House, true, Some(_)) => [Sign::Silent, Sign::Fails],
        (Account::House, true, None) => [Sign::Works, Sign::Silent],
        (Account::House, false, Some(_)) => [Sign::Fails, Sign::Silent],
        (Account::House, false, None) => [Sign::Works; 2],
    }
}

fn updated<'a>(
    before: &[Line],
    attempts: impl Iterator<Item = (Attempted<'a>, Account)>,
    now: u64,
) -> (Vec<Line>, Changes) {
    let mut changes = Changes::default();
    let mut lines: Vec<Line> = before.to_vec();
    lines.retain(|line| {
        let forget_ms = if line.until_ms > 0 { FORGET_OPEN_MS } else { FORGET_MS };
        now.saturating_sub(line.failed_ms) < forget_ms
    });
    for (attempt, account) in attempts {
        for (of_house, sign) in [false, true].into_iter().zip(signs(&attempt, account)) {
            take_in(&mut lines, (&attempt, of_house), sign, &mut changes, now);
        }
    }
    changes.breakers = differences(before, &lines);
    (lines, changes)
}

fn take_in(
    lines: &mut Vec<Line>,
    (attempt, of_house): (&Attempted<'_>, bool),
    sign: Sign,
    changes: &mut Changes,
    now: u64,
) {
    let at = lines.iter().position(|line| line.provider == attempt.provider && line.of_house == of_house);
    match (sign, at) {
        (Sign::Works, Some(at)) => changes.closed += u64::from(lines.swap_remove(at).until_ms > 0),
        (Sign::Silent, Some(at)) => {
            lines.get_mut(at).filter(|line| line.probing).into_iter().for_each(|line| line.give_back(now));
        }
        (Sign::Fails, at) => {
            let at = at.unwrap_or(lines.len());
            if at == lines.len() && at < LINES_MAX {
                lines.push(Line::new(attempt.provider, of_house, now));
            }
            if let Some(line) = lines.get_mut(at) {
                let was_open = line.until_ms > 0;
                line.fail(attempt.retry_after_secs, now);
                changes.opened += u64::from(!was_open && line.until_ms > 0);
            }
        }
        (Sign::Foreign, _) | (Sign::Works | Sign::Silent, None) => {}
    }
}

/// Providers that are open for another time than before, or closed: of two lines the one that is open longer counts. One that is
/// forgotten counts as closed.
fn differences(before: &[Line], after: &[Line]) -> Vec<(String, Option<Timestamp>)> {
    let state = |lines: &[Line], provider: &str| {
        let open = lines.iter().filter(|line| line.provider == provider && line.until_ms > 0);
        open.map(|line| (line.until_ms, line.probing)).max()
    };
    let mut providers: Vec<&str> = before.iter().chain(after).map(|line| line.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    let changed = providers.into_iter().filter_map(|provider| {
        let now = state(after, provider);
        let until = now.map(|(until_ms, _)| Timestamp::from_millis(until_ms));
        (now != state(before, provider)).then(|| (provider.to_owned(), until))
    });
    changed.collect()
}

impl Line {
    fn new(provider: &str, of_house: bool, now: u64) -> Self {
        let provider = provider.to_owned();
        Line { provider, of_house, failures: 0, until_ms: 0, failed_ms: now, opened: 0, probing: false }
    }

    /// Whether a request to the provider depends on it.
    fn concerns(&self, provider: &str, account: Account) -> bool {
        self.provider == provider && (account == Account::House || !self.of_house)
    }

    /// The probe was not used: the next request may.
    fn give_back(&mut self, now: u64) {
        (self.until_ms, self.probing) = (now, false);
    }

    fn fail(&mut self, retry_after_secs: Option<u64>, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.failed_ms = now;
        let told = retry_after_secs.map(|secs| secs.min(RETRY_AFTER_MAX_SECS).saturating_mul(1000));
        if self.failures < FAILURES_MAX && self.until_ms == 0 && told.is_none() {
            return;
        }
        // Requests that were under way when it was opened say nothing new; a failed probe does.
        if self.probing || self.until_ms <= now {
            self.opened = self.opened.saturating_add(1);
            let own = OPEN_MS.saturating_mul(1 << (self.opened.clamp(1, 5) - 1)).min(OPEN_MAX_MS);
            (self.until_ms, self.probing) = (now.saturating_add(told.unwrap_or(own)), false);
        } else if let Some(told) = told {
            self.until_ms = self.until_ms.max(now.saturating_add(told));
        }
    }
}

fn read(value: &[u8]) -> impl Iterator<Item = Line> {
    std::str::from_utf8(value).unwrap_or_default().lines().filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?;
        let provider = name.strip_suffix(HOUSE);
        Some(Line {
            provider: provider.unwrap_or(name).to_owned(),
            of_house: provider.is_some(),
            failures: words.next()?.parse().ok()?,
            until_ms: words.next()?.parse().ok()?,
            failed_ms: words.next()?.parse().ok()?,
            opened: words.next()?.parse().ok()?,
            probing: words.next()? == "1",
        })
    })
}

fn write(lines: &[Line]) -> Vec<u8> {
    let line = |line: &Line| {
        let Line { provider, of_house, failures, until_ms, failed_ms, opened, probing } = line;
        let house = if *of_house { HOUSE } else { "" };
        format!("{provider}{house} {failures} {until_ms} {failed_ms} {opened} {}\n", u8::from(*probing))
    };
    lines.iter().map(line).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests;
