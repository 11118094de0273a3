//! Prints tables and JSON.
use comfy_table::{CellAlignment, Table, presets};

/// A table with these columns; a leading `#` marks columns of numbers.
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(columns.iter().map(|column| column.trim_start_matches('#')));
    for (at, _) in columns.iter().enumerate().filter(|(_, column)| column.starts_with('#')) {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
