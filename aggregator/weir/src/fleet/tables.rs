//! The tables of nodes and partitions.
use weir_contract::Timestamp;
use weir_database::{Connection, Error, Holder, OptionalExtension, Place, Row, params, quoted};
use weir_ledger::TABLES_VERSION;

use super::Member;

/// The one partition.
pub(crate) const PARTITION: u64 = 0;
/// The server's time in milliseconds.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// A node that was not seen for this long is missing, and another may have its name.
pub(crate) const MISSING_MS: u64 = 10_000;
/// A node that was not seen for this long is forgotten.
const FORGOTTEN_MS: u64 = 3_600_000;
/// The most nodes.
const NODES_MAX: i64 = 64;

/// Made by whoever comes first; a later version only adds to them.
const TABLES: &str = "
    SELECT pg_advisory_xact_lock(hashtextextended('weir nodes', 0));
    CREATE TABLE IF NOT EXISTS node(
      name text COLLATE \"C\" PRIMARY KEY, life text NOT NULL, home text NOT NULL, address text NOT NULL, version text NOT NULL,
      tables bigint NOT NULL, proof text NOT NULL, commands text NOT NULL, note text NOT NULL, started bigint NOT NULL,
      seen bigint NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE IF NOT EXISTS partition(
      number bigint PRIMARY KEY, owner text NOT NULL, life text NOT NULL, epoch bigint NOT NULL, since bigint NOT NULL
    );";

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRow {
    pub(crate) name: String,
    pub(crate) life: String,
    pub(crate) address: String,
    pub(crate) version: String,
    /// The version of the ledger's tables that it knows.
    pub(crate) tables: i64,
    /// The hashes of its secrets, in hex.
    pub(crate) proof: String,
    pub(crate) commands: String,
    /// What it says of itself.
    pub(crate) note: String,
    pub(crate) started: Timestamp,
    /// How long ago it was seen, in milliseconds.
    pub(crate) silent_ms: u64,
}

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionRow {
    pub(crate) number: u64,
    /// The name of the node, and the life of it that owns.
    pub(crate) owner: String,
    pub(crate) life: String,
    /// How often the owner changed.
    pub(crate) epoch: u64,
    pub(crate) since: Timestamp,
}

/// The tables, as they are read at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// By name.
    pub(crate) nodes: Vec<NodeRow>,
    pub(crate) partitions: Vec<PartitionRow>,
    /// Who has the right to write the ledger.
    pub(crate) writer: Option<Holder>,
    /// The version of the ledger's tables; 0 where there are none.
    pub(crate) tables: i64,
    /// The server's number of the session.
    pub(super) session: i64,
}

impl NodeRow {
    pub(crate) fn is_missing(&self) -> bool {
        self.silent_ms > MISSING_MS
    }
}

impl View {
    pub(crate) fn node(&self, name: &str) -> Option<&NodeRow> {
        self.nodes.iter().find(|node| node.name == name)
    }

    pub(crate) fn partition(&self) -> Option<&PartitionRow> {
        self.partitions.iter().find(|partition| partition.number == PARTITION)
    }

    /// The node that owns the partition, if that life of it has not ended.
    pub(crate) fn owner(&self) -> Option<&NodeRow> {
        let partition = self.partition()?;
        self.node(&partition.owner).filter(|node| node.life == partition.life)
    }
}

/// What came of an attempt to be in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Here,
    /// Another node has the name or the address, or there are too many.
    Refused(String),
}

/// The connection to the tables.
#[derive(Debug)]
pub(super) struct Tables {
    db: Connection,
    ledger: String,
}

impl Tables {
    /// Opens the tables beside the ledger, or makes them.
    pub(super) fn open(ledger: &Place) -> Result<Self, Error> {
        let db = Connection::open(ledger.beside("fleet"))?;
        db.execute_batch(TABLES)?;
        Ok(Tables { db, ledger: ledger.schema().unwrap_or_default().to_owned() })
    }

    /// Says that a node is there. `was_here` says that it had its row before: another process that has it now bears the same name.
    pub(super) fn beat(&self, me: &Member, note: &str, was_here: bool) -> Result<Joined, Error> {
        let sql = format!("UPDATE node SET seen = {NOW}, note = ?3 WHERE name = ?1 AND life = ?2");
        if self.db.execute(&sql, params![me.name, me.life, note])? > 0 {
            return Ok(Joined::Here);
        }
        self.db.execute(&format!("DELETE FROM node WHERE seen < {NOW} - ?1"), params![FORGOTTEN_MS])?;
        if let Some(refused) = self.refusal(me, was_here)? {
            return Ok(Joined::Refused(refused));
        }
        let sql = format!(
            "INSERT INTO node(name, life, home, address, version, tables, proof, commands, note, started, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, {NOW}, {NOW})
             ON CONFLICT (name) DO UPDATE SET life = excluded.life, home = excluded.home, address = excluded.address,
               version = excluded.version, tables = excluded.tables, proof = excluded.proof, commands = excluded.commands,
               note = excluded.note, started = excluded.started, seen = excluded.seen"
        );
        let (home, proof) =
            (me.home.to_string(), weir_contract::directory::KeyHash::of(me.proof.as_bytes()).to_string());
        let (version, commands) = (env!("CARGO_PKG_VERSION"), me.commands.to_string());
        let row = params![me.name, me.life, home, me.address, version, TABLES_VERSION, proof, commands, note];
        self.db.execute(&sql, row)?;
        Ok(Joined::Here)
    }

