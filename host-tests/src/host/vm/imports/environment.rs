//! Environment variables (WASI).

use super::{Guest, Hostcall};

/// Bytes of a pointer in the guest.
const POINTER_BYTES: u32 = 4;

/// The variables as the guest reads them: `NAME=VALUE` and a zero byte each.
fn texts(guest: &mut Guest<'_, '_>) -> Vec<Vec<u8>> {
    let variables = &guest.state().settings.environment;
    variables.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

pub(super) fn sizes(guest: &mut Guest<'_, '_>, count: u32, size: u32) -> Hostcall {
    let texts = texts(guest);
    guest.write_u32(count, texts.len() as u32)?;
    guest.write_u32(size, texts.iter().map(Vec::len).sum::<usize>() as u32)
}

pub(super) fn get(guest: &mut Guest<'_, '_>, variables: u32, mut at: u32) -> Hostcall {
    for (text, index) in texts(guest).iter().zip(0_u32..) {
        guest.write_u32(variables + index * POINTER_BYTES, at)?;
        guest.write(at, text)?;
        at += text.len() as u32;
    }
    Ok(())
}
