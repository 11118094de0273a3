//! Shared data, queues and metrics.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::MetricType;
use crate::host::quirks::Quirk;
use crate::host::vm::HostState;

pub(super) fn get_data(guest: &mut Guest<'_, '_>, at: u32, len: u32, out: u32, out_len: u32, cas_out: u32) -> Hostcall {
    let key = guest.read(at, len)?;
    let state = guest.state();
    demand_zone(state)?;
    let (value, cas) = state.process.shared.data(|data| data.get(state.rules, &state.settings.vm_id, &key))?;
    guest.give(&value, out, out_len)?;
    guest.write_u32(cas_out, cas)
}

pub(super) fn set_data(
    guest: &mut Guest<'_, '_>,
    at: u32,
    len: u32,
    value_at: u32,
    value_len: u32,
    cas: u32,
) -> Hostcall {
    let key = guest.read(at, len)?;
    let value = guest.read(value_at, value_len)?;
    let value = (value_at != 0).then_some(value.as_slice());
    let state = guest.state();
    demand_zone(state)?;
    state.process.shared.data(|data| data.set(state.rules, &state.settings.vm_id, &key, value, cas))?;
    Ok(())
}

fn demand_zone(state: &HostState) -> Hostcall {
    if state.has(Quirk::MissingZoneTraps) && !state.settings.has_shared_zone {
        return Err(Refusal::Trap("there is no zone for shared data: set nginx_wasm_shm_kv".into()));
    }
    Ok(())
}

fn refuse_queues(guest: &mut Guest<'_, '_>) -> Hostcall {
    if guest.state().has(Quirk::QueuesTrap) {
        return Err(Refusal::Trap("could not find queue".into()));
    }
    Ok(())
}

pub(super) fn register_queue(guest: &mut Guest<'_, '_>, at: u32, len: u32, out: u32) -> Hostcall {
    refuse_queues(guest)?;
    let name = guest.read(at, len)?;
    let state = guest.state();
    let id = state.process.shared.lock().queues.register(&state.settings.vm_id, &name);
    let root_id = state.root_id();
    state.listened_queues.insert(id, root_id);
    guest.write_u32(out, id)
}

pub(super) fn resolve_queue(guest: &mut Guest<'_, '_>, vm: u32, vm_len: u32, at: u32, len: u32, out: u32) -> Hostcall {
    refuse_queues(guest)?;
    let (vm_id, name) = (guest.read_text(vm, vm_len)?, guest.read(at, len)?);
    let id = guest.state().process.shared.lock().queues.resolve(&vm_id, &name)?;
    guest.write_u32(out, id)
}

pub(super) fn dequeue(guest: &mut Guest<'_, '_>, id: u32, out: u32, out_len: u32) -> Hostcall {
    refuse_queues(guest)?;
    let message = guest.state().process.shared.lock().queues.dequeue(id)?;
    guest.give(&message, out, out_len)
}

pub(super) fn enqueue(guest: &mut Guest<'_, '_>, id: u32, at: u32, len: u32) -> Hostcall {
    refuse_queues(guest)?;
    let message = guest.read(at, len)?;
    guest.state().process.shared.lock().queues.enqueue(id, &message)?;
    Ok(())
}

pub(super) fn define_metric(guest: &mut Guest<'_, '_>, kind: u32, at: u32, len: u32, out: u32) -> Hostcall {
    let kind = MetricType::from_abi(kind).ok_or(Status::BadArgument)?;
    let name = guest.read_text(at, len)?;
    let state = guest.state();
    let mut shared = state.process.shared.lock();
    if shared.metrics.named(&name).is_none() && shared.metrics.iter().count() >= state.settings.metrics_max {
        return Err(Status::InternalFailure.into());
    }
    let id = shared.metrics.define(kind, &name);
    drop(shared);
    guest.write_u32(out, id)
}

pub(super) fn get_metric(guest: &mut Guest<'_, '_>, id: u32, out: u32) -> Hostcall {
    let value = guest.state().process.shared.lock().metrics.get(id)?;
    guest.write_u64(out, value)
}

pub(super) fn record_metric(guest: &mut Guest<'_, '_>, id: u32, value: u64) -> Hostcall {
    demand_kind(guest.state(), id, "metric is a counter", |kind| kind != MetricType::Counter)?;
    guest.state().process.shared.lock().metrics.record(id, value)?;
    Ok(())
}

pub(super) fn increment_metric(guest: &mut Guest<'_, '_>, id: u32, by: i64) -> Hostcall {
    demand_kind(guest.state(), id, "metric not a counter", |kind| kind == MetricType::Counter)?;
    guest.state().process.shared.lock().metrics.increment(id, by)?;
    Ok(())
}

/// On hosts that trap on it, a metric must be of a kind that suits the call.
fn demand_kind(state: &HostState, id: u32, otherwise: &str, suits: impl Fn(MetricType) -> bool) -> Hostcall {
    let kind = state.process.shared.lock().metrics.kind(id)?;
    if state.has(Quirk::MetricKindsTrap) && !suits(kind) {
        return Err(Refusal::Trap(otherwise.to_owned()));
    }
    Ok(())
}
