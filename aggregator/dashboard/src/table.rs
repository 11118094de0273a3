//! Tables: what they show, where more of it is, and what to do where there is nothing.
use maud::{Markup, html};

use crate::cell::Cell;
use crate::href::Href;
use crate::number::grouped;
use crate::viewer::Viewer;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    name: String,
    sorted_by: Option<Href>,
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Column { name: name.to_owned(), sorted_by: None }
    }
}

impl Column {
    /// A column whose heading asks the server for another order: the table is one page of many.
    pub fn sorted_by(name: &str, href: Href) -> Self {
        Column { name: name.to_owned(), sorted_by: Some(href) }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its heading.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell for every column.
    pub rows: Vec<Vec<Cell>>,
    /// Says, where there are no rows, why and what to do.
    pub empty: String,
    /// Further rows that it does not show. Without them it is not sorted: the largest shown need not be the largest.
    pub left_out: usize,
    /// The next page.
    pub next: Option<Href>,
    /// The rows as a file.
    pub csv: Option<Href>,
}

impl Table {
    /// A table without rows.
    pub fn new(caption: &str, columns: &[&str], empty: &str) -> Self {
        let (caption, empty) = (caption.to_owned(), empty.to_owned());
        let columns = columns.iter().map(|name| Column::from(*name)).collect();
        Table { caption, columns, rows: Vec::new(), empty, left_out: 0, next: None, csv: None }
    }

    /// The same with these rows.
    #[must_use]
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows = rows.into_iter().collect();
        self
    }

    /// The same with the first `shown` of these rows, and a word of the others.
    #[must_use]
    pub fn first(mut self, shown: usize, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        let mut rows = rows.into_iter();
        self.rows = rows.by_ref().take(shown).collect();
        self.left_out = rows.count();
        self
    }

    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        html! {
            @if self.rows.is_empty() {
                section { h2 { (self.caption) } p.empty { (self.empty) } }
            } @else {
                div.wide tabindex="0" role="region" aria-label=(self.caption) {
                    table {
                        caption { (self.caption) }
                        thead { tr { @for (at, column) in self.columns.iter().enumerate() { (self.heading(at, column)) } } }
                        tbody { @for row in &self.rows { (line(row, viewer)) } }
                    }
                }
            }
            @if self.left_out > 0 {
                p.more { (grouped(&self.left_out.to_string())) " more are not shown" }
            }
            @if self.next.is_some() || self.csv.is_some() {
                p.more {
                    @if let Some(next) = &self.next { a href=(next.as_str()) rel="next" { "Next page" } " " }
                    @if let Some(csv) = &self.csv { a href=(csv.as_str()) download { "Download as CSV" } }
                }
            }
        }
    }

    /// A heading. The script makes those of whole tables sort.
    fn heading(&self, at: usize, column: &Column) -> Markup {
        let first = self.rows.first().and_then(|row| row.get(at));
        let is_numeric = first.is_some_and(Cell::is_numeric);
        let has_order = !matches!(first, Some(Cell::Acts(_)));
        let sorts = has_order && self.next.is_none() && self.left_out == 0 && column.sorted_by.is_none();
        html! {
            th scope="col" class=[is_numeric.then_some("number")] data-sorts[sorts] {
                @match &column.sorted_by {
                    Some(href) => a href=(href.as_str()) { (column.name) },
                    None => (column.name),
                }
            }
        }
    }
}

fn line(row: &[Cell], viewer: &Viewer) -> Markup {
    html! {
        tr {
            @for cell in row {
                td class=[cell.class()] data-sort=[cell.sort_key()] { (cell.render(viewer)) }
            }
        }
    }
}
