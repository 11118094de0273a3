//! The actions of a script.

use crate::abi::{self, Answer};

/// Attempts of a compare-and-swap loop before it gives up; far above what two threads need.
const CAS_ATTEMPTS_MAX: usize = 10_000;

/// A version that no key ever has.
const NO_KEYS_VERSION: u32 = u32::MAX;

/// The status of an action that the script spelled wrongly; no host uses it.
const UNKNOWN_ACTION: u32 = 999;

/// Does what `words` say in the root context `root`, which has the given `streams`.
pub(crate) fn act(root: u32, streams: &[u32], words: &[&str]) -> Answer {
    match *words {
        ["log", ..] => Answer { status: 0, value: None },
        ["log_long", bytes] => log_long(number(bytes)),
        ["panic"] => panic!("the script says so"),
        ["loop"] => loop_for_ever(),
        ["time"] => abi::time(),
        ["random", length] => abi::random(number(length)),
        ["log_level"] => abi::log_level(),
        ["tick_every", period_ms] => abi::tick_period(number(period_ms)),
        ["done"] => abi::done(),
        ["foreign_function", name] => abi::foreign_function(name, &[]),
        ["foreign_function", name, hex] => abi::foreign_function(name, &bytes(hex)),
        ["grpc"] => abi::grpc(),
        ["reply", status, ref body @ ..] => abi::local_reply(number(status), &body.join(" ")),
        ["continue", side] => abi::continue_stream(u32::from(side == "response")),
        ["close", side] => abi::close_stream(u32::from(side == "response")),
        ["resume_all", side] => resume_all(streams, u32::from(side == "response")),
        ["effective", "root"] => abi::effective_context(root),
        ["effective", "unknown"] => abi::effective_context(u32::MAX),
        ["get_property", path] => abi::get_property(path),
        ["set_property", path, value] => abi::set_property(path, value),
        ["dispatch", upstream, ref path @ ..] => dispatch(upstream, path),
        _ => act_on_messages(words).or_else(|| act_on_shared(words)).unwrap_or(unknown()),
    }
}

fn unknown() -> Answer {
    Answer { status: UNKNOWN_ACTION, value: Some("unknown action".into()) }
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn act_on_messages(words: &[&str]) -> Option<Answer> {
    Some(match *words {
        ["get_headers", map] => abi::get_map(map_type(map)),
        ["get_names", map] => abi::get_names(map_type(map)),
        ["set_headers", map, ref fields @ ..] => {
            let fields: Vec<(&str, &str)> = fields.iter().filter_map(|field| field.split_once('=')).collect();
            abi::set_map(map_type(map), &fields)
        }
        ["get_header", map, name] => abi::get_header(map_type(map), name),
        ["remove_header", map, name] => abi::remove_header(map_type(map), name),
        ["set_header", map, name] => abi::set_header(map_type(map), name, ""),
        ["set_header", map, name, value] => abi::set_header(map_type(map), name, value),
        ["add_header", map, name, value] => abi::add_header(map_type(map), name, value),
        ["get_body", side] => abi::get_buffer(buffer_type(side), 0, usize::MAX),
        ["get_body", side, start, max] => abi::get_buffer(buffer_type(side), number(start), number(max)),
        ["set_body", side, text] => abi::set_buffer(buffer_type(side), 0, usize::MAX >> 1, text),
        ["empty_body", side] => abi::set_buffer(buffer_type(side), 0, usize::MAX >> 1, ""),
        ["prepend_body", side, text] => abi::set_buffer(buffer_type(side), 0, 0, text),
        ["append_body", side, text] => abi::set_buffer(buffer_type(side), usize::MAX >> 1, 0, text),
        ["edit_body", side, start, size, text] => abi::set_buffer(buffer_type(side), number(start), number(size), text),
        _ => return None,
    })
}

fn act_on_shared(words: &[&str]) -> Option<Answer> {
    Some(match *words {
        ["get_shared", key] => abi::get_shared(key).0,
        ["set_shared", key, value, cas] => abi::set_shared(key, Some(value), number(cas)),
        ["remove_shared", key, cas] => abi::set_shared(key, None, number(cas)),
        ["add_shared", key] => add_shared(key),
        ["register_queue", name] => abi::register_queue(name),
        ["enqueue", id, message] => abi::enqueue(number(id), message),
        ["dequeue", id] => abi::dequeue(number(id)),
        ["counter", name] => abi::define_metric(0, name),
        ["gauge", name] => abi::define_metric(1, name),
        ["histogram", name] => abi::define_metric(2, name),
        ["increment", id, by] => abi::increment_metric(number(id), number(by)),
        ["record", id, value] => abi::record_metric(number(id), number(value)),
        ["get_metric", id] => abi::get_metric(number(id)),
        _ => return None,
    })
}

fn map_type(word: &str) -> u32 {
    match word {
        "request" => 0,
        "request_trailers" => 1,
        "response" => 2,
        "response_trailers" => 3,
        "call" => 6,
        "call_trailers" => 7,
        other => number(other),
    }
}

fn buffer_type(word: &str) -> u32 {
    match word {
        "request" => 0,
        "response" => 1,
        "call" => 4,
        other => number(other),
    }
}

fn log_long(bytes: usize) -> Answer {
    abi::log(abi::INFO, &"x".repeat(bytes));
    Answer { status: 0, value: None }
}

fn loop_for_ever() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn resume_all(streams: &[u32], side: u32) -> Answer {
    let mut answer = unknown();
    for stream in streams {
        abi::effective_context(*stream);
        answer = abi::continue_stream(side);
    }
    answer
}

fn dispatch(upstream: &str, path: &[&str]) -> Answer {
    let path = path.first().copied().unwrap_or("/call");
    let fields = [(":method", "POST"), (":path", path), (":authority", upstream)];
    let fields = if path == "none" { &fields[..1] } else { &fields };
    abi::http_call(upstream, fields, "hello")
}

/// Adds 1 to a number under a key, exactly, on every host. Envoy creates a missing key whatever version is given, so
/// two creators are told apart by a version that no key has; Kong refuses that and takes 0, exactly.
fn add_shared(key: &str) -> Answer {
    let mut version_of_missing = NO_KEYS_VERSION;
    for _ in 0..CAS_ATTEMPTS_MAX {
        let (read, value, cas) = abi::get_shared(key);
        let old: u64 = value.map_or(0, |value| number(&String::from_utf8_lossy(&value)));
        let cas = if read.status == 0 { cas } else { version_of_missing };
        let written = abi::set_shared(key, Some(&(old + 1).to_string()), cas);
        if written.status == 0 {
            return written;
        }
        version_of_missing = if read.status == 0 { NO_KEYS_VERSION } else { 0 };
    }
    Answer { status: UNKNOWN_ACTION, value: Some("no attempt succeeded".into()) }
}
