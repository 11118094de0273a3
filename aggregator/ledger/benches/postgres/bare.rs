//! A bare client: one connection, rows that are known beforehand.
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};
use weir_contract::{EventId, Sequence, SourceId, Timestamp};
use weir_database::{Place, PostgresPlace, Reach, Server};
use weir_ledger::SqliteLedger;
use weir_ledger::meters::{self, Meters};

const METERS: [&str; 5] = ["cached_input_tokens", "input_tokens", "output_tokens", "reasoning_tokens", "requests"];

/// The server of the benchmark, which asks for no password.
#[derive(Debug)]
struct Near(Config);

impl Server for Near {
    fn label(&self) -> String {
        "the benchmark's PostgreSQL".to_owned()
    }

    fn reach(&self) -> Result<Reach, String> {
        Ok(Reach { config: self.0.clone(), tls: None })
    }
}

/// A ledger in the schema `schema`. A bare client writes into the tables of one that does nothing itself.
pub(crate) fn ledger(config: &Config, schema: &str) -> SqliteLedger {
    let server: Arc<dyn Server> = Arc::new(Near(config.clone()));
    let place = Place::Postgres(PostgresPlace::new(server, schema));
    SqliteLedger::open(place, "log", Meters::new(meters::defaults(), Vec::new()).expect("good")).expect("a ledger")
}

/// Columns of `usage` that counting leaves alone; changes of the first one run a trigger.
const OF_BILLING: [&str; 2] = ["outboxed", "open"];

pub(crate) struct Bare {
    runtime: Runtime,
    client: Client,
    find: Statement,
    sums: Vec<Upsert>,
    start: Timestamp,
}

/// An upsert of many rows, and the values of its columns.
struct Upsert {
    statement: Statement,
    columns: Vec<Values>,
}

enum Values {
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

impl Values {
    fn param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Values::Texts(texts) => texts,
            Values::Numbers(numbers) => numbers,
        }
    }
}

/// The ids of one transaction, sorted.
pub(crate) struct Rows {
    ids: Vec<Vec<u8>>,
    position: i64,
}

impl Bare {
    /// A client that makes a ledger in the schema `schema`, and whose transactions each add to the sums of `tenants` tenants there.
    pub(crate) fn connect(config: &Config, schema: &str, start: Timestamp, tenants: usize) -> Self {
        drop(ledger(config, schema));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (client, find, sums) = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.expect("connected");
            tokio::spawn(connection);
            let settings = format!(
                "SET search_path TO {schema}; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;
                            CREATE TABLE seen(hash bigint NOT NULL, position bigint NOT NULL, item bigint NOT NULL, id bytea PRIMARY KEY)"
            );
            client.batch_execute(&settings).await.expect("set");
            let find = client.prepare("SELECT id, hash FROM seen WHERE id = ANY($1)").await.expect("prepared");
            let mut sums = Vec::new();
            // Nothing has a price here, so that the ledger has no rows of `cost`.
            for table in ["usage", "analysis", "first_answer"] {
                sums.push(upsert(&client, table, tenants).await);
            }
            (client, find, sums)
        });
        Bare { runtime, client, find, sums, start }
    }

    /// The rows of a transaction of so many events, behind the first `before`.
    pub(crate) fn rows(&self, before: u64, events: u64) -> Rows {
        let source = SourceId::new("gw-1", [1; 16]).expect("a source");
        let id = |number: u64| EventId::derive(self.start.plus_millis(number / 4), &source, Sequence(number));
        let mut ids: Vec<Vec<u8>> = (before + 1..=before + events).map(|n| id(n).as_bytes().to_vec()).collect();
        ids.sort_unstable();
        Rows { ids, position: i64::try_from(before).expect("a small number") }
    }

    /// Runs one transaction, with the statements of the ledger.
    pub(crate) fn step(&self, rows: &Rows) {
        self.runtime.block_on(async {
            let client = &self.client;
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT epoch FROM ledger_owner FOR SHARE";
            client.batch_execute(begin).await.expect("begun");
            assert!(client.query(&self.find, &[&rows.ids]).await.expect("asked").is_empty());
            let types = [Type::BYTEA, Type::INT8, Type::INT8, Type::INT8];
            let copy = client.copy_in("COPY seen(id, hash, position, item) FROM STDIN BINARY").await.expect("begun");
            let mut copy = pin!(BinaryCopyInWriter::new(copy, &types));
            for (item, id) in (0_i64..).zip(&rows.ids) {
                let hash = i64::from_be_bytes(id[8..].try_into().expect("eight bytes"));
                copy.as_mut().write(&[id, &hash, &rows.position, &item]).await.expect("written");
            }
            copy.finish().await.expect("copied");
            for Upsert { statement, columns } in &self.sums {
                let params: Vec<_> = columns.iter().map(Values::param).collect();
                client.execute(statement, &params).await.expect("added");
            }
            client
                .batch_execute(&format!("UPDATE ledger SET position = {}; COMMIT", rows.position + 1))
                .await
                .expect("committed");
        });
    }
}

/// Prepares the upsert of a table: keys as they are, sums added up.
async fn upsert(client: &Client, table: &str, tenants: usize) -> Upsert {
    let sql = "SELECT a.attname::text, a.atttypid = 'text'::regtype, coalesce(a.attnum = ANY(i.indkey), FALSE)
               FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND a.attname <> ALL($2) ORDER BY a.attnum";
    let found = client.query(sql, &[&table, &OF_BILLING.as_slice()]).await.expect("asked");
    let rows = if table == "usage" { tenants * METERS.len() } else { tenants };
    let (mut names, mut given, mut keys, mut set, mut columns) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, row) in (1..).zip(&found) {
        let (name, is_text, is_key): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        given.push(format!("${number}::{}[]", if is_text { "text" } else { "bigint" }));
        match is_key {
            true => keys.push(name.clone()),
            false => set.push(format!("{name} = {table}.{name} + excluded.{name}")),
        }
        columns.push(values(&name, is_text, is_key, (rows, tenants)));
        names.push(name);
    }
    // The ledger changes a first answer only if one is earlier.
    let chosen = if table == "first_answer" { " WHERE excluded.at < first_answer.at" } else { "" };
    let sql = format!(
        "INSERT INTO {table}({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO UPDATE SET {}{chosen}",
        names.join(", "),
        given.join(", "),
        keys.join(", "),
        set.join(", ")
    );
    Upsert { statement: client.prepare(&sql).await.expect("prepared"), columns }
}

fn values(name: &str, is_text: bool, is_key: bool, (rows, tenants): (usize, usize)) -> Values {
    let tenant = |row: usize| format!("tenant-{:04}", row % tenants);
    match name {
        "tenant" => Values::Texts((0..rows).map(tenant).collect()),
        "meter" => Values::Texts((0..rows).map(|row| METERS[row / tenants].to_owned()).collect()),
        _ if is_text => Values::Texts(vec!["gpt-4o-2024-08-06".to_owned(); rows]),
        // Keys stay the same, and sums small.
        "at" => Values::Numbers(vec![0; rows]),
        _ => Values::Numbers(vec![if is_key { 0 } else { 10 }; rows]),
    }
}
