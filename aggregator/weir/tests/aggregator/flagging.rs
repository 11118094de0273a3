//! Feature flags: declared, set at run time, told to gateways, and read by applications.
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_contract::Outcome;
use weir_contract::stage::KNOWS_HEADER;

use super::commands::weir;
use super::events::{Worker, batch, noon};
use super::server::{Running, TOKEN, config};

const FLAGS: &str = "tenants_database: true\nflags:\n  use-claude: {type: bool, default: false, description: Claude in the place of GPT}\n  \
                     tone: {type: string, default: long, rules: [{environments: [test], value: short}]}\n  \
                     retries: {type: integer, default: 3}\n  share: {type: number, default: 0.25}\n";

async fn call(
    server: &Running,
    token: &str,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Value, String) {
    let request = server.http.request(method.parse().expect("a method"), format!("{}{path}", server.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.bearer_auth(token).json(body).send().await.expect("an answer");
    let etag = response.headers().get("etag").map(|tag| tag.to_str().expect("text").to_owned()).unwrap_or_default();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or_default(), etag)
}

async fn set(server: &Running, flag: &str, rules: Value) -> (u16, Value, String) {
    call(server, TOKEN, ("PUT", &format!("/v1/flags/{flag}")), &[], &json!({ "rules": rules })).await
}

async fn server() -> Running {
    let server = Running::start(noon(), FLAGS).await;
    for tenant in ["acme", "globex"] {
        let new = json!({"id": tenant, "plan": "pro"});
        assert_eq!(call(&server, TOKEN, ("POST", "/v1/tenants"), &[], &new).await.0, 201);
    }
    server
}

async fn token(server: &Running, scope: Value) -> String {
    let name = scope.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let (_, made, _) =
        call(server, TOKEN, ("POST", "/v1/tokens"), &[], &json!({"name": name, "scopes": [scope]})).await;
    made["token"].as_str().expect("told once").to_owned()
}

/// The directory as a gateway that reads these additions gets it.
async fn directory(server: &Running, knows: &str, query: &str) -> (Value, String) {
    let path = format!("/v1/directory{query}");
    let (status, page, etag) = call(server, TOKEN, ("GET", &path), &[(KNOWS_HEADER, knows)], &json!({})).await;
    assert_eq!(status, 200);
    (page, etag.trim_matches('"').to_owned())
}

#[tokio::test]
async fn a_flag_that_is_set_reaches_waiting_gateways_within_a_second_and_is_taken_back_as_fast() {
    let server = server().await;
    let (page, version) = directory(&server, "flags", "").await;
    assert_eq!(
        page["flags"]["use-claude"],
        json!({"type": "bool", "default": false, "description": "Claude in the place of GPT"})
    );
    assert!(directory(&server, "stages", "").await.0.get("flags").is_none(), "a gateway that does not ask");
    let quarter = json!([{"percent": "25%", "value": true}]);
    let query = format!("?since={version}&wait=20s");
    let changed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let since = Instant::now();
        assert_eq!(set(&server, "use-claude", quarter.clone()).await.0, 200);
        since
    };
    let ((page, version), since) = tokio::join!(directory(&server, "flags", &query), changed);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(page["flags"]["use-claude"]["rules"], quarter);
    assert!(page["since"].is_string() && page["tenants"] == json!([]), "no tenant is sent again: {page}");
    assert_eq!(call(&server, TOKEN, ("DELETE", "/v1/flags/use-claude"), &[], &json!({})).await.0, 200);
    let (page, _) = directory(&server, "flags", &format!("?since={version}")).await;
    assert!(page["flags"]["use-claude"].get("rules").is_none());
}

