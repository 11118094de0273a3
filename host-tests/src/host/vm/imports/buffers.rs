//! Byte buffers: bodies, configurations, answers to calls.

use super::{Guest, Hostcall, Status};
use crate::host::abi::BufferType;
use crate::host::quirks::Quirk;
use crate::host::stream::{Half, HttpStream};
use crate::host::vm::HostState;

pub(super) fn get(guest: &mut Guest<'_, '_>, kind: u32, start: u32, max: u32, out: u32, out_len: u32) -> Hostcall {
    let kind = BufferType::from_abi(kind).ok_or(Status::BadArgument)?;
    let state = guest.state();
    let start = if state.has(Quirk::BufferOffsetIgnored) { 0 } else { start as usize };
    let buffer = readable(state, kind)?;
    let end = buffer.len().min(start.saturating_add(max as usize));
    let bytes = buffer.get(start..end).unwrap_or_default().to_vec();
    guest.give(&bytes, out, out_len)
}

fn readable(state: &mut HostState, kind: BufferType) -> Result<&[u8], Status> {
    match kind {
        BufferType::HttpRequestBody => Ok(body(&state.stream().ok_or(Status::NotFound)?.request)),
        BufferType::HttpResponseBody => Ok(body(&state.stream().ok_or(Status::NotFound)?.response)),
        BufferType::HttpCallResponseBody => Ok(&state.call_answer.as_ref().ok_or(Status::NotFound)?.body),
        BufferType::PluginConfiguration => {
            let root_id = state.root_id();
            Ok(&state.roots.get(&root_id).ok_or(Status::NotFound)?.config)
        }
        BufferType::VmConfiguration => Ok(&[]),
        BufferType::DownstreamData
        | BufferType::UpstreamData
        | BufferType::GrpcReceiveBuffer
        | BufferType::CallData => Err(Status::NotFound),
    }
}

fn body(half: &Half) -> &[u8] {
    if half.body_open && !half.body_spooled { &half.body } else { &[] }
}

pub(super) fn set(guest: &mut Guest<'_, '_>, kind: u32, start: u32, size: u32, at: u32, len: u32) -> Hostcall {
    let replacement = guest.read(at, len)?;
    let state = guest.state();
    let cuts = state.has(Quirk::SetBufferCuts);
    let hangs = state.has(Quirk::EmptyReplacementHangs) && state.settings.buffers_responses;
    let loses_end = state.has(Quirk::EmptyEndIsLost);
    let stream = state.stream().ok_or(Status::BadArgument)?;
    let half = match BufferType::from_abi(kind) {
        Some(BufferType::HttpRequestBody) => &mut stream.request,
        Some(BufferType::HttpResponseBody) => {
            if replacement.is_empty() && size > 0 {
                stream.emptied_chunks += 1;
                stream.wishes.hang = hang_of_nothing(stream, hangs, loses_end).map(str::to_owned);
            }
            &mut stream.response
        }
        _ => return Err(Status::BadArgument.into()),
    };
    if !half.body_open {
        return Err(Status::BadArgument.into());
    }
    half.body_spooled = false;
    if cuts {
        splice_as_nginx(&mut half.body, start as usize, size as usize, &replacement);
        return Ok(());
    }
    splice(&mut half.body, start as usize, size as usize, &replacement)
}

/// The effect of replacing a chunk of a response by nothing.
fn hang_of_nothing(stream: &HttpStream, hangs: bool, loses_end: bool) -> Option<&'static str> {
    if loses_end && stream.response_ends {
        return Some("replacing the last chunk of a response by nothing loses its end on this host");
    }
    let several = hangs && stream.emptied_chunks > 1;
    several.then_some(
        "replacing several chunks of a response by nothing, while nginx buffers it, hangs this host's worker",
    )
}

/// Envoy allows three edits: prepend (`0, 0`), replace all (`0, at least the length`), append (`at least the length`).
fn splice(body: &mut Vec<u8>, start: usize, size: usize, with: &[u8]) -> Hostcall {
    match (start, size) {
        (0, 0) => drop(body.splice(0..0, with.iter().copied())),
        (0, size) if size >= body.len() => *body = with.to_vec(),
        (start, _) if start >= body.len() => body.extend_from_slice(with),
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

/// nginx puts data in front (`0, 0`), or in the place of everything behind `start`, and never more than `size` bytes of
/// it; without a size behind the start, all of it.
fn splice_as_nginx(body: &mut Vec<u8>, start: usize, size: usize, with: &[u8]) {
    if (start, size) == (0, 0) && !body.is_empty() {
        return drop(body.splice(0..0, with.iter().copied()));
    }
    let size = if start > 0 && size == 0 { with.len() } else { size };
    body.truncate(start);
    body.extend_from_slice(&with[..with.len().min(size)]);
}
