//! Chooses who executes a command: the server that holds the data directory; if none runs and the directory is that of a node, the node that
//! owns; otherwise this process.
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::render::complain;
use crate::config::{Config, ConfigError};
use crate::fleet::visit::{self, Visit};
use crate::server::auth::{USER_HEADER, by_command, user_name};
use crate::server::node::client_of_nodes;
use crate::server::passed_on::{CLIENT, LIFE, NODE, PROOF};
use crate::store::{DataDir, Store, StoreError};
use weir_clock::{Clock, SystemClock};
use weir_ledger::view::{AuditEntry, AuditRequest};

/// How long the node that owns may take to say who it is.
const MEET_MAX: Duration = Duration::from_secs(5);
/// How often it is asked whether it knows a command, and the pause between: it reads the table of nodes four times a second.
const MEETINGS_MAX: u32 = 50;
const MEET_PAUSE: Duration = Duration::from_millis(100);

/// Who answers.
pub(super) enum Access {
    /// A running server, over HTTP.
    Server(Client),
    /// This process, under the lock.
    Here(Box<Store>),
}

/// The running server.
pub(super) struct Client {
    http: reqwest::Client,
    /// Scheme, host and port.
    address: String,
    token: String,
    /// Asks the node that owns, from the directory of one that does not run.
    visit: Option<Box<Visit>>,
}

/// The server refused what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {reason}")]
pub(super) struct AnsweredError {
    status: reqwest::StatusCode,
    reason: String,
}

impl AnsweredError {
    /// Whether the same request may be answered otherwise a moment later.
    pub(super) fn may_pass(&self) -> bool {
        self.status.is_server_error()
            || matches!(self.status, reqwest::StatusCode::REQUEST_TIMEOUT | reqwest::StatusCode::TOO_MANY_REQUESTS)
    }
}

/// The configuration for a command that a running server answers. A file that is not good hides no server: the command says what is wrong,
/// and asks it all the same.
pub(super) fn load(path: &Path) -> anyhow::Result<Config> {
    let error = match Config::load(path) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    match Config::good_part(path).filter(|config| is_served(&DataDir::of(config))) {
        Some(config) => {
            complain!(
                "weir: {error}\nweir: {} is not used: the server that runs goes on with what it read last",
                path.display()
            );
            Ok(config)
        }
        None => Err(error.into()),
    }
}

/// Whether a server runs on a data directory.
fn is_served(home: &DataDir) -> bool {
    home.exists() && matches!(home.take_lock(), Err(StoreError::Locked(_))) && Client::of(home).is_ok()
}

