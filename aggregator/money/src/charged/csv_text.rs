//! Reads CSV (RFC 4180) from a text: fields in quotes may hold commas, quotes and line ends.

/// The records of a text, each with its line, counted from 1.
pub(super) fn records(text: &str) -> Result<Vec<(u64, Vec<String>)>, String> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut began, mut quoted) = (1_u64, 1_u64, false);
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        line += u64::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                records.push((began, std::mem::take(&mut fields)));
                began = line;
            }
            other => field.push(other),
        }
    }
    if quoted {
        return Err(format!("line {began}: a quote is never closed"));
    }
    if !field.is_empty() || !fields.is_empty() {
        fields.push(field);
        records.push((began, fields));
    }
    records.retain(|(_, fields)| fields.iter().any(|field| !field.trim().is_empty()));
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_quotes_and_lines() {
        let records = records("a,b\r\n\"1,2\",\"say \"\"x\"\"\nand\"\n\n3,\n").expect("CSV");
        let fields: Vec<Vec<&str>> =
            records.iter().map(|(_, fields)| fields.iter().map(String::as_str).collect()).collect();
        assert_eq!(fields, [vec!["a", "b"], vec!["1,2", "say \"x\"\nand"], vec!["3", ""]]);
        assert_eq!(records.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 5]);
        assert!(super::records("a,\"b\n").is_err());
    }
}
