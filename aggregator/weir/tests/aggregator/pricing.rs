//! Prices and costs from the outside: configuration, server, commands.
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_contract::{Timestamp, UsageData};

use super::answering::run;
use super::commands::json as printed;
use super::events::{Worker, batch, noon};
use super::readings::post;
use super::server::Running;

const CHEAP: &str =
    "prices: {shipped: false, entries: [{provider: openai, model: gpt-x, per_million: {input: 1, output: 4}}]}\n";
const DEAR: &str =
    "prices: {shipped: false, entries: [{provider: openai, model: gpt-x, per_million: {input: 2, output: 8}}]}\n";
/// Long enough for a server to look at its files.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Ten tokens in and five out, of a model that has a price.
fn priced(number: u64) -> Vec<u8> {
    Worker::new(1, noon()).usage_with(number, |data: &mut UsageData<'_>| {
        (data.provider, data.response_model) = (Some("openai".into()), Some("gpt-x".into()));
    })
}

async fn send(server: &Running, events: &[Vec<u8>]) {
    assert_eq!(server.post(batch(events)).await.status(), StatusCode::ACCEPTED);
}

/// The cost of all tenants, as the server has it.
async fn total(server: &Running) -> String {
    let rows = server.json("/v1/cost").await;
    rows.as_array()
        .expect("rows")
        .iter()
        .map(|row| row["cost"].as_str().expect("an amount"))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn metric(server: &Running, line: &str) -> bool {
    server.get("/metrics").await.text().await.expect("text").lines().any(|of| of == line)
}

/// Waits until a metric has a value.
async fn wait(server: &Running, line: &str) {
    let waiting = async {
        while !metric(server, line).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LOOK_MAX, waiting).await.expect(line);
}

fn rewrite(server: &Running, from: &str, to: &str) {
    let path = server.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.contains(from));
    std::fs::write(path, text.replace(from, to)).expect("written");
}

#[tokio::test]
async fn new_prices_are_used_for_what_follows_and_bad_ones_change_nothing() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &[priced(1)]).await;
    assert_eq!(total(&server).await, "0.00003");
    rewrite(&server, CHEAP, &CHEAP.replace("input: 1", "input: -1"));
    wait(&server, "weir_prices_failing 1").await;
    assert!(server.get("/readyz").await.status().is_success(), "readiness does not change");
    send(&server, &[priced(2)]).await;
    assert_eq!(total(&server).await, "0.00006", "the last good prices stay");
    rewrite(&server, &CHEAP.replace("input: 1", "input: -1"), DEAR);
    wait(&server, "weir_prices_failing 0").await;
    send(&server, &[priced(3)]).await;
    assert_eq!(total(&server).await, "0.00012");
    let dir = server.stop().await;
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
}

#[tokio::test]
async fn a_broken_file_of_prices_stops_no_command_beside_a_running_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("list.yaml");
    std::fs::write(&file, "entries: [{provider: openai, model: gpt-x, per_million: {input: 1, output: 4}}]\n")
        .expect("written");
    let server = Running::start_in(dir, noon(), "prices: {shipped: false, files: [list.yaml]}\n").await;
    send(&server, &[priced(1)]).await;
    std::fs::write(&file, "entries: [{").expect("written");
    let asked = run(server.dir.path(), &["cost", "--json"]).await;
    assert_eq!(printed(&asked)[0]["cost"], "0.00003", "{asked:?}");
    let turned = run(server.dir.path(), &["cost", "--from", "2026-12", "--to", "2026-11"]).await;
    assert_eq!(turned.status.code(), Some(1), "{turned:?}");
    let dir = server.stop().await;
    let alone = run(dir.path(), &["cost", "--json"]).await;
    assert!(String::from_utf8_lossy(&alone.stderr).contains("list.yaml:1:"), "without a server it is told: {alone:?}");
}

#[tokio::test]
async fn usage_without_a_price_is_named_and_counted() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &[priced(1), Worker::new(1, noon()).usage(2)]).await;
    let models = server.json("/v1/cost/models").await;
    assert_eq!(models[0]["unpriced"], json!({"input": 10, "output": 5}), "{models}");
    assert!(metric(&server, "weir_unpriced_units{kind=\"input\"} 10").await);
    let ledger = server.json("/v1/ledger").await;
    assert_eq!(ledger["unpriced"], json!({"input": 10, "output": 5}));
}

