//! Tables of figures: rows with a name, columns with a name, numbers.

use std::fmt;

/// A table as it is kept: tab-separated, the names of columns first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns of figures.
    pub columns: Vec<String>,
    /// A name and a figure for each column.
    pub rows: Vec<(String, Vec<u64>)>,
}

/// A figure that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row's name.
    pub row: String,
    /// The column's name.
    pub column: String,
    /// The figure that is kept; None for a new one.
    pub kept: Option<u64>,
    /// The figure now; None for one that is gone.
    pub now: Option<u64>,
}

impl Table {
    /// Reads what `Display` wrote. None: it is no such table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let columns: Vec<_> = lines.next()?.split('\t').skip(1).map(str::to_owned).collect();
        let row = |line: &str| {
            let mut cells = line.split('\t');
            let name = cells.next()?.to_owned();
            let figures = cells.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
            (figures.len() == columns.len()).then_some((name, figures))
        };
        let rows = lines.map(row).collect::<Option<_>>()?;
        Some(Table { columns, rows })
    }

    /// One figure.
    #[must_use]
    pub fn get(&self, row: &str, column: &str) -> Option<u64> {
        let (_, figures) = self.rows.iter().find(|(name, _)| name == row)?;
        let at = self.columns.iter().position(|name| name == column)?;
        figures.get(at).copied()
    }

    /// The rows that the other table has, too.
    #[must_use]
    pub fn only_rows_of(&self, other: &Table) -> Table {
        let known = |name: &str| other.rows.iter().any(|(row, _)| row == name);
        let rows = self.rows.iter().filter(|(name, _)| known(name)).cloned().collect();
        Table { columns: self.columns.clone(), rows }
    }

    /// All figures that differ from the `kept` one by more than this many hundredths, and by more than `slack`.
    #[must_use]
    pub fn changes(&self, kept: &Table, percent: u64, slack: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for (row, column) in cells(self).into_iter().chain(cells(kept)) {
            let (now, before) = (self.get(row, column), kept.get(row, column));
            let differs = match (now, before) {
                (Some(now), Some(before)) => now.abs_diff(before) > slack.max(before / 100 * percent),
                _ => true,
            };
            let change = Change { row: row.to_owned(), column: column.to_owned(), kept: before, now };
            if differs && !changes.contains(&change) {
                changes.push(change);
            }
        }
        changes
    }
}

fn cells(table: &Table) -> Vec<(&str, &str)> {
    let names = table.rows.iter().map(|(name, _)| name.as_str());
    names.flat_map(|name| table.columns.iter().map(move |column| (name, column.as_str()))).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "what\t{}", self.columns.join("\t"))?;
        for (name, figures) in &self.rows {
            let figures: Vec<_> = figures.iter().map(u64::to_string).collect();
            writeln!(formatter, "{name}\t{}", figures.join("\t"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { row, column, kept, now } = self;
        match (kept, now) {
            (Some(kept), Some(now)) if *kept > 0 => {
                let percent = (now.abs_diff(*kept) * 100).div_ceil(*kept);
                let sign = if now > kept { '+' } else { '-' };
                write!(formatter, "{row}, {column}: {kept} -> {now} ({sign}{percent} %)")
            }
            (kept, now) => {
                let said = |figure: &Option<u64>| figure.map_or_else(|| "none".to_owned(), |figure| figure.to_string());
                write!(formatter, "{row}, {column}: {} -> {}", said(kept), said(now))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(figure: u64) -> Table {
        Table { columns: vec!["head".into(), "total".into()], rows: vec![("get".into(), vec![figure, 2 * figure])] }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        assert_eq!(Table::parse(&table(7).to_string()), Some(table(7)));
        assert_eq!(Table::parse("what\tn\nget\tx\n"), None);
        assert_eq!(Table::parse("what\tn\nget\t1\t2\n"), None);
    }

    #[test]
    fn what_differs_by_more_than_is_granted_is_told_with_its_share() {
        assert_eq!(table(1_090).changes(&table(1_000), 10, 0), []);
        let told: Vec<_> = table(1_110).changes(&table(1_000), 10, 0).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["get, head: 1000 -> 1110 (+11 %)", "get, total: 2000 -> 2220 (+11 %)"]);
        assert_eq!(table(5).changes(&Table::default(), 10, 0).len(), 2, "new figures are changes");
        assert_eq!(Table::default().changes(&table(5), 10, 0).len(), 2, "and so are figures that are gone");
    }
}
