//! The tables of nodes and partitions.
use weir_contract::Timestamp;
use weir_contract::directory::KeyHash;
use weir_database::{Connection, Error, Holder, Place, Row, params, quoted};
use weir_ledger::TABLES_VERSION;

use super::{Member, Said};

/// The one partition.
pub(crate) const PARTITION: u64 = 0;
/// The server's time in milliseconds.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// A node that was not seen for this long is missing, and another may have its name.
pub(crate) const MISSING_MS: u64 = 10_000;
/// A node that was not seen for this long runs no more, as far as its own next process is concerned: three times what is between two beats.
const QUIET_MS: u64 = 3_000;
/// A node that was not seen for this long is forgotten.
const FORGOTTEN_MS: u64 = 3_600_000;
/// For this long a node counts as one that can own, after it has looked whether it can.
const ABLE_MS: u64 = 10_000;
/// For this long a node that gave the ownership up leaves it to others that can own.
const YIELDED_MS: u64 = 60_000;
/// The most nodes.
const NODES_MAX: i64 = 64;
/// The most commands that ask the owner while their nodes do not run. Beyond them the oldest is forgotten.
const VISITORS_MAX: i64 = 64;

/// Made by whoever comes first; a later version only adds to them.
const TABLES: &str = "
    SELECT pg_advisory_xact_lock(hashtextextended('weir nodes', 0));
    CREATE TABLE IF NOT EXISTS node(
      name text COLLATE \"C\" PRIMARY KEY, life text NOT NULL, home text NOT NULL, address text NOT NULL, version text NOT NULL,
      tables bigint NOT NULL, proof text NOT NULL, commands text NOT NULL, note text NOT NULL, started bigint NOT NULL,
      seen bigint NOT NULL
    ) WITH (fillfactor = 50);
    ALTER TABLE node ADD COLUMN IF NOT EXISTS able bigint NOT NULL DEFAULT 0;
    ALTER TABLE node ADD COLUMN IF NOT EXISTS yielded bigint NOT NULL DEFAULT 0;
    ALTER TABLE node ADD COLUMN IF NOT EXISTS settings text NOT NULL DEFAULT '';
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
    /// How long ago it last found that it can own.
    able_ms: u64,
    /// How long ago it last gave the ownership up.
    yielded_ms: u64,
    /// Digests of the settings that all nodes have alike; empty if its version does not tell.
    pub(crate) settings: String,
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
    /// Commands that ask the owner while their nodes do not run.
    visitors: Vec<NodeRow>,
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

    /// Whether it leaves the ownership to others.
    pub(crate) fn yields(&self) -> bool {
        self.yielded_ms < YIELDED_MS
    }
}

impl View {
    pub(crate) fn node(&self, name: &str) -> Option<&NodeRow> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The node or the command of a name.
    pub(super) fn known(&self, name: &str) -> Option<&NodeRow> {
        self.node(name).or_else(|| self.visitors.iter().find(|visitor| visitor.name == name))
    }

    pub(crate) fn partition(&self) -> Option<&PartitionRow> {
        self.partitions.iter().find(|partition| partition.number == PARTITION)
    }

    /// The node that owns the partition, if that life of it has not ended.
    pub(crate) fn owner(&self) -> Option<&NodeRow> {
        let partition = self.partition()?;
        self.node(&partition.owner).filter(|node| node.life == partition.life)
    }

    /// The nodes other than that of the life `me` that have found lately that they can own.
    pub(crate) fn standbys(&self, me: &str) -> impl Iterator<Item = &NodeRow> {
        let is_able = |node: &&NodeRow| !node.is_missing() && node.able_ms < ABLE_MS && node.tables >= self.tables;
        self.nodes.iter().filter(move |node| node.life != me).filter(is_able)
    }
}

/// What came of an attempt to be in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Here,
    /// This node has been seen just now as another process: that one has ended, or runs beside this one.
    Beside,
    /// Another node has the name or the address, or there are too many.
    Refused(String),
}

/// A node that was seen lately, as one that joins finds it.
struct Seen {
    name: String,
    home: String,
    address: String,
    silent_ms: u64,
}

impl Seen {
    /// Why `me` may not join beside it; None if it may, or is the next life of the same node. `was_here` says that `me` had its row before.
    fn refuses(&self, me: &Member, was_here: bool) -> Option<String> {
        let (has_name, has_address) = (self.name == me.name, canonical(&self.address) == canonical(&me.address));
        let is_same_home = self.home == me.home.to_string();
        if !(has_name || has_address) || (has_name && has_address && is_same_home && !was_here) {
            return None;
        }
        let remedy = match has_name && is_same_home && !was_here {
            true => {
                "this data directory is a copy of that node's: give this node a name and a data directory of its own; if this is the same \
                 node at another address, start it again once that one is missing"
            }
            false => "give each node a name and an address of its own",
        };
        Some(format!(
            "node: {:?} at {} has the name or the address of this node ({:?} at {}), and was seen {} ms ago: {remedy}",
            self.name, self.address, me.name, me.address, self.silent_ms
        ))
    }
}

