//! Ids that a provider hands out to all tenants of one account, kept apart by sealing them.
use serde_json::{Value, json};
use weir_host_tests::scenario::{Gateway, Reply, Request, delete, get, ok, post, request, status};

use crate::common::{ACME, GLOBEX, answer, config, usage_event};

const FILE: &str = "file-AbC123dEf456GhI789";
const RESPONSE: &str = "resp_68af1c2d3e4f5a6b7c8d9e0f";

fn sealing() -> Value {
    let mut config = config();
    config["plans"] = json!({"starter": {}});
    config["sealed_ids"] = json!({"keys": [{"version": 1, "secret": "a secret of more than thirty-two bytes"}]});
    config["routes"] = json!([
        {"name": "openai", "match": {"path_prefix": "/v1"}, "provider": "openai", "permit":
            {"files": "sealed", "stored_responses": "sealed", "batches": "sealed", "vector_stores": "sealed",
             "assistants": "sealed", "fine_tuning": "sealed"}},
        {"name": "anthropic", "match": {"path_prefix": "/anthropic"}, "provider": "anthropic",
         "permit": {"files": "sealed", "batches": "sealed"}},
        {"name": "gemini", "match": {"path_prefix": "/v1beta"}, "provider": "google",
         "permit": {"files": "sealed", "vector_stores": "sealed"}},
    ]);
    config
}

fn start() -> Gateway {
    Gateway::envoy().config(sealing()).start()
}

/// Has an object of the provider's pass to a tenant; returns the id that it sees.
fn hand_out(gateway: &Gateway, key: &str, path: &str, raw: &str) -> String {
    let reply =
        gateway.send(post(path).bearer(key).json(&json!({"input": "x"}))).upstream(ok().json(&json!({"id": raw})));
    let id = reply.json()["id"].as_str().expect("an id").to_owned();
    assert_ne!(id, raw);
    id
}

#[track_caller]
fn refused(gateway: &Gateway, request: Request, status: u16, code: &str) {
    let reply = gateway.send(request).reply();
    assert_eq!(reply.status(), status, "{}", reply.text());
    assert!(reply.text().contains(code), "{}", reply.text());
    assert!(!reply.reached_upstream());
}

/// What no id stands for cannot be kept apart: such names are refused as they are where nothing is sealed.
#[test]
fn names_that_sealing_does_not_cover_are_refused() {
    let gateway = start();
    for body in [
        json!({"model": "m", "messages": [], "data_sources": [{"type": "azure_search"}]}),
        json!({"model": "m", "messages": [], "dataSources": [{"type": "azure_search"}]}),
        json!({"model": "m", "messages": [], "agent": {"name": "x"}}),
        json!({"model": "m", "messages": [], "tools": [{"library_ids": ["shared"]}]}),
        json!({"model": "m", "messages": [{"content": [{"source": {"uri": "s3://bucket/x"}}]}]}),
    ] {
        refused(&gateway, post("/v1/chat/completions").bearer(ACME).json(&body), 403, "operation_not_permitted");
    }
    for tool in [
        json!({"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/abc"]}}),
        json!({"retrieval": {"vertexRagStore": {"ragCorpora": ["x"]}}}),
    ] {
        let body = json!({"contents": [], "tools": [tool]});
        let path = "/v1beta/models/g:generateContent";
        refused(&gateway, post(path).bearer(ACME).json(&body), 403, "operation_not_permitted");
    }
    let prompt = json!({"model": "m", "input": "x", "prompt": {"id": "pmpt_of_the_operator"}});
    gateway.send(post("/v1/responses").bearer(ACME).json(&prompt)).upstream(ok()).assert_status(200);
}