#[tokio::test]
async fn costs_can_be_computed_again_and_old_and_new_stay_visible() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &[priced(1), priced(2)]).await;
    rewrite(&server, CHEAP, DEAR);
    let path = "/v1/prices?model=gpt-x&provider=openai";
    let in_force = async {
        while server.json(path).await[0]["entry"]["per_million"]["input"] != "2" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LOOK_MAX, in_force).await.expect("new prices");
    let again = ["reprice", "--from", "2026-11-21", "--why", "a slip", "--json"];
    let view = printed(&run(server.dir.path(), &again).await);
    assert_eq!(view["rows"], json!([{"tenant": "acme", "currency": "USD", "old": "0.00006", "new": "0.00012"}]));
    assert_eq!(total(&server).await, "0.00012");
    let past = server.json("/v1/prices/repricings").await;
    assert_eq!((&past[0]["rows"], &past[0]["why"]), (&view["rows"], &json!("a slip")));
    let event = server.json(&format!("/v1/events/{}", Worker::new(1, noon()).id(1))).await;
    assert_eq!(
        event["cost"]["lines"][0],
        json!({"kind": "input", "quantity": 10, "price": "0.000002", "amount": "0.00002"}),
        "{event}"
    );
    let audit = server.json("/v1/audit").await;
    assert_eq!(audit[0]["act"], json!("prices.reprice"), "{audit}");
    let old = server.http.post(format!("{}/v1/prices/reprice", server.url)).bearer_auth(super::server::TOKEN);
    let old = old.json(&json!({"from": "2026-01-01T00:00:00Z", "why": "x"})).send().await.expect("an answer");
    assert_eq!(old.status(), StatusCode::CONFLICT);
    let dir = server.stop().await;
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
}

#[tokio::test]
async fn commands_show_costs_by_tenant_dimension_and_model() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &[priced(1), priced(2)]).await;
    let dir = server.stop().await;
    let shown = |args: &'static [&'static str]| {
        let dir = dir.path().to_owned();
        async move { String::from_utf8(run(&dir, args).await.stdout).expect("text") }
    };
    assert!(shown(&["cost"]).await.contains("0.00006"));
    let csv = shown(&["cost", "--by", "model", "--step", "day", "--csv"]).await;
    assert!(csv.contains("\n2026-11-21T00:00:00.000Z,acme,gpt-x,USD,0.00006,0,0,0,2,"), "{csv}");
    assert!(shown(&["cost", "--models"]).await.contains("input 20, output 10"));
    let of = shown(&["prices", "show", "gpt-x", "--provider", "openai"]).await;
    assert!(of.contains("input 1, output 4"), "{of}");
    let two = "prices: {shipped: false, entries: [{provider: a, model: m, per_million: {input: 1, output: 4}}, \
               {provider: b, model: m, per_million: {input: 2, output: 4}}]}\n";
    let text = std::fs::read_to_string(dir.path().join("weir.yaml")).expect("read").replace(CHEAP, two);
    let other = tempfile::tempdir().expect("a directory");
    std::fs::write(other.path().join("weir.yaml"), text).expect("written");
    let both = run(other.path(), &["prices", "show", "m"]).await;
    let said = String::from_utf8_lossy(&both.stdout);
    assert!(both.status.success() && said.contains("input 1,") && said.contains("input 2,"), "{both:?}");
    assert!(said.contains("several providers"), "{said}");
    let none = run(dir.path(), &["prices", "show", "gpt-y"]).await;
    assert_eq!(none.status.code(), Some(3));
    let refused = run(dir.path(), &["cost", "--by", "weather"]).await;
    assert_eq!(refused.status.code(), Some(1));
}

