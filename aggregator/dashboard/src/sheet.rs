//! Tables as CSV files (RFC 4180) that a spreadsheet opens without running anything.

/// Rows of text, written as CSV.
#[derive(Clone, Debug, Default)]
pub struct Sheet(String);

impl Sheet {
    /// A sheet with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut sheet = Sheet::default();
        sheet.row(headings);
        sheet
    }

    /// Adds a row.
    pub fn row<T: AsRef<str>>(&mut self, fields: &[T]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            write_field(&mut self.0, field.as_ref());
        }
        self.0.push_str("\r\n");
    }

    /// The file's text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Writes a field in quotes. Spreadsheets run a field that begins like a formula, in quotes or not: an apostrophe in front makes it
/// text. Numbers stay numbers.
fn write_field(out: &mut String, field: &str) {
    out.push('"');
    if is_formula(field) {
        out.push('\'');
    }
    out.push_str(&field.replace('"', "\"\""));
    out.push('"');
}

/// OWASP's list of first characters, behind any blank that a spreadsheet skips.
fn is_formula(field: &str) -> bool {
    let text = field.trim_start_matches([' ', '\u{a0}', '\u{feff}']);
    let begins = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠']);
    begins && !is_number(text)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(field: &str) -> String {
        let mut out = String::new();
        write_field(&mut out, field);
        out
    }

    #[test]
    fn formulas_become_text_and_numbers_stay_numbers() {
        for formula in ["=1+1", "+1", "-1+cmd", "@SUM(A1)", "\t=1", " =1", "\u{feff}=1", "－1", "|calc", "-"] {
            assert_eq!(written(formula), format!("\"'{formula}\""));
        }
        for plain in ["-12.5", "acme", "1=1", "", "-3"] {
            assert_eq!(written(plain), format!("\"{plain}\""));
        }
    }

    #[test]
    fn quotes_and_line_ends_stay_inside_their_field() {
        let mut sheet = Sheet::new(&["tenant", "cost"]);
        sheet.row(&["a\"b,\nc", "1.5"]);
        assert_eq!(sheet.into_text(), "\"tenant\",\"cost\"\r\n\"a\"\"b,\nc\",\"1.5\"\r\n");
    }
}
