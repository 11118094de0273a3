//! The tables of a database, and rows of them in bulk, whatever they hold.
pub mod rows;

use rusqlite::types::{ToSqlOutput, Value};

use crate::connection::Engine;
use crate::{Connection, Error, Values};

pub use crate::kind::Kind;
pub use crate::postgres::quoted;

/// A table, and its columns in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may hold NULL.
    pub is_nullable: bool,
    /// Its place in the table's primary key, from 1; 0: it is in none.
    pub key: u32,
}

impl Table {
    /// The columns of the primary key, in its order.
    #[must_use]
    pub fn key(&self) -> Vec<&Column> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        key
    }

    /// The names of all columns, as SQL lists them.
    #[must_use]
    pub fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }
}

const OF_SQLITE: &str = "SELECT m.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0, c.pk FROM sqlite_schema m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid";
const OF_POSTGRES: &str =
    "SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_nullable = 'YES', coalesce(k.ordinal_position, 0)::int8
    FROM information_schema.columns c
    LEFT JOIN information_schema.table_constraints t
      ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'
    LEFT JOIN information_schema.key_column_usage k
      ON k.constraint_schema = t.constraint_schema AND k.constraint_name = t.constraint_name
        AND k.table_name = t.table_name AND k.column_name = c.column_name
    WHERE c.table_schema = current_schema() AND c.table_name NOT IN ('schema_version', 'ledger_owner')
    ORDER BY c.table_name COLLATE \"C\", c.ordinal_position";

impl Connection {
    /// All tables, by name, without those that this crate keeps for itself.
    pub fn tables(&self) -> Result<Vec<Table>, Error> {
        let sql = if self.is_postgres() { OF_POSTGRES } else { OF_SQLITE };
        let mut select = self.prepare(sql)?;
        let mut rows = select.query([])?;
        let mut tables: Vec<Table> = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let kind = match row.get::<_, String>(2)?.as_str() {
                "INTEGER" | "bigint" => Kind::Integer,
                "TEXT" | "text" => Kind::Text,
                "BLOB" | "bytea" => Kind::Blob,
                _ => return Err(Error::Unstorable),
            };
            let column = Column { name: row.get(1)?, kind, is_nullable: row.get(3)?, key: row.get(4)? };
            match tables.last_mut() {
                Some(table) if table.name == name => table.columns.push(column),
                _ => tables.push(Table { name, columns: vec![column] }),
            }
        }
        Ok(tables)
    }

    /// Takes all tables away, and whatever belongs to them.
    pub fn remove_tables(&self) -> Result<(), Error> {
        if let Engine::Postgres(session) = self.engine() {
            return session.empty_schema();
        }
        let tx = self.unchecked_transaction()?;
        for table in tx.tables()? {
            tx.execute_batch(&format!("DROP TABLE {}", quoted(&table.name)))?;
        }
        tx.set_schema_version(0)?;
        tx.commit()
    }

    /// Adds rows to a table. Each has a value for every column, in order.
    pub fn add_rows(&self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), Error> {
        if let Some(row) = rows.iter().find(|row| row.len() != table.columns.len()) {
            return Err(Error::Parameters { expected: table.columns.len(), given: row.len() });
        }
        let into = format!("{} ({})", quoted(&table.name), table.column_list());
        let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
        let rows: Vec<Values<'_>> =
            rows.into_iter().map(|row| row.into_iter().map(ToSqlOutput::Owned).collect()).collect();
        self.insert_of_kinds(&into, &kinds, &rows)
    }

    /// Lets the numbers that PostgreSQL gives to new rows go on behind those that are there. SQLite does so by itself.
    pub fn number_on(&self, table: &Table) -> Result<(), Error> {
        let [key] = table.key()[..] else { return Ok(()) };
        if !self.is_postgres() || key.kind != Kind::Integer {
            return Ok(());
        }
        let (name, column) = (quoted(&table.name), quoted(&key.name));
        let sequence: Option<String> =
            self.query_row("SELECT pg_get_serial_sequence(?1, ?2)", [&name, &key.name], |row| row.get(0))?;
        if let Some(sequence) = sequence {
            let sql = format!(
                "SELECT setval(?1::text::regclass, coalesce(max({column}), 1), max({column}) IS NOT NULL) FROM {name}"
            );
            self.query_row(&sql, [sequence], |_| Ok(()))?;
        }
        Ok(())
    }
}

/// A text as PostgreSQL stores it, so that texts of both databases can be compared.
#[must_use]
pub fn as_stored(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(crate::postgres::shown(&text)),
        other => other,
    }
}
