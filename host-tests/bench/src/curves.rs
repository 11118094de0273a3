//! How cost grows with size: tenants, bodies, chunks, worker threads. Each curve is told to be flat or linear by its figures.

use crate::cases::{self, KEY, Step};
use crate::fuel::{self, in_repository};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use weir_host_tests::host::Callback;
use weir_host_tests::scenario::{Call, Gateway, Request, Response, get, ok, post, secs, status};

/// Tenants of one page: some 150 KB.
const PAGE: usize = 1_000;

/// The buffer that the largest body needs, in bytes.
const BODY_MAX_BYTES: usize = 16 << 20;

/// Requests that each worker sends for one tenant whose limit grants half of what all of them send.
const HOT: u64 = 300;

/// All curves: the report, also left in `build/bench/curves.md`.
///
/// # Errors
/// When the report cannot be written.
pub fn run() -> anyhow::Result<String> {
    let mut report = String::new();
    tenants(&mut report)?;
    bodies(&mut report)?;
    chunks(&mut report)?;
    workers(&mut report)?;
    let folder = in_repository("build/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("curves.md"), &report)?;
    Ok(report)
}

/// What the figures make of a curve. Flat: no point is a quarter above another. Linear: the last two steps cost the same for
/// each unit, but for a quarter.
fn shape(points: &[(u64, u64)]) -> &'static str {
    let costs = || points.iter().map(|(_, cost)| *cost);
    let (least, most) = (costs().min().unwrap_or(0), costs().max().unwrap_or(0));
    if most * 4 <= least * 5 {
        return "flat";
    }
    // In thousandths, so that small prices per unit remain distinct.
    let slope = |from: &(u64, u64), to: &(u64, u64)| to.1.saturating_sub(from.1) * 1_000 / to.0.abs_diff(from.0).max(1);
    match points {
        [.., one, two, three] => {
            let (before, last) = (slope(one, two), slope(two, three));
            if before.max(last) * 4 <= before.min(last) * 5 { "linear" } else { "neither flat nor linear" }
        }
        _ => "too few figures",
    }
}

fn write_shape(report: &mut String, curves: &[(&str, &[(u64, u64)])]) -> anyhow::Result<()> {
    let told: Vec<_> = curves.iter().map(|(name, points)| format!("{name}: {}", shape(points))).collect();
    writeln!(report, "\n{}.\n", told.join("; "))?;
    Ok(())
}

fn models() -> Request {
    get("/v1/models").bearer(KEY)
}

fn polled() -> Value {
    let mut filter = cases::filter(Step::Whole, 0, &cases::golden_keys());
    filter.as_object_mut().map(|filter| filter.remove("tenants"));
    filter["directory"] = json!({"cluster": "tenants", "token": "t", "refresh": "600s", "staleness_max": "6000s"});
    filter
}

/// A page of a directory with this many tenants, acme first.
fn page(call: &Call<'_>, count: usize) -> Response {
    let (_, query) = call.path().split_once('?').unwrap_or_default();
    let from = query.strip_prefix("from=").and_then(|from| from.parse().ok()).unwrap_or(0);
    let to = (from + PAGE).min(count);
    let tenants: Vec<_> = (from..to).map(cases::tenant).collect();
    let next = (to < count).then(|| to.to_string());
    status(200).json(&json!({"version": "v1", "next": next, "tenants": tenants}))
}

/// Lets the gateway tick until it has this many tenants.
fn take_in(gateway: &Gateway, count: usize) -> anyhow::Result<()> {
    for _ in 0..10 + count / 20 {
        gateway.run_for(secs(1));
        if gateway.metric("weir_directory_tenants") == count as u64 {
            return Ok(());
        }
    }
    anyhow::bail!("only {} of {count} tenants came", gateway.metric("weir_directory_tenants"))
}