#[test]
fn an_id_comes_back_to_its_tenant_only() {
    let gateway = start();
    let id = hand_out(&gateway, ACME, "/v1/responses", RESPONSE);
    let used = gateway
        .send(get(&format!("/v1/responses/{id}?include=x")).bearer(ACME))
        .upstream(ok().json(&json!({"id": RESPONSE})));
    assert_eq!(used.upstream_request().path(), format!("/v1/responses/{RESPONSE}?include=x"));
    assert_eq!(used.json()["id"], json!(id), "the same id again");
    let chained = json!({"model": "m", "input": "y", "previous_response_id": id});
    let sent = gateway.send(post("/v1/responses").bearer(ACME).json(&chained)).upstream(ok()).upstream_request();
    assert_eq!(sent.json(), json!({"model": "m", "input": "y", "previous_response_id": RESPONSE}));
    let tampered = format!("{}{}", &id[..id.len() - 1], if id.ends_with('a') { 'b' } else { 'a' });
    for (key, id) in
        [(GLOBEX, &*id), (ACME, RESPONSE), (ACME, &tampered), (ACME, &id[..id.len() - 2]), (ACME, "resp_1")]
    {
        refused(&gateway, get(&format!("/v1/responses/{id}")).bearer(key), 404, "not_found");
        let body = json!({"model": "m", "input": "y", "previous_response_id": id});
        refused(&gateway, post("/v1/responses").bearer(key).json(&body), 404, "not_found");
    }
    assert_eq!(gateway.metric("weir_requests.result.not_found"), 10);
}

#[test]
fn a_refusal_stands_where_weir_only_observes() {
    let mut config = sealing();
    config["mode"] = json!("observe");
    let gateway = Gateway::envoy().config(config).start();
    refused(&gateway, get(&format!("/v1/responses/{RESPONSE}")).bearer(ACME), 404, "not_found");
    let named = json!({"model": "m", "input": "x", "previous_response_id": RESPONSE});
    refused(&gateway, post("/v1/responses").bearer(ACME).json(&named), 404, "not_found");
    let encoded = post("/v1/responses").bearer(ACME).header("content-encoding", "gzip").body("x");
    refused(&gateway, encoded, 415, "body_encoded");
    refused(
        &gateway,
        post("/v1/responses").bearer(ACME).header("content-type", "application/json").body("{'a':1}"),
        400,
        "body_not_json",
    );
}

#[test]
fn an_id_in_an_unknown_place_and_an_unknown_operation_are_refused() {
    let gateway = start();
    let body = json!({"model": "m", "messages": [], "some_new_member": FILE});
    refused(&gateway, post("/v1/chat/completions").bearer(ACME).json(&body), 400, "unexpected_id");
    refused(&gateway, get(&format!("/v1/models?source={FILE}")).bearer(ACME), 400, "unexpected_id");
    for request in [request("PUT", "/v1/files/x"), post("/v1/uploads"), get("/v1/files?before=x"), get("/v1/evals")] {
        refused(&gateway, request.bearer(ACME), 403, "operation_not_permitted");
    }
    refused(&gateway, get("/anthropic/v1/messages/batches").bearer(ACME), 403, "permission_error");
    let text = json!({"model": "m", "messages": [{"role": "user", "content": FILE}], "metadata": {"file_id": FILE}});
    let sent = gateway.send(post("/v1/chat/completions").bearer(ACME).json(&text)).upstream(ok()).upstream_request();
    assert_eq!(sent.json(), text, "text is no place");
}

#[test]
fn ids_in_a_stream_are_sealed_and_its_usage_counts_once() {
    let gateway = start();
    let event = |status: &str| {
        format!(
            "event: response.{status}\ndata: {{\"type\":\"response.{status}\",\"response\":{{\"id\":\"{RESPONSE}\",\"model\":\"m\",\"status\":\"{status}\",\"usage\":{{\"input_tokens\":12,\"output_tokens\":30,\"total_tokens\":42}}}}}}\n\n"
        )
    };
    let stream = event("created") + &event("completed");
    let ask = json!({"model": "m", "input": "x", "stream": true});
    let mut texts = Vec::new();
    for size in [1, 7, 64, stream.len()] {
        let upstream = ok().header("content-type", "text/event-stream").body_in_chunks_of(size, &stream);
        let reply = gateway.send(post("/v1/responses").bearer(ACME).json(&ask)).upstream(upstream);
        assert_eq!(
            usage_event(&gateway)["data"]["response_id"],
            json!(RESPONSE),
            "what is billed names the provider's id"
        );
        texts.push(reply.text());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "however it is cut");
    assert!(!texts[0].contains(RESPONSE));
    let id = hand_out(&gateway, ACME, "/v1/responses", RESPONSE);
    assert_eq!(texts[0], stream.replace(RESPONSE, &id));
}

fn list_of(entries: &[(&str, &str)], has_more: bool) -> Value {
    let data: Vec<Value> = entries
        .iter()
        .map(|(id, tenant)| json!({"id": id, "object": "batch", "metadata": {"weir_tenant": tenant}}))
        .collect();
    json!({"object": "list", "data": data, "first_id": entries[0].0, "last_id": entries.last().expect("one").0, "has_more": has_more})
}

