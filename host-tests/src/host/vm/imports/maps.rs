//! Header maps: access of the guest, and the effect of its edits.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::MapType;
use crate::host::headers::Headers;
use crate::host::quirks::Quirk;
use crate::host::settings::{NGINX_MAP_FIELDS_FATAL, NGINX_MAP_FIELDS_MAX};
use crate::host::stream::{Half, HttpStream};
use crate::host::vm::HostState;

/// An edit of a header map.
enum Edit<'a> {
    Replace(&'a str, &'a [u8]),
    Add(&'a str, &'a [u8]),
    Remove(&'a str),
    SetAll(&'a Headers),
}

pub(super) fn get_pairs(guest: &mut Guest<'_, '_>, map: u32, out: u32, out_len: u32) -> Hostcall {
    // All fields of a map that cannot be read now are none; only asking for one of them is an error.
    let state = guest.state();
    let (cuts, overflows) = (state.has(Quirk::MapsAreCut), state.has(Quirk::LargeMapsOverflow));
    let Ok(fields) = readable(state, map) else { return guest.give(&[], out, out_len) };
    if overflows && fields.len() >= NGINX_MAP_FIELDS_FATAL {
        let why = "the host wrote a map of more fields than it had made room for into the guest";
        return Err(Refusal::Trap(why.into()));
    }
    let wire = if cuts { fields.first(NGINX_MAP_FIELDS_MAX).to_wire() } else { fields.to_wire() };
    guest.give(&wire, out, out_len)
}

pub(super) fn get_value(guest: &mut Guest<'_, '_>, map: u32, at: u32, len: u32, out: u32, out_len: u32) -> Hostcall {
    let name = guest.read_text(at, len)?;
    let state = guest.state();
    let value = readable(state, map)?.bytes(&name).map(<[u8]>::to_vec);
    guest.give(&value.ok_or(Status::NotFound)?, out, out_len)
}

pub(super) fn set_pairs(guest: &mut Guest<'_, '_>, map: u32, at: u32, len: u32) -> Hostcall {
    let headers = Headers::from_wire(&guest.read(at, len)?)?;
    let headers = guest.state().settings.named_by_guest(headers);
    edit(guest.state(), map, &Edit::SetAll(&headers))
}

pub(super) fn remove_value(guest: &mut Guest<'_, '_>, map: u32, at: u32, len: u32) -> Hostcall {
    let name = guest.read_text(at, len)?;
    edit(guest.state(), map, &Edit::Remove(&name))
}

pub(super) fn replace_value(
    guest: &mut Guest<'_, '_>,
    map: u32,
    at: u32,
    len: u32,
    value: u32,
    value_len: u32,
) -> Hostcall {
    let (name, value) = (name(guest, at, len)?, guest.read(value, value_len)?);
    edit(guest.state(), map, &Edit::Replace(&name, &value))
}

pub(super) fn add_value(
    guest: &mut Guest<'_, '_>,
    map: u32,
    at: u32,
    len: u32,
    value: u32,
    value_len: u32,
) -> Hostcall {
    let (name, value) = (name(guest, at, len)?, guest.read(value, value_len)?);
    edit(guest.state(), map, &Edit::Add(&name, &value))
}

/// A field's name as this host keeps it.
fn name(guest: &mut Guest<'_, '_>, at: u32, len: u32) -> Result<String, Refusal> {
    let name = guest.read_text(at, len)?;
    let keeps_case = guest.state().has(Quirk::NamesKeepTheirCase);
    Ok(if keeps_case { name } else { name.to_ascii_lowercase() })
}

/// The map, if the guest may read it now.
fn readable(state: &mut HostState, map: u32) -> Result<&Headers, Refusal> {
    let map = MapType::from_abi(map).ok_or(Status::BadArgument)?;
    match map {
        MapType::HttpCallResponseHeaders => Ok(&state.call_answer.as_ref().ok_or(Status::BadArgument)?.headers),
        MapType::HttpCallResponseTrailers => Ok(&state.call_answer.as_ref().ok_or(Status::BadArgument)?.trailers),
        MapType::GrpcReceiveInitialMetadata | MapType::GrpcReceiveTrailingMetadata => Err(Status::BadArgument.into()),
        _ => {
            let stream = state.stream().ok_or(Status::BadArgument)?;
            readable_of_stream(stream, map).ok_or(Refusal::Status(Status::BadArgument))
        }
    }
}

fn readable_of_stream(stream: &HttpStream, map: MapType) -> Option<&Headers> {
    let logging = stream.logging;
    match map {
        MapType::HttpRequestHeaders => (stream.request.headers_open || logging).then_some(&stream.request.headers),
        MapType::HttpRequestTrailers => stream.request.trailers_open.then_some(&stream.request.trailers),
        MapType::HttpResponseHeaders => (stream.response.headers_open || logging).then_some(&stream.response.headers),
        MapType::HttpResponseTrailers => {
            (stream.response.trailers_open || logging).then_some(&stream.response.trailers)
        }
        _ => None,
    }
}

fn edit(state: &mut HostState, map: u32, edit: &Edit<'_>) -> Hostcall {
    let map = MapType::from_abi(map).ok_or(Status::BadArgument)?;
    let losses = Losses::of(state);
    let stream = state.stream().ok_or(Status::BadArgument)?;
    match map {
        MapType::HttpRequestHeaders if stream.request.headers_open => edit_request(&mut stream.request, losses, edit),
        MapType::HttpResponseHeaders if stream.response.headers_open => edit_head(&mut stream.response, edit),
        MapType::HttpRequestTrailers if stream.request.trailers_open => apply(&mut stream.request.trailers, edit),
        MapType::HttpResponseTrailers if stream.response.trailers_open => apply(&mut stream.response.trailers, edit),
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

/// The edits of a request head that reach the upstream only in part, or not at all.
#[derive(Clone, Copy)]
struct Losses {
    removal: bool,
    copies: bool,
    replacement_of_all: bool,
    path: bool,
}

impl Losses {
    fn of(state: &HostState) -> Self {
        Self {
            removal: state.has(Quirk::HeaderRemovalIsLost),
            copies: state.has(Quirk::FirstCopyIsSet),
            replacement_of_all: state.has(Quirk::HeaderMapSetDuplicates),
            path: state.has(Quirk::PathIsReadOnly),
        }
    }
}

fn edit_request(half: &mut Half, losses: Losses, edit: &Edit<'_>) {
    half.length_set |= matches!(edit, Edit::Replace(name, _) if name.eq_ignore_ascii_case("content-length"));
    match edit {
        Edit::Replace(":path", _) | Edit::Add(":path", _) if losses.path => {}
        Edit::Remove(name) if losses.removal => half.headers.remove_first(name),
        Edit::Replace(name, value) if losses.copies => {
            // Behind a removal the host finds no field to change, and adds one.
            if half.headers.set_first(name, value).is_some() {
                half.outgoing.set_first(name, value);
            } else {
                half.outgoing.add(name, value);
            }
        }
        Edit::SetAll(all) if losses.replacement_of_all => {
            half.headers = (*all).clone();
            half.outgoing.extend(all);
        }
        _ => edit_head(half, edit),
    }
}

fn edit_head(half: &mut Half, edit: &Edit<'_>) {
    apply(&mut half.headers, edit);
    apply(&mut half.outgoing, edit);
}

fn apply(headers: &mut Headers, edit: &Edit<'_>) {
    match edit {
        Edit::Replace(name, value) => headers.set(name, value),
        Edit::Add(name, value) => headers.add(name, value),
        Edit::Remove(name) => headers.remove(name),
        Edit::SetAll(all) => *headers = (*all).clone(),
    }
}