/// An address by which other words for this machine, and other ways to write a port, are the same.
fn canonical(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    let Some((host, port)) = address.rsplit_once(':') else { return address };
    let port = port.parse::<u16>().map_or_else(|_| port.to_owned(), |port| port.to_string());
    if ["//localhost", "//[::1]"].iter().any(|near| host.ends_with(near)) {
        let scheme = host.split_once("//").map_or("", |(scheme, _)| scheme);
        return format!("{scheme}//127.0.0.1:{port}");
    }
    format!("{host}:{port}")
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
    pub(super) fn beat(&self, me: &Member, said: &Said, able_ms: Option<u64>, was_here: bool) -> Result<Joined, Error> {
        let Said { note, settings, .. } = said;
        let sql = format!(
            "UPDATE node SET seen = {NOW}, note = ?3, able = CASE WHEN ?4 < 0 THEN 0 ELSE {NOW} - ?4 END, settings = ?5
             WHERE name = ?1 AND life = ?2"
        );
        let able_ms = able_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(-1);
        let is_here = self.db.execute(&sql, params![me.name, me.life, note, able_ms, settings])? > 0;
        self.db.execute(&format!("DELETE FROM node WHERE seen < {NOW} - ?1"), params![FORGOTTEN_MS])?;
        if is_here {
            return Ok(Joined::Here);
        }
        // One after the other: of two that come at once with one address, the second finds the first.
        let locked = |act: &str| {
            let sql = format!("SELECT {act}(hashtextextended('weir nodes join', 0)) IS NULL");
            self.db.query_row(&sql, [], |_| Ok(()))
        };
        locked("pg_advisory_lock")?;
        let joined = self.join(me, said, was_here);
        locked("pg_advisory_unlock")?;
        joined
    }

    /// Puts a node into the table, if nothing there keeps it out.
    fn join(&self, me: &Member, Said { note, settings, .. }: &Said, was_here: bool) -> Result<Joined, Error> {
        let seen = self.seen()?;
        if let Some(refused) = self.refusal(me, &seen, was_here)? {
            return Ok(Joined::Refused(refused));
        }
        if seen.iter().any(|other| other.name == me.name && other.silent_ms < QUIET_MS) {
            return Ok(Joined::Beside);
        }
        let sql = format!(
            "INSERT INTO node(name, life, home, address, version, tables, proof, commands, note, settings, started, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, {NOW}, {NOW})
             ON CONFLICT (name) DO UPDATE SET life = excluded.life, home = excluded.home, address = excluded.address,
               version = excluded.version, tables = excluded.tables, proof = excluded.proof, commands = excluded.commands,
               note = excluded.note, settings = excluded.settings, able = 0, started = excluded.started, seen = excluded.seen"
        );
        let (home, proof) = (me.home.to_string(), KeyHash::of(me.proof.as_bytes()).to_string());
        let (version, commands) = (env!("CARGO_PKG_VERSION"), me.commands.to_string());
        let row = params![me.name, me.life, home, me.address, version, TABLES_VERSION, proof, commands, note, settings];
        self.db.execute(&sql, row)?;
        Ok(Joined::Here)
    }

    /// The nodes that were seen lately.
    fn seen(&self) -> Result<Vec<Seen>, Error> {
        let sql = format!(
            "SELECT name, home, address, greatest({NOW} - seen, 0) FROM node WHERE address <> '' AND seen >= {NOW} - ?1 ORDER BY name"
        );
        let read = |row: &Row<'_>| {
            Ok(Seen { name: row.get(0)?, home: row.get(1)?, address: row.get(2)?, silent_ms: row.get(3)? })
        };
        self.db.prepare_cached(&sql)?.query_map([MISSING_MS], read)?.collect()
    }

    /// Why a node may not be in the table.
    fn refusal(&self, me: &Member, seen: &[Seen], was_here: bool) -> Result<Option<String>, Error> {
        if let Some(refused) = seen.iter().find_map(|other| other.refuses(me, was_here)) {
            return Ok(Some(refused));
        }
        let count: i64 =
            self.db.query_row("SELECT count(*) FROM node WHERE name <> ?1 AND address <> ''", [&me.name], |row| {
                row.get(0)
            })?;
        Ok((count >= NODES_MAX).then(|| format!("node: there are {count} nodes already, at most {NODES_MAX}")))
    }

    /// Notes that a node gives the ownership up.
    pub(super) fn yield_up(&self, me: &Member) -> Result<(), Error> {
        let sql = format!("UPDATE node SET yielded = {NOW} WHERE name = ?1 AND life = ?2");
        self.db.execute(&sql, params![me.name, me.life]).map(drop)
    }

    /// Takes a node's row away.
    pub(super) fn leave(&self, me: &Member) -> Result<(), Error> {
        self.db.execute("DELETE FROM node WHERE name = ?1 AND life = ?2", params![me.name, me.life]).map(drop)
    }

    /// Lets the owner know of a command.
    pub(super) fn visit(&self, name: &str, proof: &KeyHash, commands: &KeyHash) -> Result<(), Error> {
        let sql = "DELETE FROM node WHERE address = '' AND name IN
                     (SELECT name FROM node WHERE address = '' ORDER BY seen DESC OFFSET ?1)";
        self.db.execute(sql, params![VISITORS_MAX - 1])?;
        let sql = format!(
            "INSERT INTO node(name, life, home, address, version, tables, proof, commands, note, started, seen)
             VALUES (?1, '', '', '', ?2, ?3, ?4, ?5, '', {NOW}, {NOW})"
        );
        let row = params![name, env!("CARGO_PKG_VERSION"), TABLES_VERSION, proof.to_string(), commands.to_string()];
        self.db.execute(&sql, row).map(drop)
    }

    /// A command has ended.
    pub(super) fn visited(&self, name: &str) -> Result<(), Error> {
        self.db.execute("DELETE FROM node WHERE name = ?1 AND address = ''", [name]).map(drop)
    }

    /// Reads the tables.
    pub(super) fn view(&self) -> Result<View, Error> {
        let sql = format!(
            "SELECT name, life, address, version, tables, proof, commands, note, started, greatest({NOW} - seen, 0),
               greatest({NOW} - able, 0), greatest({NOW} - yielded, 0), settings
             FROM node ORDER BY name"
        );
        let rows = self.db.prepare_cached(&sql)?.query_map([], node)?.collect::<Result<Vec<_>, _>>()?;
        let (nodes, visitors) = rows.into_iter().partition(|row| !row.address.is_empty());
        let sql = "SELECT number, owner, life, epoch, since FROM partition ORDER BY number";
        let partitions = self.db.prepare_cached(sql)?.query_map([], partition)?.collect::<Result<_, _>>()?;
        Ok(View {
            nodes,
            visitors,
            partitions,
            writer: self.db.writer_of(&self.ledger)?,
            tables: self.version()?,
            session: self.db.query_row("SELECT pg_backend_pid()::bigint", [], |row| row.get(0))?,
        })
    }

    /// Ends the writer's session if it is stuck in the middle of a statement.
    pub(super) fn end_stuck_writer(&self) -> Result<(), Error> {
        self.db.end_stuck_writer(&self.ledger)
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
        able_ms: row.get(10)?,
        yielded_ms: row.get(11)?,
        settings: row.get(12)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::NodeSettings;

    fn row(name: &str, able_ms: u64, yielded_ms: u64) -> NodeRow {
        let text = || String::new();
        NodeRow {
            name: name.to_owned(),
            life: name.to_owned(),
            address: text(),
            version: text(),
            tables: TABLES_VERSION,
            proof: text(),
            commands: text(),
            note: text(),
            started: Timestamp::from_millis(0),
            silent_ms: 100,
            able_ms,
            yielded_ms,
            settings: text(),
        }
    }

    #[test]
    fn only_nodes_that_have_found_lately_that_they_can_own_stand_by() {
        let never = u64::MAX;
        let (mut missing, mut older) = (row("missing", 0, never), row("older", 0, never));
        missing.silent_ms = MISSING_MS + 1;
        older.tables -= 1;
        let nodes = vec![
            row("me", 0, never),
            row("away", ABLE_MS, never),
            row("able", ABLE_MS - 1, never),
            row("yielded", 0, YIELDED_MS - 1),
            missing,
            older,
        ];
        let view = View { nodes, tables: TABLES_VERSION, ..View::default() };
        let found: Vec<_> = view.standbys("me").map(|node| (node.name.as_str(), node.yields())).collect();
        assert_eq!(found, [("able", false), ("yielded", true)]);
    }

    #[test]
    fn a_node_joins_as_its_own_next_life_and_beside_others_only() {
        let me = |name: &str, address: &str, home: &str| {
            let node = NodeSettings { name: name.to_owned(), address: address.to_owned(), ca: None };
            Member::new(&node, home, "commands").expect("random bytes")
        };
        let running = me("a", "http://127.0.0.1:8090", "home");
        let (home, address) = (running.home.to_string(), running.address);
        let seen = Seen { name: running.name, home, address, silent_ms: 5 };
        assert_eq!(seen.refuses(&me("a", "http://127.0.0.1:8090", "home"), false), None, "its next life");
        assert_eq!(seen.refuses(&me("b", "http://127.0.0.1:8091", "other"), false), None);
        let other_life = me("a", "http://127.0.0.1:8090", "home");
        for (refused, was_here, words) in [
            (other_life, true, "a name and an address of its own"),
            (me("a", "http://127.0.0.1:8091", "home"), false, "is a copy of that node's"),
            (me("a", "http://127.0.0.1:8091", "other"), false, "a name and an address of its own"),
            (me("b", "http://127.0.0.1:8090", "other"), false, "a name and an address of its own"),
            (me("b", "http://localhost:8090", "other"), false, "a name and an address of its own"),
            (me("b", "http://[::1]:8090", "other"), false, "a name and an address of its own"),
        ] {
            let why = seen.refuses(&refused, was_here).unwrap_or_default();
            assert!(why.contains(words), "{refused:?}: {why}");
        }
    }
}
