//! The scripts that change the log. Each is atomic, checks the log's name and epoch first, and is kept by the server under its hash.
use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));
    };
}
script!(TAKE, "scripts/take.lua");
script!(APPEND, "scripts/append.lua");
script!(RENEW, "scripts/renew.lua");
script!(RELEASE, "scripts/release.lua");
script!(PRUNE, "scripts/prune.lua");
script!(REDACT, "scripts/redact.lua");
script!(ASIDE, "scripts/aside.lua");

/// A call of `script` over `keys`; the arguments follow.
pub(super) fn call(script: &Script, keys: &[&str]) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(script.get_hash()).arg(keys.len()).arg(keys);
    call
}

/// The scripts of a log, but for the one that moves it aside.
#[cfg(feature = "simulated")]
pub fn all() -> [&'static Script; 6] {
    [&*TAKE, &*APPEND, &*RENEW, &*RELEASE, &*PRUNE, &*REDACT]
}
