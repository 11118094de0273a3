//! Limits of the whole fleet: renews the leases that this process holds, and asks for single requests.
//!
//! A worker notes each lease that its requests draw from ([`Renewals::note`]). At its ticks it reports those that are due, all of
//! them in one call, and says what it wants ([`Renewals::next_call`]). Two workers may note one lease; the lease itself
//! remembers a call under way, so that there is one at a time. Where a lease is too small for a request, and the
//! gateway can hold the request, [`draw`] asks for that request alone.
//!
//! Everything that must outlive a worker is in the gateway's shared data: the leases in their tenants' records, and the
//! name of the process ([`process`]). A worker that dies takes its notes along; the next draw of each lease makes another.
mod answer;
pub mod draw;
mod note;
mod process;

use std::rc::Rc;

use weir_contract::Timestamp;
use weir_contract::lease::{ANSWER_MAX_MS, CLOCK_ERROR_MS, COUNT_MAX, Call, Report};

use crate::hash::{Keyed, Map};
use crate::limit::lease::CLOCK_BACK_MAX_MS;
use crate::limit::lease::renewal::{REPORT_EVERY_MS, Step, Wanted};
use crate::limit::{Center, Demand, SharedBuckets};
use crate::store::Store;
use note::Note;

/// The most leases that a worker sees to. Of others nothing is renewed, and the metric counts them.
pub const NOTES_MAX: usize = 4_096;

/// The most leases that are looked at in one tick, and reported in one call: each takes some 10,000 instructions. The rest
/// follows at the next tick.
pub(crate) const REPORTS_MAX: usize = 400;

/// The most calls of one worker under way at a time.
const CALLS_MAX: usize = 4;

/// After so long without a request a lease is given up, in milliseconds.
const IDLE_MS: u64 = 60_000;

/// The same where the gateway holds no request while weir serve is asked, so that one without a lease is refused.
const IDLE_UNHELD_MS: u64 = 600_000;

/// The leases that one worker sees to.
#[derive(Debug)]
pub struct Renewals {
    keyed: Keyed,
    process: String,
    numbers: u64,
    notes: Map<u64, Note>,
    calls: Vec<Sent>,
    calls_made: u64,
    ticked: Timestamp,
    /// What was told of failing calls.
    trouble: Option<String>,
    tally: Tally,
}

/// What happened, since the worker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were not.
    pub failed: u64,
    /// Units granted to leases.
    pub granted: u64,
    /// Units of leases that ended before anybody spent them.
    pub lapsed: u64,
    /// Leases that ended while they were in use, because no answer came in time.
    pub late: u64,
    /// Leases that the center had no place for.
    pub refused: u64,
    /// Leases that nobody here sees to, because there are too many.
    pub unseen: u64,
}

/// A call to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// Its number, for [`Renewals::answered`].
    pub call: u64,
    /// Where it goes.
    pub center: Rc<Center>,
    /// A `POST` with this JSON.
    pub body: Vec<u8>,
}

/// A call under way.
#[derive(Debug)]
struct Sent {
    call: u64,
    center: Rc<Center>,
    at: Timestamp,
    /// The notes that it reports, in its order.
    notes: Vec<u64>,
}

/// Something to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Leases are not renewed, for a new reason.
    Failing(String),
    /// They are again.
    BackAgain(String),
}

impl Renewals {
    /// A renewals without leases, from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let (mut seed, mut name) = ([0; 16], [0; 16]);
        let (first, second) = random.split_at(16);
        seed.copy_from_slice(first);
        name.copy_from_slice(second);
        let keyed = Keyed::new(seed);
        Renewals {
            keyed,
            process: hex::encode(name),
            numbers: 0,
            notes: keyed.map(),
            calls: Vec::new(),
            calls_made: 0,
            ticked: Timestamp::default(),
            trouble: None,
            tally: Tally::default(),
        }
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many leases it sees to.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether it sees to none.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Notes that a request draws from a lease.
    pub fn note(&mut self, demand: &Demand<'_>, now: Timestamp) {
        let key = self.keyed.of(demand.tenant.as_bytes()) ^ demand.charge.bucket_id;
        if let Some(note) = self.notes.get_mut(&key) {
            return note.again(demand, now);
        }
        if self.notes.len() >= NOTES_MAX {
            self.tally.unseen += 1;
            return;
        }
        self.notes.insert(key, Note::new(demand, now));
    }