/// Finds out who answers. Taking the lock is the test: only a server that runs keeps it.
pub(super) fn open(config: &Config) -> anyhow::Result<Access> {
    let home = DataDir::of(config);
    if !home.exists() {
        bail!(
            "{}: there is no data of weir here: look at `data` in {}; `weir serve` starts a new data directory",
            home.dir().display(),
            config.path.display()
        );
    }
    if let Some(client) = Client::of_owner(config, &home)? {
        return Ok(Access::Server(client));
    }
    let rules = match config.rules() {
        Ok(rules) => rules,
        Err(error) => return despite(error, &home),
    };
    match Store::open(home.clone(), rules, clock()) {
        Ok(store) => Ok(Access::Here(Box::new(store))),
        Err(StoreError::Locked(_)) => Ok(Access::Server(Client::of(&home)?)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a command that needs event log and ledger for itself while another node owns them.
pub(super) fn check_alone(config: &Config) -> anyhow::Result<()> {
    let home = DataDir::of(config);
    // A server that runs here is told of by whoever takes the lock.
    if config.node.is_none() || matches!(home.take_lock(), Err(StoreError::Locked(_))) {
        return Ok(());
    }
    match visit::owner_of(home.ledger())? {
        None => Ok(()),
        Some(owner) => bail!(
            "node {} at {} owns the event log and the ledger, and this command needs them for itself: stop all nodes, run it, and start \
             them again",
            owner.name,
            owner.address
        ),
    }
}

/// A server that runs does not need the files of prices: it has the last good ones.
fn despite(error: ConfigError, home: &DataDir) -> anyhow::Result<Access> {
    match home.take_lock() {
        Err(StoreError::Locked(_)) => {
            complain!("{error}; the server goes on with the last good prices");
            Ok(Access::Server(Client::of(home)?))
        }
        _ => Err(error.into()),
    }
}

/// The name of the account that runs this command, from its environment; empty if that has none. A note for colleagues, not
/// a proof: anyone with access to the data directory can set it.
#[allow(clippy::disallowed_methods, reason = "the one reader of the account's name")]
fn user() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    let name = names.filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty());
    user_name(name.unwrap_or_default().as_bytes())
}

/// Who the audit names for a command that works on the files itself.
pub(super) fn somebody_here() -> String {
    by_command(&user())
}

/// The clock of a command.
pub(super) fn clock() -> Arc<dyn Clock> {
    SystemClock::start()
}

/// Runs `work` to completion.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Audits an action of a command that works on the files itself.
pub(super) async fn audit_here(store: &Store, act: &'static str, detail: String) -> anyhow::Result<()> {
    let now = clock().now();
    Ok(store.ledger.call(move |ledger| ledger.audit(now, &somebody_here(), act, &detail)).await?)
}

impl Client {
    /// The server that runs on this data directory.
    pub(super) fn of(home: &DataDir) -> anyhow::Result<Self> {
        let note = home.read_note().with_context(|| {
            format!("{}: in use, but by no server that can be asked; try again in a moment", home.dir().display())
        })?;
        let address = format!("http://{}", note.address);
        Ok(Client { http: reqwest::Client::new(), address, token: note.token, visit: None })
    }

    /// The node that owns event log and ledger, if the directory is that of a node that does not run.
    pub(super) fn of_owner(config: &Config, home: &DataDir) -> anyhow::Result<Option<Self>> {
        let Some(node) = &config.node else { return Ok(None) };
        match home.take_lock() {
            Err(StoreError::Locked(_)) => return Ok(None),
            other => drop(other?),
        }
        let Some(visit) = Visit::begin(home.ledger(), &node.name)? else { return Ok(None) };
        let (http, address) = (client_of_nodes(config, node)?, visit.owner.address.clone());
        let client = Client { http, address, token: visit.token.clone(), visit: Some(Box::new(visit)) };
        // Commands run within a runtime already, which cannot wait for another one.
        let met = std::thread::spawn(move || block_on(async { client.meet().await.map(|()| client) })).join();
        Ok(Some(met.map_err(|_| anyhow!("asking the node that owns did not end"))??))
    }

    /// Makes sure that the owner answers at its address, and knows this command.
    async fn meet(&self) -> anyhow::Result<()> {
        let Some(visit) = &self.visit else { return Ok(()) };
        let owner = format!("node {} at {}, which owns the event log and the ledger,", visit.owner.name, self.address);
        let asked = self.http.get(self.url("/readyz")).timeout(MEET_MAX).send().await;
        let answer =
            asked.with_context(|| format!("{owner} does not answer; start this node, or ask from another node"))?;
        if answer.headers().get(LIFE).is_none_or(|life| life.as_bytes() != visit.owner.life.as_bytes()) {
            bail!("{owner} is not who answers there: look at its `node.address`");
        }
        for _ in 0..MEETINGS_MAX {
            let asked = self.as_visitor(self.http.get(self.url("/healthz"))).timeout(MEET_MAX).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(MEET_PAUSE).await;
        }
        bail!("{owner} does not take this command; start this node, or ask from another node")
    }

    fn as_visitor(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let Some(visit) = &self.visit else { return request };
        let here = std::net::Ipv4Addr::LOCALHOST.to_string();
        request.header(NODE, &visit.name).header(PROOF, &visit.proof).header(CLIENT, here)
    }

    /// `GET path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.http.get(self.url(path)).query(query)).await
    }

    /// `POST path` with JSON.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.http.post(self.url(path)).json(body)).await
    }

    /// `POST path` with JSON, once for each `Idempotency-Key`.
    pub(super) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> anyhow::Result<T> {
        self.answer(self.http.post(self.url(path)).header("idempotency-key", key).json(body)).await
    }

    /// `PATCH path` with JSON, of this version only if there is one.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        version: Option<u64>,
    ) -> anyhow::Result<T> {
        let request = self.http.patch(self.url(path)).json(body);
        let version = version.map(|version| format!("\"{version}\""));
        self.answer(version.into_iter().fold(request, |request, version| request.header("if-match", version))).await
    }

    /// `PUT path` with JSON.
    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.http.put(self.url(path)).json(body)).await
    }

    /// `PUT path` with JSON, of this version only if there is one.
    pub(super) async fn put_if<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        version: Option<u64>,
    ) -> anyhow::Result<T> {
        let request = self.http.put(self.url(path)).json(body);
        let version = version.map(|version| format!("\"{version}\""));
        self.answer(version.into_iter().fold(request, |request, version| request.header("if-match", version))).await
    }

    /// `DELETE path`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.http.delete(self.url(path))).await
    }

    /// `POST path` with bytes of a content type.
    pub(super) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<T> {
        self.answer(self.http.post(self.url(path)).header("content-type", kind).body(body)).await
    }

    /// Records an action of a command in the server's audit.
    pub(super) async fn note(&self, act: &str, detail: String) -> anyhow::Result<()> {
        let _: AuditEntry = self.post("/v1/audit", &AuditRequest { act: act.to_owned(), detail }).await?;
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let request = self.as_visitor(request).header(USER_HEADER, user());
        let response = request.bearer_auth(&self.token).send().await.context("asking the running server")?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let reason = said["error"].as_str().unwrap_or("no reason given").to_owned();
            return Err(AnsweredError { status, reason }.into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
