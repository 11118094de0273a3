//! Writes attacks to the gateway, and reads what comes back as far as it is an answer.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_rig::clock;

use super::requests::Attack;

/// How long an answer may take. An attack may ask for more than it sends, and wait for ever.
const ATTACK_MAX: Duration = Duration::from_millis(700);
/// How long it may pause once it has begun.
const PAUSE_MAX: Duration = Duration::from_millis(40);
/// The same for a request that any gateway serves.
const GOOD_MAX: Duration = Duration::from_secs(20);

/// How an exchange ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// An answer with that status; over HTTP/2 any answer is 200.
    Answer(u16),
    /// The gateway closed without an answer.
    Closed,
    /// Nothing came for a while.
    Silence,
    /// The client went by itself.
    Left,
}

/// Sends one attack.
pub(super) async fn send(gateway: SocketAddr, attack: &Attack) -> Seen {
    let mut bytes = Vec::new();
    let exchange = async {
        let mut stream = connect(gateway).await?;
        for write in &attack.writes {
            stream.write_all(write).await?;
            tokio::task::yield_now().await;
        }
        if attack.leaves {
            return Ok(Seen::Left);
        }
        // The gateway keeps a connection open for a while whose request it has not read to its end: a pause ends the answer.
        while let Ok(read) = tokio::time::timeout(pause_max(&bytes), stream.read_buf(&mut bytes)).await {
            if read? == 0 {
                return io::Result::Ok(status(&bytes, attack.is_h2, Seen::Closed));
            }
        }
        Ok(status(&bytes, attack.is_h2, Seen::Silence))
    };
    // The gateway may close while a body that it does not want is still being written.
    let seen = tokio::time::timeout(ATTACK_MAX, exchange).await;
    seen.map_or(Seen::Silence, |seen| seen.unwrap_or(Seen::Closed))
}

/// How long an answer may pause: it may take its time to begin.
fn pause_max(bytes: &[u8]) -> Duration {
    if bytes.is_empty() { ATTACK_MAX } else { PAUSE_MAX }
}

/// Sends a request that must be served, and tells how long that took.
pub(super) async fn time(gateway: SocketAddr, request: &[u8]) -> (Seen, Duration) {
    let started = clock::instant();
    let exchange = async {
        let mut stream = connect(gateway).await?;
        stream.write_all(request).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        io::Result::Ok(status(&bytes, false, Seen::Closed))
    };
    let seen = match tokio::time::timeout(GOOD_MAX, exchange).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(_)) => Seen::Closed,
        Err(_) => Seen::Silence,
    };
    (seen, started.elapsed())
}

async fn connect(gateway: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn status(bytes: &[u8], is_h2: bool, otherwise: Seen) -> Seen {
    if is_h2 && !bytes.is_empty() {
        return Seen::Answer(200);
    }
    let line = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = line.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    status.map_or(otherwise, Seen::Answer)
}
