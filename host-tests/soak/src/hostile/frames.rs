//! Attacks over HTTP/2, frame by frame (RFC 9113): streams that are reset at once, data behind an end, frames that are none.
use super::requests::{self, Attack};
use crate::traffic::{GOOD, key};
use weir_seeded::SplitMix64;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The longest payload of a frame that every peer takes.
const FRAME_MAX_BYTES: usize = 16_384;
/// As much as a peer takes of one stream before it grants more.
const WINDOW_BYTES: usize = 60_000;

pub(super) fn attack(number: usize, dice: &mut SplitMix64) -> Attack {
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    for stream in 0..=dice.below(3) {
        // Clients' streams are odd.
        let stream = u32::try_from(2 * stream + 1).unwrap_or(1);
        one_stream(&mut bytes, stream, number, dice);
    }
    if dice.percent(10) {
        let kind = dice.next_u64().to_le_bytes()[0];
        frame(&mut bytes, kind, 0xFF, u32::try_from(dice.below(9)).unwrap_or(0), &[0xFF; 24]);
    }
    Attack { writes: requests::cut(&bytes, dice), leaves: dice.percent(40), is_h2: true }
}

fn one_stream(out: &mut Vec<u8>, stream: u32, number: usize, dice: &mut SplitMix64) {
    let mut block = Vec::new();
    let path = format!("{}?number={number}", requests::path(dice).replace('?', "&"));
    let credential = format!("Bearer {}", if dice.percent(80) { key(GOOD) } else { "sk_weir_nobody".to_owned() });
    let kind = dice.below(super::upstream::KINDS).to_string();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway"),
        (":path", &path),
        ("authorization", &credential),
        ("content-type", "application/json"),
        ("x-hostile-answer", &kind),
    ] {
        header(&mut block, name, value);
    }
    let ends = dice.percent(10);
    frame(out, HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, &block);
    let body = requests::body(dice);
    let body = body.get(..WINDOW_BYTES).unwrap_or(&body);
    for piece in body.chunks(1 + usize::try_from(dice.below(FRAME_MAX_BYTES as u64)).unwrap_or(0)) {
        if dice.percent(5) {
            return frame(out, RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        }
        frame(out, DATA, 0, stream, piece);
    }
    match dice.below(4) {
        0 => frame(out, RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        _ => frame(out, DATA, END_STREAM, stream, &[]),
    }
}

/// A header as HPACK writes one that no table has (RFC 7541, section 6.2.2), without Huffman's code.
fn header(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        length(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(u8::try_from(length).unwrap_or(0)) };
    block.push(127);
    while rest >= 128 {
        block.push(0x80 | rest.to_le_bytes()[0] & 0x7F);
        rest >>= 7;
    }
    block.push(rest.to_le_bytes()[0]);
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let payload = payload.get(..FRAME_MAX_BYTES).unwrap_or(payload);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(0).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
