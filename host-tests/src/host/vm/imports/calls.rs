//! HTTP calls of the guest.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::Callback;
use crate::host::calls::PendingCall;
use crate::host::headers::Headers;
use crate::host::quirks::Quirk;
use crate::host::vm::HostState;

/// Headers that Envoy requires of a call.
const REQUIRED_HEADERS: [&str; 3] = [":method", ":path", ":authority"];

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn http_call(
    guest: &mut Guest<'_, '_>,
    to: u32,
    to_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout_ms: u32,
    token_out: u32,
) -> Hostcall {
    let call = PendingCall {
        token: 0,
        context: guest.state().effective,
        root: guest.state().root_id(),
        upstream: guest.read_text(to, to_len)?,
        headers: Headers::from_wire(&guest.read(headers, headers_len)?)?,
        body: guest.read(body, body_len)?,
        trailers: Headers::from_wire(&guest.read(trailers, trailers_len)?)?,
        timeout_ms,
    };
    let state = guest.state();
    check_phase(state)?;
    check_call(state, &call)?;
    let token = state.dispatch(call);
    guest.write_u32(token_out, token)
}

fn check_phase(state: &HostState) -> Hostcall {
    let late = state.callback.is_response() || state.callback == Callback::Log;
    if late && state.has(Quirk::LateDispatchTraps) {
        return Err(Refusal::Trap("dispatching in the response phase crashes this host".into()));
    }
    if state.callback == Callback::HttpCallResponse && state.has(Quirk::DispatchInCallAnswerCrashes) {
        return Err(Refusal::Trap("dispatching in the answer to a call crashes this host's worker".into()));
    }
    Ok(())
}

fn check_call(state: &HostState, call: &PendingCall) -> Hostcall {
    let unknown = state.settings.unknown_clusters.contains(&call.upstream);
    let incomplete = REQUIRED_HEADERS.iter().any(|name| call.headers.bytes(name).is_none());
    if state.has(Quirk::CallsAreValidated) && (unknown || incomplete) {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}