    /// The call of this tick, if one is due: what it has no room for is due at the next. `draws`: the gateway can hold a
    /// request while it asks.
    pub fn next_call(&mut self, store: &mut impl Store, draws: bool, now: Timestamp) -> Option<Outgoing> {
        self.watch_clock(store, now);
        self.calls.retain(|sent| now.millis_since(sent.at) < 2 * ANSWER_MAX_MS && sent.at <= now);
        if self.calls.len() >= CALLS_MAX {
            return None;
        }
        let (center, keys) = self.due(now)?;
        let gateway = process::name(store, &self.process)?;
        let mut leases = Vec::with_capacity(keys.len());
        let mut notes = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(report) = self.report(store, key, draws, now) {
                leases.push(report);
                notes.push(key);
            }
        }
        if leases.is_empty() {
            return None;
        }
        let body = serde_json::to_vec(&Call { gateway, sent_ms: now.as_millis(), draws, leases }).ok()?;
        self.calls_made += 1;
        let call = self.calls_made;
        self.calls.push(Sent { call, center: Rc::clone(&center), at: now, notes });
        Some(Outgoing { call, center, body })
    }

    /// The notes of one center that are due, as many as a call holds.
    fn due(&self, now: Timestamp) -> Option<(Rc<Center>, Vec<u64>)> {
        let mut due = self.notes.iter().filter(|(_, note)| note.next <= now);
        let (first, note) = due.next()?;
        let center = Rc::clone(&note.center);
        let of_it = due.filter(|(_, note)| note.center == center).map(|(key, _)| *key);
        let keys = std::iter::once(*first).chain(of_it).take(REPORTS_MAX).collect();
        Some((center, keys))
    }

    /// The report of one lease, if it is due; else remembers when it will be.
    fn report(&mut self, store: &mut impl Store, key: u64, draws: bool, now: Timestamp) -> Option<Report> {
        self.numbers += 1;
        let fresh_number = self.keyed.of(&self.numbers.to_le_bytes()) & COUNT_MAX;
        let note = self.notes.get_mut(&key)?;
        note.next = now.plus_millis(REPORT_EVERY_MS);
        let wanted = Wanted {
            capacity: note.bucket.capacity(),
            largest: note.largest,
            at: note.at,
            idle_ms: if draws { IDLE_MS } else { IDLE_UNHELD_MS },
            fresh_number,
        };
        let mut buckets = SharedBuckets::new(store);
        // A store that fails is asked again later.
        let stepped = buckets.step_lease(&note.tenant, note.bucket_id, &wanted, now).ok()?;
        if let Some(units) = stepped.lapsed {
            self.tally.lapsed = self.tally.lapsed.saturating_add(units);
            self.tally.late += u64::from(now.millis_since(note.at) < IDLE_MS);
        }
        match stepped.step {
            Step::Report(totals) => {
                note.largest = 1;
                note.report(totals)
            }
            Step::Wait(until) => {
                note.next = until;
                None
            }
            Step::Rest => {
                self.notes.remove(&key);
                None
            }
        }
    }

    /// A clock that went back would let leases last too long: ends all that this worker knows. One that jumped hides when
    /// they ended: they have no share then.
    fn watch_clock(&mut self, store: &mut impl Store, now: Timestamp) {
        let went_back = self.ticked.millis_since(now) > CLOCK_BACK_MAX_MS;
        let jumped = self.ticked > Timestamp::default() && now.millis_since(self.ticked) > CLOCK_ERROR_MS;
        self.ticked = now;
        if !went_back && !jumped {
            return;
        }
        for note in self.notes.values_mut() {
            (note.next, note.at) = (now, note.at.min(now));
            // A lease that the store keeps to itself cannot be spent either.
            let _unchanged = SharedBuckets::new(store).change_lease(&note.tenant, note.bucket_id, now, |lease| {
                if went_back {
                    lease.end(false);
                }
                lease.forgo_share() || went_back
            });
        }
    }
}
