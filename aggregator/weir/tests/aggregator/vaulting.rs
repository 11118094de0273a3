//! Tenants' own keys at providers, from the outside: calls, commands, what gateways are handed, and that no key shows up anywhere.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir_contract::PaidBy;
use weir_contract::directory::Page;
use weir_contract::stage::KNOWS_HEADER;
use weir_contract::vault::RECIPIENT_HEADER;
use weir_key_delivery::{Label, Recipient};

use super::events::{Worker, batch, noon};
use super::killing::Process;
use super::server::{Running, TOKEN, config};

const VAULT: &str = "tenants_database: true\nvault: {key: {file: kek}}\n";
const SECRET: &str = "sk-proj-acme-0123456789abcdef";
const OTHER: &str = "sk-proj-globex-fedcba987654321";

pub(super) fn write_kek(dir: &Path, name: &str, digit: &str) {
    let path = dir.join(name);
    std::fs::write(&path, digit.repeat(64)).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub(super) fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    write_kek(dir.path(), "kek", "1");
    write_kek(dir.path(), "other", "2");
    dir
}

async fn call(server: &Running, token: &str, method: &str, path: &str, body: Value) -> (u16, String) {
    let request = server.http.request(method.parse().expect("a method"), format!("{}{path}", server.url));
    let response = request.bearer_auth(token).json(&body).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a text"))
}

/// A server with two tenants, each with a key of its own at OpenAI.
async fn server() -> Running {
    let server = Running::start_in(dir(), noon(), VAULT).await;
    for (tenant, secret) in [("acme", SECRET), ("globex", OTHER)] {
        call(&server, TOKEN, "POST", "/v1/tenants", json!({"id": tenant, "plan": "p"})).await;
        assert_eq!(put(&server, tenant, "openai", secret).await.0, 200);
    }
    server
}

async fn put(server: &Running, tenant: &str, provider: &str, secret: &str) -> (u16, String) {
    let path = format!("/v1/tenants/{tenant}/provider-keys/{provider}");
    call(server, TOKEN, "PUT", &path, json!({ "secret": secret })).await
}

async fn token(server: &Running, scopes: Value) -> String {
    let name = scopes.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let (_, made) = call(server, TOKEN, "POST", "/v1/tokens", json!({"name": name, "scopes": scopes})).await;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    made["token"].as_str().expect("told once").to_owned()
}

/// The directory as a gateway is given it.
async fn fetch(server: &Running, token: &str, headers: &[(&str, &str)]) -> String {
    let request = server.http.get(format!("{}/v1/directory", server.url)).bearer_auth(token);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.expect("a text")
}

/// The keys that a worker can open on a page, by tenant.
fn opened(page: &str, recipient: &Recipient) -> Vec<String> {
    let page: Page = serde_json::from_str(page).expect("a page");
    let opener = page.sealed_by.as_deref().and_then(|by| recipient.opener(by));
    let Some(mut opener) = opener else { return Vec::new() };
    let mut keys = Vec::new();
    for tenant in &page.tenants {
        for key in &tenant.provider_keys {
            let label = Label { tenant: tenant.id.as_str(), provider: &key.provider, version: key.version };
            let sealed = key.sealed.as_deref().unwrap_or_default();
            keys.extend(opener.open(label, sealed).map(|key| key.to_string()));
        }
    }
    keys
}

/// Fails if any file below a folder holds a part of a key.
fn assert_unseen(dir: &Path, told: &[&str]) {
    for text in told {
        assert!(!text.contains(&SECRET[..20]) && !text.contains(&OTHER[..20]), "{text}");
    }
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_unseen(&path, &[]);
            continue;
        }
        let bytes = std::fs::read(&path).expect("read");
        for secret in [SECRET, OTHER] {
            let part = &secret.as_bytes()[..20];
            assert!(!bytes.windows(part.len()).any(|window| window == part), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_key_is_stored_listed_and_removed_and_no_answer_and_no_file_has_it() {
    let server = server().await;
    let (_, listed) = call(&server, TOKEN, "GET", "/v1/tenants/acme/provider-keys", json!({})).await;
    let view: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&view["fallback"], &view["keys"][0]["last_four"]), (&json!("none"), &json!("cdef")));
    let history = server.json("/v1/tenants/acme/history").await.to_string();
    assert!(history.contains("provider key put") && history.contains("\"who\":\"all\""), "{history}");
    let (_, tenant) = call(&server, TOKEN, "GET", "/v1/tenants/acme", json!({})).await;
    let metrics = server.get("/metrics").await.text().await.expect("text");
    let audit = server.json("/v1/audit").await.to_string();
    let (status, removed) = call(&server, TOKEN, "DELETE", "/v1/tenants/globex/provider-keys/openai", json!({})).await;
    assert_eq!(status, 200, "{removed}");
    assert_unseen(server.dir.path(), &[&listed, &history, &tenant, &metrics, &audit, &removed]);
    let dir = server.stop().await;
    assert_unseen(dir.path(), &[]);
}

