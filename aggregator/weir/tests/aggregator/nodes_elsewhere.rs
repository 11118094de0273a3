//! Nodes in other surroundings: over a log in Kafka, by TLS with certificates of clients, beside an owner of an older version, open to the
//! network, and under people who send slowly.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, Identity, StatusCode};
use weir_rig::kafka::Kafka;
use weir_rig::postgres::Postgres;
use weir_rig::probe::Port;

use super::encrypting::Authority;
use super::events::{Worker, batch};
use super::nodes::{Node, Reach, Shared, TAKE_OVER_MAX, now};
use super::shared_log::succeeds;

/// The ledger's tables as the oldest version makes them that knows PostgreSQL.
const OLDER_TABLES: &str = include_str!("../../../ledger/src/schema/postgres.sql");
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_kafka_is_taken_over_from_an_owner_that_is_killed_or_paused() {
    let kafka = Kafka::start().expect("a broker; `make setup` fetches it");
    let postgres = Postgres::start().expect("a PostgreSQL");
    let settings = format!("log: {}\nledger: {}\n", kafka.url("weir"), postgres.url());
    let mut a = Node::start("a", &settings);
    a.owns().await;
    let mut b = Node::start("b", &settings);
    b.follows(&a).await;
    let (worker, mut sequence) = (Worker::new(1, now()), 0);
    for (how, signal) in [("killed", "-KILL"), ("paused", "-STOP")] {
        sequence += 1;
        a.accepted(batch(&[worker.usage(sequence)])).await;
        a.signal(signal);
        sequence += 1;
        let took = b.accepted(batch(&[worker.usage(sequence)])).await;
        println!("{how}, accepted by the other after {} ms", took.as_millis());
        assert!(took < TAKE_OVER_MAX, "{how}: {took:?}");
        if signal == "-STOP" {
            a.signal("-CONT");
            let said = a.ended().await;
            assert!(said.contains("owns the event log and the ledger no longer"), "{said}");
        }
        a.restart();
        a.follows(&b).await;
        std::mem::swap(&mut a, &mut b);
    }
    // A repeat is known, whoever takes it.
    b.accepted(batch(&[worker.usage(1)])).await;
    assert_eq!(b.requests().await, sequence);
}

