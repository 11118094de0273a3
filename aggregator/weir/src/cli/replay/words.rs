//! Finds signed words in logs, whatever surrounds them: plain or gzipped, with lines of any length.
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use weir_contract::batch::EVENT_MAX_BYTES;
use weir_contract::signed::PREFIX;

/// Bytes per read.
const PIECE_BYTES: u64 = 256 * 1024;
/// The longest word that can be an event: the largest event in base64, and its signature. Longer words are skipped.
const WORD_MAX_BYTES: usize = EVENT_MAX_BYTES / 3 * 4 + 128;
/// The first bytes of a gzip member (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A word that looks signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// True if the file ends within the word or right after it: the word may be cut off.
    pub(super) ends_file: bool,
}

/// The words of one file.
pub(super) struct Words {
    input: Box<dyn BufRead>,
    carry: Vec<u8>,
    position: Rc<Cell<u64>>,
    /// The file's size in bytes, if known.
    pub(super) size: Option<u64>,
    /// Lines read so far.
    pub(super) lines: u64,
}

impl Words {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.to_str() == Some("-") {
            return Words::read(io::stdin(), None);
        }
        let file = File::open(path)?;
        let size = file.metadata().ok().map(|metadata| metadata.len()).filter(|size| *size > 0);
        Words::read(file, size)
    }

    fn read(input: impl Read + 'static, size: Option<u64>) -> io::Result<Self> {
        let position = Rc::new(Cell::new(0));
        let mut input = BufReader::new(Counted { input, position: Rc::clone(&position) });
        let zipped = input.fill_buf()?.starts_with(&GZIP);
        let input: Box<dyn BufRead> =
            if zipped { Box::new(BufReader::new(MultiGzDecoder::new(input))) } else { Box::new(input) };
        Ok(Words { input, carry: Vec::new(), position, size, lines: 0 })
    }

    /// Bytes of the file read so far.
    pub(super) fn position(&self) -> u64 {
        self.position.get()
    }

    /// The words of the next piece; None at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<Word>>> {
        let mut piece = std::mem::take(&mut self.carry);
        let carried = piece.len();
        let read = self.input.by_ref().take(PIECE_BYTES).read_until(b'\n', &mut piece)?;
        if read == 0 && carried == 0 {
            return Ok(None);
        }
        let whole = piece.ends_with(b"\n");
        self.lines += u64::from(whole || read == 0);
        if !whole && read > 0 {
            // The piece may end within a word: its last part is read together with the next piece.
            let end = piece.iter().rposition(|byte| !is_word(*byte)).map_or(0, |at| at + 1);
            self.carry = piece.split_off(end);
            if self.carry.len() > WORD_MAX_BYTES {
                self.carry.clear();
            }
        }
        Ok(Some(words(&piece, !whole && read == 0)))
    }
}

fn words(piece: &[u8], at_end: bool) -> Vec<Word> {
    let text = String::from_utf8_lossy(piece);
    let word = |(at, _): (usize, &str)| {
        let rest = &text[at..];
        let end = rest.bytes().position(|byte| !is_word(byte));
        Word { text: rest[..end.unwrap_or(rest.len())].to_owned(), ends_file: at_end && end.is_none() }
    };
    text.match_indices(PREFIX).map(word).collect()
}

/// The characters of a signed word: base64url and dots. No quoting or escaping in logs changes them.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

struct Counted<R> {
    input: R,
    position: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.position.set(self.position.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn found(bytes: &[u8]) -> Vec<Word> {
        let mut words = Words::read(io::Cursor::new(bytes.to_vec()), None).expect("readable");
        let mut all = Vec::new();
        while let Some(some) = words.next().expect("readable") {
            all.extend(some);
        }
        all
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        found(bytes).into_iter().map(|word| word.text).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn words_are_found_whatever_is_around_them() {
        let log = b"[info] weir1.a-b_c.d at noon\n{\"e\":\"weir1.e.f\",\"ua\":\"\\\"weir1.g\\\"\"}\nnothing\nweir1.h.i";
        assert_eq!(texts(log), ["weir1.a-b_c.d", "weir1.e.f", "weir1.g", "weir1.h.i"]);
        assert_eq!(found(log).iter().map(|word| word.ends_file).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn a_word_is_found_wherever_it_stands_in_a_line_without_end() {
        for at in
            [PIECE_BYTES as usize - 12, PIECE_BYTES as usize - 1, PIECE_BYTES as usize, 3 * PIECE_BYTES as usize - 5]
        {
            let mut line = vec![b' '; at];
            line.extend(b"weir1.abcdef.ghijkl ");
            line.extend(vec![b' '; 1000]);
            assert_eq!(texts(&line), ["weir1.abcdef.ghijkl"], "at {at}");
        }
    }

    #[test]
    fn gzipped_files_are_read_also_when_several_were_joined() {
        let mut bytes = gzip(b"weir1.a.b\n");
        bytes.extend(gzip(b"weir1.c.d\n"));
        assert_eq!(texts(&bytes), ["weir1.a.b", "weir1.c.d"]);
    }

    #[test]
    fn a_line_of_letters_without_end_costs_no_memory() {
        let mut words = Words::read(io::repeat(b'a').take(40 * PIECE_BYTES), None).expect("readable");
        while words.next().expect("readable").is_some() {
            assert!(words.carry.len() <= WORD_MAX_BYTES);
        }
    }
}
