//! What sealing and opening one id costs: `make sealed-ids-cost`.
use std::hint::black_box;
use std::time::Instant;

use weir_sealed_ids::{Keys, Use};

const ROUNDS: u32 = 200_000;

fn main() {
    let Some(keys) = Keys::new((1, b"a secret of more than thirty-two bytes"), None) else { return };
    for id in ["file-AbC123dEf456GhI789", "resp_68af1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f"] {
        let seal = || keys.seal(Use::Id, "tenant-0042", black_box(id), 5);
        let Some(sealed) = seal() else { return };
        let sealing = time(seal);
        let opening = time(|| keys.open(Use::Id, "tenant-0042", black_box(&sealed)));
        println!("{} bytes: sealing {sealing} ns, opening {opening} ns", id.len());
    }
    let uuid = "870f7e48-32fb-4f96-9826-5e0685a1b170";
    let Some(sealed) = keys.seal_uuid("tenant-0042", uuid) else { return };
    let sealing = time(|| keys.seal_uuid("tenant-0042", black_box(uuid)));
    let opening = time(|| keys.open_uuid("tenant-0042", black_box(&sealed)));
    println!("a UUID: sealing {sealing} ns, opening {opening} ns");
}

/// Nanoseconds a call, the best of five runs.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn time<T>(work: impl Fn() -> T) -> u128 {
    let run = || {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(work());
        }
        start.elapsed().as_nanos() / u128::from(ROUNDS)
    };
    (0..5).map(|_| run()).min().unwrap_or_default()
}
