//! The explanation as CSV for a customer. The column `amount` adds up to the amount billed.
use std::io::Write;

use crate::text::visible;
use weir_billing::explain::{EventLine, ExplainView, RowLine, WindowLine};

/// The columns.
pub(super) const COLUMNS: [&str; 14] = [
    "line", "window", "time", "id", "tenant", "meter", "request", "answer", "model", "class", "route", "feature",
    "note", "amount",
];

/// Writes the lines.
pub(super) struct Explained<W: Write>(csv::Writer<W>);

impl<W: Write> std::fmt::Debug for Explained<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Explained")
    }
}

impl<W: Write> Explained<W> {
    /// Starts the file with the names of the columns.
    pub(super) fn new(out: W) -> std::io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Explained(out))
    }

    /// Writes a single event or reading.
    pub(super) fn event(&mut self, event: &EventLine) -> std::io::Result<()> {
        let text = |value: &Option<String>| safe(value.as_deref().unwrap_or_default());
        let (line, note) = match &event.reading {
            Some(name) => ("reading", name.clone()),
            None => ("event", format!("{}, {}", event.outcome, event.usage)),
        };
        self.0.write_record([
            line.to_owned(),
            event.window.to_string(),
            event.time.to_string(),
            safe(&event.id),
            safe(&event.tenant),
            safe(&event.meter),
            safe(&event.request_id),
            text(&event.response_id),
            text(&event.model),
            safe(&event.class),
            text(&event.route),
            text(&event.feature),
            safe(&note),
            event.amount.clone(),
        ])?;
        Ok(())
    }

    /// Writes the remainder after all events: a line for each other part of a window, and for each adjustment.
    pub(super) fn finish(mut self, view: &ExplainView) -> std::io::Result<()> {
        for window in &view.windows {
            self.window(window)?;
        }
        let adjusted = |row: &&RowLine| row.kind == "adjustment" && row.state == "reported";
        for row in view.rows.iter().filter(adjusted) {
            let why =
                format!("{}: {}", row.who.as_deref().unwrap_or_default(), row.because.as_deref().unwrap_or_default());
            let id = row.identifier.clone().unwrap_or_default();
            self.rest("adjustment", (row.window, &row.tenant, &row.meter), &id, &why, &row.value.to_string())?;
        }
        self.0.flush()
    }

    fn window(&mut self, window: &WindowLine) -> std::io::Result<()> {
        let without = if window.expired { "expired" } else { "unexplained" };
        let note = if window.expired {
            "single events are kept no longer; the sum stands"
        } else {
            "counted, and no event shows it"
        };
        let parts = [
            (without, note, window.without_events.to_string()),
            ("carried", "fractions of units, from and to other hours", window.carried.clone()),
            ("billed elsewhere", "billed in another period", (-window.billed_elsewhere).to_string()),
            ("waiting", "no meter event: pending, held, or settled by hand", (-window.waiting).to_string()),
            ("not closed", "not billed yet", (-window.not_closed).to_string()),
        ];
        for (line, note, amount) in parts.iter().filter(|(_, _, amount)| amount != "0") {
            self.rest(line, (window.window, &window.tenant, &window.meter), "", note, amount)?;
        }
        Ok(())
    }

    fn rest(
        &mut self,
        line: &str,
        (window, tenant, meter): (weir_contract::Timestamp, &str, &str),
        id: &str,
        note: &str,
        amount: &str,
    ) -> std::io::Result<()> {
        let mut record = vec![line.to_owned(), window.to_string(), String::new(), safe(id), safe(tenant), safe(meter)];
        record.resize(COLUMNS.len() - 2, String::new());
        record.extend([safe(note), amount.to_owned()]);
        self.0.write_record(record)?;
        Ok(())
    }
}

/// A text that no spreadsheet takes for a formula, and no terminal for a command: what begins like a formula gets an apostrophe
/// before it, as OWASP advises, and control characters are escaped.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
pub(in crate::cli) fn safe(text: &str) -> String {
    let starts = |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    let shown = visible(text);
    if text.starts_with(starts) { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_client_chose_becomes_a_formula() {
        for text in ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)", "＝1"] {
            assert_eq!(safe(text), format!("'{text}"));
        }
        assert_eq!((safe("\t=1"), safe("\r=1")), (r"'\t=1".to_owned(), r"'\r=1".to_owned()));
        assert_eq!(safe("a\u{1b}[2J"), r"a\u{1b}[2J");
        assert_eq!(safe("gpt-4o"), "gpt-4o");
        let event = EventLine { model: Some("=cmd|'/c calc'!A0".to_owned()), ..EventLine::default() };
        let mut out = Vec::new();
        let mut csv = Explained::new(&mut out).expect("written");
        csv.event(&event).expect("written");
        csv.finish(&ExplainView::default()).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains(",'=cmd|'/c calc'!A0,"), "{text}");
    }
}
