//! A guest's memory, for hostcalls to read and write.

use wasmtime::{AsContext, AsContextMut, Caller, Memory};

use super::state::HostState;
use crate::host::abi::Status;
use crate::host::chaos::Chaos;

/// Why a hostcall is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The guest receives this code.
    Status(Status),
    /// The guest traps; the text gives the reason.
    Trap(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Refusal::Status(status)
    }
}

/// The result of a hostcall; `Ok` is [`Status::Ok`].
pub(crate) type Hostcall = Result<(), Refusal>;

/// The guest that makes the hostcall.
pub(crate) struct Guest<'a, 'b> {
    caller: &'a mut Caller<'b, HostState>,
    /// True if chaos replaces this call's output.
    lies: bool,
}

impl<'a, 'b> Guest<'a, 'b> {
    pub(super) fn new(caller: &'a mut Caller<'b, HostState>, lies: bool) -> Self {
        Self { caller, lies }
    }

    pub(crate) fn state(&mut self) -> &mut HostState {
        self.caller.data_mut()
    }

    fn memory(&self) -> Result<Memory, Refusal> {
        self.caller.data().memory.ok_or(Refusal::Trap("a hostcall before the memory exists".into()))
    }

    /// Copies bytes out of the guest.
    pub(crate) fn read(&self, at: u32, length: u32) -> Result<Vec<u8>, Refusal> {
        let memory = self.memory()?;
        let start = at as usize;
        let bytes = memory.data(self.caller.as_context()).get(start..start + length as usize);
        bytes.map(<[u8]>::to_vec).ok_or(Refusal::Status(Status::InvalidMemoryAccess))
    }

    /// Copies text out of the guest.
    pub(crate) fn read_text(&self, at: u32, length: u32) -> Result<String, Refusal> {
        String::from_utf8(self.read(at, length)?).map_err(|_| Refusal::Status(Status::BadArgument))
    }

    /// Writes bytes into the guest.
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Hostcall {
        let memory = self.memory()?;
        let written = memory.write(self.caller.as_context_mut(), at as usize, bytes);
        written.map_err(|_| Refusal::Status(Status::InvalidMemoryAccess))
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Hostcall {
        let value = self.lie().map_or(value, |lie| (lie & u64::from(u32::MAX)) as u32);
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Hostcall {
        let value = self.lie().unwrap_or(value);
        self.write(at, &value.to_le_bytes())
    }

    fn lie(&mut self) -> Option<u64> {
        self.state_if_lying()?.chaos.as_mut().map(Chaos::number)
    }

    fn state_if_lying(&mut self) -> Option<&mut HostState> {
        self.lies.then(|| self.caller.data_mut())
    }

    /// Passes bytes to the guest: allocates them there, and writes pointer and length to the given addresses. No bytes
    /// become a null pointer, which the SDK reads as "none".
    pub(crate) fn give(&mut self, bytes: &[u8], pointer_at: u32, length_at: u32) -> Hostcall {
        let nonsense = self.state_if_lying().and_then(|state| state.chaos.as_mut()).map(Chaos::nonsense);
        let bytes = nonsense.as_deref().unwrap_or(bytes);
        let length = u32::try_from(bytes.len()).map_err(|_| Refusal::Status(Status::InternalFailure))?;
        let pointer = if bytes.is_empty() { 0 } else { self.allocate(length)? };
        self.write(pointer, bytes)?;
        // Pointer and length are valid even if the bytes are garbage: no host would point elsewhere.
        self.write(pointer_at, &pointer.to_le_bytes())?;
        self.write(length_at, &length.to_le_bytes())
    }

    fn allocate(&mut self, length: u32) -> Result<u32, Refusal> {
        let malloc = self.caller.data().malloc.clone();
        let malloc = malloc.ok_or(Refusal::Trap("a hostcall before malloc is known".into()))?;
        malloc
            .call(self.caller.as_context_mut(), length)
            .map_err(|error| Refusal::Trap(format!("malloc({length}) trapped: {error}")))
    }
}
