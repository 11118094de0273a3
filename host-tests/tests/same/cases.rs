//! One configuration, as people write it, and requests of every kind with what their upstream answers.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::scenario::{Request, Response, get, head, ok, post, request, status};

/// A request and what the upstream would answer to it; `None`: the client leaves before.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) request: Request,
    pub(crate) response: Option<Response>,
}

/// Four tenants, four plans, routes with rules of their own.
pub(crate) fn config() -> Value {
    let text = r#"
version: 1
gateway: gw-1
identity:
  sources:
    - api_key: {header: authorization, prefix: sk_weir_}
    - api_key: {header: x-api-key, prefix: sk_weir_}
plans:
  free: {}
  starter: {requests: {rate: 2/min}}
  capped: {output_tokens_max: 100, models: {allow: [gpt-4o-mini], otherwise: {replace: gpt-4o-mini}}}
  strict: {models: {allow: [gpt-4o-mini]}, classes: [chat, other], request_max_bytes: 300, tokens: {rate: 100/min}}
routes:
  - {name: search, match: {path_prefix: /v1/search}, class: rag, feature: search}
  - {match: {path: /healthz}, bypass: true}
  - {name: socket, match: {path: /socket}, upgrade: true}
events: {cluster: weir, token: gateway-token-0123456789, flush: 1s}
"#;
    let mut config: Value = serde_saphyr::from_str(text).expect("YAML");
    let tenant = |id: &str, plan: &str| {
        let hash = KeyHash::of(format!("sk_weir_{id}").as_bytes());
        json!({"id": id, "plan": plan, "keys": [{"id": format!("key_{id}"), "sha256": hash, "environment": "production"}]})
    };
    let tenants = [("acme", "free"), ("globex", "starter"), ("initech", "capped"), ("umbrella", "strict")];
    config["tenants"] = tenants.iter().map(|(id, plan)| tenant(id, plan)).collect();
    config
}

fn body(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "How are you?"}]})
}

fn chat(tenant: &str, model: &str) -> Request {
    post("/v1/chat/completions").bearer(&format!("sk_weir_{tenant}")).json(&body(model))
}

fn streaming(tenant: &str) -> Request {
    let mut body = body("gpt-4o-mini");
    body["stream"] = json!(true);
    post("/v1/chat/completions").bearer(&format!("sk_weir_{tenant}")).json(&body)
}