#[tokio::test]
async fn other_costs_come_as_readings_without_a_meter() {
    let rules = format!(
        "{CHEAP}other_costs:\n- {{reading: gpu_hours, price: 2.5}}\n\
         - {{reading: support_usd, spread: {{from: shared, by: requests}}}}\n"
    );
    let server = Running::start(noon(), &rules).await;
    send(&server, &[priced(1)]).await;
    let reading = |id: &str, tenant: &str, name: &str, amount: &str| json!({"id": id, "tenant": tenant, "name": name, "time": noon(), "amount": amount});
    let readings = json!([reading("g/1", "acme", "gpu_hours", "1.5"), reading("s/1", "shared", "support_usd", "100")]);
    assert_eq!(post(&server, &readings).await.0, 202);
    let rows = server.json("/v1/cost/other?step=day").await;
    let shown: Vec<(&str, &str)> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["tenant"].as_str().expect("a tenant"), row["amount"].as_str().expect("an amount")))
        .collect();
    assert_eq!(shown, [("acme", "3.75"), ("acme", "100")]);
    let dir = server.stop().await;
    let rebuilt = run(dir.path(), &["ledger", "rebuild", "--json"]).await;
    assert_eq!((rebuilt.status.code(), printed(&rebuilt)), (Some(0), json!([])), "{rebuilt:?}");
}

#[tokio::test]
async fn costs_are_compared_with_what_a_provider_charged() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &(1..=1_000).map(priced).collect::<Vec<_>>()).await;
    let dir = server.stop().await;
    let file = dir.path().join("report.csv");
    std::fs::write(&file, "date,model,cost\n2026-11-21,gpt-x,0.03\n2026-11-21,gpt-z,7.5\n").expect("written");
    let compared = run(dir.path(), &["costs", "compare", file.to_str().expect("a path"), "--json"]).await;
    assert_eq!(compared.status.code(), Some(3), "{compared:?}");
    let rows = printed(&compared);
    let reasons: Vec<&Value> = rows.as_array().expect("rows").iter().map(|row| &row["reason"]).collect();
    assert_eq!(reasons, ["equal", "not_through_gateway"], "{rows}");
}

#[tokio::test]
async fn a_page_of_a_report_is_not_taken_for_the_whole() {
    let server = Running::start(noon(), CHEAP).await;
    send(&server, &[priced(1)]).await;
    let dir = server.stop().await;
    let page = r#"{"data": [{"start_time": 1795219200, "results": [{"amount": {"value": 0.00003, "currency": "usd"}, "line_item": "gpt-x, input"}]}], "has_more": true, "next_page": "p"}"#;
    let file = write(dir.path(), "report.json", page);
    let compared = run(dir.path(), &["costs", "compare", &file]).await;
    assert!(String::from_utf8_lossy(&compared.stderr).contains("one page of a longer report"), "{compared:?}");
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("a path").to_owned()
}

#[tokio::test]
async fn lists_of_others_are_imported_checked_and_compared() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = write(
        dir.path(),
        "litellm.json",
        r#"{"sample_spec": {"litellm_provider": "one of"},
            "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
                      "input_cost_per_token_above_200k_tokens": 5e-06, "input_cost_per_token_flex": 1.25e-06, "output_cost_per_token_batches": 5e-06},
            "azure/eu/gpt-x": {"litellm_provider": "azure", "input_cost_per_token": 1e-06}}"#,
    );
    let into = dir.path().join("prices.json");
    let into = into.to_str().expect("a path");
    let imported = run(dir.path(), &["prices", "import", &list, "--into", into, "--date", "2026-11-28"]).await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let no_day = run(dir.path(), &["prices", "import", &list, "--date", "2026-13-01"]).await;
    assert_eq!(no_day.status.code(), Some(2), "{no_day:?}");
    let text = std::fs::read_to_string(into).expect("read");
    let entry = r#"{"provider":"openai","model":"gpt-x","per_million":{"input":"2.5","output":"10"},"above":[{"input_tokens_over":200000,"per_million":{"input":"5"}}],"service_tier":{"flex":{"per_million":{"input":"1.25"}}},"batch":{"per_million":{"output":"5"}}}"#;
    assert!(text.contains(entry), "{text}");
    let checked = run(dir.path(), &["prices", "check", into]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let other = write(
        dir.path(),
        "other.yaml",
        "entries:\n- {provider: openai, model: gpt-x, per_million: {input: 25, output: 10}}\n",
    );
    let differ = printed(&run(dir.path(), &["prices", "diff", &other, "--from", into, "--json"]).await);
    let input =
        differ.as_array().expect("rows").iter().find(|row| row["field"] == "per_million.input").expect("a difference");
    assert_eq!((&input["old"], &input["new"]), (&json!("2.5"), &json!("25")));
}