/// A node that speaks TLS, and asks its clients for certificates.
fn encrypted(name: &str, shared: &Shared, authority: &Authority) -> Node {
    let port = Port::reserve().expect("a port");
    let (certificate, key) = authority.sign("127.0.0.1");
    let root = Certificate::from_pem(authority.pem().as_bytes()).expect("a root");
    let identity = Identity::from_pem(format!("{key}{certificate}").as_bytes()).expect("an identity");
    let http = Client::builder().tls_built_in_root_certs(false).add_root_certificate(root).identity(identity);
    let reach = Reach {
        told: format!("https://{}", port.address()),
        listen: port.address(),
        ca: ", ca: ca.pem".to_owned(),
        http: http.timeout(Duration::from_secs(10)).build().expect("a client"),
    };
    let more = format!("{}tls: {{certificate: cert.pem, key: key.pem, client_ca: ca.pem}}\n", shared.settings());
    let files = [("cert.pem", certificate), ("key.pem", key), ("ca.pem", authority.pem())];
    Node::start_as(port, &reach, name, &more, &files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_show_each_other_their_certificates() {
    let (shared, authority) = (Shared::start(), Authority::new());
    let mut a = encrypted("a", &shared, &authority);
    a.owns().await;
    let mut b = encrypted("b", &shared, &authority);
    b.follows(&a).await;
    let worker = Worker::new(1, now());
    assert_eq!(b.post(batch(&[worker.usage(1)])).await, Some(StatusCode::ACCEPTED));
    let stranger = encrypted("c", &shared, &Authority::new());
    stranger.ready(|_, said| said["owner"].as_str().is_some_and(|why| why.contains("does not answer"))).await;
    b.kill();
    let dir = b.dir.path().to_owned();
    let usage = tokio::task::spawn_blocking(move || succeeds(&dir, &["usage", "--meter", "requests"])).await;
    assert!(usage.expect("ended").contains("acme"), "its commands show the certificate as well");
    drop(stranger);
    b.restart();
    b.follows(&a).await;
    a.kill();
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    assert_eq!(b.requests().await, 2);
}

/// Puts the ledger of an older version in the place of the one that is there, for the same event log, and counts nothing into it.
fn put_older_ledger(postgres: &Postgres) {
    let sql = format!(
        "BEGIN; ALTER SCHEMA weir RENAME TO weir_newer; CREATE SCHEMA weir; SET LOCAL search_path TO weir; {OLDER_TABLES};
         INSERT INTO ledger(id, log_id, hash_key, position) SELECT id, log_id, hash_key, 0 FROM weir_newer.ledger;
         CREATE TABLE schema_version(version bigint NOT NULL); INSERT INTO schema_version VALUES (23); COMMIT"
    );
    postgres.run(&sql).expect("an older ledger");
}

/// Owns the ledger as a node of an older version does, until it is killed.
fn older_owner(postgres: &Postgres) -> Child {
    let row =
        "INSERT INTO weir_fleet.node(name, life, home, address, version, tables, proof, commands, note, started, seen)
               VALUES ('old', 'x', 'x', 'http://127.0.0.1:1', '0.0.1', 23, 'x', 'x', '', 0, 1::bigint << 50)";
    let owns = "UPDATE weir_fleet.partition SET owner = 'old', life = 'x', epoch = epoch + 1";
    let lock = "SELECT pg_advisory_lock(hashtextextended('weir weir', 0))";
    let steps = [lock, row, owns, "SELECT pg_sleep(600)"].into_iter().flat_map(|step| ["-c", step]);
    let psql = Command::new("psql").args([&postgres.url(), "-XAtq"]).args(steps).stdout(Stdio::null()).spawn();
    psql.expect("psql")
}

/// Waits until a query answers what is wanted.
async fn asked(postgres: &Postgres, sql: &str, wanted: &str) {
    let (began, mut last) = (Instant::now(), String::new());
    while last != wanted {
        assert!(began.elapsed() < PATIENCE, "{sql}: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = postgres.run(sql).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_node_changes_no_table_before_the_older_owner_is_gone() {
    let shared = Shared::start();
    let a = Node::start("a", &shared.settings());
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;
    let newest = shared.postgres.run("SELECT version FROM weir.schema_version").expect("asked");
    a.signal("-TERM");
    a.ended().await;
    put_older_ledger(&shared.postgres);
    let mut owner = older_owner(&shared.postgres);
    asked(&shared.postgres, "SELECT owner FROM weir_fleet.partition", "old").await;

    let b = Node::start("b", &shared.settings());
    b.ready(|_, said| said["role"].as_str().is_some_and(|role| role.starts_with("follower of old "))).await;
    asked(&shared.postgres, "SELECT able > 0 FROM weir_fleet.node WHERE name = 'b'", "t").await;
    assert_eq!(shared.postgres.run("SELECT version FROM weir.schema_version").expect("asked"), "23");
    owner.kill().expect("killed");
    owner.wait().expect("ended");
    // The server ends the session of a client that is gone once it has something to tell it.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'";
    shared.postgres.run(end).expect("ended");
    let took = b.accepted(batch(&[worker.usage(2)])).await;
    assert!(took < TAKE_OVER_MAX, "{took:?}");
    assert_eq!(shared.postgres.run("SELECT version FROM weir.schema_version").expect("asked"), newest);
    assert_eq!(b.requests().await, 2, "what the older ledger lacks is counted from the log");
}

/// A session that has the ledger's right to write, and was stopped in the middle of a `COPY`.
fn stuck_in_a_copy(postgres: &Postgres) -> Child {
    let lock = "SELECT pg_advisory_lock(hashtextextended('weir weir', 0)); CREATE TABLE public.half(n bigint);";
    let mut psql = Command::new("psql")
        .args([&postgres.url(), "-XAtq"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql");
    let stdin = psql.stdin.as_mut().expect("piped");
    stdin.write_all(format!("{lock} COPY public.half FROM STDIN;\n1\n").as_bytes()).expect("written");
    psql
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_stopped_within_a_statement_does_not_keep_the_ledger() {
    let shared = Shared::start();
    let mut stuck = stuck_in_a_copy(&shared.postgres);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'ClientRead'";
    asked(&shared.postgres, waits, "1").await;
    let a = Node::start("a", &shared.settings());
    let worker = Worker::new(1, now());
    a.accepted(batch(&[worker.usage(1)])).await;
    stuck.kill().expect("killed");
    stuck.wait().expect("ended");
}

/// A pair of which the follower listens for other machines.
async fn open_pair(shared: &Shared) -> (Node, Node) {
    let a = Node::start("a", &shared.settings());
    a.owns().await;
    let port = Port::reserve().expect("a port");
    let listen = SocketAddr::from(([0, 0, 0, 0], port.address().port()));
    let reach = Reach { told: format!("http://{}", port.address()), listen, ..Reach::plain() };
    let more = format!("{}allow_plaintext: true\n", shared.settings());
    let b = Node::start_as(port, &reach, "b", &more, &[]);
    b.follows(&a).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followers_metrics_open_to_the_tokens_of_the_owner_and_of_now() {
    let shared = Shared::start();
    let (mut a, b) = open_pair(&shared).await;
    let scraped = async |token: &str| {
        let asked = Client::new().get(b.url("/metrics")).bearer_auth(token).send().await;
        asked.expect("an answer").status()
    };
    let becomes = async |token: &str, wanted: StatusCode| {
        let began = Instant::now();
        while scraped(token).await != wanted {
            assert!(began.elapsed() < PATIENCE, "never {wanted}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let commands = |args: &'static [&'static str]| {
        let dir = a.dir.path().to_owned();
        async move { tokio::task::spawn_blocking(move || succeeds(&dir, args)).await.expect("ended") }
    };
    let made = commands(&["tokens", "create", "prometheus", "--scope", "metrics"]).await;
    let made = made.split_whitespace().nth(1).expect("a token").to_owned();
    let other = commands(&["tokens", "create", "reader", "--scope", "viewer"]).await;
    let other = other.split_whitespace().nth(1).expect("a token").to_owned();
    becomes(&made, StatusCode::OK).await;
    assert_eq!(scraped(&other).await, StatusCode::FORBIDDEN);
    assert_eq!(scraped("a-token-that-nobody-knows").await, StatusCode::UNAUTHORIZED);
    for node in [&a, &b] {
        let asked = Client::new().get(node.url("/weir-node/opens-metrics")).bearer_auth(&made).send().await;
        assert_eq!(asked.expect("an answer").status(), StatusCode::NOT_FOUND, "only nodes may ask that");
    }

    commands(&["tokens", "revoke", "prometheus"]).await;
    becomes(&made, StatusCode::UNAUTHORIZED).await;
    std::fs::write(b.dir.path().join("token"), "another-token-0123456789").expect("written");
    becomes("another-token-0123456789", StatusCode::OK).await;
    a.kill();
    assert_eq!(scraped("another-token-0123456789").await, StatusCode::OK, "the configuration needs no owner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_take_no_place_of_a_follower() {
    let shared = Shared::start();
    let (_a, b) = open_pair(&shared).await;
    // Two addresses, each with as many requests as one may have under way.
    let mut slow = Vec::new();
    for number in 0..220_u8 {
        let from = SocketAddr::from(([127, 0, 0, 2 + number % 2], 0));
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(from).expect("bound");
        let stream = socket.connect(b.address()).await.expect("connected").into_std().expect("a stream");
        stream.set_nonblocking(false).expect("set");
        let head = "POST /ui/sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 99\r\n\r\nt";
        write(&stream, head);
        slow.push(stream);
    }
    let worker = Worker::new(1, now());
    assert_eq!(b.post(batch(&[worker.usage(1)])).await, Some(StatusCode::ACCEPTED));
    assert_eq!(b.requests().await, 1);
    let large = (2..400).map(|sequence| worker.usage(sequence)).collect::<Vec<_>>();
    let large = batch(&large);
    assert!(large.len() > 64 * 1024, "{}", large.len());
    assert_eq!(b.post(large).await, Some(StatusCode::ACCEPTED), "one that arrives in pieces is whole");
    assert_eq!(b.requests().await, 399);
    // Who sends no more is told so.
    let mut first = slow.swap_remove(0);
    first.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut answer = String::new();
    let _reset_or_ended = first.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

fn write(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}
