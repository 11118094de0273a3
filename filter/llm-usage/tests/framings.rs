//! Frames and encodings are followed to the letter, and nothing broken is believed.
#[path = "fixtures/usage/harness.rs"]
mod harness;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use harness::{assert_cuts_agree, chunk_frame, converse_frame, frame, head, read, read_pieces, summary};
use std::io::Write;
use weir_llm_usage::{Readability, ResponseHead};

const MESSAGE: &str = r#"{"type":"message","usage":{"input_tokens":3,"output_tokens":4}}"#;
const EXPECTED: &str = "complete in=3 out=4 read=- write=- reasoning=-";
const CHAT: &[u8] = include_bytes!("fixtures/usage/openai_chat.json");
const CHAT_EXPECTED: &str = "complete in=812 out=143 read=512 write=- reasoning=64";

#[test]
fn events_are_split_as_the_standard_says() {
    let (first, second) = MESSAGE.split_at(18);
    for stream in [
        format!("data: {MESSAGE}\n\n"),
        format!("data:{MESSAGE}\r\n\r\n"),
        format!("data: {MESSAGE}\r\r"),
        format!("\u{feff}data: {MESSAGE}\n\n"),
        format!(": comment\nevent: message\nid: 1\nretry: 10\ndata: {MESSAGE}\n\n"),
        format!("data: {first}\ndata: {second}\n\n"),
        format!("data\ndata: {MESSAGE}\ndata\n\n"),
        format!("event: data: x\ndatum: {{\"usage\":1}}\ndata: {MESSAGE}\r\nid\r\n\r\n"),
    ] {
        assert_eq!(summary(&read(stream.as_bytes())), EXPECTED, "{stream:?}");
        assert_cuts_agree(&head(), stream.as_bytes());
    }
}

#[test]
fn what_is_not_an_events_data_is_no_usage() {
    for stream in [
        format!("event: {MESSAGE}\n\n"),
        format!(": {MESSAGE}\n\n"),
        format!("database: {MESSAGE}\n\n"),
        format!("dat: {MESSAGE}\n\n"),
        format!("data: {MESSAGE}{MESSAGE}\n\n"),
        format!("data: {MESSAGE}\ndata: x\n\n"),
        format!("data: x {MESSAGE}\n\n"),
    ] {
        assert_eq!(summary(&read(stream.as_bytes())), "none in=- out=- read=- write=- reasoning=-", "{stream:?}");
    }
}

#[test]
fn a_frame_is_believed_only_if_its_checksums_are_right() {
    let usage = r#"{"metrics":{"latencyMs":1},"usage":{"inputTokens":3,"outputTokens":4}}"#;
    let whole = converse_frame("metadata", usage);
    assert_eq!(summary(&read(&whole)), EXPECTED);
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        let reading = read(&broken);
        assert_eq!(reading.usage.input_tokens, None, "byte {at} was changed");
    }
    let mut broken = whole.clone();
    broken[40] ^= 1;
    assert_eq!(read(&broken).readability, Readability::Corrupt);
}

#[test]
fn a_frame_that_promises_too_much_is_refused() {
    let mut prelude = [u32::MAX.to_be_bytes(), 0u32.to_be_bytes()].concat();
    prelude[0] = 1;
    let mut crc = flate2::Crc::new();
    crc.update(&prelude);
    prelude.extend(crc.sum().to_be_bytes());
    assert_eq!(read(&prelude).readability, Readability::Corrupt);
}

#[test]
fn an_exception_frame_is_a_failure() {
    let headers = [(":exception-type", "throttlingException"), (":message-type", "exception")];
    let reading = read(&frame(&headers, br#"{"message":"Too many tokens"}"#));
    assert!(reading.has_failed && reading.text.is_empty());
}

#[test]
fn a_wrapped_event_is_decoded_whatever_stands_around_it() {
    let frames = [chunk_frame(r#"{"type":"ping"}"#), chunk_frame(MESSAGE)].concat();
    assert_eq!(summary(&read(&frames)), EXPECTED);
    assert_cuts_agree(&head(), &frames);
    let unwrapped = converse_frame("chunk", r#"{"bytes":"e30","usage":{"inputTokens":9}}"#);
    assert_eq!(read(&unwrapped).usage.input_tokens, None);
}

fn encoded(encoding: &'static [u8]) -> ResponseHead<'static> {
    ResponseHead::from_headers(200, [(&b"content-encoding"[..], encoding)])
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_answers_are_read() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(CHAT).unwrap();
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
    bare.write_all(CHAT).unwrap();
    let mut stored = GzEncoder::new(Vec::new(), Compression::none());
    stored.write_all(CHAT).unwrap();
    for (encoding, body) in [
        (&b"gzip"[..], gzip(CHAT)),
        (b"x-gzip", stored.finish().unwrap()),
        (b" GZIP ", gzip(CHAT)),
        (b"deflate", zlib.finish().unwrap()),
        (b"deflate", bare.finish().unwrap()),
        (b"identity", CHAT.to_vec()),
    ] {
        let head = encoded(encoding);
        assert_eq!(summary(&read_pieces(&head, [&body[..]])), CHAT_EXPECTED);
        assert_cuts_agree(&head, &body);
    }
}

#[test]
fn gzip_members_with_every_field_follow_each_other() {
    let (first, second) = CHAT.split_at(500);
    let builder = || flate2::GzBuilder::new().filename("a").comment("b").extra(b"cd".to_vec());
    let mut encoder = builder().write(Vec::new(), Compression::default());
    encoder.write_all(first).unwrap();
    let body = [encoder.finish().unwrap(), gzip(second)].concat();
    assert_eq!(summary(&read_pieces(&encoded(b"gzip"), [&body[..]])), CHAT_EXPECTED);
    assert_cuts_agree(&encoded(b"gzip"), &body);
}

#[test]
fn a_flushed_stream_is_read_as_it_arrives() {
    let stream = harness::sse(include_str!("fixtures/usage/openai_chat_stream.lines"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for chunk in stream.chunks(100) {
        encoder.write_all(chunk).unwrap();
        encoder.flush().unwrap();
    }
    let unfinished = encoder.get_ref().clone();
    let reading = read_pieces(&encoded(b"gzip"), unfinished.chunks(37));
    assert_eq!(summary(&reading), "complete in=21 out=6 read=0 write=- reasoning=0");
}

#[test]
fn what_cannot_be_decoded_says_so() {
    let broken = [&gzip(CHAT)[..10], b"\xFF a block of a type that is not defined"].concat();
    assert_eq!(read_pieces(&encoded(b"gzip"), [&broken[..]]).readability, Readability::Corrupt);
    assert_eq!(read_pieces(&encoded(b"gzip"), [CHAT]).readability, Readability::Corrupt);
    for encoding in [&b"br"[..], b"zstd", b"gzip, br", b"compress"] {
        assert_eq!(read_pieces(&encoded(encoding), [CHAT]).readability, Readability::UnknownEncoding);
    }
    assert_eq!(read(b"<html></html>").readability, Readability::UnknownForm);
}
