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
    let Some((charge, lease)) = find(record, charge, now) else {
        let charge = with_room(record, charge, now);
        let standing = Lease::new(charge.bucket_id).standing(&charge, DrawnFrom::Lease, true);
        return Outcome::Short(Standing { wait_ms: SHORT_WAIT_MS, ..standing });
    };
    match lease.take(&charge, now) {
        Taken::Drawn { from, due } => Outcome::Drawn(lease.standing(&charge, from, due)),
        Taken::Empty(wait_ms) => {
            Outcome::Limited(Standing { wait_ms, ..lease.standing(&charge, DrawnFrom::Lease, true) })
        }
        Taken::Short => {
            let standing = lease.standing(&charge, DrawnFrom::Lease, true);
            Outcome::Short(Standing { wait_ms: SHORT_WAIT_MS, ..standing })
        }
        Taken::Unreachable => Outcome::Unreachable(lease.standing(&charge, DrawnFrom::Lease, true)),
    }
}

/// Settles a charge of the fleet.
pub(super) fn settle(record: &mut Record, settlement: &Settlement, now: Timestamp) {
    let Settlement { reserved, used } = settlement;
    if let Some(lease) = record.lease_or_new(reserved.bucket_id, now) {
        lease.settle(reserved, *used, now);
    }
}

/// The lease that a charge draws from, and the charge with its id.
fn find<'r>(record: &'r mut Record, charge: &Charge, now: Timestamp) -> Option<(Charge, &'r mut Lease)> {
    let id = charge.bucket_id;
    if record.lease(id).is_some() {
        return Some((*charge, record.lease(id)?));
    }
    let charge = with_room(record, charge, now);
    let lease = record.lease(charge.bucket_id)?;
    Some((charge, lease))
}

/// The charge on the bucket that has a place in the record.
fn with_room(record: &Record, charge: &Charge, now: Timestamp) -> Charge {
    let is_own = record.has_room_for_lease(charge.bucket_id, now);
    Charge { bucket_id: if is_own { charge.bucket_id } else { charge.shared_bucket_id }, ..*charge }
}