#[tokio::test]
async fn what_is_no_key_and_no_provider_is_refused_without_a_word_of_it() {
    let server = server().await;
    let path = "/v1/tenants/acme/provider-keys/openai";
    for body in [
        json!({"secret": "sk proj 0123456789abcdef"}),
        json!({"secret": 1_234_567_890_123_456_789_u64}),
        json!({"secret": ["sk-proj-0123456789abcdef"]}),
        json!({"sk-proj-0123456789abcdef": "secret"}),
        json!({}),
    ] {
        let (status, told) = call(&server, TOKEN, "PUT", path, body).await;
        assert!(status == 400 && !told.contains("0123456789") && !told.contains("1234567890123"), "{status} {told}");
    }
    let (status, told) = put(&server, "acme", "bedrock", SECRET).await;
    assert!(status == 400 && told.contains("SigV4") && !told.contains(SECRET), "{told}");
    let (status, told) = put(&server, "acme", "opnai", SECRET).await;
    assert!(status == 400 && told.contains("none of: openai"), "{told}");
    assert_eq!(put(&server, "initech", "openai", SECRET).await.0, 404);
}

#[tokio::test]
async fn a_gateway_with_the_scope_is_handed_the_keys_and_no_other() {
    let server = server().await;
    let (with, without) =
        (token(&server, json!(["directory", "byok"])).await, token(&server, json!(["directory"])).await);
    let mut recipient = Recipient::new([7; 32]);
    let asked = recipient.ask();
    let headers = [(KNOWS_HEADER, "stages,vault"), (RECIPIENT_HEADER, asked.as_str())];
    let page = fetch(&server, &with, &headers).await;
    assert_eq!(opened(&page, &recipient), [SECRET, OTHER]);
    let lesser = fetch(&server, &without, &headers).await;
    assert!(
        lesser.contains("provider_keys") && !lesser.contains("\"sealed\""),
        "it knows that there are keys: {lesser}"
    );
    let before = fetch(&server, &with, &[(KNOWS_HEADER, "stages")]).await;
    assert!(!before.contains("provider_keys") && !before.contains("sealed_by"), "a version before: {before}");
    assert_unseen(server.dir.path(), &[&page, &lesser, &before]);
    recipient.ask();
    assert!(opened(&page, &recipient).is_empty(), "an answer that is replayed opens nothing");
    assert!(opened(&page, &Recipient::new([8; 32])).is_empty());
}

#[tokio::test]
async fn a_tenant_keeps_its_own_keys_and_does_not_choose_that_the_house_pays() {
    let server = server().await;
    let own = token(&server, json!([{"tenant": "acme"}])).await;
    let path = "/v1/tenants/acme/provider-keys";
    assert_eq!(call(&server, &own, "PUT", &format!("{path}/anthropic"), json!({"secret": SECRET})).await.0, 200);
    assert_eq!(call(&server, &own, "GET", path, json!({})).await.0, 200);
    assert_eq!(call(&server, &own, "PATCH", path, json!({"fallback": "house"})).await.0, 403);
    assert_eq!(call(&server, &own, "GET", "/v1/tenants/globex/provider-keys", json!({})).await.0, 403);
    let (status, told) = call(&server, TOKEN, "PATCH", path, json!({"fallback": "house"})).await;
    assert!(status == 200 && told.contains("\"fallback\":\"house\""), "{told}");
    let knows = [(KNOWS_HEADER, "stages,vault")];
    assert!(fetch(&server, TOKEN, &knows).await.contains("\"house_key\":true"));
}

