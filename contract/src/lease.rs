//! Leases: how gateways share one limit without asking for each request.
//!
//! The center keeps one token bucket per limit: capacity `C`, refill `R`. A gateway process holds a *lease*: units that
//! only it may spend. It spends them without a call, and reports with `POST /v1/leases`. A request that a lease is too
//! small for asks with `POST /v1/leases/draw`.
//!
//! # The invariant
//!
//! For every limit and at every moment: `level + Σ (units that gateways may still spend) ≤ C`. The center lowers its
//! belief about a gateway only when the gateway reports, or after the lease has expired by any clock within
//! [`CLOCK_ERROR_MS`]. So all gateways together admit at most `C + R × t` in any time `t`.
//!
//! # State, not steps
//!
//! A lease is (gateway, lease number) and has three counters, which only grow: `granted` belongs to the center, `spent`
//! and `returned` to the gateway. Calls and answers carry the counters' totals, so a lost, repeated, late or reordered
//! message changes nothing: each side keeps the greater value.
//!
//! * **What a gateway may spend**: `granted - spent`. Below 0 it is a debt, which the next grant pays.
//! * **Until when**: until `sent_ms + ttl_ms` by its own clock, `sent_ms` being when it sent the call whose answer it
//!   applies; the latest such moment of this lease counts. It ignores an answer that arrives more than [`ANSWER_MAX_MS`] after its
//!   call. After expiry the lease is over: its balance is gone, and its number is never used again.
//! * **Clock**: a gateway whose clock goes back by more than 1 s drops the lease. Smaller errors are the center's to
//!   bear: it forgets a lease [`CLOCK_ERROR_MS`] later than the gateway may.
//! * **Lease number**: one that this gateway never used for this limit: random, or derived from its time and a counter.
//!   A wiped store means a new gateway id or a new lease number, never a counter that starts again.
//! * **`spent`** counts units drawn. Unused units of a reservation go back into the lease only while `spent` stays at
//!   or above what the last call reported, also if an earlier lease drew them. The rest is added to `returned` and goes
//!   back to the center's level, at most up to the capacity. The center counts from what the first report says that
//!   follows an applied answer; earlier returns are not credited. Units drawn beyond a reservation are added to `spent`.
//! * To give up a balance, a gateway adds it to both `spent` and `returned`; it does so with what exceeds the answer's
//!   `target`, and with everything once the demand has ended.
//! * The totals in one call are one snapshot of the shared record, and are stored as reported *before* the call leaves.
//! * **`granted`** in a call is what the gateway has applied. A center that remembers less (it went back in time) takes
//!   over the greater number and draws the difference from its level.
//! * **A repeated call** answers the totals again: the center tops up to `want` once, not twice.
//! * **Expiry at the center**: what a silent lease still held counts as spent. Nothing is given back.
//!
//! # Epochs
//!
//! `epoch` numbers the center's memories. It changes only if the center has lost its memory; a restart that finds its
//! checkpoint keeps it. A gateway ignores answers of an older epoch than its lease's. The first answer of a newer epoch
//! replaces `granted` (also by a smaller value), `epoch`, and the expiry; from then on the greater value counts again.
//! A center without memory starts each limit with level 0 and counts the whole capacity as outstanding until every
//! lease of the earlier epoch has expired. Until then it adopts leases that report an earlier epoch, with
//! `granted - spent` as what they hold. Later such a lease is [`LeaseState::Lapsed`]. A limit with `share` also gets no
//! refill until shares that may have been promised have ended.
//!
//! # Sizes
//!
//! The center aims at `C / 2N` units for each of `N` holders (`target`). A gateway calls at every tick, and at once when
//! its balance falls below half of `target`. At most `C / (2 × largest)` gateways hold a lease, `largest` being the
//! largest reservation reported; others are told [`LeaseState::Draw`] and ask for each request. Gateways that cannot
//! wait for an answer (`draws: false`) count as holders.
//!
//! Of a limit that never refills each gateway holds at most `C / 32N`, or four of the largest reservations if that is more: what
//! a gateway holds when it dies never comes back.
//!
//! # Definitions
//!
//! Size and refill come with each report. Where gateways differ, the smallest capacity and the slowest refill of those
//! heard within the last lease's length hold: a lowered limit holds at once, a raised one when the last gateway has it.
//! Where a limit never refills, what is left of it changes by as much as its capacity: what was used stays used. Its `period_ms` is
//! how long the center remembers it after a report, and a day longer.
//! All limits of one key are one bucket, whichever plan names them. Pools with other tiers than the first ones heard are
//! [`LeaseState::Refused`] until those have expired.
//!
//! # Without the center
//!
//! A gateway spends its lease. If `share` was set in the call, the applied answer with the greatest `at_ms` has
//! `sharers`, a number `N`; 0 promises nothing. From the lease's expiry, for at most [`SHARE_MAX_MS`], the gateway may
//! spend from a bucket that starts empty, refills by `R / N` and holds at most `C / 2N`, both rounded down, `R` and `C`
//! being those of its own configuration: `N` allows for tiers and for other gateways' smaller limits. The share ends when the gateway applies an answer. A gateway whose clock moves by more than [`CLOCK_ERROR_MS`] between two ticks
//! has no share until the next answer, since it cannot tell when its lease ended.
//!
//! The center takes that much off its refill for a gateway from `ttl_ms - ANSWER_MAX_MS - CLOCK_ERROR_MS` after the answer
//! that the gateway last confirmed (`heard_ms` repeats that answer's `at_ms`) until it confirms a newer one.
mod call;
mod definition;
mod draw;

pub use call::{Answer, Call, CallError, Grant, LeaseState, Report};
pub use definition::{Definition, DefinitionError, Key, Owner, Tier};
pub use draw::{Draw, DrawAnswer, DrawCall, Short};

/// The most leases in one call, and the most draws in one: a gateway reports the rest at its next tick.
pub(crate) const LEASES_MAX: usize = 1_000;
/// The most bytes of a call or an answer, uncompressed: 1,000 leases of 512 bytes.
pub const CALL_MAX_BYTES: usize = 512 * 1024;
/// The longest name of a gateway process, limit, pool or tier, in bytes.
pub const NAME_MAX_BYTES: usize = 128;
/// The most tiers of a pool.
pub const TIERS_MAX: usize = 16;
/// The greatest count of units: every number of the protocol is exact in JSON readers that keep doubles.
pub const COUNT_MAX: u64 = (1 << 53) - 1;
/// The largest capacity and refill, in units: a thousand million units of money in millionths.
pub const CAPACITY_MAX: u64 = 1_000_000_000_000_000;
/// The longest period of a refill: 31 days.
pub const PERIOD_MAX_MS: u64 = 31 * 86_400_000;
/// How long a lease lasts where the center does not say otherwise.
pub const TTL_MS: u64 = 10_000;
/// How much a gateway's clock may fall behind the center's in the length of a lease, steps and drift together.
pub const CLOCK_ERROR_MS: u64 = 2_000;
/// How long after its call an answer may be applied: also the time-out of the call.
pub const ANSWER_MAX_MS: u64 = 2_000;
/// How long a gateway may spend its share after its lease has expired.
pub const SHARE_MAX_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
