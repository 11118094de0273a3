//! Amazon's binary event stream.
//!
//! Encoding: "Event stream encoding" in the Amazon Transcribe developer guide, which the AWS SDKs share. A frame is a
//! prelude (total length, headers' length, CRC-32 of both), headers, payload and a CRC-32 of all before it; numbers are
//! big-endian.

use super::{Document, Documents};

/// Total length, headers' length and the prelude's checksum, in bytes.
const PRELUDE_BYTES: usize = 12;
/// The checksum at a frame's end, in bytes.
const CHECKSUM_BYTES: usize = 4;
/// Type of a header whose value is text.
const TEXT_HEADER: u8 = 7;

/// Splits a stream into its frames. A frame that is cut off is left out.
pub(crate) fn parse(mut body: &[u8]) -> Documents {
    let mut documents = Documents { list: Vec::new(), unfinished: None, corrupt: false };
    while let Some(total) = number(body, 0) {
        let Some(frame) = body.get(..total) else {
            break;
        };
        let Some(document) = read_frame(frame) else {
            documents.corrupt = true;
            break;
        };
        documents.list.push(document);
        body = body.get(total..).unwrap_or_default();
    }
    documents
}

fn read_frame(frame: &[u8]) -> Option<Document> {
    let headers_length = number(frame, 4)?;
    let end = frame.len().checked_sub(CHECKSUM_BYTES)?;
    let sound = number(frame, 8)? == checksum(frame.get(..8)?) && number(frame, end)? == checksum(frame.get(..end)?);
    if !sound {
        return None;
    }
    let split = PRELUDE_BYTES.checked_add(headers_length)?;
    let headers = read_headers(frame.get(PRELUDE_BYTES..split)?)?;
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let mut document = Document::new(header(":event-type"), frame.get(split..end)?);
    document.exception = header(":message-type").is_some_and(|kind| kind == "exception" || kind == "error");
    Some(document)
}

/// The headers whose values are text; Bedrock sends no others.
fn read_headers(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        if *kind != TEXT_HEADER {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        headers.push((String::from_utf8(name.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?));
        bytes = rest;
    }
    Some(headers)
}

/// Encodes one frame. Header values are text.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).expect("a header's name is short"));
        head.extend_from_slice(name.as_bytes());
        head.push(TEXT_HEADER);
        head.extend_from_slice(&u16::try_from(value.len()).expect("a header's value is short").to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let total = PRELUDE_BYTES + head.len() + payload.len() + CHECKSUM_BYTES;
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&big_endian(total));
    frame.extend_from_slice(&big_endian(head.len()));
    frame.extend_from_slice(&big_endian(checksum(&frame)));
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&big_endian(checksum(&frame)));
    frame
}

fn big_endian(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("a frame of a test is small").to_be_bytes()
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*digits)).ok()
}

fn checksum(bytes: &[u8]) -> usize {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [(&str, &str); 2] = [(":event-type", "chunk"), (":message-type", "event")];

    #[test]
    fn the_checksum_is_the_crc_32_of_ieee_802_3() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let documents = parse(&frame(&HEADERS, b"{\"a\":1}"));
        assert_eq!(documents.list.len(), 1);
        assert_eq!(documents.list[0].event.as_deref(), Some("chunk"));
        assert_eq!(documents.list[0].text, "{\"a\":1}");
    }

    #[test]
    fn a_changed_byte_is_corruption_and_a_missing_one_is_a_cut() {
        let whole = [frame(&HEADERS, b"{}"), frame(&HEADERS, b"{}")].concat();
        let mut changed = whole.clone();
        changed[PRELUDE_BYTES + 3] ^= 1;
        assert!(parse(&changed).corrupt);
        let cut = parse(&whole[..whole.len() - 1]);
        assert_eq!((cut.list.len(), cut.corrupt), (1, false));
    }
}
