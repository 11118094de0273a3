//! What a call of the most leases costs: bytes on the wire, and time in memory and in a Redis.
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use weir_contract::TenantId;
use weir_contract::lease::{CALL_MAX_BYTES, Definition, Key, Owner, Report};
use weir_leases::Center;
use weir_rig::clock;

use super::*;

const TENANTS: usize = 1_000;
/// A gateway ignores an answer that comes later.
const QUICK: Duration = Duration::from_secs(2);

/// A call of a gateway in the midst of its work: all numbers are there.
fn call() -> Call {
    let report = |number: usize| Report {
        key: Key {
            owner: Owner::Tenant(TenantId::new(&format!("tenant-{number:06}")).expect("an id")),
            limit: "tokens".into(),
            part: None,
        },
        definition: Definition { capacity: 500_000, refill: 500_000, period_ms: 60_000, tiers: Vec::new() },
        tier: None,
        lease: 4_503_599_627_370_496 + number as u64,
        epoch: 0,
        granted: 0,
        spent: 0,
        returned: 0,
        want: 40_000,
        largest: 4_096,
        share: false,
        heard_ms: 0,
    };
    Call {
        gateway: "0123456789abcdef0123456789abcdef".into(),
        sent_ms: 1_800_000_000_000,
        draws: true,
        leases: (0..TENANTS).map(report).collect(),
    }
}

/// The next call of the gateway, which spent a part of what it was granted.
fn next(call: &Call, answer: &Answer) -> Call {
    let heard = |(report, grant): (&Report, &weir_contract::lease::Grant)| Report {
        epoch: answer.epoch,
        granted: grant.granted,
        spent: grant.granted / 3,
        heard_ms: answer.at_ms,
        ..report.clone()
    };
    Call { leases: call.leases.iter().zip(&answer.leases).map(heard).collect(), ..call.clone() }
}

fn packed(bytes: &[u8]) -> usize {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("packed").len()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = clock::instant();
    let done = work();
    (done, began.elapsed())
}

#[test]
fn a_call_of_a_thousand_tenants_fits_and_is_answered_in_time() {
    let mut memory = Center::new(1, 1_800_000_000_000, Timing::default());
    let first = memory.call(&call(), 1_800_000_000_000);
    let second = next(&call(), &first);
    let (body, writing) = timed(|| serde_json::to_vec(&second).expect("written"));
    let (read, reading) = timed(|| serde_json::from_slice::<Call>(&body).expect("read"));
    let (answer, deciding) = timed(|| memory.call(&read, 1_800_000_001_000));
    let answer = serde_json::to_vec(&answer).expect("written");
    assert!(body.len().max(answer.len()) <= CALL_MAX_BYTES, "{} and {} bytes", body.len(), answer.len());
    println!(
        "{TENANTS} tenants: call {} bytes ({} packed), answer {} bytes ({} packed)",
        body.len(),
        packed(&body),
        answer.len(),
        packed(&answer)
    );
    println!("written in {writing:?}, read in {reading:?}, decided in memory in {deciding:?}");

    let world = World::start();
    let fleet = world.released(false);
    let answer = fleet.call(&call()).expect("answered");
    let (again, shared) = timed(|| fleet.call(&next(&call(), &answer)).expect("answered"));
    println!("decided in a Redis in {shared:?}");
    assert!(shared < QUICK && again.leases.iter().all(|grant| grant.granted > 0), "{shared:?}");
}
