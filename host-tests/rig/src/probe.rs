//! The smallest HTTP client that can ask a child process how it is: blocking, one request a connection, no pool.

use crate::clock;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Longer than any answer of a healthy process, shorter than anybody's patience.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer: status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, with chunked framing taken off.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is no JSON; the message holds the body.
    pub fn json(&self) -> io::Result<Value> {
        serde_json::from_str(&self.body)
            .map_err(|error| io::Error::other(format!("no JSON ({error}) with status {}: {}", self.status, self.body)))
    }
}

/// `GET path` at `address`.
///
/// # Errors
/// When the connection fails or what comes back is no HTTP answer.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    call("GET", address, path, &[])
}

/// A request without a body: `method path` at `address`, with the headers given.
///
/// # Errors
/// When the connection fails or what comes back is no HTTP answer.
pub fn call(method: &str, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // One write: a server may close before it has read a request that comes in pieces.
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{extra}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// A loopback port kept for one process: one that must be told its port, or that comes back at the same one.
///
/// The port is bound here but never listened on, so that the system gives it to nobody else, while the process it is
/// meant for can still listen there (both sides set `SO_REUSEADDR`, as Rust's listeners do).
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _bound: Socket,
}

impl Port {
    /// Picks a free port and keeps it until dropped.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn reserve() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a port without an address"))?;
        Ok(Self { address, _bound: socket })
    }

    /// The address to listen at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens at an address that this process may have listened at a moment ago.
///
/// A closed listener goes on listening while a child process that was forked meanwhile has not reached its `exec`: it
/// holds a copy of the socket until then. So a taken address is tried again for some seconds.
///
/// # Errors
/// If the address cannot be bound, or another process keeps listening there.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        bound => Some(bound),
    };
    let bound = clock::wait_for(Duration::from_secs(5), Duration::from_millis(10), bind);
    bound.unwrap_or_else(|| TcpListener::bind(address))
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let malformed = || io::Error::other(format!("no HTTP answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(body).ok_or_else(malformed)? } else { body.to_owned() };
    Ok(Answer { status, body })
}

fn dechunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_answer_is_put_together() {
        let answer =
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
        assert_eq!(answer, Answer { status: 200, body: "abcde".to_owned() });
    }

    #[test]
    fn a_reserved_port_is_listened_on_as_often_as_needed() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            let listener = listen(port.address()).unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        }
    }
}
