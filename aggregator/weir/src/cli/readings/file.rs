//! Readings in a file: CSV with a header, or one JSON object per line. The whole file is read before anything is sent.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use weir_ledger::reading::{FIELDS, Reading};

/// The most bytes of one file, and thus of memory: about half a million readings.
pub(super) const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The index of `id` in [`FIELDS`].
const ID: usize = 0;
/// The index of `name` in [`FIELDS`].
pub(super) const NAME: usize = 2;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A header with the names of [`FIELDS`] in any order, then one reading per line.
    Csv,
    /// One JSON object per line.
    Lines,
}

impl Kind {
    /// The format by the file name's extension.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_ascii_lowercase().to_str()? {
            "csv" => Some(Kind::Csv),
            "ndjson" | "jsonl" => Some(Kind::Lines),
            _ => None,
        }
    }
}

/// A reading and its location in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadingLine {
    /// The line, from 1.
    pub(super) line: u64,
    /// The column of each of [`FIELDS`], from 1, for later errors about the reading.
    pub(super) columns: [usize; FIELDS.len()],
    /// The reading.
    pub(super) reading: Reading,
}

/// An error in a file. A column is a field in CSV and a character in JSON lines; both count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub(super) struct FileError {
    /// The line.
    pub(super) line: u64,
    /// The column.
    pub(super) column: usize,
    /// The problem, and a valid form.
    pub(super) problem: String,
}

/// Reads all readings of `text`. Stops at the first error, because nothing of an invalid file is sent.
pub(super) fn read(kind: Kind, text: &str) -> Result<Vec<ReadingLine>, FileError> {
    let readings = match kind {
        Kind::Csv => csv(text)?,
        Kind::Lines => lines(text)?,
    };
    check_ids(&readings)?;
    Ok(readings)
}

fn lines(text: &str) -> Result<Vec<ReadingLine>, FileError> {
    let mut readings = Vec::new();
    for (line, json) in (1..).zip(text.lines()).filter(|(_, json)| !json.trim().is_empty()) {
        let reading = Reading::parse(json.as_bytes()).map_err(|error| {
            // serde_json appends a location of its own, always in line 1, because it sees a single line.
            let place = format!(" at line {} column {}", error.line(), error.column());
            let told = error.to_string();
            FileError { line, column: error.column().max(1), problem: told.trim_end_matches(&place).to_owned() }
        })?;
        let columns = FIELDS.map(|field| json.find(&format!("\"{field}\"")).unwrap_or(0) + 1);
        readings.push(ReadingLine { line, columns, reading });
    }
    Ok(readings)
}

fn csv(text: &str) -> Result<Vec<ReadingLine>, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let columns = columns(reader.headers().map_err(|error| form(&error, &mut lines))?)?;
    let mut readings = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| form(&error, &mut lines))?;
        let line = lines.of(record.position());
        let fields = columns.map(|column| record.get(column).unwrap_or_default());
        let reading =
            Reading::of(fields).map_err(|(field, problem)| FileError { line, column: columns[field] + 1, problem })?;
        readings.push(ReadingLine { line, columns: columns.map(|column| column + 1), reading });
    }
    Ok(readings)
}

/// The column of each of [`FIELDS`] in the header.
fn columns(header: &StringRecord) -> Result<[usize; FIELDS.len()], FileError> {
    let needed = FIELDS.join(",");
    let wrong = |column: usize, problem| FileError { line: 1, column: column + 1, problem };
    for (at, name) in header.iter().enumerate() {
        if !FIELDS.contains(&name) {
            return Err(wrong(at, format!("there is no field {name:?}; the first line names the columns: {needed}")));
        }
        if header.iter().take(at).any(|earlier| earlier == name) {
            return Err(wrong(at, format!("the column {name} is there twice")));
        }
    }
    let mut columns = [0; FIELDS.len()];
    for (column, field) in columns.iter_mut().zip(FIELDS) {
        let missing = || {
            wrong(header.len(), format!("the column {field} is missing; the first line names the columns: {needed}"))
        };
        *column = header.iter().position(|name| name == field).ok_or_else(missing)?;
    }
    Ok(columns)
}

/// Counts the lines of a text. The CSV reader's own count stops before line ends that it has yet to skip.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or after `position`, which must not decrease.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let mut to = position.map_or(self.at, |p| usize::try_from(p.byte()).unwrap_or(usize::MAX)).min(self.text.len());
        while matches!(self.text.get(to), Some(b'\r' | b'\n')) {
            to += 1;
        }
        let passed = self.text.get(self.at..to).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = self.at.max(to);
        self.line
    }
}

/// Translates an error of the CSV reader.
fn form(error: &csv::Error, lines: &mut Lines<'_>) -> FileError {
    let line = lines.of(error.position());
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let problem = format!(
                "{len} fields where the first line has {expected_len}; put a field that holds a comma in quotes"
            );
            FileError { line, column: usize::try_from(*len).unwrap_or(usize::MAX), problem }
        }
        _ => FileError { line, column: 1, problem: error.to_string() },
    }
}