#[tokio::test]
async fn keys_are_rotated_while_gateways_fetch() {
    let server = server().await;
    let with = token(&server, json!(["directory", "byok"])).await;
    let mut recipient = Recipient::new([7; 32]);
    // The new key comes with the configuration, and is in force without a restart.
    let config = server.dir.path().join("weir.yaml");
    let text = std::fs::read_to_string(&config).expect("read");
    let both = text.replace("key: {file: kek}", "key: {file: other}, previous_key: {file: kek}");
    std::fs::write(&config, &both).expect("written");
    let rotated = async {
        loop {
            let (status, told) = call(&server, TOKEN, "POST", "/v1/byok/rotate", json!({"data_keys": true})).await;
            let view: Value = serde_json::from_str(&told).expect("JSON");
            assert_eq!((status, &view["resealed"], &view["unreadable"]), (200, &json!(2), &json!([])), "{told}");
            let asked = recipient.ask();
            let page = fetch(&server, &with, &[(KNOWS_HEADER, "stages,vault"), (RECIPIENT_HEADER, &asked)]).await;
            assert_eq!(opened(&page, &recipient), [SECRET, OTHER]);
            if view["rewrapped"] == json!(2) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rotated).await.expect("the new key is in force");
    let dir = server.stop().await;
    assert_unseen(dir.path(), &[]);
    let new = VAULT.replace("file: kek", "file: other");
    drop(Running::start_in(dir, noon(), &new).await);
}

#[tokio::test]
async fn a_server_whose_key_is_another_does_not_start_and_says_so() {
    let dir = server().await.stop().await;
    let error = Running::refused(dir, &VAULT.replace("file: kek", "file: other")).await;
    assert!(error.contains("2 tenants") && error.contains("previous_key"), "{error}");
    let open = tempfile::tempdir().expect("a directory");
    std::fs::write(open.path().join("kek"), "1".repeat(64)).expect("written");
    std::fs::set_permissions(open.path().join("kek"), std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let error = Running::refused(open, VAULT).await;
    assert!(error.contains("chmod 600") && !error.contains("1111"), "{error}");
}

/// Runs `weir` with something on its standard input, and a key-encryption key in its environment.
pub(super) fn weir(dir: &Path, args: &[&str], kek: Option<&str>, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("--config").arg(dir.join("weir.yaml")).args(args).env_remove("WEIR_TEST_KEK");
    command.envs(kek.map(|kek| ("WEIR_TEST_KEK", kek)));
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("started");
    // One that reads nothing may have ended before.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("ended")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_key_is_read_from_standard_input_and_refused_as_an_argument_without_a_word_of_it() {
    let dir = dir();
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), VAULT)).expect("written");
    assert!(weir(dir.path(), &["tenants", "create", "acme", "--plan", "p"], None, "").status.success());
    for args in [&["byok", "put", "acme", "openai", SECRET][..], &["byok", "put", "acme", "openai", "--secret", SECRET]]
    {
        let refused = weir(dir.path(), args, None, OTHER);
        assert!(!refused.status.success(), "{refused:?}");
        assert_unseen(dir.path(), &[&said(&refused)]);
    }
    let none = weir(dir.path(), &["byok", "list", "acme", "--json"], None, "");
    assert_eq!(serde_json::from_slice::<Value>(&none.stdout).expect("JSON")["keys"], json!([]));
    let put = weir(dir.path(), &["byok", "put", "acme", "openai", "--json"], None, &format!("{SECRET}\n"));
    let view: Value = serde_json::from_slice(&put.stdout).unwrap_or_else(|_| panic!("{put:?}"));
    assert_eq!(view["last_four"], "cdef");
    assert_unseen(dir.path(), &[&said(&put)]);
}

