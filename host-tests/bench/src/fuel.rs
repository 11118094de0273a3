//! Instructions by phase, counted by the test host: the figure that does not depend on the machine.
//!
//! Each request is sent some times, and the median is taken: now and then the allocator or a table grows.

use crate::cases::{self, CHUNKS, KEY, Step};
use crate::table::Table;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use weir_host_tests::host::module::ModuleError;
use weir_host_tests::host::{Callback, FilterModule, Quirk};
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Reply, Request, Response, get, ok, post, secs, status};

/// Each request is sent so often.
const ROUNDS: usize = 9;

/// Where the table is kept, below the repository's root.
const KEPT: &str = "docs/performance/fuel.tsv";

/// Phases, as columns: the callbacks that belong to each.
const PHASES: [(&str, &[Callback]); 5] = [
    ("request head", &[Callback::ContextCreate, Callback::RequestHeaders]),
    ("request body", &[Callback::RequestBody, Callback::RequestTrailers]),
    ("answer head", &[Callback::ResponseHeaders]),
    ("answer body", &[Callback::ResponseBody, Callback::ResponseTrailers]),
    ("end", &[Callback::Log, Callback::Done, Callback::Delete]),
];

/// A file of the repository.
#[must_use]
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join(path)
}

/// The table that is kept.
#[must_use]
pub fn kept() -> Option<Table> {
    Table::parse(&std::fs::read_to_string(in_repository(KEPT)).ok()?)
}

/// Keeps `table` from now on.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(table: &Table) -> std::io::Result<()> {
    std::fs::write(in_repository(KEPT), table.to_string())
}

/// The tolerated change of a kept figure, in hundredths. A larger one needs a person's attention.
pub const TOLERANCE_PERCENT: u64 = 10;

/// … and in instructions: short phases move by more when one call is inlined or not.
pub const TOLERANCE: u64 = 3_000;

/// Counts everything. The module is `build/weir.wasm`, and the empty filter lies beside it.
///
/// # Errors
/// When the empty filter is not built.
pub fn measure() -> Result<Table, ModuleError> {
    let mut table = standard()?;
    sizes(&mut table, &start(Step::Whole, 10));
    workers(&mut table);
    sealed(&mut table);
    routed(&mut table);
    flagged(&mut table);
    scoped(&mut table);
    Ok(table)
}

/// Counts the instructions of common requests, and of none that runs long.
///
/// # Errors
/// When the empty filter is not built.
pub fn standard() -> Result<Table, ModuleError> {
    let empty = FilterModule::load(&in_repository("build/empty.wasm"))?;
    let columns = PHASES.iter().map(|(name, _)| *name).chain(["all", "hostcalls"]).map(str::to_owned).collect();
    let mut table = Table { columns, rows: Vec::new() };
    let nothing = Gateway::envoy().filter(empty).start();
    let whole = start(Step::Whole, 10);
    requests(&mut table, &nothing, "empty filter: ");
    requests(&mut table, &whole, "");
    credentials(&mut table, &whole);
    redaction(&mut table);
    guarded(&mut table);
    collections(&mut table);
    staged(&mut table);
    traced(&mut table, &whole);
    let steps =
        [("identity", Step::Identity), ("limits", Step::Limits), ("plan", Step::Plan), ("hold: false", Step::Unheld)];
    for (name, step) in steps {
        let gateway = start(step, 10);
        row(&mut table, &gateway, &format!("{name}: get"), models, ok);
        row(&mut table, &gateway, &format!("{name}: chat 2 KB"), || chat(false), answer);
    }
    fleet(&mut table);
    Ok(table)
}

/// The same limits as in `limits`, of the whole fleet: beside those rows, what a lease costs a request.
fn fleet(table: &mut Table) {
    let mut config = cases::filter(Step::Limits, 10, &cases::golden_keys());
    config["plans"]["pro"]["requests"]["scope"] = json!("fleet");
    config["leases"] = json!({"cluster": "leases", "token": "fleet-token-0123456789"});
    let gateway = Gateway::envoy().config(config).start();
    gateway.answer_all("leases", |call| match call.path() {
        "/v1/leases" => {
            let asked = call.json();
            let leases = asked["leases"].as_array().into_iter().flatten();
            let grants: Vec<_> = leases
                .map(|lease| json!({"lease": lease["lease"], "state": "held", "granted": 1_000_000, "target": 500_000}))
                .collect();
            ok().json(&json!({"epoch": 1, "sent_ms": asked["sent_ms"], "at_ms": 1, "ttl_ms": 10_000, "leases": grants}))
        }
        _ => ok().json(&json!({"epoch": 1, "levels": [1]})),
    });
    let first = gateway.send(models());
    gateway.run_for(secs(1));
    first.upstream(ok()).forget();
    row(table, &gateway, "limits of the fleet: get", models, ok);
    row(table, &gateway, "limits of the fleet: chat 2 KB", || chat(false), answer);
}

