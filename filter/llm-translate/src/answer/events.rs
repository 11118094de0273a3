//! The data of server-sent events, as [WHATWG](https://html.spec.whatwg.org/multipage/server-sent-events.html) defines
//! them: lines end with LF, CR or CR LF, and a blank line ends an event.
//!
//! Names of events are passed over: in both dialects the data says as much.
use super::EVENT_MAX_BYTES;

/// What a stream says next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'e> {
    /// An event's data.
    Data(&'e [u8]),
    /// The provider is still at work.
    Ping,
    /// An event is longer than [`EVENT_MAX_BYTES`].
    TooLong,
}

/// Collects lines, and the data of the event that they belong to.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    /// The last byte was a CR; an LF now belongs to it.
    after_cr: bool,
    is_too_long: bool,
}

impl Events {
    pub(super) fn feed(&mut self, bytes: &[u8], then: &mut impl FnMut(Event<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_too_long {
            if std::mem::take(&mut self.after_cr)
                && let [b'\n', behind @ ..] = rest
            {
                rest = behind;
                continue;
            }
            let Some((line, ending, behind)) = split_line(rest) else {
                self.keep(rest, then);
                return;
            };
            rest = behind;
            self.after_cr = ending == b'\r';
            if self.line.is_empty() {
                self.end_line(line, then);
            } else {
                self.keep(line, then);
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, then);
                self.line = line;
                self.line.clear();
            }
        }
    }

    /// Ends the stream. An event that lacks only its blank line counts.
    pub(super) fn finish(&mut self, then: &mut impl FnMut(Event<'_>)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, then);
        }
        self.end_line(&[], then);
    }

    fn keep(&mut self, bytes: &[u8], then: &mut impl FnMut(Event<'_>)) {
        if !self.fits(bytes.len(), then) {
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn fits(&mut self, more: usize, then: &mut impl FnMut(Event<'_>)) -> bool {
        let fits = self.line.len().saturating_add(self.data.len()).saturating_add(more) <= EVENT_MAX_BYTES;
        if !fits && !self.is_too_long {
            self.is_too_long = true;
            (self.line, self.data) = (Vec::new(), Vec::new());
            then(Event::TooLong);
        }
        fits
    }

    fn end_line(&mut self, line: &[u8], then: &mut impl FnMut(Event<'_>)) {
        if self.is_too_long {
            return;
        }
        match line {
            [] => {
                if !self.data.is_empty() {
                    then(Event::Data(&self.data));
                    self.data.clear();
                }
            }
            [b':', ..] => then(Event::Ping),
            _ => {
                let Some(value) = line.strip_prefix(b"data:") else { return };
                let value = value.strip_prefix(b" ").unwrap_or(value);
                if self.fits(value.len(), then) {
                    if !self.data.is_empty() {
                        self.data.push(b'\n');
                    }
                    self.data.extend_from_slice(value);
                }
            }
        }
    }
}

/// A line, the byte that ends it, and the rest.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let end = memchr::memchr2(b'\n', b'\r', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    let (ending, behind) = rest.split_first()?;
    Some((line, *ending, behind))
}