#[tokio::test]
async fn rules_are_kept_over_a_restart_with_who_changed_them_and_a_stale_change_is_refused() {
    let server = server().await;
    let (status, view, etag) = set(&server, "use-claude", json!([{"tenants": ["acme"], "value": true}])).await;
    assert_eq!((status, view["from"].as_str(), etag.as_str()), (200, Some("database"), "\"1\""));
    let stale = [("if-match", "\"0\"")];
    let body = json!({"rules": []});
    assert_eq!(call(&server, TOKEN, ("PUT", "/v1/flags/use-claude"), &stale, &body).await.0, 412);
    for (flag, rules, expected) in [
        ("use-claud", json!([]), 404),
        ("use-claude", json!([{"value": "yes"}]), 400),
        ("tone", json!([{"value": 1}]), 400),
    ] {
        let (status, told, _) = set(&server, flag, rules).await;
        assert_eq!(status, expected, "{told}");
    }
    let dir = server.stop().await;
    let server = Running::start_in(dir, noon(), FLAGS).await;
    let (page, _) = directory(&server, "flags", "").await;
    assert_eq!(page["flags"]["use-claude"]["rules"], json!([{"tenants": ["acme"], "value": true}]));
    let history = server.json("/v1/flags/use-claude/history").await;
    assert_eq!(
        (&history[0]["who"], &history[0]["version"], history[0].get("before")),
        (&json!("all"), &json!(1), None)
    );
}