/// Bytes of memory of a worker's VM with this many tenants, each with one key.
#[must_use]
pub fn memory(tenants: usize) -> usize {
    start(Step::Whole, tenants).worker(0).memory_bytes()
}

fn start(step: Step, tenants: usize) -> Gateway {
    start_as(Gateway::envoy(), step, tenants)
}

fn start_as(gateway: GatewayBuilder, step: Step, tenants: usize) -> Gateway {
    gateway.config(cases::filter(step, tenants, &cases::golden_keys())).start()
}

fn models() -> Request {
    get("/v1/models").bearer(KEY).header("user-agent", "bench").header("accept", "*/*")
}

fn chat(stream: bool) -> Request {
    post("/v1/chat/completions").bearer(KEY).header("user-agent", "bench").json(&cases::chat(stream))
}

fn answer() -> Response {
    ok().json(&cases::answer())
}

/// A streamed answer of this many chunks.
#[must_use]
pub(crate) fn stream_of(count: usize, usage_in_each: bool) -> Response {
    let chunks = cases::stream(count, usage_in_each);
    ok().sse(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}

fn requests(table: &mut Table, gateway: &Gateway, prefix: &str) {
    row(table, gateway, &format!("{prefix}get"), models, ok);
    row(table, gateway, &format!("{prefix}chat 2 KB"), || chat(false), answer);
    let rag = || post("/v1/rag/answer").bearer(KEY).json(&cases::rag(64_000));
    row(table, gateway, &format!("{prefix}rag 64 KB"), rag, answer);
    row(table, gateway, &format!("{prefix}stream of {CHUNKS}"), || chat(true), || stream_of(CHUNKS, false));
    for (name, usage) in [("a chunk", false), ("a chunk with usage", true)] {
        let cost = |count| measured(gateway, || chat(true), || stream_of(count, usage));
        let (many, few) = (cost(CHUNKS), cost(CHUNKS / 3));
        let each = many.iter().zip(few).map(|(many, few)| many.saturating_sub(few) / (CHUNKS - CHUNKS / 3) as u64);
        table.rows.push((format!("{prefix}{name}"), each.collect()));
    }
}

/// A chunk of a stream that is searched for ten thousand identifiers.
fn redaction(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 200, &cases::golden_keys());
    config["redact"] = json!({"identifiers": true});
    for (at, tenant) in config["tenants"].as_array_mut().into_iter().flatten().enumerate() {
        let identifiers: Vec<_> = (0..50).map(|number| format!("Company {at}-{number} Ltd")).collect();
        tenant["identifiers"] = json!(identifiers);
    }
    let gateway = Gateway::envoy().config(config).start();
    for (name, word) in [("a chunk, searched", " word"), ("a chunk that waits for the next, searched", " Company")] {
        let stream = |count| {
            let chunks: Vec<_> = cases::stream(count, false).iter().map(|chunk| chunk.replace(" word", word)).collect();
            ok().sse(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let cost = |count| measured(&gateway, || chat(true), || stream(count));
        let (many, few) = (cost(CHUNKS), cost(CHUNKS / 3));
        let each = many.iter().zip(few).map(|(many, few)| many.saturating_sub(few) / (CHUNKS - CHUNKS / 3) as u64);
        table.rows.push((format!("{name} for 10,000 identifiers"), each.collect()));
    }
    row(table, &gateway, "chat 2 KB, searched for 10,000 identifiers", || chat(false), answer);
}

/// A guarded search of 4 KB, a vector above all, and a chat of the same size beside it.
fn guarded(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 2, &cases::golden_keys());
    config["routes"] = json!([{"name": "vectors", "match": {"path_prefix": "/collections"},
                               "guard": {"store": "qdrant", "by": "filter"}}]);
    let gateway = Gateway::envoy().config(config).start();
    let path = "/collections/docs/points/query";
    let search = || post(path).bearer(KEY).body(cases::search()).header("content-type", "application/json");
    let found = || ok().header("content-type", "application/json").body(cases::found());
    row(table, &gateway, "chat 4 KB", || post("/v1/chat/completions").bearer(KEY).json(&cases::chat_of(4_000)), answer);
    row(table, &gateway, "guarded search 4 KB", search, found);
}

/// Requests about a collection of Chroma's, whose UUID is sealed in answers and opened in requests.
fn collections(table: &mut Table) {
    const ROOT: &str = "/api/v2/tenants/t/databases/d/collections";
    let mut config = cases::filter(Step::Whole, 2, &cases::golden_keys());
    config["sealed_ids"] = json!({"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]});
    config["routes"] =
        json!([{"name": "chroma", "match": {"path_prefix": "/api"}, "guard": {"store": "chroma", "by": "namespace"}}]);
    let gateway = Gateway::envoy().config(config).start();
    let of = |last: &str| get(&format!("{ROOT}/{last}")).bearer(KEY).header("user-agent", "bench");
    let shown = || ok().json(&json!({"id": "870f7e48-32fb-4f96-9826-5e0685a1b170", "name": "docs"}));
    let reply = gateway.send(of("docs")).upstream(shown()).json();
    let id = reply["id"].as_str().unwrap_or_default().to_owned();
    row(table, &gateway, "a collection of Chroma's: its id sealed", || of("docs"), shown);
    row(table, &gateway, "a collection of Chroma's: its id opened", || of(&format!("{id}/count")), || ok().body("7"));
}

/// A chat whose model is chosen among this many of two providers that speak its dialect: beside `chat 2 KB`, what a choice costs.
fn routed(table: &mut Table) {
    for candidates in [1, 50] {
        let names: Vec<String> = (0..candidates).map(|at| format!("model-{at}")).collect();
        let model = |(at, name): (usize, &String)| {
            let price = 1_000 + (at as u64 * 7_919) % 1_000;
            let provider = if at % 2 == 0 { "one" } else { "two" };
            json!({"name": name, "provider": provider, "context_max_tokens": 100_000, "output_max_tokens": 8_000,
                   "quality": {"chat": 50 + at % 50}, "price": {"input": price, "output": 4 * price}})
        };
        let mut config = cases::filter(Step::Whole, 10, &cases::golden_keys());
        config["plans"]["pro"]["models"] = serde_json::Value::Null;
        config["providers"] = json!([{"name": "one", "dialect": "openai"}, {"name": "two", "dialect": "openai"}]);
        config["models"] = names.iter().enumerate().map(model).collect();
        config["routing"] = json!({"rules": [{"model": "auto", "candidates": names, "quality_min": 50}]});
        let gateway = Gateway::envoy().config(config).start();
        let mut body = cases::chat(false);
        body["model"] = json!("auto");
        let chat = || post("/v1/chat/completions").bearer(KEY).header("user-agent", "bench").json(&body);
        row(table, &gateway, &format!("chat 2 KB, routed: candidates {candidates}"), chat, answer);
    }
}

/// A tenant whose budget is in a stage that changes nothing but the name in the event: what the look at it costs.
fn staged(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 10, &cases::golden_keys());
    config["plans"]["pro"]["stages"] = json!({"degrade": {"output_tokens_max": 1024}});
    let stage =
        json!({"budget": "monthly", "stage": "degrade", "used_permille": 900, "ends": "2100-01-01T00:00:00.000Z"});
    config["tenants"][0]["stages"] = json!([stage]);
    let gateway = Gateway::envoy().config(config).start();
    row(table, &gateway, "a budget's stage: get", models, ok);
    row(table, &gateway, "a budget's stage: chat 2 KB", || chat(false), answer);
}

/// Requests with a `traceparent`, whose trace is read and noted in the event: beside the same ones without it, what that costs.
fn traced(table: &mut Table, gateway: &Gateway) {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    row(table, gateway, "with a traceparent: get", || models().header("traceparent", TRACE), ok);
    row(table, gateway, "with a traceparent: chat 2 KB", || chat(false).header("traceparent", TRACE), answer);
}

/// Five flags, told to the upstream and in the event: decided by tenant, plan, environment, percentage and default.
fn flagged(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 10, &cases::golden_keys());
    config["flags"] = json!({
        "use-claude": {"type": "bool", "default": false, "rules": [{"percent": "25%", "value": true}]},
        "tone": {"type": "string", "default": "long", "rules": [{"environments": ["test"], "value": "short"}]},
        "retries": {"type": "integer", "default": 3, "rules": [{"plans": ["pro"], "value": 5}]},
        "share": {"type": "number", "default": 0.25},
        "beta": {"type": "bool", "default": false, "rules": [{"tenants": ["globex", "acme"], "value": true}]},
    });
    config["flags_header"] = json!(true);
    let gateway = Gateway::envoy().config(config).start();
    row(table, &gateway, "five flags: get", models, ok);
    row(table, &gateway, "five flags: chat 2 KB", || chat(false), answer);
}

/// A key that is confined to a class and a route.
fn scoped(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 10, &cases::golden_keys());
    config["tenants"][0]["keys"][0]["scopes"] = json!(["chat", "other", "route:rag"]);
    let gateway = Gateway::envoy().config(config).start();
    row(table, &gateway, "a key with scopes: get", models, ok);
    row(table, &gateway, "a key with scopes: chat 2 KB", || chat(false), answer);
}

