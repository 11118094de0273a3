//! Requests written byte by byte: clients tidy up what these tests are about.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use weir_rig::envoy::Envoy;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything up to the empty line, byte by byte, so that nothing behind it is swallowed.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Sends a head, its lines ended, and gives the connection and the answer's first line.
pub(crate) fn open(envoy: &Envoy, request_line: &str, headers: &str) -> (TcpStream, String) {
    let address = envoy.url().replacen("http://", "", 1);
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let head = format!("{request_line} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = read_head(&mut stream);
    let first = answer.lines().next().unwrap_or_default().to_owned();
    (stream, first)
}
