//! Where one event of a stream ends and the next begins.
//!
//! Server-sent events end with an empty line, lines end with LF, CR or CR LF
//! ([WHATWG HTML, 9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
use std::ops::Range;

use memchr::memchr2;

/// The length of the first whole event in `bytes`, with what ends it. `from`: so much of it was looked at before.
pub(crate) fn event(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    while let Some(end) = line_end(bytes, at) {
        // An empty line behind this one ends the event.
        match line_end(bytes, end.end) {
            Some(next) if next.start == end.end => return Some(next.end),
            _ => at = end.end,
        }
    }
    None
}

/// The length of the first whole line in `bytes`, with what ends it.
pub(crate) fn line(bytes: &[u8], from: usize) -> Option<usize> {
    line_end(bytes, from.saturating_sub(1)).map(|end| end.end)
}

/// The bytes that end the line in which `at` stands. A CR at the very end may be half of CR LF, so it ends nothing yet.
fn line_end(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = memchr2(b'\n', b'\r', bytes.get(at..)?)?.checked_add(at)?;
    let length = match (bytes.get(start), bytes.get(start.checked_add(1)?)) {
        (Some(b'\n'), _) => 1,
        (_, Some(b'\n')) => 2,
        (_, Some(_)) => 1,
        (_, None) => return None,
    };
    Some(start..start.checked_add(length)?)
}

/// The lines of an event, without what ends them.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let rest = bytes.get(at..)?;
        let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = at..at.checked_add(length)?;
        at = line.end.checked_add(1)?;
        Some(line)
    })
}

/// The value of a `data` line, if `line` is one.
pub(crate) fn data(bytes: &[u8], line: &Range<usize>) -> Option<Range<usize>> {
    let text = bytes.get(line.clone())?;
    let value = text.strip_prefix(b"data:")?;
    Some(line.end.checked_sub(value.len())?..line.end)
}