/// Warm: the tenant's token or key was seen before. Cold: a new configuration has forgotten every token.
fn credentials(table: &mut Table, gateway: &Gateway) {
    let with = |credential: &str| get("/v1/models").bearer(credential).header("user-agent", "bench");
    for algorithm in ["HS256", "ES256", "RS256", "EdDSA"] {
        let token = cases::token(algorithm);
        let fresh = start_as(Gateway::envoy().without_quirk(Quirk::SignaturesAreVerified), Step::Whole, 10);
        row_of(table, &format!("get, {algorithm} cold, verified in wasm"), counted(&fresh, with(&token), ok()));
    }
    for algorithm in ["ES256", "RS256"] {
        let token = cases::token(algorithm);
        let fresh = start(Step::Whole, 10);
        row_of(table, &format!("get, {algorithm} cold, verified by Envoy"), counted(&fresh, with(&token), ok()));
    }
    let token = cases::token("RS256");
    row(table, gateway, "get, JWT remembered", || with(&token), ok);
    row(table, gateway, "refused: no credential", || get("/v1/models"), ok);
    row(table, gateway, "refused: unknown key", || with("sk_weir_nobody"), ok);
}

fn sizes(table: &mut Table, whole: &Gateway) {
    for kilobytes in [1, 16, 256, 900] {
        let rag = || post("/v1/rag/answer").bearer(KEY).json(&cases::rag(kilobytes * 1_000));
        row(table, whole, &format!("rag {kilobytes} KB"), rag, answer);
    }
    for count in [10, 1_000, 10_000] {
        row(table, whole, &format!("stream of {count}"), || chat(true), || stream_of(count, false));
    }
    for tenants in [1_000, 10_000] {
        let many = start(Step::Whole, tenants);
        row(table, &many, &format!("get among {tenants} tenants"), models, ok);
    }
}

