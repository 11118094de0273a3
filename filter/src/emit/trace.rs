//! The trace that a request belongs to, by the header `traceparent` of W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>): `00-TRACE-SPAN-FLAGS` in lower-case hex digits.
use weir_llm_usage::bytes::any;

/// The length of `traceparent` in version 00. Later versions begin with the same fields.
const BYTES: usize = 55;
/// The hex digits of a trace's id.
const TRACE_DIGITS: usize = 32;

/// A place in a trace: the ids of trace and span with a hyphen between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(Box<str>);

impl Trace {
    /// Reads the header. None if it is malformed, since then it names no trace.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (known, later) = value.split_at_checked(BYTES)?;
        let [v0, v1, b'-', ids @ .., b'-', f0, f1] = known else { return None };
        let (trace, span) = ids.split_at_checked(TRACE_DIGITS)?;
        let [b'-', span @ ..] = span else { return None };
        let version = [*v0, *v1];
        let is_of_version = version != *b"ff" && (later.is_empty() || (version != *b"00" && later.starts_with(b"-")));
        let is_hex = [&version[..], trace, span, &[*f0, *f1]].into_iter().all(|part| !any(part, is_no_digit));
        let is_zero = |id: &[u8]| !any(id, |digit| digit != b'0');
        if !is_of_version || !is_hex || is_zero(trace) || is_zero(span) {
            return None;
        }
        std::str::from_utf8(ids).ok().map(|ids| Trace(ids.into()))
    }

    /// The trace: 32 hex digits.
    pub fn trace_id(&self) -> &str {
        self.0.get(..TRACE_DIGITS).unwrap_or_default()
    }

    /// The span that sent the request: 16 hex digits.
    pub fn span_id(&self) -> &str {
        self.0.get(TRACE_DIGITS + 1..).unwrap_or_default()
    }
}

fn is_no_digit(byte: u8) -> bool {
    !(byte.is_ascii_digit() | matches!(byte, b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn ids(value: &str) -> Option<(String, String)> {
        Trace::read(value.as_bytes()).map(|trace| (trace.trace_id().to_owned(), trace.span_id().to_owned()))
    }

    #[test]
    fn a_trace_is_read_from_this_version_and_later_ones() {
        let expected = Some((TRACE.to_owned(), SPAN.to_owned()));
        assert_eq!(ids(&format!("00-{TRACE}-{SPAN}-01")), expected);
        assert_eq!(ids(&format!("cc-{TRACE}-{SPAN}-01")), expected);
        assert_eq!(ids(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings")), expected);
    }

    #[test]
    fn a_malformed_header_names_no_trace() {
        let (capitals, zeros) = (TRACE.to_uppercase(), "0".repeat(TRACE_DIGITS));
        let malformed = [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{capitals}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}0{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ];
        for value in malformed {
            assert_eq!(ids(&value), None, "{value}");
        }
    }
}
