//! Who asks: kept-alive connections, one thread each, requests encoded beforehand.

use crate::pace;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use weir_rig::clock;

/// A request, as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Shot {
    bytes: Vec<u8>,
    /// The stream that its answer is.
    stream: Option<u64>,
}

/// The outcome of a burst.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volley {
    /// From the first byte sent to the last one received, in nanoseconds, unordered.
    pub nanos: Vec<u64>,
    /// How often something of an answer's body arrived.
    pub reads: u64,
    /// Answers that were not 200.
    pub failed: u64,
    /// How long it all took.
    pub took: Duration,
}

/// How fast requests follow one another.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each as soon as the one before it is answered.
    AtOnce,
    /// Each connection sends one in this time, the connections one after the other: they come evenly.
    Every(Duration),
}

impl Shot {
    /// A small request.
    #[must_use]
    pub fn get(path: &str, credential: &str) -> Self {
        Shot { bytes: head("GET", path, credential, "").into_bytes(), stream: None }
    }

    /// One with a JSON body.
    #[must_use]
    pub fn post(path: &str, credential: &str, body: &Value) -> Self {
        Shot { bytes: post(path, credential, body, ""), stream: None }
    }

    /// One whose answer is a stream of so many chunks, each of which the upstream sends when the one before it has come
    /// through.
    #[must_use]
    pub fn stream(path: &str, credential: &str, body: &Value, chunks: usize) -> Self {
        let stream = pace::next_stream();
        let wish = format!("x-stream: {stream}\r\nx-chunks: {chunks}\r\n");
        Shot { bytes: post(path, credential, body, &wish), stream: Some(stream) }
    }
}

fn post(path: &str, credential: &str, body: &Value, more: &str) -> Vec<u8> {
    let body = body.to_string();
    let more = format!("content-type: application/json\r\ncontent-length: {}\r\n{more}", body.len());
    let mut bytes = head("POST", path, credential, &more).into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn head(method: &str, path: &str, credential: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: api.example.com\r\nuser-agent: bench/1.0\r\naccept: */*\r\n\
         authorization: Bearer {credential}\r\n{more}\r\n"
    )
}

/// Kept-alive connections to one listener.
#[derive(Debug)]
pub struct Clients(Vec<BufReader<TcpStream>>);

impl Clients {
    /// Opens this many connections.
    ///
    /// # Errors
    /// When the listener does not take them.
    pub fn connect(to: SocketAddr, count: usize) -> io::Result<Self> {
        let open = |_| {
            let connection = TcpStream::connect(to)?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(BufReader::with_capacity(1 << 16, connection))
        };
        (0..count).map(open).collect::<io::Result<_>>().map(Clients)
    }

    /// Sends every shot once, shared out among the connections.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(crate) fn fire(&mut self, shots: &[Shot], pace: Pace) -> io::Result<Volley> {
        let share = shots.len().div_ceil(self.0.len().max(1)).max(1);
        let (count, started) = (u32::try_from(self.0.len()).unwrap_or(u32::MAX), clock::instant());
        let parts: io::Result<Vec<Volley>> = thread::scope(|scope| {
            let connections = (0..count).zip(&mut self.0).zip(shots.chunks(share));
            let threads: Vec<_> = connections
                .map(|((place, client), shots)| {
                    let first = match pace {
                        Pace::AtOnce => started,
                        Pace::Every(gap) => started + gap * place / count,
                    };
                    scope.spawn(move || fire(client, shots, pace, first))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| io::Error::other("a client panicked"))?)
                .collect()
        });
        let mut all = Volley { took: started.elapsed(), ..Volley::default() };
        for part in parts? {
            all.nanos.extend(part.nanos);
            all.reads += part.reads;
            all.failed += part.failed;
        }
        Ok(all)
    }
}

fn fire(client: &mut BufReader<TcpStream>, shots: &[Shot], pace: Pace, first: Instant) -> io::Result<Volley> {
    let mut volley = Volley::default();
    let mut due = first;
    for shot in shots {
        let mut late = false;
        if let Pace::Every(gap) = pace {
            due += gap;
            late = clock::instant() > due;
            thread::sleep(due.saturating_duration_since(clock::instant()));
        }
        // Latency counts from the time at which a request was due, so a late answer also delays the next one.
        let sent = if late { due } else { clock::instant() };
        client.get_mut().write_all(&shot.bytes)?;
        let (ok, reads) = receive(client, shot.stream)?;
        volley.nanos.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
        volley.reads += reads;
        volley.failed += u64::from(!ok);
    }
    Ok(volley)
}

/// Reads one answer: whether it was 200, and how many pieces its body came in.
fn receive(client: &mut BufReader<TcpStream>, stream: Option<u64>) -> io::Result<(bool, u64)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let ok = head.starts_with("HTTP/1.1 200");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if let Some(length) = length {
        io::copy(&mut client.take(length as u64), &mut io::sink())?;
        return Ok((ok, 1));
    }
    let mut reads = 0;
    let upstream = stream.and_then(pace::upstream_of);
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        io::copy(&mut client.take(size as u64 + 2), &mut io::sink())?;
        if size == 0 {
            return Ok((ok, reads));
        }
        reads += 1;
        if let Some(upstream) = &upstream {
            // It has ended: there is nothing left to ask for.
            let _ended = upstream.send(());
        }
    }
}
