//! Chooses who executes a command: the server that holds the data directory, or, if none runs, this process.
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::render::complain;
use crate::config::{Config, ConfigError};
use crate::server::auth::{USER_HEADER, by_command, user_name};
use crate::store::{DataDir, ServerNote, Store, StoreError};
use weir_clock::{Clock, SystemClock};
use weir_ledger::view::{AuditEntry, AuditRequest};

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
    note: ServerNote,
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
        Ok(Client { http: reqwest::Client::new(), note })
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
        format!("http://{}{path}", self.note.address)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let request = request.header(USER_HEADER, user());
        let response = request.bearer_auth(&self.note.token).send().await.context("asking the running server")?;
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
