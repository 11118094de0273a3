//! Bodies and paths in the real Envoy: what is held stays below its buffer, and another model in the path picks the route.
use serde_json::{Value, json};
use weir_rig::load::Client;

use crate::edge::{Setup, filter};

const BUFFER: usize = 64 << 10;
const READ_MAX: usize = 60_000;

/// As the shipped configuration, sixteen times smaller: what a route holds is what weir reads and one read more.
fn small_buffers(config: &mut Value) {
    config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(BUFFER);
    let host = crate::edge::manager(config).pointer_mut("/route_config/virtual_hosts/0").expect("a virtual host");
    assert!(host["request_body_buffer_limit"].is_number(), "the shipped file sets it");
    host["request_body_buffer_limit"] = json!(4 * BUFFER);
}

fn body(bytes: usize) -> String {
    let empty = r#"{"model":"m","messages":[],"x":""}"#;
    format!("{}{}\"}}", &empty[..empty.len() - 2], "x".repeat(bytes - empty.len()))
}

/// The head of a chat of acme's whose body comes in chunks, and the chunks.
fn in_chunks(body: &str) -> Vec<Vec<u8>> {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_weir_acme\r\n\
                content-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let chunks = body.as_bytes().chunks(10_000).map(chunk);
    std::iter::once(head.into()).chain(chunks).chain([b"0\r\n\r\n".to_vec()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_413_for_weirs_sake_however_a_body_comes() {
    let mut config = filter(&json!({"requests": {"rate": "1000/s"}}));
    config["body_max_bytes"] = json!(READ_MAX);
    let edge = Setup { edit: small_buffers, ..Setup::default() }.start(&config);
    let sizes = [100, READ_MAX - 1, READ_MAX, READ_MAX + 1, BUFFER, BUFFER + 1, 200_000, 3_000_000];
    for size in sizes {
        let told = edge.post("/v1/chat/completions", &serde_json::from_str(&body(size)).expect("JSON"));
        assert_eq!(Client::new().send(told).await.status, 200, "{size} bytes");
        // All but the last bytes that are read, and then, when Envoy holds them, the rest at once.
        let chunks = in_chunks(&body(size)).concat();
        let (first, rest) = chunks.split_at(chunks.len().min(READ_MAX - 2_000));
        let answer = edge.raw(&[first, rest]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{size} bytes in chunks: {answer}");
    }
    assert_eq!(edge.llm.tally().tenant("acme").requests, 2 * sizes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_in_the_path_reaches_the_provider_by_the_route_of_its_own() {
    let edit = |config: &mut Value| {
        let route = json!({
            "match": {"prefix": "/openai/deployments/mini/"}, "route": {"cluster": "upstream", "timeout": "0s"},
            "request_headers_to_add": [{"header": {"key": "x-route", "value": "mini"}}],
        });
        let routes = crate::edge::manager(config).pointer_mut("/route_config/virtual_hosts/0/routes");
        routes.and_then(Value::as_array_mut).expect("routes").insert(0, route);
    };
    let models = json!({"allow": ["mini"], "otherwise": {"replace": "mini"}});
    let edge = Setup { edit, ..Setup::default() }.start(&filter(&json!({ "models": models })));
    let rows = [
        (
            "/openai/deployments/large/chat/completions?api-version=1",
            "/openai/deployments/mini/chat/completions?api-version=1",
            Some("mini"),
        ),
        ("/v1beta/models/large:generateContent", "/v1beta/models/mini:generateContent", None),
        ("/model/large.v1%3A0/converse", "/model/mini/converse", None),
    ];
    for (path, sent, route) in rows {
        let reply = Client::new().send(edge.post(path, &json!({"messages": [], "contents": []}))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let seen = edge.llm.seen().pop().expect("a request");
        assert_eq!(
            (seen.path.as_str(), seen.header("x-route"), seen.header("x-model")),
            (sent, route, Some("mini")),
            "{path}"
        );
    }
    // As the client wrote it: Envoy has taken the escape out where it stands for a plain letter.
    let hidden = edge.post("/v1beta/%6Dodels/large:generateContent", &json!({"model": "mini", "contents": []}));
    let reply = Client::new().send(hidden).await;
    let seen = edge.llm.seen().pop().expect("a request");
    assert!(
        reply.status == 400 || seen.path == "/v1beta/models/mini:generateContent",
        "{} {}",
        reply.status,
        seen.path
    );
}
