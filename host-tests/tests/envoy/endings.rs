//! However a request ends in the real Envoy, it makes exactly one event.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::spine::{Stack, chat_body};

/// When a client goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Never,
    /// As soon as the first of the answer is there.
    WithinTheAnswer,
    /// As soon as the provider has the request.
    BeforeTheAnswer,
}

/// The request to the provider, the moment at which the client leaves, and the valid outcomes and usage of the event.
type Ending = (&'static str, Leaves, &'static [&'static str], &'static str);

const ENDINGS: [Ending; 8] = [
    ("pieces=4", Leaves::Never, &["ok"], "complete"),
    ("no_usage", Leaves::Never, &["ok"], "estimated"),
    ("status=500", Leaves::Never, &["upstream_error"], "none"),
    ("status=429", Leaves::Never, &["client_error"], "none"),
    ("reset", Leaves::Never, &["upstream_error", "upstream_reset"], "none"),
    ("pieces=20, cut_after=5", Leaves::Never, &["upstream_reset"], "estimated"),
    ("pieces=2000, chunk_delay_ms=50", Leaves::WithinTheAnswer, &["client_closed"], "estimated"),
    ("delay_ms=50000", Leaves::BeforeTheAnswer, &["client_closed"], "estimated"),
];

/// Sends a request by hand and goes in the middle of it.
fn leave(stack: &Stack, behaviour: &str, leaves: Leaves) {
    let (body, address) = (chat_body(true).to_string(), stack.gateway());
    let seen = stack.llm.seen().len();
    let mut connection = TcpStream::connect(address).expect("a connection");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer sk_weir_acme\r\n\
         content-type: application/json\r\nx-rig-behaviour: {behaviour}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes())).expect("sent");
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while leaves == Leaves::WithinTheAnswer && !String::from_utf8_lossy(&answer).contains("piece 1") {
        let read = connection.read(&mut piece).expect("an answer");
        assert!(read > 0, "the answer ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    for _ in 0..300 {
        if stack.llm.seen().len() > seen {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the provider did not get the request within 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_makes_one_event_that_claims_no_more_than_was_seen() {
    let stack = Stack::start(&json!({}));
    for (at, (behaviour, leaves, outcomes, status)) in ENDINGS.iter().enumerate() {
        match leaves {
            Leaves::Never => {
                stack.client.send(stack.chat(&chat_body(true)).header("x-rig-behaviour", behaviour)).await;
            }
            leaves => tokio::task::block_in_place(|| leave(&stack, behaviour, *leaves)),
        }
        let events = stack.receiver.usage(at + 1).await;
        let newest = events.iter().max_by_key(|event| event["time"].as_str().map(str::to_owned)).expect("an event");
        let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let outcome = said(&newest["data"]["outcome"]);
        assert!(outcomes.contains(&outcome.as_str()), "{behaviour}: {newest}");
        assert_eq!(said(&newest["data"]["usage"]["status"]), *status, "{behaviour}: {newest}");
    }
    // Each event had time to come twice: there are as many as there were requests.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stack.receiver.usage(0).await.len(), ENDINGS.len());
}
