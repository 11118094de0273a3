//! Shared queues: first in, first out, by `vm_id` and name.

use std::collections::VecDeque;

use crate::host::abi::Status;

/// The most messages of one queue; further ones fail. The real hosts have no bound, so a test that reaches it has a
/// leak.
const QUEUE_MESSAGES_MAX: usize = 100_000;

#[derive(Debug)]
struct Queue {
    vm_id: String,
    name: Vec<u8>,
    messages: VecDeque<Vec<u8>>,
}

/// Every queue of a process; ids start at 1.
#[derive(Debug, Default)]
pub struct Queues(Vec<Queue>);

impl Queues {
    /// The id of a queue; creates it if there is none.
    pub fn register(&mut self, vm_id: &str, name: &[u8]) -> u32 {
        if let Ok(id) = self.resolve(vm_id, name) {
            return id;
        }
        self.0.push(Queue { vm_id: vm_id.to_owned(), name: name.to_vec(), messages: VecDeque::new() });
        u32::try_from(self.0.len()).expect("a test registers a handful of queues")
    }

    /// The id of a queue.
    ///
    /// # Errors
    /// [`Status::NotFound`] if the queue is not registered.
    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        let position = self.0.iter().position(|queue| queue.vm_id == vm_id && queue.name == name);
        position.and_then(|index| u32::try_from(index + 1).ok()).ok_or(Status::NotFound)
    }

    /// Puts a message at the end.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id, [`Status::InternalFailure`] when the queue is full.
    pub fn enqueue(&mut self, id: u32, message: &[u8]) -> Result<(), Status> {
        let queue = self.queue(id)?;
        if queue.messages.len() >= QUEUE_MESSAGES_MAX {
            return Err(Status::InternalFailure);
        }
        queue.messages.push_back(message.to_vec());
        Ok(())
    }

    /// Takes the first message.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id, [`Status::Empty`] when it holds nothing.
    pub fn dequeue(&mut self, id: u32) -> Result<Vec<u8>, Status> {
        self.queue(id)?.messages.pop_front().ok_or(Status::Empty)
    }

    /// Returns true if the queue has a message.
    pub fn holds_something(&self, id: u32) -> bool {
        let index = (id as usize).checked_sub(1);
        index.and_then(|index| self.0.get(index)).is_some_and(|queue| !queue.messages.is_empty())
    }

    fn queue(&mut self, id: u32) -> Result<&mut Queue, Status> {
        let index = (id as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.0.get_mut(index).ok_or(Status::NotFound)
    }
}
