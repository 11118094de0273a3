//! Errors of the server, as the log needs them.
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{AppendError, RedisProblem};

/// The first error among those of several commands.
pub(super) fn first(error: RedisError) -> RedisError {
    let first = error.clone().into_server_errors().and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    first.map_or(error, RedisError::from)
}

/// Returns true if the server does not have a script yet, or any more.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Returns true while the server loads its data.
pub(super) fn is_loading(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// The words of an error, with the remedy where there is one.
pub(super) fn failed(error: &RedisError) -> RedisProblem {
    let detail = error.detail().unwrap_or_default().to_owned();
    let remedy = match (error.code(), error.kind()) {
        (Some("WEIRLOST"), _) => return RedisProblem::Lost(detail),
        (Some("WEIRVERSION"), _) => return RedisProblem::Version(detail),
        (Some("WEIRFENCED"), _) => return RedisProblem::Fenced,
        (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            "; look at the user in the address and at `password`"
        }
        (_, ErrorKind::Server(ServerErrorKind::NoPerm)) => {
            "; the user needs the keys weir:log:* and +@read +@write +@stream +@scripting +@connection +info +config|get +wait"
        }
        (_, ErrorKind::Io) if error.is_connection_refusal() => "; see that it runs and that the address is right",
        _ => "",
    };
    RedisProblem::Failed(format!("{error}{remedy}"))
}

/// What an error of a command means for a record that was to be appended.
pub(super) enum Outcome {
    /// Nothing was written; the same may succeed later.
    Refused(AppendError),
    /// Whether it was written is unknown, or the server cannot answer now: ask again.
    Unknown(String),
    /// Nothing more may be written.
    Over(AppendError),
}

/// Sorts the error of a write.
pub(super) fn outcome(error: &RedisError) -> Outcome {
    match (error.code(), error.kind()) {
        (Some("WEIRFENCED"), _) => Outcome::Over(AppendError::TakenOver(failed(error).to_string())),
        (Some("WEIRLOST"), _) => Outcome::Over(AppendError::Lost(failed(error).to_string())),
        (Some("WEIRVERSION"), _) => Outcome::Over(AppendError::Broken(failed(error).to_string())),
        (Some("OOM"), _) => {
            Outcome::Refused(AppendError::Full(format!("{error}; give Redis more memory (`maxmemory`)")))
        }
        // A server that became a replica is asked for at its address again: another one may answer there by now.
        (
            _,
            ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown),
        ) => Outcome::Unknown(error.to_string()),
        _ => Outcome::Refused(AppendError::Locked(failed(error).to_string())),
    }
}
