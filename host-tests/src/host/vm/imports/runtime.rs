//! Logs, time, ticks, contexts, randomness.

use super::{Guest, Hostcall, Refusal, Status};
use crate::host::abi::LogLevel;
use crate::host::quirks::Quirk;

/// Nanoseconds in a millisecond.
const NS_PER_MS: u64 = 1_000_000;

pub(super) fn log(guest: &mut Guest<'_, '_>, level: u32, at: u32, length: u32) -> Hostcall {
    let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
    let message = String::from_utf8_lossy(&guest.read(at, length)?).into_owned();
    guest.state().log(level, &message);
    Ok(())
}

pub(super) fn get_log_level(guest: &mut Guest<'_, '_>, out: u32) -> Hostcall {
    if guest.state().has(Quirk::LogLevelTraps) {
        return Err(Refusal::Trap("this host does not implement it".into()));
    }
    let level = guest.state().settings.log_level;
    guest.write_u32(out, level as u32)
}

pub(super) fn get_current_time(guest: &mut Guest<'_, '_>, out: u32) -> Hostcall {
    let now_ns = guest.state().process.clock.now_ns();
    guest.write_u64(out, now_ns)
}

pub(super) fn set_tick_period(guest: &mut Guest<'_, '_>, period_ms: u32) -> Hostcall {
    let state = guest.state();
    let (once, now_ns, root_id) =
        (state.has(Quirk::RearmingTheTickTraps), state.process.clock.now_ns(), state.root_id());
    let root = state.roots.get_mut(&root_id).ok_or(Status::BadArgument)?;
    if once && root.tick_period_ms != 0 {
        return Err(Refusal::Trap("tick_period already set".into()));
    }
    root.tick_period_ms = period_ms;
    root.next_tick_ns = now_ns + u64::from(period_ms) * NS_PER_MS;
    Ok(())
}

pub(super) fn set_effective_context(guest: &mut Guest<'_, '_>, context: u32) -> Hostcall {
    let state = guest.state();
    if !state.streams.contains_key(&context) && !state.roots.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    if !state.has(Quirk::EffectiveContextIgnored) {
        state.effective = context;
    }
    Ok(())
}

pub(super) fn done(guest: &mut Guest<'_, '_>) -> Hostcall {
    let state = guest.state();
    if state.has(Quirk::DoneTraps) {
        return Err(Refusal::Trap("this host does not implement it".into()));
    }
    let root_id = state.root_id();
    if let Some(root) = state.roots.get_mut(&root_id) {
        root.done = true;
    }
    Ok(())
}

pub(super) fn random_get(guest: &mut Guest<'_, '_>, at: u32, length: u32) -> Hostcall {
    let bytes = guest.state().random_bytes(length as usize);
    guest.write(at, &bytes)
}
