//! Who answers: a server that costs as little as one can, so that the gateway is what is measured. One thread for each
//! connection, answers encoded beforehand.

use crate::cases;
use crate::pace;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Every answer.
struct Answers {
    empty: Vec<u8>,
    whole: Vec<u8>,
    accepted: Vec<u8>,
}

/// Starts it; it ends with the process.
///
/// # Errors
/// When no port is free.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answers = Arc::new(answers());
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            thread::spawn(move || serve(&connection, &answers));
        }
    });
    Ok(address)
}

fn answers() -> Answers {
    let json = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    Answers {
        empty: json("200 OK", "{}"),
        whole: json("200 OK", &cases::answer().to_string()),
        accepted: json("202 Accepted", r#"{"accepted":1,"rejected":[]}"#),
    }
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// The number behind a header's name.
fn number(head: &str, name: &str) -> Option<u64> {
    head.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

/// Until the connection ends, however it does.
fn serve(connection: &TcpStream, answers: &Answers) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = (BufReader::with_capacity(1 << 17, connection), connection);
    let (mut head, mut body) = (String::new(), Vec::new());
    loop {
        head.clear();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = usize::try_from(number(&head, "content-length: ").unwrap_or(0)).ok()?;
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        if head.starts_with("GET ") {
            writer.write_all(&answers.empty).ok()?;
        } else if head.starts_with("POST /v1/events") {
            writer.write_all(&answers.accepted).ok()?;
        } else if let Some(stream) = number(&head, "x-stream: ") {
            let paced = pace::begin(stream);
            writer.write_all(STREAM_HEAD.as_bytes()).ok()?;
            for text in cases::stream(usize::try_from(number(&head, "x-chunks: ")?).ok()?, false) {
                writer.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).ok()?;
                paced.wait();
            }
            writer.write_all(b"0\r\n\r\n").ok()?;
        } else {
            writer.write_all(&answers.whole).ok()?;
        }
    }
}