/// Refuses two readings with one id and different contents: only one can be right.
fn check_ids(readings: &[ReadingLine]) -> Result<(), FileError> {
    let mut known: HashMap<&str, &ReadingLine> = HashMap::with_capacity(readings.len());
    for placed in readings {
        match known.entry(&placed.reading.id) {
            Entry::Vacant(free) => {
                free.insert(placed);
            }
            Entry::Occupied(earlier) if earlier.get().reading == placed.reading => {}
            Entry::Occupied(earlier) => {
                let (id, line) = (&placed.reading.id, earlier.get().line);
                let problem = format!(
                    "id: {id:?} stands in line {line} with another content; give each reading an id of its own"
                );
                return Err(FileError { line: placed.line, column: placed.columns[ID], problem });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: &str = "\u{feff}time, name, amount, id, tenant\r\n\
                       2026-11-21T03:00:00Z,storage_gb_hours,12.5,acme/1,acme\r\n\
                       \r\n\
                       2026-11-21T04:00:00Z,storage_gb_hours,\"0.25\",acme/2,acme\r\n";

    fn told(kind: Kind, text: &str) -> String {
        read(kind, text).expect_err(text).to_string()
    }

    #[test]
    fn csv_and_lines_hold_the_same_readings() {
        let of_csv = read(Kind::Csv, CSV).expect("readings");
        let places: Vec<_> = of_csv.iter().map(|placed| (placed.line, placed.reading.amount.to_string())).collect();
        assert_eq!(places, [(2, "12.5".to_owned()), (4, "0.25".to_owned())]);
        let json: Vec<String> =
            of_csv.iter().map(|placed| String::from_utf8(placed.reading.canonical()).expect("text")).collect();
        let of_lines = read(Kind::Lines, &format!("{}\n\n\n{}\n", json[0], json[1])).expect("readings");
        let readings = |placed: &[ReadingLine]| placed.iter().map(|placed| placed.reading.clone()).collect::<Vec<_>>();
        assert_eq!(readings(&of_lines), readings(&of_csv));
        assert_eq!(of_lines[1].line, 4);
    }

    #[test]
    fn what_is_wrong_is_told_with_line_column_and_remedy() {
        let edits = [
            ("12.5", "12,5", "2:6: 6 fields where the first line has 5; put a field that holds a comma in quotes"),
            ("\"0.25\"", "-1", "4:3: amount: \"-1\" is not a decimal"),
            ("acme/2,acme", "acme/2,", "4:5: tenant: \"\""),
            (
                "amount, id",
                "amuont, id",
                "1:3: there is no field \"amuont\"; the first line names the columns: id,tenant",
            ),
            ("name, amount", "amount, amount", "1:3: the column amount is there twice"),
            ("acme/2", "acme/1", "4:4: id: \"acme/1\" stands in line 2 with another content"),
        ];
        for (from, to, expected) in edits {
            let error = told(Kind::Csv, &CSV.replacen(from, to, 1));
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(told(Kind::Csv, "id,tenant,name,time\n").starts_with("1:5: the column amount is missing"));
        assert!(told(Kind::Csv, "").starts_with("1:1: the column id is missing"));
        let lines = "{\"id\":\"a\",\"tenant\":\"acme\",\"name\":\"x\",\"time\":\"2026-11-21T03:00:00Z\",\"amount\":1}";
        let error = told(Kind::Lines, &format!("\n{lines}"));
        assert!(error.starts_with("2:") && error.contains("expected amount: a decimal from 0"), "{error}");
        assert!(!error.contains("at line"), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_it_is_read_or_refused_with_a_place(
            at in 0..CSV.len(), with in ".{0,4}", cut in 0..4_usize, lines in any::<bool>(),
        ) {
            let mut text: Vec<char> = CSV.chars().collect();
            let at = at.min(text.len());
            text.splice(at..(at + cut).min(text.len()), with.chars());
            let text: String = text.into_iter().collect();
            let kind = if lines { Kind::Lines } else { Kind::Csv };
            match read(kind, &text) {
                Ok(readings) => for ReadingLine { reading, .. } in readings {
                    let again = Reading::parse(&reading.canonical());
                    prop_assert!(again.is_ok_and(|again| again == reading));
                },
                Err(error) => {
                    let last = text.lines().count() as u64 + 1;
                    prop_assert!((1..=last).contains(&error.line) && error.column > 0, "{error}");
                }
            }
        }
    }

    #[test]
    fn a_reading_that_stands_there_twice_is_one() {
        let twice = format!("{CSV}2026-11-21T03:00:00.000+00:00,storage_gb_hours,12.50,acme/1,acme\r\n");
        assert_eq!(read(Kind::Csv, &twice).expect("readings").len(), 3);
        assert_eq!(Kind::of(Path::new("a/B.CSV")), Some(Kind::Csv));
        assert_eq!(Kind::of(Path::new("a.jsonl")), Some(Kind::Lines));
        assert_eq!(Kind::of(Path::new("a.json")), None);
    }
}