#[test]
fn the_key_encryption_key_may_come_from_the_environment_and_another_one_opens_nothing() {
    let dir = dir();
    let vault = "tenants_database: true\nvault: {key: {env: WEIR_TEST_KEK}}\n";
    std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), vault)).expect("written");
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    assert!(weir(dir.path(), &["tenants", "create", "acme", "--plan", "p"], None, "").status.success());
    let put = |kek: Option<&str>, secret: &str| weir(dir.path(), &["byok", "put", "acme", "openai"], kek, secret);
    let without = put(None, SECRET);
    assert!(!without.status.success() && said(&without).contains("WEIR_TEST_KEK"), "{without:?}");
    let stored = put(Some(&one), SECRET);
    assert!(stored.status.success(), "{stored:?}");
    let another = put(Some(&two), OTHER);
    assert!(!another.status.success() && said(&another).contains("previous_key"), "{another:?}");
    assert!(put(Some(&one), OTHER).status.success(), "the right one opens the vault still");
    for output in [&without, &stored, &another] {
        assert!(!said(output).contains(&one) && !said(output).contains(&two), "{output:?}");
        assert_unseen(dir.path(), &[&said(output)]);
    }
}

/// Asks a server that runs as a process of its own.
async fn ask(process: &Process, token: &str, (method, path): (&str, &str), body: Value) -> reqwest::Result<String> {
    let url = format!("http://{}{path}", process.note().address);
    let request = reqwest::Client::new().request(method.parse().expect("a method"), url).bearer_auth(token);
    request.json(&body).send().await?.error_for_status()?.text().await
}

/// Which keys a rotation replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotated {
    KeyEncryptionKey,
    DataKeys,
}

impl Rotated {
    fn request(self) -> Value {
        json!({"data_keys": self == Rotated::DataKeys})
    }

    /// What it replaces, of each tenant: the name of the key-encryption key, or the number of the data key.
    fn of_tenants(self, dir: &Path) -> Vec<String> {
        let of = if self == Rotated::DataKeys { "CAST(number AS TEXT)" } else { "kek" };
        let db = rusqlite::Connection::open(dir.join("weir-data/tenants.sqlite")).expect("opened");
        db.busy_timeout(Duration::from_secs(10)).expect("set");
        let mut select = db.prepare(&format!("SELECT {of} FROM vault_tenant ORDER BY tenant")).expect("prepared");
        select.query_map([], |row| row.get(0)).expect("read").collect::<Result<_, _>>().expect("rows")
    }

    /// How many tenants are rotated since.
    fn done(self, dir: &Path, before: &[String]) -> usize {
        self.of_tenants(dir).iter().zip(before).filter(|(now, before)| now != before).count()
    }
}

/// Kills a server within rotations of both kinds; in the end every key opens under the key-encryption key in use alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_within_rotations_of_both_kinds_it_loses_no_key() {
    const TENANTS: usize = 40;
    let dir = dir();
    let with = |vault: &str| std::fs::write(dir.path().join("weir.yaml"), config(dir.path(), vault)).expect("written");
    with(VAULT);
    let mut process = Process::start(dir.path());
    let mut secrets = Vec::new();
    for number in 0..TENANTS {
        let (tenant, secret) = (format!("tenant-{number:02}"), format!("sk-proj-{number:02}-0123456789abcdef"));
        let new = json!({"id": tenant, "plan": "p"});
        ask(&process, TOKEN, ("POST", "/v1/tenants"), new).await.expect("created");
        let path = format!("/v1/tenants/{tenant}/provider-keys/openai");
        ask(&process, TOKEN, ("PUT", &path), json!({ "secret": secret })).await.expect("stored");
        secrets.push(secret);
    }
    let scopes = json!({"name": "gateway", "scopes": ["directory", "byok"]});
    let made = ask(&process, TOKEN, ("POST", "/v1/tokens"), scopes).await.expect("made");
    let gateway = serde_json::from_str::<Value>(&made).expect("JSON")["token"].as_str().expect("told once").to_owned();
    let mut keys = ["kek", "other"];
    for kind in [Rotated::KeyEncryptionKey, Rotated::DataKeys] {
        let (mut cut_short, mut tries) = (0, 0);
        while cut_short < super::killing::kills() / 2 {
            tries += 1;
            assert!(tries <= 4 * super::killing::kills(), "{kind:?}: cut short {cut_short} times in {tries} tries");
            drop(process);
            if kind == Rotated::KeyEncryptionKey {
                keys.reverse();
                let [next, before] = keys;
                with(
                    &VAULT.replace(
                        "key: {file: kek}",
                        &format!("key: {{file: {next}}}, previous_key: {{file: {before}}}"),
                    ),
                );
            }
            process = Process::start(dir.path());
            process.note();
            let before = kind.of_tenants(dir.path());
            let begun = async {
                while kind.done(dir.path(), &before) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                _ = ask(&process, TOKEN, ("POST", "/v1/byok/rotate"), kind.request()) => {}
                () = begun => {}
            }
            // With kill -9. What is on the disk then says whether the rotation was within its work.
            drop(process);
            cut_short += u64::from((1..TENANTS).contains(&kind.done(dir.path(), &before)));
            process = Process::start(dir.path());
            process.note();
            let rotated = ask(&process, TOKEN, ("POST", "/v1/byok/rotate"), kind.request()).await.expect("rotated");
            let view: Value = serde_json::from_str(&rotated).expect("JSON");
            assert_eq!((&view["unreadable"], kind.done(dir.path(), &before)), (&json!([]), TENANTS), "{view}");
        }
    }
    // The first one is in use.
    let [in_use, _] = keys;
    drop(process);
    with(&VAULT.replace("file: kek", &format!("file: {in_use}")));
    let process = Process::start(dir.path());
    let mut recipient = Recipient::new([7; 32]);
    let asked = recipient.ask();
    let request = reqwest::Client::new().get(format!("http://{}/v1/directory", process.note().address));
    let request = request.bearer_auth(&gateway).header(KNOWS_HEADER, "vault").header(RECIPIENT_HEADER, asked);
    let page = request.send().await.expect("an answer").text().await.expect("a page");
    let mut found = opened(&page, &recipient);
    found.sort();
    assert_eq!(found, secrets);
}

