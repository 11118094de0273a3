//! A server inside the test: real files, real TCP, and a manual clock where it matters.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir::config::Config;
use weir::server::run::Server;
use weir_clock::{Clock, ManualClock};
use weir_contract::Timestamp;

pub(crate) const TOKEN: &str = "a-token-of-the-tests-22+";

/// A running server.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    pub(crate) http: Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// The configuration that tests start from, followed by `more`.
pub(crate) fn config(dir: &Path, more: &str) -> String {
    std::fs::write(dir.join("token"), TOKEN).expect("written");
    let ledger = if more.contains("ledger:") { String::new() } else { shared_ledger(dir) };
    format!(
        "{ledger}listen: 127.0.0.1:0\ntokens:\n- {{name: all, scopes: [ingest, directory, readings, admin], file: token}}\n{more}"
    )
}

/// A schema for the tests' folder in the PostgreSQL that `WEIR_TEST_POSTGRES` names: `scripts/test-programs` runs some suites so. Nothing
/// without one.
fn shared_ledger(dir: &Path) -> String {
    let Ok(url) = std::env::var("WEIR_TEST_POSTGRES") else { return String::new() };
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    format!("ledger: {{url: '{url}', schema: test_{:016x}}}\n", hasher.finish())
}

impl Running {
    /// Starts a server whose clock stands at `now`.
    pub(crate) async fn start(now: Timestamp, more: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), now, more).await
    }

    /// Starts a server in a directory that may already have files.
    pub(crate) async fn start_in(dir: TempDir, now: Timestamp, more: &str) -> Self {
        Self::start_by(dir, ManualClock::at(now), more).await
    }

    /// Starts one that other machines can reach.
    pub(crate) async fn start_open(dir: TempDir, now: Timestamp, more: &str) -> Self {
        let path = dir.path().join("weir.yaml");
        let text = config(dir.path(), more).replace("listen: 127.0.0.1:0", "listen: 0.0.0.0:0");
        std::fs::write(&path, text).expect("written");
        Self::start_configured(dir, ManualClock::at(now)).await
    }

    /// Starts one by a clock.
    pub(crate) async fn start_by(dir: TempDir, clock: Arc<dyn Clock>, more: &str) -> Self {
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, config(dir.path(), more)).expect("written");
        Self::start_configured(dir, clock).await
    }

    async fn start_configured(dir: TempDir, clock: Arc<dyn Clock>) -> Self {
        let config = Config::load(&dir.path().join("weir.yaml")).expect("a good configuration");
        let server = Server::start(config, clock).await.expect("a server");
        let url = format!("http://{}", server.address()).replace("0.0.0.0", "127.0.0.1");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let told = async move {
                let _ = stopped.await;
            };
            server.run(told).await.expect("served");
        });
        Running { dir, url, http: Client::new(), stop: Some(stop), served }
    }

    /// Returns the error of a server that does not start.
    pub(crate) async fn refused(dir: TempDir, more: &str) -> String {
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, config(dir.path(), more)).expect("written");
        let config = Config::load(&path).expect("a good configuration");
        Server::start(config, weir_clock::SystemClock::start()).await.expect_err("a refusal").to_string()
    }

    /// Stops the server and returns its directory.
    pub(crate) async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        // Closes the idle connections of the test's own client, which the server would wait for.
        self.http = Client::new();
        (&mut self.served).await.expect("stopped");
        self.dir
    }

    /// Posts a batch.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Response {
        self.post_as(TOKEN, "application/cloudevents-batch+json", body).await
    }

    /// Posts a body with a token and a content type.
    pub(crate) async fn post_as(&self, token: &str, kind: &str, body: Vec<u8>) -> Response {
        let request = self.http.post(format!("{}/v1/events", self.url)).bearer_auth(token).header("content-type", kind);
        request.body(body).send().await.expect("an answer")
    }

    /// Gets a path with the tests' token.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(TOKEN).send().await.expect("an answer")
    }

    /// Gets JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    /// Posts JSON with the tests' token and returns JSON.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).json(body);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    /// The billable units of a meter.
    pub(crate) async fn billable(&self, meter: &str) -> u64 {
        let view = self.json("/v1/usage?from=2000-01-01T00:00:00Z").await;
        let rows = view["usage"].as_array().expect("rows");
        rows.iter().filter(|row| row["meter"] == meter).filter_map(|row| row["billable"].as_u64()).sum()
    }
}
