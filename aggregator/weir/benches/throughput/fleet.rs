//! End to end with servers: batches over HTTP, the event log in a Redis that syncs every write, the ledger in a PostgreSQL. Beside it a bare
//! client that sends the ledger's statements and rows to the same PostgreSQL.
use std::str::FromStr;
use std::time::Instant;

use tokio_postgres::Config;
use weir_rig::postgres::Postgres;
use weir_rig::redis::Redis;

use crate::bare::Bare;
use crate::http::{CONNECTIONS, load, seconds, serve_by};
use crate::{events, print};

/// Events of a body, and those of a transaction of the bare client: about as many as the ledger takes.
const BATCH: u64 = 1_000;
const STEP: u64 = 15_000;
/// Tenants of the events.
const TENANTS: usize = 1_000;
/// The bare client's transactions before and after the server's turn.
const STEPS: u64 = 40;

pub(crate) fn run() {
    let (redis, postgres) = (Redis::start().expect("a Redis"), Postgres::start().expect("a PostgreSQL"));
    let dir = tempfile::tempdir().expect("a directory");
    println!(
        "fleet: batches of {BATCH}, {CONNECTIONS} connections, log in a Redis, ledger in a PostgreSQL; to reach: 45 % of a bare client"
    );
    // Without prices, as the bare client is.
    let settings = format!("log: {}\nledger: {}\nprices: {{shipped: false}}\n", redis.url(), postgres.url());
    let config = Config::from_str(&postgres.url()).expect("an address");
    let bare = Bare::connect(&config, "bare", events::start(), TENANTS);
    let before = turn(&bare, 0);
    let counted = serve_by(dir.path(), &settings, |address| load(address, BATCH, None, seconds(10)));
    let after = turn(&bare, STEPS);
    let floor = f64::midpoint(before, after);
    println!(
        "  floor: a bare client of PostgreSQL, the same statements and rows: {floor:.0} events/s; counted is {:.0} % of it",
        counted / floor * 100.0
    );
}

/// The bare client's rate over [`STEPS`] transactions.
fn turn(bare: &Bare, first: u64) -> f64 {
    let rows: Vec<_> = (first..first + STEPS).map(|step| bare.rows(step * STEP, STEP)).collect();
    let began = Instant::now();
    rows.iter().for_each(|rows| bare.step(rows));
    let took = began.elapsed();
    print("  a bare client", STEPS * STEP, took);
    (STEPS * STEP) as f64 / took.as_secs_f64()
}
