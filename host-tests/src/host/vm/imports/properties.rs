//! Properties of the stream and the gateway, and state for the access log.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::{Callback, LogLevel};
use crate::host::quirks::Quirk;
use crate::host::vm::HostState;

pub(super) fn get(guest: &mut Guest<'_, '_>, at: u32, len: u32, out: u32, out_len: u32) -> Hostcall {
    let path = guest.read(at, len)?;
    let state = guest.state();
    if state.callback == Callback::Delete && state.has(Quirk::PropertyInDeleteCrashes) {
        return Err(Refusal::Trap("reading a property in on_delete crashes this host's worker".into()));
    }
    let value = find(state, &path)?;
    guest.give(&value, out, out_len)
}

fn find(state: &mut HostState, path: &[u8]) -> Result<Vec<u8>, Status> {
    let root_fails = state.has(Quirk::RootPropertyFails);
    let hides_request = state.has(Quirk::RequestPropertiesEmptyInResponse) && state.callback.is_response();
    let gateway = gateway_property(state, path);
    if path == b"response\0code_details" && state.has(Quirk::CodeDetailsUnknown) {
        state.log(LogLevel::Error, "cannot get property \"response.code_details\": not supported");
        return Err(Status::NotFound);
    }
    let Some(stream) = state.stream() else {
        let missing = if root_fails { Status::InternalFailure } else { Status::NotFound };
        return if root_fails { Err(missing) } else { gateway.ok_or(missing) };
    };
    let name = String::from_utf8_lossy(path);
    if let Some(value) = stream.filter_state.get(name.as_ref()) {
        return Ok(value.clone());
    }
    if hides_request && comes_from_the_head(&name) {
        return Err(Status::NotFound);
    }
    stream.properties.get(path).cloned().or(gateway).ok_or(Status::NotFound)
}

/// Returns true for properties that are read from the request's header map and close with it.
fn comes_from_the_head(path: &str) -> bool {
    let Some(name) = path.strip_prefix("request\0") else { return false };
    matches!(name, "path" | "url_path" | "query" | "host" | "scheme" | "method" | "useragent" | "id" | "referer")
        || name.starts_with("headers\0")
}

fn gateway_property(state: &HostState, path: &[u8]) -> Option<Vec<u8>> {
    if state.settings.profile == crate::host::Profile::Kong {
        return None;
    }
    match path {
        b"xds\0node\0id" => Some(state.settings.node_id.clone().into_bytes()),
        b"plugin_vm_id" => Some(state.settings.vm_id.clone().into_bytes()),
        _ => None,
    }
}

pub(super) fn set(guest: &mut Guest<'_, '_>, at: u32, len: u32, value: u32, value_len: u32) -> Hostcall {
    let path = guest.read(at, len)?;
    let value = guest.read(value, value_len)?;
    let state = guest.state();
    if state.has(Quirk::UnknownPropertySetFails) && !is_settable_on_kong(&path) {
        return Err(Status::NotFound.into());
    }
    let stream = state.stream().ok_or(Status::NotFound)?;
    stream.filter_state.insert(String::from_utf8_lossy(&path).into_owned(), value);
    Ok(())
}

/// Returns true for nginx variables, the only properties known to be settable.
fn is_settable_on_kong(path: &[u8]) -> bool {
    path.starts_with(b"ngx\0") || path.starts_with(b"ngx.")
}