    /// Why a node may not be in the table.
    fn refusal(&self, me: &Member, was_here: bool) -> Result<Option<String>, Error> {
        let sql = format!(
            "SELECT name, address, {NOW} - seen FROM node
             WHERE (name = ?1 OR address = ?2) AND NOT (?5 = 0 AND name = ?1 AND home = ?3) AND seen >= {NOW} - ?4"
        );
        let other = self
            .db
            .query_row(&sql, params![me.name, me.address, me.home.to_string(), MISSING_MS, was_here], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, u64>(2)?))
            })
            .optional()?;
        if let Some((name, address, silent_ms)) = other {
            return Ok(Some(format!(
                "node: {name:?} at {address} has the name or the address of this node ({:?} at {}), and was seen {silent_ms} ms ago: \
                 give each node a name and an address of its own",
                me.name, me.address
            )));
        }
        let count: i64 =
            self.db.query_row("SELECT count(*) FROM node WHERE name <> ?1", [&me.name], |row| row.get(0))?;
        Ok((count >= NODES_MAX).then(|| format!("node: there are {count} nodes already, at most {NODES_MAX}")))
    }

    /// Takes a node's row away.
    pub(super) fn leave(&self, me: &Member) -> Result<(), Error> {
        self.db.execute("DELETE FROM node WHERE name = ?1 AND life = ?2", params![me.name, me.life]).map(drop)
    }

    /// Reads the tables.
    pub(super) fn view(&self) -> Result<View, Error> {
        let sql = format!(
            "SELECT name, life, address, version, tables, proof, commands, note, started, greatest({NOW} - seen, 0)
             FROM node ORDER BY name"
        );
        let nodes = self.db.prepare_cached(&sql)?.query_map([], node)?.collect::<Result<_, _>>()?;
        let sql = "SELECT number, owner, life, epoch, since FROM partition ORDER BY number";
        let partitions = self.db.prepare_cached(sql)?.query_map([], partition)?.collect::<Result<_, _>>()?;
        Ok(View {
            nodes,
            partitions,
            writer: self.db.writer_of(&self.ledger)?,
            tables: self.version()?,
            session: self.db.query_row("SELECT pg_backend_pid()::bigint", [], |row| row.get(0))?,
        })
    }

    /// The version of the ledger's tables.
    fn version(&self) -> Result<i64, Error> {
        let table = format!("{}.schema_version", quoted(&self.ledger));
        let is_there =
            self.db.query_row("SELECT (to_regclass(?1) IS NOT NULL)::int::bigint", [&table], |row| row.get(0))?;
        match is_there {
            0_i64 => Ok(0),
            _ => self.db.query_row(&format!("SELECT version FROM {table}"), [], |row| row.get(0)),
        }
    }
}

fn node(row: &Row<'_>) -> Result<NodeRow, Error> {
    Ok(NodeRow {
        name: row.get(0)?,
        life: row.get(1)?,
        address: row.get(2)?,
        version: row.get(3)?,
        tables: row.get(4)?,
        proof: row.get(5)?,
        commands: row.get(6)?,
        note: row.get(7)?,
        started: Timestamp::from_millis(row.get(8)?),
        silent_ms: row.get(9)?,
    })
}

fn partition(row: &Row<'_>) -> Result<PartitionRow, Error> {
    Ok(PartitionRow {
        number: row.get(0)?,
        owner: row.get(1)?,
        life: row.get(2)?,
        epoch: row.get(3)?,
        since: Timestamp::from_millis(row.get(4)?),
    })
}

/// Notes in a transaction of the ledger, which `db` has the right to write, that a node owns the partition. Returns the number of the change.
pub(crate) fn claim(db: &mut Connection, ledger: &Place, me: &Member) -> Result<u64, Error> {
    let schema = ledger.beside("fleet");
    let table = format!("{}.partition", quoted(schema.schema().unwrap_or_default()));
    let tx = db.transaction()?;
    let sql = format!(
        "INSERT INTO {table} AS p(number, owner, life, epoch, since) VALUES (?1, ?2, ?3, 1, {NOW})
         ON CONFLICT (number) DO UPDATE SET owner = excluded.owner, life = excluded.life, epoch = p.epoch + 1, since = excluded.since
         RETURNING epoch"
    );
    let epoch = tx.query_row(&sql, params![PARTITION, me.name, me.life], |row| row.get(0))?;
    tx.commit()?;
    Ok(epoch)
}