fn ids(reply: &Reply<'_>) -> Vec<String> {
    let entries = reply.json()["data"].as_array().expect("a list").clone();
    entries.iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_list_shows_ones_own_entries_and_its_pages_go_on() {
    let gateway = start();
    let page = |query: &str, upstream: Value| {
        gateway.send(get(&format!("/v1/batches{query}")).bearer(ACME)).upstream(ok().json(&upstream))
    };
    let entries = [
        ("batch_a1", "acme"),
        ("batch_g1", "globex"),
        ("batch_a2", "acme"),
        ("batch_a3", "acme"),
        ("batch_x", "acme2"),
    ];
    let first = page("?limit=2", list_of(&entries, true));
    assert_eq!(first.upstream_request().path(), "/v1/batches?limit=100");
    let shown = ids(&first);
    assert_eq!((shown.len(), &first.json()["has_more"], &first.json()["last_id"]), (2, &json!(true), &json!(shown[1])));
    let second = page(&format!("?limit=2&after={}", shown[1]), list_of(&entries[3..], false));
    assert_eq!(second.upstream_request().path(), "/v1/batches?after=batch_a2&limit=100");
    assert_eq!((ids(&second).len(), &second.json()["has_more"]), (1, &json!(false)));
    for entry in [first, second] {
        assert!(!entry.text().contains("globex") && !entry.text().contains("acme2"), "{}", entry.text());
    }
    let empty = page("?limit=2", list_of(&[("batch_g1", "globex"), ("batch_g2", "globex")], true));
    assert_eq!((empty.status(), empty.text().as_str()), (307, "{}"));
    let next = empty.header("location").expect("a location");
    assert!(next.starts_with("/v1/batches?limit=2&after=batch_") && !next.contains("batch_g2"), "{next}");
    let on = gateway.send(get(&next).bearer(ACME)).upstream(ok().json(&list_of(&[("batch_a9", "acme")], false)));
    assert_eq!(on.upstream_request().path(), "/v1/batches?after=batch_g2&limit=100");
    assert_eq!(ids(&on).len(), 1);
    refused(&gateway, get(&next).bearer(GLOBEX), 404, "not_found");
    let cursor = next.rsplit('=').next().expect("a cursor");
    refused(&gateway, get(&format!("/v1/batches/{cursor}")).bearer(ACME), 404, "not_found");
}

#[test]
fn a_list_that_cannot_be_read_is_withheld() {
    let gateway = start();
    for upstream in
        [ok().json(&json!({"data": "x"})), ok().header("content-type", "application/json").body("{"), ok().body("text")]
    {
        gateway.send(get("/v1/vector_stores").bearer(ACME)).upstream(upstream).assert_status(502);
    }
    gateway
        .send(get("/v1/vector_stores").bearer(ACME))
        .upstream(status(500).json(&json!({"error": {}})))
        .assert_status(500);
}

#[test]
fn what_a_tenant_creates_carries_its_name() {
    let gateway = start();
    let store = json!({"name": "s", "file_ids": [], "metadata": {"weir_tenant": "globex", "k": "v"}});
    let sent = gateway.send(post("/v1/vector_stores").bearer(ACME).json(&store)).upstream(ok()).upstream_request();
    assert_eq!(sent.json()["metadata"], json!({"weir_tenant": "acme", "k": "v"}));
    let form = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
    let upload = || post("/v1/files").bearer(ACME).header("content-type", "multipart/form-data; boundary=b");
    let uploaded =
        gateway.send(upload().body(form)).upstream(ok().json(&json!({"id": FILE, "filename": "weir[acme]a.txt"})));
    let sent = uploaded.upstream_request().text();
    assert_eq!(sent, form.replace("\"a.txt\"", "\"weir[acme]a.txt\""));
    assert_eq!(uploaded.json()["filename"], json!("a.txt"));
    let batch = |id: &str| {
        let line = json!({"custom_id": "1", "url": "/v1/responses", "body": {"previous_response_id": id}});
        form.replace("assistants", "batch").replace("hello", &format!("{line}\n{line}\n"))
    };
    let own = hand_out(&gateway, ACME, "/v1/responses", RESPONSE);
    let sent = gateway.send(upload().body(batch(&own))).upstream(ok()).upstream_request().text();
    assert_eq!(sent.matches(RESPONSE).count(), 2);
    refused(&gateway, upload().body(batch(RESPONSE)), 404, "not_found");
    refused(&gateway, upload().body(form.replace("a.txt", "a\\\".txt")), 400, "body_not_json");
}

#[test]
fn a_tuned_model_is_its_tenants_and_no_list_shows_it() {
    let gateway = start();
    let tuned = "ft:gpt-4o-mini:org::9AbCdE";
    let job = gateway.send(get("/v1/fine_tuning/jobs/ftjob-x").bearer(ACME));
    job.reply().assert_status(404);
    let sealed = {
        let made = post("/v1/fine_tuning/jobs").bearer(ACME).json(&json!({"model": "gpt-4o-mini"}));
        let reply = gateway.send(made).upstream(ok().json(&json!({"id": "ftjob-1", "fine_tuned_model": tuned})));
        reply.json()["fine_tuned_model"].as_str().expect("a model").to_owned()
    };
    let chat = |model: &str, key: &str| {
        post("/v1/chat/completions").bearer(key).json(&json!({"model": model, "messages": []}))
    };
    let mut provided = answer();
    provided["model"] = json!(tuned);
    let reply = gateway.send(chat(&sealed, ACME)).upstream(ok().json(&provided));
    assert_eq!(reply.upstream_request().json()["model"], json!(tuned));
    assert_eq!(reply.json()["model"], json!(sealed));
    refused(&gateway, chat(&sealed, GLOBEX), 404, "not_found");
    refused(&gateway, chat(tuned, ACME), 404, "not_found");
    let models = json!({"object": "list", "data": [{"id": "gpt-4o"}, {"id": tuned}]});
    let listed = gateway.send(get("/v1/models").bearer(ACME)).upstream(ok().json(&models));
    assert_eq!(ids(&listed), ["gpt-4o"]);
}

#[test]
fn anthropic_and_gemini_keep_their_own_alphabets() {
    let gateway = start();
    let batch = json!({"id": "msgbatch_01A", "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_01A/results"});
    let made = gateway
        .send(post("/anthropic/v1/messages/batches").bearer(ACME).json(&json!({"requests": []})))
        .upstream(ok().json(&batch))
        .json();
    let id = made["id"].as_str().expect("an id");
    assert!(id.starts_with("msgbatch_") && id != "msgbatch_01A");
    assert_eq!(
        made["results_url"],
        json!(format!("/v1/messages/batches/{id}/results")),
        "below the gateway's own root"
    );
    refused(&gateway, get(&format!("/anthropic/v1/messages/batches/{id}")).bearer(GLOBEX), 404, "not_found_error");
    let cache = json!({"name": "cachedContents/abc", "displayName": "weir[acme]x", "model": "models/g"});
    let asked = post("/v1beta/cachedContents").bearer(ACME).json(&json!({"model": "models/g", "displayName": "x"}));
    let reply = gateway.send(asked).upstream(ok().json(&cache));
    assert_eq!(reply.upstream_request().json()["displayName"], json!("weir[acme]x"));
    let name = reply.json()["name"].as_str().expect("a name").to_owned();
    assert_eq!(reply.json()["displayName"], json!("x"));
    let used = json!({"contents": [], "cachedContent": name});
    let generate = |key: &str| post("/v1beta/models/g:generateContent").bearer(key).json(&used);
    let sent = gateway.send(generate(ACME)).upstream(ok()).upstream_request();
    assert_eq!(sent.json()["cachedContent"], json!("cachedContents/abc"));
    refused(&gateway, generate(GLOBEX), 404, "NOT_FOUND");
    let gone = gateway.send(delete(&format!("/v1beta/{name}")).bearer(ACME)).upstream(ok()).upstream_request();
    assert_eq!(gone.path(), "/v1beta/cachedContents/abc");
}

#[test]
fn ids_open_after_a_rotation() {
    let gateway = start();
    let id = hand_out(&gateway, ACME, "/v1/responses", RESPONSE);
    let mut config = sealing();
    let new = json!({"version": 2, "secret": "another secret of more than thirty-two bytes"});
    config["sealed_ids"]["keys"] = json!([new, config["sealed_ids"]["keys"][0]]);
    gateway.reload(config.clone()).expect("a good configuration");
    let path = format!("/v1/responses/{id}");
    let again = gateway.send(get(&path).bearer(ACME)).upstream(ok().json(&json!({"id": RESPONSE}))).json();
    assert_ne!(again["id"], json!(id), "the new key seals");
    config["sealed_ids"]["keys"] = json!([new]);
    gateway.reload(config).expect("a good configuration");
    refused(&gateway, get(&path).bearer(ACME), 404, "not_found");
}

#[test]
fn ids_are_sealed_in_answers_that_are_searched_for_identifiers() {
    let mut config = sealing();
    config["tenants"][1]["identifiers"] = json!(["Globex GmbH"]);
    config["redact"] = json!({"identifiers": true});
    let gateway = Gateway::envoy().config(config).start();
    let id = hand_out(&gateway, ACME, "/v1/responses", RESPONSE);
    let answer = json!({"id": RESPONSE, "output": [{"text": "Ask Globex GmbH."}]});
    let reply = gateway.send(get(&format!("/v1/responses/{id}")).bearer(ACME)).upstream(ok().json(&answer));
    assert_eq!(reply.json(), json!({"id": id, "output": [{"text": "Ask [redacted]."}]}));
    let mut list = list_of(&[("batch_a1", "acme"), ("batch_g1", "globex")], false);
    list["data"][0]["metadata"]["note"] = json!("Globex GmbH");
    let listed = gateway.send(get("/v1/batches").bearer(ACME)).upstream(ok().json(&list));
    assert_eq!((ids(&listed).len(), listed.text().contains("lobex")), (1, false));
}

#[test]
fn kong_refuses_to_seal() {
    let gateway = Gateway::kong().config(sealing()).start();
    gateway.send(get("/healthz").bearer(ACME)).reply().assert_status(503);
    gateway
        .assert_logged(weir_host_tests::host::LogLevel::Error, "the route openai seals ids, which this gateway cannot");
}

/// A form may name a file as JSON does, and is as little let through unread.
#[test]
fn forms_of_images_and_sounds_name_ones_own_ids_alone() {
    let gateway = start();
    let form = |name: &str, value: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b\r\n\
             Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nPNG\r\n--b--\r\n"
        );
        post("/v1/images/edits").bearer(ACME).header("content-type", "multipart/form-data; boundary=b").body(body)
    };
    refused(&gateway, form("images[][file_id]", FILE), 404, "not_found");
    refused(&gateway, form("anything", FILE), 400, "unexpected_id");
    refused(&gateway, form("model", "ft:gpt-4o:globex::abc123"), 404, "not_found");
    let reply = gateway.send(form("prompt", "a boat")).upstream(ok());
    assert!(reply.upstream_request().text().contains("a boat"));
}

