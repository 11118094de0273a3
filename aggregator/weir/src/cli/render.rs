//! What commands print: the one way to standard output.
//!
//! Much of it was chosen by others: a client names a model, a peer words an error. So nothing reaches the terminal that the
//! terminal would obey, and no cell begins another line.
use std::fmt;
use std::io::{ErrorKind, Write};

use comfy_table::{CellAlignment, presets};

use crate::text::{escaped, is_obeyed, visible};
use weir_settings::secret::masked;

/// Prints a line on standard output, as `println!` does.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::render::print_line(format_args!($($words)*)) };
}
/// Prints a line on standard error, as `eprintln!` does.
macro_rules! complain {
    ($($words:tt)*) => { $crate::cli::render::print_error(format_args!($($words)*)) };
}
pub(super) use {complain, say};

/// See [`say!`]. A reader that wants no more (`| head`) is no error: the command ends its work in silence.
pub(super) fn print_line(words: fmt::Arguments<'_>) {
    let line = escaped(&words.to_string(), |c| is_obeyed(c) && !matches!(c, '\n' | '\t'));
    write_line(&mut std::io::stdout().lock(), &line);
}

/// See [`complain!`].
pub(super) fn print_error(words: fmt::Arguments<'_>) {
    let line = escaped(&words.to_string(), |c| is_obeyed(c) && !matches!(c, '\n' | '\t'));
    write_line(&mut std::io::stderr().lock(), &line);
}

/// Shows on standard error how far the work is, in place of what was shown before.
pub(super) fn progress(words: fmt::Arguments<'_>) {
    let _unheard = write!(std::io::stderr().lock(), "\r{words}");
}

fn write_line(out: &mut impl Write, line: &str) {
    // A broken pipe cannot be reported to the reader who closed it.
    let _unheard = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Whether an error only says that the reader of standard output wants no more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error.kind()),
            _ => None,
        });
        io.or(csv) == Some(ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

/// Writes an error and its causes on one line, without causes whose words the line already has.
pub(super) fn chain(error: &anyhow::Error) -> String {
    // Errors quote files and peers, so control characters are escaped.
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    masked(&line)
}

/// Rows under columns.
#[derive(Debug)]
pub(super) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item: AsRef<str>>) {
        self.0.add_row(cells.into_iter().map(|cell| visible(cell.as_ref())));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table with these columns; a leading `#` marks columns of numbers.
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(columns.iter().map(|column| column.trim_start_matches('#')));
    for (at, _) in columns.iter().enumerate().filter(|(_, column)| column.starts_with('#')) {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Table(table)
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    // Within strings JSON escapes what is below U+0020 itself; the rest is escaped as JSON would read it.
    let text = serde_json::to_string_pretty(value)?;
    write_line(&mut std::io::stdout().lock(), &visible_json(&text));
    Ok(())
}

/// JSON with everything escaped, as JSON would read it, that a terminal would obey.
pub(super) fn visible_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) && c != '\n' { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_commands_the_terminal_or_begins_a_line() {
        let mut shown = table(&["model"]);
        shown.add_row(["\u{1b}[2J\u{9b}1m\u{202e}gpt\nforged"]);
        let text = shown.to_string();
        assert!(text.contains(r"\u{1b}[2J\u{9b}1m\u{202e}gpt\nforged"), "{text}");
    }

    #[test]
    fn no_cause_is_told_twice() {
        let error = std::io::Error::other("no such file");
        let error = anyhow::Error::from(error).context("a.yaml: no such file").context("reading");
        assert_eq!(chain(&error), "reading: a.yaml: no such file");
    }

    #[test]
    fn a_reader_that_has_gone_is_found_among_the_causes() {
        let gone = std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(gone).context("writing CSV")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("another")));
    }
}
