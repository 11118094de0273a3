//! Draws on leases, in the pass over a tenant's record that draws from its buckets, too.
use weir_contract::Timestamp;

use super::lease::{Lease, Taken};
use super::record::Record;
use super::{Charge, DrawnFrom, Settlement, Standing};

/// What a request is told to wait that a lease is too small for, in milliseconds: by then weir serve has answered.
const SHORT_WAIT_MS: u64 = 1_000;

/// The outcome of a draw on a lease, with the standing of its limit.
pub(super) enum Outcome {
    Drawn(Standing),
    Limited(Standing),
    Short(Standing),
    Unreachable(Standing),
}

/// Draws a charge from its lease.
pub(super) fn take(record: &mut Record, charge: &Charge, now: Timestamp) -> Outcome {
    match record.lease(charge.bucket_id) {
        Some(lease) => draw(lease, charge, now),
        None => take_with_room(record, charge, now),
    }
}

/// Draws from the lease that a bucket without one shares.
#[cold]
fn take_with_room(record: &mut Record, charge: &Charge, now: Timestamp) -> Outcome {
    let is_own = record.has_room_for_lease(charge.bucket_id, now);
    let charge = Charge { bucket_id: if is_own { charge.bucket_id } else { charge.shared_bucket_id }, ..*charge };
    match record.lease(charge.bucket_id) {
        Some(lease) => draw(lease, &charge, now),
        None => draw(&mut Lease::new(charge.bucket_id), &charge, now),
    }
}

fn draw(lease: &mut Lease, charge: &Charge, now: Timestamp) -> Outcome {
    match lease.take(charge, now) {
        Taken::Drawn { from, due } => Outcome::Drawn(lease.standing(charge, from, due)),
        Taken::Empty(wait_ms) => {
            Outcome::Limited(Standing { wait_ms, ..lease.standing(charge, DrawnFrom::Lease, true) })
        }
        Taken::Short => {
            Outcome::Short(Standing { wait_ms: SHORT_WAIT_MS, ..lease.standing(charge, DrawnFrom::Lease, true) })
        }
        Taken::Unreachable => Outcome::Unreachable(lease.standing(charge, DrawnFrom::Lease, true)),
    }
}

/// Settles a charge of the fleet.
pub(super) fn settle(record: &mut Record, settlement: &Settlement, now: Timestamp) {
    let Settlement { reserved, used } = settlement;
    if let Some(lease) = record.lease_or_new(reserved.bucket_id, now) {
        lease.settle(reserved, *used, now);
    }
}
