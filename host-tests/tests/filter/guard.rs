//! A guarded vector store: the tenant is forced into requests, and answers are held, checked and replaced.
use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_contract::{Timestamp, UsageData};
use weir_host_tests::host::Profile;
use weir_host_tests::on_both_gateways;
use weir_host_tests::scenario::{Gateway, GatewayBuilder, Request, Response, get, ok, post, put, secs, status};
use weir_ledger::meters::Meters;

use crate::common::{ACME, GLOBEX, config_with, unlimited};

const QUERY: &str = "/qdrant/collections/docs/points/query";

fn start(gateway: &GatewayBuilder) -> Gateway {
    let mut config = unlimited();
    config["routes"] = json!([{"name": "vectors", "match": {"path_prefix": "/qdrant"},
                               "guard": {"store": "qdrant", "by": "filter", "root": "/qdrant"}}]);
    gateway.clone().config(&config).start()
}

fn search() -> Request {
    post(QUERY).bearer(ACME).json(&json!({"query": [0.1, 0.2], "filter": {"should": []}, "with_payload": true}))
}

fn point(id: u64, owner: Value) -> Value {
    json!({"id": id, "score": 0.5, "payload": {"tenant_id": owner, "text": "x"}})
}

fn found(points: &[Value]) -> Response {
    ok().json(&json!({"result": {"points": points}, "status": "ok", "time": 0.1}))
}

/// The events of these types that are on their way to the aggregator.
fn events(gateway: &Gateway, kind: &str) -> Vec<Value> {
    gateway.run_for(secs(120));
    let mut events = Vec::new();
    while let Some(call) = gateway.calls().first().map(|_| gateway.next_call("weir")) {
        events.extend(call.json().as_array().cloned().unwrap_or_default());
        call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
    }
    events.retain(|event| event["type"] == kind);
    events
}

