//! The official clients of both providers, each over a provider of the other dialect: `clients.py`.
//!
//! A small server takes a client's request, translates it, keeps it for the script to check against the other client's
//! types, and answers in the other dialect with what the script has asked for, translated back.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use weir_contract::time::Timestamp;
use weir_llm_translate::{AnswerHead, AnswerTranslator, Dialect, Server, Target, Thinking, head, translate};

/// Pieces in which an upstream's answer comes.
const PIECE_BYTES: usize = 37;

/// A request as it came: its path and its body.
fn request(stream: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

fn reply(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &[u8]) {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Answer\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(body);
}

/// Answers a request in the client's dialect with `upstream`: the status, the headers and the body of a provider of the other.
fn exchange(path: &str, body: &Value, upstream: &Value) -> (Value, u16, Vec<(String, String)>, Vec<u8>) {
    let (client, server) = match path {
        "/v1/messages" => (Dialect::Anthropic, Server::OpenAi),
        _ => (Dialect::OpenAi, Server::Anthropic),
    };
    let to = Target { server, model: "served", output_tokens_max: 4096, thinking: Thinking::Effort, samples: false };
    let (now, json) = (Timestamp::from_secs(1_800_000_000), ("content-type".to_owned(), "application/json".to_owned()));
    let translated = match translate(client, &to, body.to_string().as_bytes()) {
        Ok(translated) => translated,
        Err(unfit) => return (json!(unfit.to_string()), 422, vec![json], b"{}".to_vec()),
    };
    let status = upstream["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let headers = upstream["headers"].as_object().expect("headers");
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
    let found = AnswerHead { status, headers: &headers };
    let edits = head(&translated.answer, &found, now);
    let mut translator = AnswerTranslator::new(translated.answer, &found, now);
    let mut out = Vec::new();
    let body = upstream["body"].as_str().expect("a body").as_bytes();
    body.chunks(PIECE_BYTES).for_each(|piece| translator.chunk(piece, &mut out));
    translator.end(&mut out);
    let stays =
        headers.iter().filter(|(name, _)| !edits.remove.iter().any(|gone| gone == name) && *name != "content-type");
    let headers = stays.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(edits.set).collect();
    (serde_json::from_slice(&translated.body).expect("JSON"), edits.status.unwrap_or(status), headers, out)
}

/// Serves until the script goes: `/upstream` sets the next answer, `/seen` gives the last translated request.
fn serve(listener: &TcpListener) {
    let (mut upstream, mut seen) = (Value::Null, Value::Null);
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        match request(&stream) {
            Some((path, body)) if path == "/upstream" => {
                upstream = body;
                reply(&mut stream, 200, &[], b"{}");
            }
            Some((path, _)) if path == "/seen" => reply(&mut stream, 200, &[], seen.to_string().as_bytes()),
            Some((path, body)) => {
                let (translated, status, headers, body) = exchange(&path, &body, &upstream);
                seen = translated;
                reply(&mut stream, status, &headers, &body);
            }
            None => {}
        }
    }
}

#[test]
fn both_official_clients_accept_every_translated_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || serve(&listener));
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let run = std::process::Command::new("python3")
        .arg(root.join("filter/llm-translate/tests/clients.py"))
        .arg(&url)
        .env("PYTHONPATH", root.join(".tools/clients"))
        .env("PYTHONWARNINGS", "ignore")
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "`make setup` brings the clients. {said}");
    assert!(String::from_utf8_lossy(&run.stdout).contains("good"), "{said}");
}
