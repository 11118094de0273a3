//! Requests of every kind, each of which says whose it is in a way that no nonsense can forge.
use serde_json::{Value, json};
use weir_contract::directory::KeyHash;
use weir_host_tests::scenario::{Gateway, Reply, Request, Response, Sent, get, ok, post, request, status};
use weir_seeded::SplitMix64;

/// Whose name clients put into headers that only the gateway may set.
const VICTIM: &str = "victim";

/// A tenant with a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender(&'static str);

impl Sender {
    pub(crate) const ALL: [Sender; 3] = [Sender("acme"), Sender("globex"), Sender("initech")];

    pub(crate) fn tenant(self) -> &'static str {
        self.0
    }

    fn key(self) -> String {
        format!("sk_weir_{}", self.0)
    }

    /// A chat whose model says who asks for it, and in which request.
    pub(crate) fn chat(self, number: impl std::fmt::Display) -> Request {
        let body = json!({"model": self.model(number), "messages": [{"role": "user", "content": "How are you?"}]});
        post("/v1/chat/completions").bearer(&self.key()).json(&body)
    }

    fn model(self, number: impl std::fmt::Display) -> String {
        format!("{}-{number}", self.0)
    }
}

/// Everything on: limits of requests and of tokens, rules that need the body, answers that tell how limits stand.
pub(crate) fn config(polls: bool) -> Value {
    let mut config = json!({
        "version": 1,
        "identity": {"sources": [{"api_key": {"prefix": "sk_weir_"}}]},
        "plans": {"starter": {"requests": {"rate": "1000/s"}, "tokens": {"rate": "1000000/s"}, "output_tokens_max": 4096}},
        "routes": [{"match": {"path": "/healthz"}, "bypass": true}, {"match": {"path": "/socket"}, "upgrade": true}],
        "events": {"cluster": "weir", "token": "gateway-token-0123456789", "flush": "1s",
                   "signing_key": "a signing key of more than 32 bytes"},
    });
    if polls {
        config["directory"] = json!({"cluster": "tenants", "token": "t", "refresh": "5s", "staleness_max": "600s"});
    } else {
        config["tenants"] = tenants();
    }
    config
}

fn tenants() -> Value {
    let tenant = |sender: &Sender| {
        let hash = KeyHash::of(sender.key().as_bytes());
        json!({"id": sender.0, "plan": "starter", "keys": [{"id": sender.0, "sha256": hash}]})
    };
    Sender::ALL.iter().map(tenant).collect()
}

/// One page with all tenants.
pub(crate) fn directory() -> Value {
    json!({"version": "v1", "next": null, "tenants": tenants()})
}

/// Sends one random request, has it answered at random, and checks that it is counted for its sender only.
pub(crate) fn one(gateway: &Gateway, dice: &mut SplitMix64, number: u64) {
    let sender = Sender::ALL[dice.index(3)];
    let known = dice.below(8) > 0;
    let sent = gateway.send(forged(some_request(sender, known, dice, number), dice));
    // Where even the refusal is refused, the request is held until the client gives up.
    let reply = if sent.is_paused() || dice.below(20) == 0 {
        sent.client_gone()
    } else {
        answered(&sent, dice, sender, number)
    };
    check(&reply, sender, known);
    reply.forget();
}

fn some_request(sender: Sender, known: bool, dice: &mut SplitMix64, number: u64) -> Request {
    let key = if known { sender.key() } else { format!("sk_weir_nobody_{number}") };
    let body = json!({"model": sender.model(number), "stream": dice.below(2) == 0, "max_tokens": 9_000,
                      "messages": [{"role": "user", "content": "How are you?"}]});
    let chat = || post("/v1/chat/completions").bearer(&key);
    match dice.below(8) {
        0 => get("/v1/models").bearer(&key),
        1 | 2 => chat().json(&body),
        3 => chat().header("content-type", "application/json").body_in_chunks_of(16, body.to_string()),
        4 => chat().body("{\"model\": tru"),
        5 => chat().chunk(body.to_string()).trailer("x-checksum", "1"),
        6 => get("/socket").bearer(&key).header("connection", "upgrade").header("upgrade", "websocket"),
        _ => request("OPTIONS", "/v1/models").header("origin", "https://a.example").bearer(&key),
    }
}

/// Half of the clients claim to be another tenant.
fn forged(request: Request, dice: &mut SplitMix64) -> Request {
    if dice.below(2) == 0 {
        return request;
    }
    let names = ["x-tenant-id", "X-Tenant-Id", "x-tenant-plan"];
    request.header(names[dice.index(3)], VICTIM)
}

fn answered<'g>(sent: &Sent<'g>, dice: &mut SplitMix64, sender: Sender, number: u64) -> Reply<'g> {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42});
    let whole = json!({"model": sender.model(number), "choices": [{"message": {"content": "Well."}}], "usage": usage});
    let last = format!("data: {}\n\n", json!({"model": "m", "choices": [], "usage": usage}));
    let stream =
        || ok().sse(&["data: {\"choices\":[{\"delta\":{\"content\":\"Well\"}}]}\n\n", &last, "data: [DONE]\n\n"]);
    let response: Response = match dice.below(6) {
        0 => ok().json(&whole),
        1 => stream(),
        2 => stream().reset(),
        3 => stream().client_gone(),
        4 => status(503).body("nothing here"),
        _ => ok().timed_out(),
    };
    sent.upstream(response)
}

/// What reached the upstream went there under the name of whose key it carried; a preflight, which carries none, under
/// nobody's.
fn check(reply: &Reply<'_>, sender: Sender, known: bool) {
    if !reply.reached_upstream() {
        return;
    }
    let seen = reply.upstream_request();
    // Kong cannot remove a header: an empty one says nothing.
    let told = |name: &str| seen.headers.all(name).filter(|value| !value.is_empty()).collect::<Vec<_>>();
    if told(":method") == [b"OPTIONS"] && told("x-tenant-id").is_empty() {
        assert!(told("x-tenant-plan").is_empty(), "{seen:?}");
        return;
    }
    assert_eq!(told("x-tenant-id"), [sender.tenant().as_bytes()], "{seen:?}");
    assert_eq!(told("x-tenant-plan"), [b"starter"], "{seen:?}");
    assert!(known, "nobody's key passed: {seen:?}");
}
