//! gRPC: the SDK declares these calls, so they can be imported, but the host does not implement them.

use wasmtime::{Caller, FuncType, Linker, Val, ValType};

use super::{Guest, Hostcall, Refusal, Status, run};
use crate::host::quirks::Quirk;
use crate::host::vm::HostState;

/// The calls, each with its number of 32-bit arguments and its answer.
const CALLS: &[(&str, usize, Status)] = &[
    ("proxy_grpc_call", 12, Status::InternalFailure),
    ("proxy_grpc_stream", 9, Status::InternalFailure),
    ("proxy_grpc_send", 4, Status::NotFound),
    ("proxy_grpc_cancel", 1, Status::NotFound),
    ("proxy_grpc_close", 1, Status::NotFound),
    ("proxy_get_status", 3, Status::InternalFailure),
];

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for (name, args, status) in CALLS {
        let signature = FuncType::new(linker.engine(), vec![ValType::I32; *args], [ValType::I32]);
        linker.func_new("env", name, signature, move |mut caller: Caller<'_, HostState>, _args, results| {
            let answer = run(&mut caller, name, |guest| refusal(guest, *status))?;
            results[0] = Val::I32(answer.cast_signed());
            Ok(())
        })?;
    }
    Ok(())
}

fn refusal(guest: &mut Guest<'_, '_>, status: Status) -> Hostcall {
    if guest.state().has(Quirk::GrpcTraps) {
        return Err(Refusal::Trap("this host does not implement it".into()));
    }
    Err(status.into())
}
