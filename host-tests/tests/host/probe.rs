//! The probe: built once, and read through its log.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use weir_host_tests::host::{FilterModule, LogLevel, Profile};
use weir_host_tests::scenario::{Gateway, GatewayBuilder};

/// The module, compiled to wasm below the workspace's target directory.
pub(crate) fn probe() -> FilterModule {
    static MODULE: OnceLock<FilterModule> = OnceLock::new();
    MODULE.get_or_init(build).clone()
}

fn build() -> FilterModule {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "weir-probe", "--release", "--target", "wasm32-unknown-unknown"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs, as it runs this test");
    assert!(built.success(), "the probe does not build: is the target wasm32-unknown-unknown installed?");
    FilterModule::load(&target.join("wasm32-unknown-unknown/release/weir_probe.wasm")).unwrap()
}

/// A gateway of this profile with the probe and a script.
pub(crate) fn gateway(profile: Profile, script: &str) -> GatewayBuilder {
    Gateway::of(profile).filter(probe()).config(script)
}

pub(crate) fn envoy(script: &str) -> GatewayBuilder {
    gateway(Profile::Envoy, script)
}

pub(crate) fn kong(script: &str) -> GatewayBuilder {
    gateway(Profile::Kong, script)
}

/// The outcome of an action: the text behind the arrow of its log line.
#[track_caller]
pub(crate) fn outcome(gateway: &Gateway, action: &str) -> String {
    outcomes(gateway, action).pop().unwrap_or_else(|| panic!("`{action}` was not run; logs: {:#?}", gateway.logs()))
}

/// What every run of an action came to, in order.
pub(crate) fn outcomes(gateway: &Gateway, action: &str) -> Vec<String> {
    let start = format!("{action} -> ");
    let lines = gateway.logs_at(LogLevel::Info);
    lines.iter().filter_map(|line| line.strip_prefix(start.as_str())).map(str::to_owned).collect()
}

/// The callbacks of these names, in order, with their arguments.
pub(crate) fn callbacks(gateway: &Gateway, names: &[&str]) -> Vec<String> {
    let lines = gateway.logs_at(LogLevel::Debug);
    let wanted = |line: &String| names.iter().any(|name| line.starts_with(&format!("{name}(")));
    lines.into_iter().filter(wanted).collect()
}