#[tokio::test]
async fn what_is_wrong_in_prices_is_told_with_file_line_and_column() {
    let dir = tempfile::tempdir().expect("a directory");
    let cases = [
        ("entries:\n- {model: m, per_million: {input: -1}}\n", "prices.yaml:2:", "negative"),
        ("entries:\n- {model: m, per_million: {input: 0.0000001}}\n", "prices.yaml:2:", "too many digits"),
        ("entries:\n- {model: m, per_million: {inputs: 1}}\n", "prices.yaml:2:", "no kind of token"),
        ("entries:\n- {model: m, per_miilion: {input: 1}}\n", "prices.yaml:2:", "per_miilion"),
        ("entries:\n- {model: m, currency: DOLLARS}\n", "prices.yaml:2:", "not a currency"),
        (
            "entries:\n- {model: m, per_million: {input: 1}}\n- {model: m, per_million: {input: 2}}\n",
            "prices.yaml:3:",
            "overlaps",
        ),
        (
            "entries:\n- model: m\n  per_million: {input: 1}\n  above:\n  - {input_tokens_over: 200, per_million: {}}\n  - {input_tokens_over: 100, per_million: {}}\n",
            "prices.yaml:6:",
            "rising",
        ),
        ("entries:\n- {model: m, per_million: {input: 0.000001}, batch: 0.5}\n", "prices.yaml:2:", "prices of its own"),
        ("entries:\n- {model: m, effective_from: 2026-11-21T00:30:00Z}\n", "prices.yaml:2:", "full hour"),
        ("- model: m\n", "prices.yaml:1:", ""),
    ];
    for (text, place, told) in cases {
        let file = write(dir.path(), "prices.yaml", text);
        let refused = run(dir.path(), &["prices", "check", &file]).await;
        let said = String::from_utf8(refused.stderr).expect("text");
        assert_eq!(refused.status.code(), Some(1), "{text}: {said}");
        assert!(said.contains(place) && said.contains(told), "{text}: {said}");
    }
}

#[tokio::test]
async fn slips_in_good_prices_are_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "entries:\n- {model: gpt-*-mini, per_million: {input: 1, output: 2}}\n- {model: gpt-5*mini, per_million: {input: 1, output: 2}}\n\
                - {model: m, per_million: {output: 2}}\n- {model: n, per_million: {input: 1, output: 2}}\n\
                - {model: n, effective_from: 2026-12-01T00:00:00Z, per_million: {input: 10, output: 2}}\n\
                - {model: o, effective_from: 2026-12-01T00:00:00Z, per_million: {input: 1, output: 2}}\n";
    let file = write(dir.path(), "prices.yaml", text);
    let found = run(dir.path(), &["prices", "check", &file, "--json"]).await;
    assert_eq!(found.status.code(), Some(3));
    let slips = printed(&found);
    let mut kinds: Vec<(&str, &str)> = slips
        .as_array()
        .expect("findings")
        .iter()
        .map(|slip| (slip["model"].as_str().expect("a model"), slip["what"].as_str().expect("a kind")))
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("gpt-5*mini", "overlap"), ("m", "missing_kind"), ("n", "leap"), ("o", "gap")]);
}

#[test]
fn the_shipped_list_is_a_good_book() {
    let list = weir_money::prices::shipped::list();
    assert!(list.source.is_some_and(|source| source.contains("LiteLLM")) && list.date.is_some());
    let book = weir_money::prices::Book::new(vec![weir_money::prices::shipped::layer()]).expect("a good book");
    let now = Timestamp::from_secs(1_795_230_855);
    let providers = [
        "openai",
        "azure_openai",
        "anthropic",
        "google",
        "bedrock",
        "cohere",
        "deepseek",
        "groq",
        "mistral",
        "voyage",
        "xai",
    ];
    for provider in providers {
        let entries = list.entries.iter().filter(|entry| entry.provider.as_deref() == Some(provider)).count();
        assert!(entries >= 5, "{provider}: {entries}");
    }
    for (provider, model) in
        [("openai", "gpt-4o-2024-08-06"), ("anthropic", "claude-sonnet-4-5-20250929"), ("google", "gemini-2.5-pro")]
    {
        assert!(book.find(Some(provider), model, now).is_some(), "{model}");
    }
}
