//! Who answers: a server that costs as little as one can, so that the gateway is what is measured. One thread for each
//! connection, answers encoded beforehand.

use crate::cases::{self, CHUNKS};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Between two chunks of a stream: long enough that the gateway sees each by itself, also while others stream.
const BETWEEN_CHUNKS: Duration = Duration::from_millis(1);

/// Every answer.
struct Answers {
    empty: Vec<u8>,
    whole: Vec<u8>,
    accepted: Vec<u8>,
    stream: Vec<Vec<u8>>,
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
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = vec![head.as_bytes().to_vec()];
    stream.extend(cases::stream(CHUNKS, false).iter().map(|text| chunk(text)));
    stream.push(b"0\r\n\r\n".to_vec());
    Answers {
        empty: json("200 OK", "{}"),
        whole: json("200 OK", &cases::answer().to_string()),
        accepted: json("202 Accepted", r#"{"accepted":1,"rejected":[]}"#),
        stream,
    }
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
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        if head.starts_with("GET ") {
            writer.write_all(&answers.empty).ok()?;
        } else if head.starts_with("POST /v1/events") {
            writer.write_all(&answers.accepted).ok()?;
        } else if head.contains("x-stream: yes") {
            for chunk in &answers.stream {
                writer.write_all(chunk).ok()?;
                thread::sleep(BETWEEN_CHUNKS);
            }
        } else {
            writer.write_all(&answers.whole).ok()?;
        }
    }
}
