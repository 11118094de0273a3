//! A provider that answers as an attacker would have it: bytes on a connection, so that even the framing can be wrong.
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many kinds of answers there are; the header `x-hostile-answer` asks for one by number.
pub(super) const KINDS: u64 = 18;

/// The longest head of a request that is read.
const HEAD_MAX_BYTES: usize = 1 << 18;
/// How long a request may pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running provider. It ends with the runtime that it was started in.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Where it listens.
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Upstream {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let requests = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let _broken = serve(stream, &seen).await;
                });
            }
        });
        Ok(Self { address, requests })
    }

    /// How often each request came, by its id.
    #[must_use]
    pub(super) fn requests(&self) -> BTreeMap<String, u32> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one request, and closes.
async fn serve(mut stream: TcpStream, seen: &Mutex<BTreeMap<String, u32>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_MAX_BYTES || read(&mut stream, &mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let id = header("x-request-id").unwrap_or_default().to_owned();
    *seen.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let is_chunked = header("transfer-encoding").is_some();
    loop {
        let body = &bytes[end + 4..];
        let is_whole = if is_chunked { body.ends_with(b"0\r\n\r\n") } else { body.len() >= length };
        if is_whole || read(&mut stream, &mut bytes).await? == 0 {
            break;
        }
    }
    let kind = header("x-hostile-answer").and_then(|kind| kind.parse().ok());
    for write in answer(kind) {
        stream.write_all(&write).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    match tokio::time::timeout(PATIENCE, stream.read_buf(bytes)).await {
        Ok(read) => read,
        Err(_) => Ok(0),
    }
}

/// What is written, write by write. None: a good answer.
fn answer(kind: Option<u64>) -> Vec<Vec<u8>> {
    const USAGE: &str = r#""usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#;
    let deep = "[".repeat(50_000);
    match kind {
        None => vec![json(&format!(r#"{{"id":"c","object":"chat.completion","choices":[{{"message":{{"content":"noon"}}}}],{USAGE}}}"#))],
        Some(0) => vec![json(&deep)],
        Some(1) => vec![json(r#"{"usage":{"prompt_tokens":1e400,"completion_tokens":-9,"total_tokens":99999999999999999999}}"#)],
        Some(2) => vec![json(&format!("{{{USAGE},{USAGE},\"usage\":null,\"usage\":[{{{USAGE}}}]}}"))],
        Some(3) => vec![head("200 OK", "application/json", "content-encoding: gzip\r\n"), vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xFF, 0xFF, 7, 7]],
        Some(4) => vec![head("200 OK", "application/json", "content-length: 900000\r\n"), b"{\"usage\":".to_vec()],
        Some(5) => vec![head("200 OK", "text/event-stream", ""), sse(&["{", "]", "{\"choices\":[]", "[DONE]"])],
        Some(6) => vec![head("200 OK", "text/event-stream", ""), format!("data: {}\n", "x".repeat(60_000)).into_bytes()],
        Some(7) => (0..40).map(|at| if at == 0 { head("200 OK", "text/event-stream", "") } else { b"data: {\"choices\":[{\"delta\":{\"content\":\"\xFF\xC3\"}}]}\r\r".to_vec() }).collect(),
        Some(8) => vec![head("200 OK", "application/vnd.amazon.eventstream", ""), vec![0, 0, 0xFF, 0xFF, 0, 0, 0, 9, 1, 2, 3, 4, 5], vec![0; 300]],
        Some(9) => vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n5\r\n{\"usa\r\nzz\r\n".to_vec()],
        Some(10) => vec![b"HTTP/9.9 banana\r\n\r\n".to_vec()],
        Some(11) => Vec::new(),
        Some(12) => vec![head("500 Oops", "application/json", ""), format!("{{{USAGE},\"error\":{{\"message\":\"stream_options\"}}}}").into_bytes()],
        Some(13) => vec![head("204 No Content", "application/json", "")],
        Some(14) => vec![head("200 OK", "image/png", ""), format!("{{{USAGE}}}").into_bytes()],
        Some(15) => vec![b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_vec()],
        Some(16) => vec![head("400 Bad Request", "application/json", ""), b"{\"error\":\"stream_options is not known\"}".to_vec()],
        Some(_) => {
            let words = format!(r#"{{"choices":[{{"delta":{{"content":" word"}}}}],{USAGE}}}"#);
            vec![head("200 OK", "text/event-stream", ""), sse(&[&words, &words, &deep[..5_000], &words, "[DONE]"])]
        }
    }
}

fn head(status: &str, kind: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n{more}\r\n").into_bytes()
}

fn json(body: &str) -> Vec<u8> {
    let mut bytes = head("200 OK", "application/json", &format!("content-length: {}\r\n", body.len()));
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn sse(events: &[&str]) -> Vec<u8> {
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}