#[tokio::test]
async fn flags_of_a_changed_configuration_are_in_force_without_a_restart() {
    let server = server().await;
    set(&server, "use-claude", json!([{"value": true}])).await;
    let more = FLAGS.replace("retries: {type: integer, default: 3}", "beta: {type: bool, default: true}");
    std::fs::write(server.dir.path().join("weir.yaml"), config(server.dir.path(), &more)).expect("written");
    let reloaded = async {
        loop {
            let (page, _) = directory(&server, "flags", "").await;
            if page["flags"].get("beta").is_some() {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let page = tokio::time::timeout(Duration::from_secs(10), reloaded).await.expect("reloaded");
    assert!(page["flags"].get("retries").is_none());
    assert_eq!(page["flags"]["use-claude"]["rules"], json!([{"value": true}]), "what was set stays");
}

#[test]
fn commands_set_a_part_a_tenant_and_everybody_and_take_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), FLAGS)).expect("written");
    let run = |args: &[&str]| {
        let output = weir(dir.path(), args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let rules = || {
        let (_, said) = run(&["flags", "show", "use-claude", "--json"]);
        serde_json::from_str::<Value>(&said).expect("JSON")["rules"].clone()
    };
    assert!(run(&["flags", "set", "use-claude", "25%"]).0);
    assert!(run(&["flags", "set", "use-claude", "on", "--tenant", "acme"]).0);
    let acme = json!({"tenants": ["acme"], "value": true});
    assert_eq!(rules(), json!([acme, {"percent": "25%", "value": true}]));
    assert!(run(&["flags", "set", "use-claude", "off"]).0);
    assert_eq!(rules(), json!([acme, {"value": false}]));
    assert!(run(&["flags", "set", "tone", "10%", "--value", "short", "--by", "user"]).0);
    let (_, listed) = run(&["flags", "list"]);
    assert!(listed.contains("10% short") && listed.contains("true for tenant acme; false"), "{listed}");
    assert!(run(&["flags", "reset", "use-claude"]).0);
    assert_eq!(rules(), json!([]));
    let (_, history) = run(&["flags", "history", "use-claude"]);
    assert!(history.contains("the configuration") && history.contains("25% true"), "{history}");
    for wrong in [&["use-claud", "on"][..], &["use-claude", "maybe"], &["tone", "10%"], &["use-claude", "101%"]] {
        let args: Vec<&str> = ["flags", "set"].iter().chain(wrong).copied().collect();
        let (good, said) = run(&args);
        assert!(!good, "{wrong:?}: {said}");
    }
}

#[test]
fn a_flag_that_is_none_is_found_by_check_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("wrong.yaml");
    let filter = "version: 1\nidentity: {sources: [{api_key: {prefix: sk_}}]}\nflags: {use-claude: {type: bool, default: false}}\n\
                  plans: {p: {flags: [{flag: use-claud, n_max: 1}]}}\n";
    for (text, needle) in [
        (filter.to_owned(), "no flag is named \"use-claud\"; declared are: use-claude"),
        ("listen: 127.0.0.1:0\nflags: {tone: {type: string, default: 5}}\n".to_owned(), "flags.tone.default"),
    ] {
        std::fs::write(&file, text).expect("written");
        let output = weir(dir.path(), &["check", file.to_str().expect("text")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(needle), "{said}");
    }
}

#[tokio::test]
async fn an_application_is_told_its_flags_and_the_same_values_only_once() {
    let server = server().await;
    set(&server, "use-claude", json!([{"tenants": ["acme"], "plans": ["pro"], "value": true}])).await;
    let viewer = token(&server, json!("viewer")).await;
    let all = ("POST", "/ofrep/v1/evaluate/flags");
    let context = json!({"context": {"tenant": "acme", "plan": "free"}});
    let (status, told, etag) = call(&server, &viewer, all, &[], &context).await;
    let of = |told: &Value, key: &str| {
        told["flags"]
            .as_array()
            .and_then(|flags| flags.iter().find(|flag| flag["key"] == key).cloned())
            .unwrap_or_default()
    };
    assert_eq!(status, 200);
    let claude = json!({"key": "use-claude", "value": true, "reason": "TARGETING_MATCH", "variant": "true"});
    assert_eq!(of(&told, "use-claude"), claude, "the plan is the tenant's own, whatever the context says");
    assert_eq!(of(&told, "retries"), json!({"key": "retries", "value": 3, "reason": "STATIC", "variant": "3"}));
    let known = [("if-none-match", etag.as_str())];
    assert_eq!(call(&server, &viewer, all, &known, &context).await.0, 304);
    set(&server, "use-claude", json!([])).await;
    let (status, told, _) = call(&server, &viewer, all, &known, &context).await;
    assert_eq!((status, &of(&told, "use-claude")["value"]), (200, &json!(false)));
}

#[tokio::test]
async fn a_tenants_token_decides_for_that_tenant_only_and_what_is_missing_is_told_by_its_code() {
    let server = server().await;
    set(&server, "use-claude", json!([{"tenants": ["acme"], "value": true}])).await;
    let own = token(&server, json!({"tenant": "acme"})).await;
    let one = ("POST", "/ofrep/v1/evaluate/flags/use-claude");
    let (status, told, _) = call(&server, &own, one, &[], &json!({"context": {"targetingKey": "ann"}})).await;
    assert_eq!((status, &told["value"]), (200, &json!(true)));
    assert_eq!(call(&server, &own, one, &[], &json!({"context": {"tenant": "globex"}})).await.0, 403);
    let viewer = token(&server, json!("viewer")).await;
    for (path, body, status, code) in [
        (one, json!({}), 400, "TARGETING_KEY_MISSING"),
        (one, json!({"context": {"tenant": 7}}), 400, "INVALID_CONTEXT"),
        (one, json!([]), 400, "PARSE_ERROR"),
        (("POST", "/ofrep/v1/evaluate/flags"), json!("text"), 400, "PARSE_ERROR"),
        (
            ("POST", "/ofrep/v1/evaluate/flags/nobody"),
            json!({"context": {"targetingKey": "acme"}}),
            404,
            "FLAG_NOT_FOUND",
        ),
    ] {
        let (found, told, _) = call(&server, &viewer, path, &[], &body).await;
        assert_eq!((found, told["errorCode"].as_str()), (status, Some(code)), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_with_openfeatures_sdk_reads_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/openfeature");
    assert!(folder.is_dir(), "OpenFeature's SDK is missing: run `make setup`");
    let server = server().await;
    set(&server, "use-claude", json!([{"tenants": ["acme"], "value": true}])).await;
    let viewer = token(&server, json!("viewer")).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aggregator/ofrep.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(folder.canonicalize().expect("a folder")).args([&server.url, &viewer]);
    let output = tokio::task::spawn_blocking(move || node.output().expect("node runs")).await.expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["bool"], json!({"value": true, "reason": "TARGETING_MATCH", "variant": "true"}));
    assert_eq!((&read["other"]["value"], &read["other"]["reason"]), (&json!(false), &json!("DEFAULT")));
    assert_eq!((&read["byTenantAlone"], &read["string"]), (&json!(true), &json!("short")));
    assert_eq!((&read["integer"], &read["number"]), (&json!(3), &json!(0.25)));
    assert_eq!((&read["unknown"]["value"], &read["unknown"]["errorCode"]), (&json!(true), &json!("FLAG_NOT_FOUND")));
    assert_eq!(
        (&read["otherType"]["value"], &read["otherType"]["errorCode"]),
        (&json!("kept"), &json!("TYPE_MISMATCH"))
    );
    assert_eq!(
        (&read["noContext"]["value"], &read["noContext"]["errorCode"]),
        (&json!(true), &json!("TARGETING_KEY_MISSING"))
    );
}

/// The rows of a comparison by flag, by their keys.
async fn rows(server: &Running, flag: &str) -> std::collections::BTreeMap<String, Value> {
    let view = server.json(&format!("/v1/margin?by=flag&flag={flag}")).await;
    let rows = view["rows"].as_array().unwrap_or_else(|| panic!("{view}")).clone();
    rows.into_iter().map(|row| (row["key"].as_str().expect("a key").to_owned(), row)).collect()
}

/// A server that has counted requests of a tenant that saw both values of a flag, and of two that saw one each.
async fn two_sides() -> Running {
    // A token in costs a half, a token out 1: an event costs 10, and one that did not fail brings 60.
    let money = "prices: {shipped: false, entries: [{model: m, per_million: {input: 500000, output: 1000000}}]}\n\
                 price_plans: [{name: flat, currency: USD, plans: [pro], per_request: 60}]\n";
    let server = Running::start(noon(), &format!("{FLAGS}{money}")).await;
    for tenant in ["acme", "globex", "initech"] {
        let new = json!({"id": tenant, "plan": "pro"});
        assert_eq!(call(&server, TOKEN, ("POST", "/v1/tenants"), &[], &new).await.0, 201);
    }
    let worker = Worker::new(1, noon());
    let by = |tenant: &'static str, number: u64, flags: Option<&'static str>, failed: bool, again: bool| {
        Worker { tenant, ..worker.clone() }.usage_with(number, |data| {
            data.response_model = Some("m".into());
            data.flags = flags.map(Into::into);
            data.outcome = if failed { Outcome::UpstreamError } else { Outcome::Ok };
            data.idempotency_key_hash = again.then(|| "same".into());
        })
    };
    let event = |number, flags, failed, again| by("acme", number, flags, failed, again);
    let (on, off) = (Some("tone=\"long, or so\", use-claude"), Some("tone=\"short\", use-claude=?0"));
    let events = [
        event(1, on, false, true),
        event(2, on, true, true),
        event(3, off, false, false),
        event(4, off, false, false),
        event(5, off, true, false),
        event(6, None, false, false),
        // These two saw one value only.
        by("globex", 7, on, false, false),
        by("initech", 8, off, true, false),
        by("initech", 9, off, false, false),
    ];
    assert_eq!(server.post(batch(&events)).await.status(), reqwest::StatusCode::ACCEPTED);
    let requests =
        async || -> u64 { rows(&server, "use-claude").await.values().filter_map(|row| row["requests"].as_u64()).sum() };
    let counted = async {
        while requests().await < 9 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("counted");
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_two_sides_of_a_flag_are_compared_by_cost_failures_and_retries_and_by_margin_where_tenants_differ() {
    let server = two_sides().await;
    let rows = async |flag: &str| rows(&server, flag).await;
    let of = |row: &Value| {
        ["requests", "llm_cost", "revenue", "margin", "failed_percent", "retry_percent"].map(|name| row[name].clone())
    };
    let sides = rows("use-claude").await;
    assert_eq!(of(&sides["true"]), [json!(1), json!("10"), json!("60"), json!("50"), json!("0.00"), json!("0.00")]);
    assert_eq!(of(&sides["false"]), [json!(2), json!("20"), json!("60"), json!("40"), json!("50.00"), json!("0.00")]);
    let percent = |key: &str| sides[key]["margin_percent"].clone();
    assert_eq!([percent("true"), percent("false")], [json!("83.33"), json!("66.67")], "they differ where tenants do");
    // What acme pays belongs to none of its values: spread by cost it would make all of them equally good.
    let within = |key: &str| {
        let row = &sides[&format!("{key} (tenants with several values)")];
        assert_eq!(
            (&row["revenue"], &row["level"], row.get("margin_percent")),
            (&json!("0"), &json!("unattributed"), None)
        );
        ["requests", "llm_cost", "failed_percent", "retry_percent"].map(|name| row[name].clone())
    };
    assert_eq!(within("true"), [json!(2), json!("20"), json!("50.00"), json!("50.00")]);
    assert_eq!(within("false"), [json!(3), json!("30"), json!("33.33"), json!("0.00")]);
    assert_eq!(within("(none)"), [json!(1), json!("10"), json!("0.00"), json!("0.00")]);
    let whole = &sides["(not attributable)"];
    assert_eq!((&whole["revenue"], whole.get("margin_percent")), (&json!("240"), None));
    let view = server.json("/v1/margin?by=flag&flag=use-claude").await;
    assert_eq!(view["totals"][0]["margin"], "270", "all of the revenue less all of the cost: {view}");
    assert!(view["since"].is_string() && view["notes"].to_string().contains("no margin"), "{view}");
    let tones = rows("tone").await;
    let tones: Vec<&str> = tones.keys().map(|key| key.split(" (tenants").next().unwrap_or_default()).collect();
    assert_eq!(tones, ["(none)", "(not attributable)", "long, or so", "long, or so", "short", "short"]);
    let unseen = server.json("/v1/margin?by=flag&flag=retries").await;
    assert!(unseen["notes"].to_string().contains("no request of the span saw the flag retries"), "{unseen}");
    for (wrong, status) in
        [("by=flag&flag=No%20Flag", 400), ("by=flag", 409), ("by=model&flag=tone", 409), ("flag=tone", 409)]
    {
        assert_eq!(server.get(&format!("/v1/margin?{wrong}")).await.status().as_u16(), status, "{wrong}");
    }
    let shown = weir(server.dir.path(), &["margin", "--by", "flag", "--flag", "use-claude", "--csv"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("failed %") && shown.contains("true,USD,60,,10"), "{shown}");
    assert!(shown.contains("true (tenants with several values),USD,0,,20,0,,,,"), "{shown}");
}

#[tokio::test]
async fn the_requests_of_the_two_sides_of_a_flag_are_found_with_what_they_cost() {
    let server = server().await;
    let worker = Worker::new(1, noon());
    let event = |number: u64, flags: &'static str| worker.usage_with(number, |data| data.flags = Some(flags.into()));
    let events =
        [event(1, "tone=\"a, use-claude=?0\", use-claude"), event(2, "tone=\"long\", use-claude=?0"), worker.usage(3)];
    assert_eq!(server.post(batch(&events)).await.status(), reqwest::StatusCode::ACCEPTED);
    let counted = async {
        while server.json("/v1/cost/events").await["events"].as_array().expect("events").len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("counted");
    for (flag, number, seen) in [
        ("use-claude", 1, "tone=\"a, use-claude=?0\", use-claude"),
        ("use-claude=%3F0", 2, "tone=\"long\", use-claude=?0"),
        ("tone=%22a%2C%20use-claude%3D%3F0%22", 1, "tone=\"a, use-claude=?0\", use-claude"),
    ] {
        let found = server.json(&format!("/v1/cost/events?flag={flag}")).await;
        let events = found["events"].as_array().expect("events");
        let ids: Vec<_> = events.iter().map(|event| (event["id"].clone(), event["flags"].clone())).collect();
        assert_eq!(ids, [(json!(worker.id(number).to_string()), json!(seen))], "{found}");
    }
}
