//! A report as text, Markdown or HTML.
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The forms of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// For a terminal.
    #[default]
    Text,
    /// Markdown.
    Markdown,
    /// A page of its own.
    Html,
}

/// A report: a title, and blocks below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The title.
    pub title: String,
    /// The blocks.
    pub blocks: Vec<Block>,
}

/// A part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Paragraph(String),
    /// A table. Columns of numbers begin with `#`.
    Table {
        /// The columns.
        columns: Vec<&'static str>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
}

impl Document {
    /// Writes the report.
    pub fn render(&self, form: Form) -> String {
        match form {
            Form::Text => self.text(),
            Form::Markdown => self.markdown(),
            Form::Html => self.html(),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n{}\n", self.title, "=".repeat(self.title.chars().count()));
        for block in &self.blocks {
            match block {
                Block::Heading(text) => {
                    let _ = write!(out, "\n{text}\n{}\n", "-".repeat(text.chars().count()));
                }
                Block::Paragraph(text) => {
                    let _ = writeln!(out, "{text}");
                }
                Block::Table { columns, rows } => aligned(&mut out, columns, rows),
            }
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = format!("# {}\n", markdown_safe(&self.title));
        for block in &self.blocks {
            match block {
                Block::Heading(text) => {
                    let _ = write!(out, "\n## {}\n", markdown_safe(text));
                }
                Block::Paragraph(text) => {
                    let _ = write!(out, "\n{}\n", markdown_safe(text));
                }
                Block::Table { columns, rows } => {
                    let names: Vec<&str> = columns.iter().map(|column| column.trim_start_matches('#')).collect();
                    let line = |column: &&str| if column.starts_with('#') { "---:" } else { "---" };
                    let lines: Vec<&str> = columns.iter().map(line).collect();
                    let _ = write!(out, "\n| {} |\n| {} |\n", names.join(" | "), lines.join(" | "));
                    for row in rows {
                        let cells: Vec<String> = row.iter().map(|cell| markdown_safe(cell)).collect();
                        let _ = writeln!(out, "| {} |", cells.join(" | "));
                    }
                }
            }
        }
        out
    }

    fn html(&self) -> String {
        let title = html_safe(&self.title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>\
             body{{font-family:sans-serif;margin:2rem}}table{{border-collapse:collapse;margin:1rem 0}}\
             th,td{{padding:.25rem .75rem;border-bottom:1px solid #ddd;text-align:left}}.n{{text-align:right}}</style></head>\n\
             <body><h1>{title}</h1>\n"
        );
        for block in &self.blocks {
            match block {
                Block::Heading(text) => {
                    let _ = writeln!(out, "<h2>{}</h2>", html_safe(text));
                }
                Block::Paragraph(text) => {
                    let _ = writeln!(out, "<p>{}</p>", html_safe(text));
                }
                Block::Table { columns, rows } => html_table(&mut out, columns, rows),
            }
        }
        out.push_str("</body></html>\n");
        out
    }
}

fn html_table(out: &mut String, columns: &[&str], rows: &[Vec<String>]) {
    let class = |column: &str| if column.starts_with('#') { " class=\"n\"" } else { "" };
    out.push_str("<table><thead><tr>");
    for column in columns {
        let _ = write!(out, "<th{}>{}</th>", class(column), html_safe(column.trim_start_matches('#')));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in columns.iter().zip(row) {
            let _ = write!(out, "<td{}>{}</td>", class(column), html_safe(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

/// Columns of equal width; numbers stand to the right.
fn aligned(out: &mut String, columns: &[&str], rows: &[Vec<String>]) {
    let header: Vec<String> = columns.iter().map(|column| column.trim_start_matches('#').to_owned()).collect();
    let width = |at: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in [&header].into_iter().chain(rows) {
        let cells = columns.iter().zip(&widths).zip(row).map(|((column, width), cell)| {
            let cell = cell.replace(char::is_control, " ");
            if column.starts_with('#') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// Names come from tenants and clients: none of them may become markup.
fn html_safe(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn markdown_safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => safe.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Document {
        let rows = vec![vec!["a|<b>\n".to_owned(), "1".to_owned()], vec!["long name".to_owned(), "100".to_owned()]];
        let table = Block::Table { columns: vec!["tenant", "#cost"], rows };
        Document { title: "Week".to_owned(), blocks: vec![Block::Heading("Top".to_owned()), table] }
    }

    #[test]
    fn names_never_become_markup() {
        let html = sample().render(Form::Html);
        assert!(html.contains("<td>a|&lt;b&gt;\n</td><td class=\"n\">1</td>"), "{html}");
        let markdown = sample().render(Form::Markdown);
        assert!(markdown.contains("| a\\|\\<b\\>  | 1 |\n"), "{markdown}");
    }

    #[test]
    fn text_is_aligned_with_numbers_to_the_right() {
        let text = sample().render(Form::Text);
        assert!(text.contains("tenant     cost\n"), "{text}");
        assert!(text.contains("long name   100\n"), "{text}");
    }
}
