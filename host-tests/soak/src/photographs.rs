//! Many large bodies at once through one worker of the real Envoy: what they cost in memory.
//!
//! Every client sends all of its body but the end, and ends it when all have, so that the gateway holds all of them together.
//! Envoy keeps the bytes; the filter's own memory has one body at a time.
use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use futures::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_rig::envoy::Options;

use crate::figures::Figures;
use crate::stack::{Plan, Stack};
use crate::traffic::{GOOD, key};

/// The picture in each request: 5 MB in base64.
const PICTURE_BYTES: usize = 5_000_000;
/// What the filter's own memory may grow by, whatever number of pictures there are: the largest body, its changed copy, and as much again for growing them.
const FILTER_MAX_BYTES: u64 = 40 << 20;
/// What Envoy may have resident for each picture, in percent of its bytes: it keeps the body, and what is under way on its sockets.
const RESIDENT_MAX_PERCENT: u64 = 250;
/// V8 reserves more than this behind the memory of a module, so that a load beyond its end faults.
const GUARD_MIN_BYTES: u64 = 1 << 30;

/// Sends `count` pictures at once.
///
/// # Errors
/// When something does not start, or a picture is not answered. What is too large is no error: see [`Figures::problems`].
pub async fn run(count: usize) -> anyhow::Result<Figures> {
    let stack = tokio::task::spawn_blocking(start).await??;
    let (gateway, pid) = (stack.envoy.listener("edge")?, stack.envoy.pid());
    let mut figures = Figures::default();
    let request = request(&json!({"url": "data:image/png;base64,AA=="}));
    finish(send(gateway, &request).await?, &[]).await.context("a small request first")?;
    let (resident, of_filter) = (memory(pid, "VmRSS:")?, filter_memory(pid)?);
    let picture = self::request(&json!({"url": format!("data:image/png;base64,{}", "A".repeat(PICTURE_BYTES))}));
    let (begin, end) = picture.split_at(picture.len() - 64);
    let open = try_join_all((0..count).map(|_| send(gateway, begin))).await?;
    let held = memory(pid, "VmRSS:")?;
    try_join_all(open.into_iter().map(|stream| finish(stream, end))).await?;
    let (peak, filter_after) = (memory(pid, "VmHWM:")?, filter_memory(pid)?);
    figures.say("pictures of 5 MB at once, one worker", count);
    figures.say("Envoy before, KiB resident", resident >> 10);
    figures.say("... while it holds all of them", held >> 10);
    figures.say("... at most", peak >> 10);
    let grown = peak.saturating_sub(resident);
    figures.say("... for each picture", (grown / count.max(1) as u64) >> 10);
    figures.say("the filter's memory before, KiB", of_filter >> 10);
    let filter_grown = filter_after.saturating_sub(of_filter);
    figures.say("... more afterwards", filter_grown >> 10);
    figures.check(of_filter > 0, || "the filter's memory is not found in /proc".to_owned());
    figures.check(filter_grown <= FILTER_MAX_BYTES, || format!("the filter grew by {filter_grown} bytes"));
    let bound = (count * PICTURE_BYTES) as u64 * RESIDENT_MAX_PERCENT / 100;
    figures.check(grown <= bound, || format!("Envoy grew by {grown} bytes, more than {bound}"));
    Ok(figures)
}

fn start() -> anyhow::Result<Stack> {
    let options = Options { concurrency: 1, log_level: "warning".to_owned(), ..Options::default() };
    let filter = json!({"plans": {"p": {"output_tokens_max": 500, "models": {"allow": ["*"]}}}});
    let (file, events) = ("sidecar.yaml", json!({}));
    let stack = Stack::start(&Plan { file, options, events, access_log: None, seed: 0, upstream: None, filter })?;
    stack.proxy.behave();
    Ok(stack)
}

fn request(image: &serde_json::Value) -> Vec<u8> {
    let content = json!([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": image}]);
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}).to_string();
    let key = key(GOOD);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

async fn send(gateway: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// Writes what is left, and reads a good answer.
async fn finish(mut stream: TcpStream, rest: &[u8]) -> anyhow::Result<()> {
    stream.write_all(rest).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let line = answer.get(..12).map(String::from_utf8_lossy);
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "a picture was answered {line:?}");
    Ok(())
}

/// Bytes that Linux says a process has.
fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("no such field")?;
    Ok(kilobytes << 10)
}

/// The size of all modules' memories in a process: each is followed by a guard that nobody may touch.
fn filter_memory(pid: u32) -> anyhow::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let ranges: Vec<(u64, u64, bool)> = maps.lines().filter_map(range).collect();
    let is_guarded = |pair: &&[(u64, u64, bool)]| match pair {
        [(_, end, true), (guard, guard_end, false)] => end == guard && guard_end - guard >= GUARD_MIN_BYTES,
        _ => false,
    };
    Ok(ranges.windows(2).filter(is_guarded).map(|pair| pair[0].1 - pair[0].0).sum())
}

/// A mapping: where it begins and ends, and whether it can be written.
fn range(line: &str) -> Option<(u64, u64, bool)> {
    let (range, rest) = line.split_once(' ')?;
    let (begin, end) = range.split_once('-')?;
    Some((u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?, rest.starts_with("rw")))
}
