//! Every exchange of the generator, through the whole filter: its event says what the judge allows, however the answer is cut.
//!
//! The judge is `host-tests/usage-oracle`, which shares no code with the reader. `make usage-oracle SEEDS=1000000` runs more
//! seeds, `SEED=17` shows one.
use serde_json::json;
use weir_contract::directory::KeyHash;
use weir_contract::event::{EstimateMethod, Payload, Usage, UsageStatus};
use weir_contract::{Event, Timestamp};
use weir_filter::config::Environment;
use weir_filter::emit::queue::Answer;
use weir_filter::head::Pair;
use weir_filter::limit::{Charge, Fault, Limiter, Settlement, Verdict};
use weir_filter::request::{Arrival, BodyAction, EndFacts, HeadAction, Request};
use weir_filter::worker::{FilterState, Worker};
use weir_usage_oracle::{Declared, Dialect, End, Exchange, Expected, Status, expected, generate};

const SEEDS: u64 = 20_000;
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const KEY: &str = "sk_acme";

struct Unlimited;

impl Limiter for Unlimited {
    fn take(&mut self, _: &str, _: &[Charge], _: Timestamp) -> Verdict {
        Verdict::Admitted(Vec::new())
    }

    fn settle(&mut self, _: &str, _: &[Settlement], _: Timestamp) -> Result<(), Fault> {
        Ok(())
    }
}

/// A worker with one configuration; each exchange comes a minute after the last.
struct Gateway {
    worker: Worker,
    state: FilterState,
    now: Timestamp,
}

fn configure() -> Gateway {
    let permit = [
        "files",
        "assistants",
        "batches",
        "fine_tuning",
        "stored_responses",
        "vector_stores",
        "organization",
        "unlisted",
    ];
    let route = |name: &str, class: Option<&str>| json!({"name": name, "class": class, "permit": permit});
    let config = json!({
        "version": 1, "gateway": "gw", "body_max_bytes": 100_000_000,
        "identity": {"sources": [{"api_key": {"header": "x-weir-key", "prefix": "sk_"}}]},
        "tenants": [{"id": "acme", "plan": "free", "keys": [{"id": "k", "sha256": KeyHash::of(KEY.as_bytes())}]}],
        "plans": {"free": {}},
        "routes": [route("all", None), route("chat", Some("chat")), route("embedding", Some("embedding")),
                   route("image", Some("image")), route("audio", Some("audio"))],
        "events": {"cluster": "weir", "token": "t", "flush": "1s"},
    });
    let mut worker = Worker::new([3; 32]);
    let state =
        worker.configure(config.to_string().as_bytes(), &Environment::Elsewhere, NOW).expect("a valid configuration");
    Gateway { worker, state, now: NOW }
}

/// The route on which the operator has put such traffic.
fn route_of(exchange: &Exchange) -> &'static [u8] {
    match (exchange.declared, exchange.dialect) {
        (Declared::Nothing, _) => b"all",
        (Declared::Usage, Some(Dialect::Embeddings)) => b"embedding",
        (Declared::Usage, Some(Dialect::Images)) => b"image",
        (Declared::Usage, Some(Dialect::Audio)) => b"audio",
        (Declared::Usage, _) => b"chat",
    }
}

