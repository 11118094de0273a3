//! Decodes a compressed answer for reading, while the answer itself passes unchanged.
//!
//! gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)) and deflate (zlib,
//! [RFC 1950](https://www.rfc-editor.org/rfc/rfc1950), or bare, as some servers mean it) are read. Brotli is not: its
//! dictionary alone would make `weir.wasm` 120 KB larger, for answers that weir asks to be sent uncompressed.
mod gzip;

use gzip::{Gzip, Step};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// How much is decoded at once, in bytes: a stack buffer, large enough that its handling costs little beside
/// inflating.
const WINDOW_BYTES: usize = 4096;
/// The most that is decoded of one answer, in bytes. A few kilobytes can inflate to gigabytes, which would block the
/// worker; no model writes this much.
pub(crate) const DECODED_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Decodes an answer's body in constant memory: about 43 KB if the answer is compressed, otherwise none.
pub(crate) struct Decoder {
    coding: Coding,
    decoded_bytes: u64,
}

enum Coding {
    Identity,
    Gzip(Gzip, Box<InflateState>),
    /// Zlib or bare deflate; the first byte waits until the second tells which.
    Deflate(Option<u8>),
    Inflate(Box<InflateState>),
    /// The compressed data has ended.
    Ended,
    Unknown,
    Corrupt,
}

/// The state of a body's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    Sound,
    Unknown,
    Corrupt,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("decoding", &self.decoding()).finish_non_exhaustive()
    }
}

impl Decoder {
    /// The decoder for that `content-encoding`.
    pub(crate) fn new(content_encoding: Option<&[u8]>) -> Self {
        let name = content_encoding.unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let coding = match name.as_slice() {
            b"" | b"identity" => Coding::Identity,
            b"gzip" | b"x-gzip" => Coding::Gzip(Gzip::new(), InflateState::new_boxed(DataFormat::Raw)),
            b"deflate" => Coding::Deflate(None),
            _ => Coding::Unknown,
        };
        Decoder { coding, decoded_bytes: 0 }
    }

    pub(crate) fn decoding(&self) -> Decoding {
        match self.coding {
            Coding::Unknown => Decoding::Unknown,
            Coding::Corrupt => Decoding::Corrupt,
            _ => Decoding::Sound,
        }
    }

    /// Whether the body is not encoded.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.coding, Coding::Identity)
    }

    /// Passes the decoded content of `chunk` to `sink`, piece by piece.
    pub(crate) fn feed(&mut self, chunk: &[u8], sink: &mut dyn FnMut(&[u8])) {
        if let Coding::Identity = self.coding {
            return sink(chunk);
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match &mut self.coding {
                Coding::Identity | Coding::Ended | Coding::Unknown | Coding::Corrupt => return,
                Coding::Gzip(gzip, state) => match gzip.step(rest) {
                    Some((Step::Framing, rest)) => rest,
                    Some((Step::Member, rest)) => {
                        state.reset(DataFormat::Raw);
                        rest
                    }
                    Some((Step::Data, data)) => self.inflate(data, sink),
                    None => return self.coding = Coding::Corrupt,
                },
                Coding::Deflate(_) => self.tell_deflate(rest),
                Coding::Inflate(_) => self.inflate(rest, sink),
            };
        }
    }

    fn tell_deflate<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return &[] };
        let Coding::Deflate(first_byte) = &mut self.coding else { return bytes };
        let Some(first) = *first_byte else {
            *first_byte = Some(*byte);
            return rest;
        };
        // RFC 1950, 2.2: method 8, and the two bytes as a number are a multiple of 31.
        let is_zlib = first & 0x0F == 8 && u16::from_be_bytes([first, *byte]) % 31 == 0;
        let mut state = InflateState::new_boxed(if is_zlib { DataFormat::Zlib } else { DataFormat::Raw });
        // One byte never produces output.
        let _ = inflate(&mut state, &[first], &mut [0; 1], MZFlush::None);
        self.coding = Coding::Inflate(state);
        bytes
    }

    /// Inflates; returns the bytes behind the end of the compressed data.
    fn inflate<'b>(&mut self, bytes: &'b [u8], sink: &mut dyn FnMut(&[u8])) -> &'b [u8] {
        let mut rest = bytes;
        loop {
            let (Coding::Gzip(_, state) | Coding::Inflate(state)) = &mut self.coding else { return &[] };
            let mut window = [0; WINDOW_BYTES];
            let result = inflate(state, rest, &mut window, MZFlush::None);
            let window = window.get(..result.bytes_written).unwrap_or_default();
            rest = rest.get(result.bytes_consumed..).unwrap_or_default();
            self.decoded_bytes = self.decoded_bytes.saturating_add(window.len() as u64);
            sink(window);
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    self.end_data();
                    return rest;
                }
                Ok(_) if self.decoded_bytes <= DECODED_MAX_BYTES && result.bytes_written == WINDOW_BYTES => {}
                Ok(_) if self.decoded_bytes <= DECODED_MAX_BYTES && !rest.is_empty() => {}
                Ok(MZStatus::Ok) if self.decoded_bytes <= DECODED_MAX_BYTES => return &[],
                Err(MZError::Buf) if rest.is_empty() => return &[],
                _ => {
                    self.coding = Coding::Corrupt;
                    return &[];
                }
            }
        }
    }

    fn end_data(&mut self) {
        match &mut self.coding {
            Coding::Gzip(gzip, _) => gzip.end_data(),
            coding => *coding = Coding::Ended,
        }
    }
}
