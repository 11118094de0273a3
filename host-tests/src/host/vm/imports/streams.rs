//! The guest's decisions about a stream: continue, stop, answer. The host executes them after the callback returns.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::{Callback, StreamType};
use crate::host::headers::Headers;
use crate::host::quirks::Quirk;
use crate::host::stream::LocalReply;

/// The SDK's "no gRPC status".
const NO_GRPC_STATUS: u32 = u32::MAX;

pub(super) fn continue_stream(guest: &mut Guest<'_, '_>, kind: u32) -> Hostcall {
    let closes_maps = guest.state().has(Quirk::MapsCloseWithContinue);
    let crashes = guest.state().has(Quirk::ContinuingNoResponseCrashes);
    let stream = guest.state().stream().ok_or(Status::BadArgument)?;
    match StreamType::from_abi(kind) {
        Some(StreamType::HttpResponse) if crashes && stream.response.headers.is_empty() => {
            return Err(Refusal::Trap("continuing a response before there is one crashes this host's process".into()));
        }
        Some(StreamType::HttpRequest) => {
            stream.wishes.continue_request = true;
            if closes_maps {
                stream.request.close();
            }
        }
        Some(StreamType::HttpResponse) => stream.wishes.continue_response = true,
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

pub(super) fn close_stream(guest: &mut Guest<'_, '_>, kind: u32) -> Hostcall {
    if guest.state().has(Quirk::DoneTraps) {
        return Err(Refusal::Trap("this host does not implement it".into()));
    }
    let stream = guest.state().stream().ok_or(Status::BadArgument)?;
    match StreamType::from_abi(kind) {
        Some(StreamType::HttpRequest | StreamType::HttpResponse) => stream.wishes.close = true,
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
pub(super) fn send_local_response(
    guest: &mut Guest<'_, '_>,
    status: u32,
    details_at: u32,
    details_len: u32,
    body_at: u32,
    body_len: u32,
    headers_at: u32,
    headers_len: u32,
    grpc_status: u32,
) -> Hostcall {
    let details = String::from_utf8_lossy(&guest.read(details_at, details_len)?).into_owned();
    let body = guest.read(body_at, body_len)?;
    let headers = Headers::from_wire(&guest.read(headers_at, headers_len)?)?;
    let mut headers = guest.state().settings.named_by_guest(headers);
    if grpc_status != NO_GRPC_STATUS {
        headers.set("grpc-status", grpc_status.to_string());
    }
    let status = u16::try_from(status).map_err(|_| Status::BadArgument)?;
    let state = guest.state();
    if state.has(Quirk::LocalReplyInResponseBodyTraps)
        && matches!(state.callback, Callback::ResponseBody | Callback::ResponseTrailers | Callback::Log)
    {
        return Err(Refusal::Trap("response already sent".into()));
    }
    let stream = state.stream().ok_or(Status::BadArgument)?;
    // Of two replies in one callback the first is sent; the second call also returns Ok.
    stream.wishes.local_reply.get_or_insert(LocalReply { status, headers, body, details });
    Ok(())
}
