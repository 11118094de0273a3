//! Server-sent events. Grammar: the HTML standard, section 9.2.6, "Interpreting an event stream".

use super::{Document, Documents};

/// Splits a stream into its events.
pub(crate) fn parse(body: &[u8]) -> Documents {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let mut list = Vec::new();
    let mut event = Pending::default();
    let lines = split_lines(&text);
    for (line, ended) in lines {
        // A line without its end may be half a line.
        if !ended && line.is_empty() {
            continue;
        }
        if line.is_empty() {
            list.extend(std::mem::take(&mut event).finish());
        } else {
            event.field(line);
        }
    }
    Documents { list, unfinished: event.finish(), corrupt: false }
}

/// Lines end with LF, CR, or both; the flag says whether the line has an end.
fn split_lines(text: &str) -> Vec<(&str, bool)> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let (line, tail) = rest.split_at(at);
        lines.push((line, true));
        rest = tail.strip_prefix("\r\n").unwrap_or_else(|| tail.get(1..).unwrap_or_default());
    }
    lines.push((rest, false));
    lines
}

/// The event whose fields are being collected.
#[derive(Default)]
struct Pending {
    name: Option<String>,
    data: Vec<String>,
}

impl Pending {
    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.name = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            // Comments have no name; `id` and `retry` say nothing about usage.
            _ => {}
        }
    }

    fn finish(self) -> Option<Document> {
        if self.data.is_empty() {
            return None;
        }
        Some(Document::new(self.name, self.data.join("\n").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        parse(body.as_bytes()).list.into_iter().map(|document| document.text).collect()
    }

    #[test]
    fn lines_may_end_in_any_of_three_ways_and_comments_say_nothing() {
        assert_eq!(texts("\u{feff}: hello\r\n\r\ndata: 1\r\n\r\ndata:2\n\ndata: 3\r\rretry: 5\n\n"), ["1", "2", "3"]);
    }

    #[test]
    fn data_lines_of_one_event_are_joined_with_a_line_feed() {
        assert_eq!(texts("event: x\ndata: {\ndata: \"a\":1}\n\n"), ["{\n\"a\":1}"]);
    }

    #[test]
    fn an_event_without_a_blank_line_is_left_unfinished() {
        let documents = parse(b"data: 1\n\ndata: 2");
        assert_eq!(documents.list.len(), 1);
        assert_eq!(documents.unfinished.map(|document| document.text).as_deref(), Some("2"));
    }
}