/// A worker's tasks besides requests.
fn workers(table: &mut Table) {
    for tenants in [10, 1_000] {
        let gateway = start(Step::Whole, tenants);
        let costs = gateway.worker(0).take_costliest();
        let of = |callback| costs.get(&callback).map_or(0, |cost| cost.fuel);
        single(table, "start of the VM", of(Callback::Initialize) + of(Callback::VmStart));
        single(table, &format!("configuration with {tenants} tenants"), of(Callback::Configure));
    }
    let gateway = start(Step::Whole, 10);
    gateway.answer_all("weir", |_| status(202).body(r#"{"accepted":1,"rejected":[]}"#));
    gateway.run_for(secs(60));
    gateway.worker(0).take_costliest();
    gateway.advance(secs(1));
    gateway.worker(0).tick();
    single(table, "idle tick", tick(&gateway));
    for _ in 0..100 {
        gateway.send(models()).upstream(ok()).forget();
    }
    gateway.worker(0).take_costliest();
    gateway.advance(secs(2));
    gateway.worker(0).tick();
    single(table, "tick that sends 100 events", tick(&gateway));
}

fn tick(gateway: &Gateway) -> u64 {
    gateway.worker(0).take_costliest().get(&Callback::Tick).map_or(0, |cost| cost.fuel)
}

/// The same on a route that seals the ids of a provider, and requests that name one.
fn sealed(table: &mut Table) {
    let mut config = cases::filter(Step::Whole, 2, &cases::golden_keys());
    config["sealed_ids"] = json!({"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]});
    config["routes"] = json!([{"name": "llm", "match": {"path_prefix": "/v1"}, "provider": "openai",
        "permit": {"files": "sealed", "stored_responses": "sealed"}}]);
    let gateway = Gateway::envoy().config(config).start();
    let named = json!({"id": "resp_68af1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f"});
    let ask = || post("/v1/responses").bearer(KEY).json(&json!({"model": "gpt-4o", "input": "x"}));
    let made = gateway.send(ask()).upstream(ok().json(&named)).json();
    let read = || get(&format!("/v1/responses/{}", made["id"].as_str().unwrap_or_default())).bearer(KEY);
    row(table, &gateway, "sealed ids: chat 2 KB", || chat(false), answer);
    row(table, &gateway, "sealed ids: stream of 300", || chat(true), || stream_of(CHUNKS, false));
    row(table, &gateway, "sealed ids: an id opened and sealed", read, || ok().json(&named));
}

/// A row of one figure.
fn single(table: &mut Table, name: &str, fuel: u64) {
    if table.rows.iter().any(|(known, _)| known == name) {
        return;
    }
    let mut figures = vec![0; PHASES.len()];
    figures.extend([fuel, 0]);
    table.rows.push((name.to_owned(), figures));
}

fn row(table: &mut Table, gateway: &Gateway, name: &str, request: impl Fn() -> Request, answer: impl Fn() -> Response) {
    row_of(table, name, measured(gateway, request, answer));
}

fn row_of(table: &mut Table, name: &str, figures: Vec<u64>) {
    table.rows.push((name.to_owned(), figures));
}

/// The median of some rounds, column by column.
fn measured(gateway: &Gateway, request: impl Fn() -> Request, answer: impl Fn() -> Response) -> Vec<u64> {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| counted(gateway, request(), answer())).collect();
    let column = |at: usize| {
        let mut figures: Vec<u64> = rounds.iter().map(|round| round[at]).collect();
        figures.sort_unstable();
        figures[ROUNDS / 2]
    };
    (0..PHASES.len() + 2).map(column).collect()
}

/// One request: instructions by phase, all of them, and hostcalls.
fn counted(gateway: &Gateway, request: Request, answer: Response) -> Vec<u64> {
    let before = hostcalls(gateway);
    let sent = gateway.send(request);
    let reply: Reply<'_> = if sent.exchange().local_reply.is_some() { sent.reply() } else { sent.upstream(answer) };
    let fuel = reply.fuel_by_callback();
    reply.forget();
    let of = |callbacks: &[Callback]| callbacks.iter().filter_map(|callback| fuel.get(callback)).sum::<u64>();
    let mut figures: Vec<u64> = PHASES.iter().map(|(_, callbacks)| of(callbacks)).collect();
    figures.push(fuel.values().sum());
    figures.push(hostcalls(gateway) - before);
    figures
}

fn hostcalls(gateway: &Gateway) -> u64 {
    gateway.worker(0).hostcalls().values().sum()
}

/// Instructions of a request, all phases together.
#[must_use]
pub fn instructions(gateway: &Gateway, request: impl Fn() -> Request, answer: impl Fn() -> Response) -> u64 {
    measured(gateway, request, answer).get(PHASES.len()).copied().unwrap_or(0)
}

/// Instructions of a small request with a key and a small answer.
#[must_use]
pub(crate) fn instructions_of_get() -> u64 {
    instructions(&start(Step::Whole, 10), models, small)
}

fn small() -> Response {
    ok().json(&json!({}))
}

/// Which hostcalls a small request makes, by name.
#[must_use]
pub fn hostcalls_by_name(request: &str) -> BTreeMap<&'static str, u64> {
    let gateway = start(Step::Whole, 10);
    let send = || match request {
        "get" => gateway.send(models()).upstream(small()).forget(),
        "chat" => gateway.send(chat(false)).upstream(answer()).forget(),
        _ => gateway.send(chat(true)).upstream(stream_of(10, false)).forget(),
    };
    send();
    let before = gateway.worker(0).hostcalls();
    send();
    let after = gateway.worker(0).hostcalls();
    let grown = after.into_iter().map(|(name, count)| (name, count - before.get(name).copied().unwrap_or(0)));
    grown.filter(|(_, count)| *count > 0).collect()
}