/// What the event says; None where the request was refused.
fn usage_of(gateway: &mut Gateway, exchange: &Exchange, chunks: &[&[u8]]) -> Option<Usage> {
    let Gateway { worker, state, now } = gateway;
    *now = now.plus_millis(60_000);
    let now = *now;
    let mut request = Request::default();
    let sent = &exchange.request;
    let mut head: Vec<Pair<'_>> =
        vec![(b":method", sent.method.as_bytes()), (b":path", sent.path.as_bytes()), (b"x-weir-key", KEY.as_bytes())];
    head.extend(sent.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let ends = sent.body.is_empty();
    let arrival = Arrival { pairs: &head, ends, route: Some(route_of(exchange)) };
    match request.head(worker, state, &mut Unlimited, &arrival, now).1 {
        HeadAction::Answer(_) => return None,
        HeadAction::Hold(_) => match request.body(worker, &mut Unlimited, Ok(&sent.body), now)?.1 {
            BodyAction::Answer(_) => return None,
            BodyAction::Forward(..) => {}
        },
        HeadAction::Forward(_) if !ends => {
            if request.weigh(worker, &mut Unlimited, Some(&sent.body), || now).is_some() {
                return None;
            }
            request.request_body(worker, &mut Unlimited, sent.body.len(), || now);
        }
        HeadAction::Forward(_) => {}
    }
    let whole = exchange.end == End::Whole;
    if let Some(response) = &exchange.response {
        let status = response.status.to_string();
        let mut head: Vec<Pair<'_>> = vec![(b":status", status.as_bytes())];
        head.extend(response.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        request.response_head(&head, whole && chunks.is_empty(), || now);
        for (at, chunk) in chunks.iter().enumerate() {
            request.response_body(chunk, whole && at + 1 == chunks.len(), || now);
        }
    }
    let details: &[u8] = match exchange.end {
        End::Whole => b"via_upstream",
        End::ClientLeft => b"downstream_remote_disconnect",
        End::UpstreamReset => b"upstream_reset_after_response_started{connection_termination}",
        End::Timeout => b"stream_idle_timeout",
    };
    request.end(
        worker,
        &mut Unlimited,
        &EndFacts { details: Some(details), ..EndFacts::default() },
        now.plus_millis(9),
    );
    let batch = worker.emitter()?.dispatch(now.plus_millis(5_000))?;

    worker.emitter()?.answered(
        batch.batch,
        &Answer::Status { status: 202, retry_after_secs: None, body: br#"{"accepted":1000}"# },
        now.plus_millis(6_000),
    );
    let text = std::str::from_utf8(&batch.body).expect("text");
    let events: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).expect("a list");
    let event = Event::parse(events.first()?.get().as_bytes()).expect("an event");
    let Payload::Usage(data) = event.payload else { panic!("no usage event") };
    Some(data.usage)
}

/// Ways to cut an answer: as recorded, whole, by the byte if short, and two more.
fn cuts(exchange: &Exchange) -> Vec<Vec<Vec<u8>>> {
    let Some(response) = &exchange.response else { return vec![Vec::new()] };
    let body = response.body();
    let mut cuts = vec![response.chunks.clone(), vec![body.clone()]];
    let sizes: &[usize] = if body.len() < 2_000 { &[1, 7, 61] } else { &[61, 997] };
    cuts.extend(sizes.iter().map(|size| body.chunks(*size).map(<[u8]>::to_vec).collect()));
    cuts
}

/// What is wrong with the event of an exchange; `Ok(false)` where nothing is asserted of it.
fn check(gateway: &mut Gateway, exchange: &Exchange) -> Result<bool, String> {
    let judged = expected(exchange);
    let mut first: Option<Usage> = None;
    for (at, cut) in cuts(exchange).iter().enumerate() {
        let chunks: Vec<&[u8]> = cut.iter().map(Vec::as_slice).collect();
        let Some(usage) = usage_of(gateway, exchange, &chunks) else { return Ok(false) };
        match &first {
            None => first = Some(usage),
            Some(first) if *first != usage => {
                return Err(format!("cut {at} reads {usage:?}, and the pieces {first:?}"));
            }
            Some(_) => {}
        }
    }
    let usage = first.unwrap_or_default();
    match judged.check(&usage) {
        Err(_) if settled_otherwise(exchange, &judged, &usage).is_some() => Ok(false),
        Err(why) => Err(why),
        Ok(()) => Ok(!matches!(judged, Expected::Unspecified(_))),
    }
}

/// Cases in which weir's rule differs from the judge's because of the provider's own words. `docs/usage.md` has the
/// reasons.
fn settled_otherwise(exchange: &Exchange, judged: &Expected, usage: &Usage) -> Option<&'static str> {
    let Expected::Usage { status, .. } = judged else { return None };
    let response = exchange.response.as_ref()?;
    let is_json =
        response.headers.iter().any(|(name, value)| name == "content-type" && value.to_lowercase().contains("/json"));
    let told = usage.estimate.is_some_and(|estimate| estimate.input == EstimateMethod::Provider);
    match (status, usage.status) {
        // `{"usage":{"type":"duration","seconds":27}}`: OpenAI bills such a transcription by these seconds.
        (Status::NotComplete, UsageStatus::Complete) if usage.details.contains_key("seconds") => {
            Some("seconds are a count")
        }
        // The usage object itself came whole, and was written once the answer was done.
        (Status::NotComplete | Status::Estimated, UsageStatus::Complete) if is_json && exchange.end != End::Whole => {
            Some("cut behind its usage")
        }
        // What a model on Bedrock says of its prompt in every chunk is the provider's own number.
        (Status::Estimated, UsageStatus::Estimated) if told && exchange.dialect == Some(Dialect::Invoke) => {
            Some("told so far")
        }
        // The elements of an array that came whole are read like the events of a stream.
        (_, UsageStatus::Estimated) if told && is_json && exchange.dialect == Some(Dialect::Gemini) => {
            Some("told so far")
        }
        // The stream gave numbers in its middle and did not confirm them at its end, so more output may have followed.
        (Status::Counted, UsageStatus::Estimated) if told => Some("told so far"),
        _ => None,
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's size is set from outside")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_event_says_what_the_judge_allows() {
    let mut gateway = configure();
    if let Some(seed) = number("WEIR_ORACLE_SEED") {
        let exchange = generate(seed);
        println!("{exchange}\n{:?}", expected(&exchange));
        check(&mut gateway, &exchange).expect("as the judge says");
        return;
    }
    let seeds = number("WEIR_ORACLE_SEEDS").unwrap_or(SEEDS);
    let (mut judged, mut wrong) = (0_u64, Vec::new());
    for seed in 0..seeds {
        match check(&mut gateway, &generate(seed)) {
            Ok(is_judged) => judged += u64::from(is_judged),
            Err(why) => wrong.push((seed, why)),
        }
    }
    println!("{judged} of {seeds} exchanges judged, {} without a verdict", seeds - judged - wrong.len() as u64);
    let shown: Vec<_> = wrong.iter().take(40).map(|(seed, why)| format!("seed {seed}: {why}")).collect();
    assert!(wrong.is_empty(), "{} of {seeds} differ:\n{}", wrong.len(), shown.join("\n"));
    assert!(judged * 2 > seeds, "most exchanges have a verdict");
}