fn usage() -> Value {
    json!({"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42})
}

fn answer() -> Response {
    ok().json(&json!({"id": "c1", "object": "chat.completion", "model": "gpt-4o-2024-08-06", "usage": usage(),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"}]}))
}

fn words() -> &'static str {
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Well, thank you.\"}}]}\n\n"
}

fn stream() -> Response {
    let last = json!({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": usage()});
    ok().sse(&[words(), &format!("data: {last}\n\n"), "data: [DONE]\n\n"])
}

fn case(name: &'static str, request: Request, response: Response) -> Case {
    Case { name, request, response: Some(response) }
}

pub(crate) fn all() -> Vec<Case> {
    [admitted(), refused(), of_other_apis(), broken()].into_iter().flatten().collect()
}

fn admitted() -> Vec<Case> {
    vec![
        case("a chat", chat("acme", "gpt-4o"), answer()),
        case("a stream", streaming("acme"), stream()),
        case("a stream whose tenant has a cap", streaming("initech"), stream()),
        case("a model that is replaced, an output that is capped", chat("initech", "gpt-4o"), answer()),
        case("the key in another header", get("/v1/models").header("x-api-key", "sk_weir_acme"), ok().body("{}")),
        case("without a body", get("/v1/models").bearer("sk_weir_acme"), ok().json(&json!({"data": []}))),
        case("HEAD", head("/v1/models").bearer("sk_weir_acme"), ok()),
        case(
            "a route's class and feature",
            post("/v1/search/x").bearer("sk_weir_acme").json(&json!({"query": "tides"})),
            ok().json(&json!({})),
        ),
        case("bypass", get("/healthz"), ok()),
        case("the first of two", chat("globex", "gpt-4o"), answer()),
        case("the second of two", chat("globex", "gpt-4o"), answer()),
        case(
            "a forged name",
            get("/v1/models").bearer("sk_weir_acme").header("x-tenant-id", "globex").header("x-tenant-user", "x"),
            ok(),
        ),
        case(
            "a body that is not JSON, without a rule",
            post("/v1/chat/completions").bearer("sk_weir_acme").body("{\"model\""),
            status(400).body("{}"),
        ),
        case(
            "a preflight",
            request("OPTIONS", "/v1/models")
                .header("origin", "https://a.example")
                .header("access-control-request-method", "GET"),
            ok(),
        ),
        case("labels", chat("acme", "gpt-4o").header("x-feature", "bot").header("idempotency-key", "i1"), answer()),
    ]
}

fn refused() -> Vec<Case> {
    let long = "x".repeat(400);
    vec![
        case("the third of two", chat("globex", "gpt-4o"), answer()),
        case("no credential", get("/v1/models"), ok()),
        case("an unknown key", get("/v1/models").bearer("sk_weir_nobody"), ok()),
        case(
            "two tenants at once",
            get("/v1/models").bearer("sk_weir_acme").header("x-api-key", "sk_weir_globex"),
            ok(),
        ),
        case("a model outside the plan", chat("umbrella", "gpt-4o"), answer()),
        case(
            "a class outside the plan",
            post("/v1/embeddings").bearer("sk_weir_umbrella").json(&json!({"model": "gpt-4o-mini", "input": "x"})),
            ok(),
        ),
        case("more tokens than there are", chat("umbrella", "gpt-4o-mini"), answer()),
        case("a body too large", post("/v1/chat/completions").bearer("sk_weir_umbrella").json(&body(&long)), ok()),
        case(
            "a body that a rule needs and cannot read",
            post("/v1/chat/completions")
                .bearer("sk_weir_initech")
                .header("content-type", "application/json")
                .body("{\"model\""),
            ok(),
        ),
        case(
            "a name with an underscore",
            get("/v1/models").bearer("sk_weir_acme").header("x_tenant_id", "globex"),
            ok(),
        ),
        case("a path with two readings", get("/v1%2fmodels").bearer("sk_weir_acme").header("x-request-id", "r1"), ok()),
        case(
            "in the words of Anthropic",
            post("/v1/messages")
                .header("x-api-key", "sk_weir_nobody")
                .header("x-request-id", "r2")
                .json(&body("claude-haiku-4-5")),
            ok(),
        ),
        case(
            "an upgrade where none may be",
            get("/v1/realtime").bearer("sk_weir_acme").header("connection", "upgrade").header("upgrade", "websocket"),
            ok(),
        ),
    ]
}

fn of_other_apis() -> Vec<Case> {
    let anthropic = json!({"id": "m1", "type": "message", "model": "claude-haiku-4-5", "content": [],
                           "usage": {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 3}});
    let embedding = json!({"model": "e", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}});
    let acme = "sk_weir_acme";
    vec![
        case(
            "anthropic",
            post("/v1/messages").header("x-api-key", acme).json(&body("claude-haiku-4-5")),
            ok().json(&anthropic),
        ),
        case(
            "embeddings",
            post("/v1/embeddings").bearer(acme).json(&json!({"model": "e", "input": "x"})),
            ok().json(&embedding),
        ),
        case(
            "a completion",
            post("/v1/completions").bearer(acme).json(&json!({"model": "c", "prompt": "x"})),
            ok().json(&json!({"usage": usage()})),
        ),
        case(
            "an image",
            post("/v1/images/generations").bearer(acme).json(&json!({"model": "i", "prompt": "x"})),
            ok().json(&json!({"data": []})),
        ),
        case(
            "a moderation",
            post("/v1/moderations").bearer(acme).json(&json!({"input": "x"})),
            ok().json(&json!({"results": []})),
        ),
    ]
}

fn broken() -> Vec<Case> {
    vec![
        case(
            "the provider refuses",
            chat("acme", "gpt-4o"),
            status(429).json(&json!({"error": {"message": "slow down"}})),
        ),
        case("the provider fails", chat("acme", "gpt-4o"), status(503).body("away")),
        case("a stream that breaks off", streaming("acme"), ok().sse(&[words()]).reset()),
        case("a client that leaves a stream", streaming("acme"), ok().sse(&[words()]).client_gone()),
        case("no numbers", chat("acme", "gpt-4o"), ok().json(&json!({"choices": [{"message": {"content": "Well."}}]}))),
        Case { name: "a client that leaves before the answer", request: chat("acme", "gpt-4o"), response: None },
    ]
}