/// A provider that answers every question with one status, and tells what it was asked.
fn provider(status: u16) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/models", listener.local_addr().expect("an address"));
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a call");
        let mut bytes = [0; 4_096];
        let size = stream.read(&mut bytes).expect("a request");
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8_lossy(&bytes[..size]).to_lowercase()
    });
    (url, asked)
}

#[tokio::test]
async fn a_provider_that_refuses_a_key_keeps_it_out_of_the_vault() {
    for (answers, expected) in [(401, 409), (200, 200), (500, 200)] {
        let (url, asked) = provider(answers);
        let config = VAULT.replace("}}", &format!("}}, check: {{openai: \"{url}\"}}}}"));
        let server = Running::start_in(dir(), noon(), &config).await;
        call(&server, TOKEN, "POST", "/v1/tenants", json!({"id": "acme", "plan": "p"})).await;
        let (status, told) = put(&server, "acme", "openai", SECRET).await;
        assert!(status == expected && !told.contains(SECRET), "{answers}: {status} {told}");
        assert!(asked.join().expect("asked").contains(&format!("authorization: bearer {SECRET}")));
    }
}

#[tokio::test]
async fn requests_that_the_tenant_pays_for_cost_nothing_and_have_a_meter_of_their_own() {
    let config = "prices: {shipped: false, entries: [{provider: openai, model: gpt-x, per_million: {input: 1, output: 4}}]}\n\
                  meters: [{name: fee, sum: requests, where: {paid_by: [tenant]}}, {name: tokens, sum: input_tokens, where: {paid_by: [house]}}]\n";
    let server = Running::start(noon(), config).await;
    let event = |number: u64, paid_by: PaidBy| {
        Worker::new(1, noon()).usage_with(number, |data| {
            (data.provider, data.response_model) = (Some("openai".into()), Some("gpt-x".into()));
            data.paid_by = paid_by;
        })
    };
    let events = [event(1, PaidBy::Tenant), event(2, PaidBy::House), event(3, PaidBy::Tenant)];
    assert_eq!(server.post(batch(&events)).await.status(), StatusCode::ACCEPTED);
    let counted = async {
        while server.billable("fee").await < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("counted");
    assert_eq!((server.billable("fee").await, server.billable("tokens").await), (2, 10));
    let rows = server.json("/v1/cost").await;
    let rows = rows.as_array().expect("rows");
    let own: u64 = rows.iter().filter_map(|row| row["own_key_requests"].as_u64()).sum();
    let unpriced: u64 = rows.iter().filter_map(|row| row["unpriced_requests"].as_u64()).sum();
    let costs: Vec<&str> = rows.iter().filter_map(|row| row["cost"].as_str()).filter(|cost| *cost != "0").collect();
    assert_eq!((own, unpriced, costs), (2, 0, vec!["0.00003"]), "{rows:?}");
}