on_both_gateways! {
    fn a_search_carries_its_tenant_and_the_rest_of_it_is_the_clients_bytes(gateway) {
        let gateway = start(&gateway);
        let reply = gateway.send(search()).upstream(found(&[point(1, json!("acme"))]));
        let sent = reply.upstream_request();
        let mine = r#"{"must":[{"should":[]},{"key":"tenant_id","match":{"value":"acme"}}]}"#;
        assert_eq!(sent.text(), format!(r#"{{"filter":{mine},"query":[0.1,0.2],"with_payload":true}}"#));
        assert_eq!(sent.header("content-length"), Some(&*sent.text().len().to_string()));
        assert_eq!(sent.header("accept-encoding"), Some("identity"));
        assert_eq!(reply.json()["result"]["points"][0]["id"], 1);
    }

    fn a_record_of_another_tenant_is_taken_out_told_and_counted(gateway) {
        let gateway = start(&gateway);
        let points = [point(1, json!("acme")), point(2, json!("globex")), point(3, Value::Null), point(4, json!("acme"))];
        let whole = json!({"result": {"points": points}}).to_string();
        // In chunks, as a store sends it.
        let reply = gateway.send(search()).upstream(ok().header("content-type", "application/json").body_in_chunks_of(40, &whole));
        reply.assert_status(200);
        let ids: Vec<Value> = reply.json()["result"]["points"].as_array().expect("points").iter().map(|p| p["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(4)]);
        assert_eq!(gateway.metric("weir_answers_held.result.changed"), 1);
        let told = events(&gateway, "weir.security.v1");
        let findings = told[0]["data"]["findings"].as_array().expect("findings");
        assert_eq!((&findings[0]["kind"], &findings[0]["owners"]), (&json!("foreign_record"), &json!(["globex"])));
        assert_eq!((&findings[1]["kind"], &findings[1]["severity"]), (&json!("unmarked_record"), &json!("critical")));
        assert_eq!((&told[0]["subject"], &findings[0]["operation"]), (&json!("acme"), &json!("points.query")));
        assert_eq!(gateway.metric("weir_security.kind.foreign_record"), 1);
    }

    fn a_search_is_audited_and_metered(gateway) {
        let gateway = start(&gateway);
        gateway.send(search()).upstream(found(&[point(1, json!("acme")), point(2, json!("globex"))]));
        gateway.run_for(secs(2));
        let call = gateway.next_call("weir");
        let sent = call.json().as_array().cloned().expect("a batch");
        call.answer(202, r#"{"accepted":2,"rejected":[]}"#);
        let search = sent.iter().find(|event| event["type"] == "weir.search.v1").expect("a search");
        let data = &search["data"];
        assert_eq!((&data["collection"], &data["operation"]), (&json!("docs"), &json!("points.query")));
        assert_eq!((&data["results"], &data["removed"]), (&json!(1), &json!({"globex": 1})));
        let usage = sent.iter().find(|event| event["type"] == "weir.usage.v1").expect("usage");
        assert_eq!(usage["data"]["usage"]["details"], json!({"vector_reads": 1}));
    }

    fn meters_count_what_tenants_read_and_write_in_a_store(gateway) {
        let gateway = start(&gateway);
        let points = json!({"points": [{"id": 1, "vector": [1]}, {"id": 2, "vector": [1]}, {"id": 3, "vector": [1]}]});
        let write = put("/qdrant/collections/docs/points").bearer(ACME).json(&points);
        gateway.send(write).upstream(ok().body("{}"));
        gateway.send(search()).upstream(found(&[point(1, json!("acme"))]));
        gateway.send(search()).upstream(found(&[]));
        // What the store refuses was not used.
        gateway.send(search()).upstream(status(400).body("{}"));
        let meter = |name: &str| json!({"name": name, "sum": {"detail": name}, "where": {"route": ["vectors"]}});
        let meters = ["vector_reads", "vector_writes", "vectors_written"].map(meter);
        let meters = Meters::new(serde_json::from_value(json!(meters)).expect("meters"), Vec::new()).expect("meters");
        let mut sums = BTreeMap::<String, u64>::new();
        for event in events(&gateway, "weir.usage.v1") {
            let data = event["data"].to_string();
            let data: UsageData<'_> = serde_json::from_str(&data).expect("usage");
            for (meter, measure) in meters.measure(Timestamp::from_secs(0), &data) {
                assert_eq!(measure.excluded, None);
                *sums.entry(meters.names()[meter].clone()).or_default() += measure.amount;
            }
        }
        let expected = [("vector_reads", 2), ("vector_writes", 1), ("vectors_written", 3)];
        assert_eq!(sums, expected.map(|(name, sum)| (name.to_owned(), sum)).into());
    }

    fn an_answer_that_cannot_be_checked_is_withheld(gateway) {
        let profile = gateway.profile();
        let gateway = start(&gateway);
        let plain = || ok().header("content-type", "application/json");
        for answer in [
            ok().header("content-type", "text/event-stream").body("data: {\"secret\":1}\n\n"),
            plain().header("content-encoding", "gzip").body("secret"),
            plain().body("{\"result\":{\"points\":[{\"secret\":1}"),
            plain().body("{\"result\":{\"points\":{\"secret\":1}}}"),
            plain().body("{\"result\":{\"points\":[1,2],\"points\":[\"secret\"]}}"),
        ] {
            let reply = gateway.send(search()).upstream(answer);
            assert!(!reply.text().contains("secret"), "{}", reply.text());
            assert_eq!(reply.json()["error"]["code"], "answer_unchecked");
            // Kong has sent its head on.
            reply.assert_status(if profile == Profile::Envoy { 502 } else { 200 });
        }
        assert_eq!(gateway.metric("weir_answers_held.result.refused"), 5);
        assert_eq!(gateway.metric("weir_security.kind.unchecked_answer"), 0, "told with the next tick");
        gateway.run_for(secs(2));
        assert_eq!(gateway.metric("weir_security.kind.unchecked_answer"), 5);
    }

    fn a_record_that_is_guessed_by_its_id_is_an_attempt_and_not_the_stores_fault(gateway) {
        let gateway = start(&gateway);
        let request = post("/qdrant/collections/docs/points").bearer(ACME).json(&json!({"ids": [2]}));
        let found = ok().json(&json!({"result": [point(2, json!("globex"))]}));
        assert_eq!(gateway.send(request).upstream(found).json(), json!({"result": []}));
        let told = events(&gateway, "weir.security.v1");
        let finding = &told[0]["data"]["findings"][0];
        assert_eq!((&finding["kind"], &finding["severity"]), (&json!("foreign_id"), &json!("warning")));
        assert_eq!(finding["owners"], json!(["globex"]));
    }

    fn an_answer_whose_head_the_gateway_does_not_show_is_withheld(gateway) {
        let gateway = start(&gateway);
        let sent = gateway.send(search());
        gateway.refuse_hostcall("proxy_get_header_map_pairs");
        let reply = sent.upstream(found(&[point(2, json!("globex"))]));
        gateway.unleash_chaos(0, 0);
        assert!(!reply.text().contains("globex"), "{}", reply.text());
    }

    fn errors_of_the_store_and_answers_without_records_stream_by(gateway) {
        let gateway = start(&gateway);
        let error = r#"{"status":{"error":"Wrong input"}}"#;
        let reply = gateway.send(search()).upstream(status(400).header("content-type", "application/json").body(error));
        assert_eq!((reply.status(), reply.text()), (400, error.to_owned()));
        let points = json!({"points": [{"id": 1, "vector": [1], "payload": {"tenant_id": "globex"}}]});
        let reply = gateway.send(put("/qdrant/collections/docs/points").bearer(ACME).json(&points)).upstream(ok().body("{}"));
        let sent = reply.upstream_request().json();
        assert_eq!(sent["points"][0]["payload"], json!({"tenant_id": "acme"}));
        assert_eq!(sent["update_filter"]["must"][0]["match"]["value"], "acme");
        assert_eq!(gateway.metric("weir_answers_held.result.same"), 0);
    }

    fn what_no_table_knows_is_refused_and_told_although_weir_only_observes(gateway) {
        let mut config = unlimited();
        config["mode"] = json!("observe");
        config["routes"] = json!([{"match": {"path_prefix": "/qdrant"},
                                   "guard": {"store": "qdrant", "by": "filter", "root": "/qdrant"}}]);
        let gateway = gateway.config(&config).start();
        let ask = |path: &str, body: Value| post(path).bearer(ACME).json(&body);
        for (request, status) in [
            (get("/qdrant/collections").bearer(ACME), 403),
            (put("/qdrant/collections/docs").bearer(ACME).json(&json!({})), 403),
            (ask("/qdrant/collections/docs/snapshots", json!({})), 403),
            (ask("/qdrant/collections/docs/points/payload/clear", json!({"points": [1]})), 403),
            (ask("/qdrant/Collections/docs/points/query", json!({"query": [1]})), 403),
            (ask(QUERY, json!({"query": 7})), 400),
            (ask(QUERY, json!({"query": [1], "lookup_from": {"collection": "x"}})), 400),
            (ask(QUERY, json!({"query": [1], "Filter": {}})), 400),
            (post(QUERY).bearer(ACME).body("{\"query\":[1],\"filter\":{},\"filter\":null}"), 400),
            (post(QUERY).bearer(ACME).header("content-encoding", "gzip").body("x"), 400),
            (ask("/qdrant/collections/docs/points/query?timeout=1&timeout=2", json!({"query": [1]})), 400),
            (post(QUERY).bearer(ACME).header("content-type", "application/grpc").body("x"), 403),
        ] {
            let reply = gateway.send(request).reply();
            assert_eq!(reply.status(), status, "{}", reply.text());
            assert!(!reply.reached_upstream());
        }
        let told = events(&gateway, "weir.security.v1");
        let kinds: Vec<&str> = told.iter().flat_map(|event| event["data"]["findings"].as_array().expect("findings"))
            .map(|finding| finding["kind"].as_str().expect("text")).collect();
        assert!(kinds.contains(&"refused_operation") && kinds.contains(&"unprovable_request"), "{kinds:?}");
    }
}

#[test]
fn a_missing_point_and_anothers_get_the_same_answer_and_a_guess_is_told_as_one() {
    let gateway = start(&Gateway::envoy());
    let ask = || get("/qdrant/collections/docs/points/2").bearer(ACME);
    let foreign =
        gateway.send(ask()).upstream(ok().json(&json!({"result": point(2, json!("globex")), "status": "ok"})));
    let missing = status(404).json(&json!({"status": {"error": "Not found: Point with id 2 does not exists!"}}));
    let missing = gateway.send(ask()).upstream(missing);
    assert_eq!((foreign.status(), foreign.text()), (missing.status(), missing.text()));
    assert_eq!(missing.status(), 404);
    let told = events(&gateway, "weir.security.v1");
    let findings = told[0]["data"]["findings"].as_array().expect("findings");
    assert_eq!((findings.len(), &findings[0]["kind"]), (1, &json!("foreign_id")));
    assert_eq!((&findings[0]["severity"], &findings[0]["owners"]), (&json!("warning"), &json!(["globex"])));
}

#[test]
fn headers_that_lead_a_store_elsewhere_go_no_further() {
    let mut config = unlimited();
    config["routes"] = json!([
        {"match": {"path_prefix": "/m"}, "guard": {"store": "milvus", "by": "collection", "root": "/m"}},
        {"match": {"path_prefix": "/w"}, "guard": {"store": "weaviate", "by": "namespace", "root": "/w"}}]);
    let gateway = Gateway::envoy().config(&config).start();
    let drop = post("/m/v2/vectordb/collections/drop").bearer(ACME).header("db-name", "globexdb");
    let reply = gateway.send(drop.json(&json!({"collectionName": "docs"}))).reply();
    assert!(reply.status() == 400 && !reply.reached_upstream(), "{}", reply.text());
    let object = get("/w/v1/objects/Doc/1").bearer(ACME).header("x-openai-baseurl", "http://evil");
    let reply =
        gateway.send(object.header("x-openai-api-key", "sk-own")).upstream(ok().json(&json!({"tenant": "acme"})));
    let sent = reply.upstream_request();
    assert_eq!((sent.header("x-openai-baseurl"), sent.header("x-openai-api-key")), (None, Some("sk-own")));
}

#[test]
fn each_tenant_has_collections_of_its_own_and_lists_no_others() {
    let mut config = config_with("/plans/starter", json!({}));
    config["routes"] =
        json!([{"match": {"path_prefix": "/collections"}, "guard": {"store": "qdrant", "by": "collection"}}]);
    let gateway = Gateway::envoy().config(&config).start();
    let names = json!({"result": {"collections": [{"name": "tenant_acme_docs"}, {"name": "tenant_globex_x"}, {"name": "docs"}]}});
    let list = |key: &str| gateway.send(get("/collections").bearer(key)).upstream(ok().json(&names)).json();
    assert_eq!(list(ACME)["result"]["collections"], json!([{"name": "docs"}]));
    assert_eq!(list(GLOBEX)["result"]["collections"], json!([{"name": "x"}]));
    let search = post("/collections/docs/points/query?timeout=3").bearer(GLOBEX).json(&json!({"query": [0.5]}));
    let reply = gateway.send(search).upstream(found(&[json!({"id": 5})]));
    assert_eq!(reply.upstream_request().path(), "/collections/tenant_globex_docs/points/query?timeout=3");
    assert_eq!(reply.upstream_request().text(), r#"{"query":[0.5]}"#);
    assert_eq!(reply.json()["result"]["points"], json!([{"id": 5}]));
}

#[test]
fn an_answer_ends_with_trailers_too_and_a_longer_one_than_is_held_is_withheld() {
    // Envoy must buffer more than is held: with less it answers 500 itself.
    let gateway = start(&Gateway::envoy().buffer_max_bytes(32 * 1024 * 1024));
    let whole = json!({"result": {"points": [point(2, json!("globex"))]}}).to_string();
    let answer = ok().header("content-type", "application/json").chunk(&whole).trailer("grpc-status", "0");
    assert_eq!(gateway.send(search()).upstream(answer).json()["result"]["points"], json!([]));
    let long = format!("{{\"result\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let reply = gateway
        .send(search())
        .upstream(ok().header("content-type", "application/json").body_in_chunks_of(1 << 20, &long));
    reply.assert_status(502);
    assert_eq!(reply.json()["error"]["code"], "answer_unchecked");
}

/// A gateway's route that names none of weir's might lead past the guard.
#[test]
fn a_route_that_nobody_knows_leads_nowhere() {
    let gateway = start(&Gateway::envoy());
    let named = |name: &str| search().route_metadata("weir", "route", name);
    let reply = gateway.send(named("vektors")).reply();
    assert_eq!((reply.status(), reply.reached_upstream()), (403, false));
    gateway.send(named("vectors")).upstream(found(&[])).assert_status(200);
    gateway.send(search()).upstream(found(&[])).assert_status(200);
}

/// The gateway may have chosen the route by what the client says it is; weir takes that header away too late.
#[test]
fn a_client_does_not_choose_the_gateways_route_by_a_header_of_weirs() {
    let mut config = unlimited();
    config["routes"] = json!([{"name": "vectors", "guard": {"store": "qdrant", "by": "filter", "root": "/qdrant"}}]);
    let gateway = Gateway::envoy().config(&config).start();
    for name in ["x-tenant-id", "x-tenant-plan"] {
        let reply = gateway.send(search().header(name, "globex")).reply();
        assert_eq!((reply.status(), reply.reached_upstream()), (400, false));
    }
    let named = search().route_metadata("weir", "route", "vectors");
    gateway.send(named).upstream(found(&[])).assert_status(200);
}

#[test]
fn a_collection_of_chromas_is_named_by_the_id_that_its_tenant_was_shown() {
    const UUID: &str = "870f7e48-32fb-4f96-9826-5e0685a1b170";
    const ROOT: &str = "/api/v2/tenants/t/databases/d/collections";
    let mut config = unlimited();
    config["sealed_ids"] = json!({"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]});
    config["routes"] =
        json!([{"name": "chroma", "match": {"path_prefix": "/api"}, "guard": {"store": "chroma", "by": "namespace"}}]);
    let gateway = Gateway::envoy().config(&config).start();
    let shown = |key: &str| {
        let list = ok().json(&json!([{"id": UUID, "name": "docs"}]));
        gateway.send(get(ROOT).bearer(key)).upstream(list).json()[0]["id"].as_str().expect("an id").to_owned()
    };
    let (own, theirs) = (shown(ACME), shown(GLOBEX));
    assert!(own != UUID && own != theirs);
    let count = |id: &str| get(&format!("{ROOT}/{id}/count")).bearer(ACME);
    let reply = gateway.send(count(&own)).upstream(ok().body("7"));
    let sent = format!("/api/v2/tenants/tenant_acme_/databases/d/collections/{UUID}/count");
    assert_eq!((reply.upstream_request().path(), reply.text()), (&*sent, "7".to_owned()));
    let elsewhere = gateway.send(count(&theirs)).upstream(status(404).body("{}"));
    assert!(!elsewhere.upstream_request().path().contains(UUID));
    let unsealed = gateway.send(count("docs")).reply();
    assert_eq!((unsealed.status(), &unsealed.json()["code"]), (404, &json!("not_found")), "{}", unsealed.text());
    let told = events(&gateway, "weir.security.v1");
    assert_eq!(told[0]["data"]["findings"][0]["kind"], "foreign_id");
}