#[test]
fn refusals_have_the_shape_of_the_routes_api_whatever_the_path_looks_like() {
    let gateway = start();
    let shape = |path: &str| gateway.send(get(path).bearer(ACME)).reply().json();
    assert_eq!(shape("/v1/models/ft:gpt-4o:globex::abc")["error"]["code"], "not_found", "OpenAI's");
    assert_eq!(shape("/v1/messages/batches")["error"]["code"], "operation_not_permitted", "OpenAI's");
    assert_eq!(shape("/anthropic/v1/files/file_x")["error"]["type"], "not_found_error", "Anthropic's");
    assert_eq!(shape("/v1beta/files/x")["error"]["status"], "NOT_FOUND", "Google's");
}

#[test]
fn a_finding_names_the_operation_that_was_refused() {
    let gateway = start();
    gateway.send(delete("/v1/files/file-AbC123dEf456").bearer(ACME)).reply().assert_status(404);
    let chat = json!({"model": "m", "input": "x", "previous_response_id": RESPONSE});
    gateway.send(post("/v1/responses").bearer(ACME).json(&chat)).reply().assert_status(404);
    gateway.send(get("/v1/videos").bearer(ACME)).reply().assert_status(403);
    gateway.run_for(weir_host_tests::scenario::secs(120));
    let mut operations = Vec::new();
    while let Some(call) = gateway.calls().first().map(|_| gateway.next_call("weir")) {
        for event in call.json().as_array().into_iter().flatten().filter(|event| event["type"] == "weir.security.v1") {
            let findings = event["data"]["findings"].as_array().expect("findings");
            operations.extend(findings.iter().map(|finding| finding["operation"].as_str().expect("text").to_owned()));
        }
        call.answer(202, r#"{"accepted":1,"rejected":[]}"#);
    }
    operations.sort();
    assert_eq!(operations, ["DELETE files/{id}", "chat", "operation_not_permitted"]);
}