fn tenants(report: &mut String) -> anyhow::Result<()> {
    let head = "| tenants | instructions of a small request | of the costliest tick | a worker's memory, KiB |";
    writeln!(report, "## Tenants, from a directory\n\n{head}\n|---|---|---|---|")?;
    let (mut requests, mut memory) = (Vec::new(), Vec::new());
    for count in [10, 100, 1_000, 10_000, 50_000, 100_000] {
        let gateway = Gateway::envoy().config(polled()).start();
        gateway.answer_all("tenants", move |call| page(call, count));
        gateway.answer_all("weir", |_| status(202).body(r#"{"accepted":1,"rejected":[]}"#));
        gateway.worker(0).take_costliest();
        take_in(&gateway, count)?;
        let tick = gateway.worker(0).take_costliest().get(&Callback::Tick).map_or(0, |cost| cost.fuel);
        let cost = fuel::instructions(&gateway, models, ok);
        let kib = u64::try_from(gateway.worker(0).memory_bytes() >> 10)?;
        writeln!(report, "| {count} | {cost} | {tick} | {kib} |")?;
        requests.push((count as u64, cost));
        memory.push((count as u64, kib));
    }
    write_shape(report, &[("requests", &requests), ("memory", &memory)])
}

fn bodies(report: &mut String) -> anyhow::Result<()> {
    writeln!(report, "## Bodies\n\n| KB | instructions of a request | for each KB |\n|---|---|---|")?;
    let mut filter = cases::filter(Step::Whole, 10, &cases::golden_keys());
    filter["body_max_bytes"] = json!(BODY_MAX_BYTES);
    let gateway = Gateway::envoy().config(filter).buffer_max_bytes(BODY_MAX_BYTES).start();
    let mut points = Vec::new();
    for kilobytes in [1, 4, 16, 64, 256, 1_000, 4_000, 8_000] {
        let body = cases::rag(kilobytes * 1_000);
        let request = || post("/v1/rag/answer").bearer(KEY).json(&body);
        let cost = fuel::instructions(&gateway, request, || ok().json(&cases::answer()));
        writeln!(report, "| {kilobytes} | {cost} | {} |", cost / kilobytes as u64)?;
        points.push((kilobytes as u64, cost));
    }
    write_shape(report, &[("requests", &points)])
}

fn chunks(report: &mut String) -> anyhow::Result<()> {
    writeln!(
        report,
        "## Chunks of a stream\n\n| chunks | instructions of a request | for each chunk |\n|---|---|---|"
    )?;
    let gateway = Gateway::envoy().config(cases::filter(Step::Whole, 10, &cases::golden_keys())).start();
    let mut points = Vec::new();
    for count in [10, 100, 1_000, 10_000] {
        let request = || post("/v1/chat/completions").bearer(KEY).json(&cases::chat(true));
        let cost = fuel::instructions(&gateway, request, || fuel::stream_of(count, false));
        writeln!(report, "| {count} | {cost} | {} |", cost / count as u64)?;
        points.push((count as u64, cost));
    }
    write_shape(report, &[("requests", &points)])
}

/// One tenant on all workers at once, each a thread of its own, over one store. The limit grants half of what is asked for, to
/// the unit, whoever asks. The times are of the test host's one lock, for each request: it is held while bytes are copied, as
/// Envoy's is, and a worker that has it may lose its core.
fn workers(report: &mut String) -> anyhow::Result<()> {
    let head = "| workers | asked | granted | admitted | instructions of a request | shared values read | written, or refused | lock held, ns | waited for, ns |";
    writeln!(report, "## Workers, on one tenant\n\n{head}\n|---|---|---|---|---|---|---|---|---|")?;
    let mut points = Vec::new();
    for count in [1_u64, 2, 4, 8] {
        let (asked, granted) = (count * HOT, count * HOT / 2);
        let mut filter = cases::filter(Step::Limits, 10, &cases::golden_keys());
        filter["plans"]["pro"]["requests"] = json!({"rate": "1/h", "capacity": granted});
        let gateway = Gateway::envoy().config(filter).workers(usize::try_from(count)?).start();
        let (admitted, fuel) = (AtomicU64::new(0), AtomicU64::new(0));
        let (before, lock) = (shared_calls(&gateway, count), gateway.lock_time());
        gateway.on_all_workers_at_once(|worker| {
            for _ in 0..HOT {
                let sent = worker.send(models());
                let refused = sent.exchange().local_reply.is_some();
                let reply = if refused { sent.reply() } else { sent.upstream(ok()) };
                fuel.fetch_add(reply.fuel(), Ordering::Relaxed);
                reply.forget();
                admitted.fetch_add(u64::from(!refused), Ordering::Relaxed);
            }
        });
        let (after, locked) = (shared_calls(&gateway, count), gateway.lock_time());
        let (admitted, cost) = (admitted.into_inner(), fuel.into_inner() / asked);
        let each = |call: usize| {
            let hundredths = (after[call] - before[call]) * 100 / asked;
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        };
        let nanos = |until: Duration, from: Duration| (until - from).as_nanos() / u128::from(asked);
        let (held, waited) = (nanos(locked.held, lock.held), nanos(locked.waited, lock.waited));
        writeln!(
            report,
            "| {count} | {asked} | {granted} | {admitted} | {cost} | {} | {} | {held} | {waited} |",
            each(0),
            each(1)
        )?;
        anyhow::ensure!(admitted == granted, "{count} workers: {admitted} admitted, {granted} granted");
        points.push((count, cost));
    }
    write_shape(report, &[("instructions", &points)])
}

/// How often the workers have read and written shared data: each time the store is locked for as long as the bytes are copied.
fn shared_calls(gateway: &Gateway, workers: u64) -> [u64; 2] {
    ["proxy_get_shared_data", "proxy_set_shared_data"].map(|call| {
        let of = |worker| gateway.worker(worker).hostcalls().get(call).copied().unwrap_or(0);
        (0..usize::try_from(workers).unwrap_or(0)).map(of).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_told_by_its_figures() {
        assert_eq!(shape(&[(10, 100), (100, 110), (1_000, 90)]), "flat");
        assert_eq!(shape(&[(10, 100), (100, 1_000), (1_000, 10_000)]), "linear");
        assert_eq!(shape(&[(10, 5_000), (100, 5_100), (1_000, 6_000), (10_000, 15_000)]), "linear");
        assert_eq!(shape(&[(10, 100), (100, 10_000), (1_000, 1_000_000)]), "neither flat nor linear");
    }
}
