//! SQLite's locks on files and on shared memory, within one thread.
use std::collections::BTreeMap;

/// The number of locks of a database's shared memory (`SQLITE_SHM_NLOCK`).
pub(crate) const SHM_LOCKS: usize = 8;

/// The lock levels of a handle on its file; SQLite's own numbers.
pub(crate) const NONE: i32 = 0;
pub(crate) const SHARED: i32 = 1;
pub(crate) const RESERVED: i32 = 2;
pub(crate) const PENDING: i32 = 3;
pub(crate) const EXCLUSIVE: i32 = 4;

/// The locks on one file.
#[derive(Debug, Default)]
struct FileLocks {
    shared: u32,
    /// The strongest lock above shared that a handle holds.
    strongest: i32,
}

/// The shared memory of one database.
#[derive(Debug, Default)]
struct Shared {
    regions: Vec<Box<[u64]>>,
    users: u32,
    /// The number of sharers of each lock, or -1 for an exclusive holder.
    locks: [i32; SHM_LOCKS],
}

/// All locks and shared memory of a thread's processes.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    files: BTreeMap<String, FileLocks>,
    shared: BTreeMap<String, Shared>,
    /// Memory of dead processes. Their handles may not be closed yet and point into it.
    graveyard: Vec<Shared>,
}

/// The shared-memory locks of one handle, as bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    shared: u8,
    alone: u8,
}

impl Locks {
    /// Clears all locks, as the death of all processes does.
    pub(crate) fn clear(&mut self) {
        self.files.clear();
        self.graveyard.extend(std::mem::take(&mut self.shared).into_values().filter(|shared| shared.users > 0));
    }

    /// Raises a handle's lock from `from` to `to`. Returns the level that it then holds.
    pub(crate) fn lock(&mut self, name: &str, from: i32, to: i32) -> Result<i32, i32> {
        let locks = self.files.entry(name.to_owned()).or_default();
        let others = if from >= RESERVED { NONE } else { locks.strongest };
        match to {
            SHARED if from == NONE => {
                if others >= PENDING {
                    return Err(from);
                }
                locks.shared += 1;
                Ok(SHARED)
            }
            RESERVED if from == SHARED => {
                if others >= RESERVED {
                    return Err(from);
                }
                locks.strongest = RESERVED;
                Ok(RESERVED)
            }
            EXCLUSIVE if from < EXCLUSIVE => {
                if others >= RESERVED {
                    return Err(from);
                }
                locks.strongest = if locks.shared > 1 { PENDING } else { EXCLUSIVE };
                if locks.shared > 1 { Err(PENDING) } else { Ok(EXCLUSIVE) }
            }
            _ => Ok(from.max(to)),
        }
    }

    /// Lowers a handle's lock from `from` to `to`: shared or none.
    pub(crate) fn unlock(&mut self, name: &str, from: i32, to: i32) {
        let Some(locks) = self.files.get_mut(name) else { return };
        if from >= RESERVED && to <= SHARED {
            locks.strongest = NONE;
        }
        if from >= SHARED && to == NONE {
            locks.shared = locks.shared.saturating_sub(1);
        }
    }

    /// Returns true if a handle intends to write.
    pub(crate) fn reserved(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|locks| locks.strongest >= RESERVED)
    }

    /// A region of the shared memory, created if `extend`. The address stays valid until the last user detaches.
    pub(crate) fn region(&mut self, name: &str, number: usize, bytes: usize, extend: bool) -> Option<*mut u64> {
        let shared = self.shared.entry(name.to_owned()).or_default();
        while extend && shared.regions.len() <= number {
            shared.regions.push(vec![0; bytes / 8].into_boxed_slice());
        }
        shared.regions.get_mut(number).map(|region| region.as_mut_ptr())
    }

    /// Notes that a handle uses the shared memory.
    pub(crate) fn attach(&mut self, name: &str) {
        self.shared.entry(name.to_owned()).or_default().users += 1;
    }

    /// Notes that a handle no longer uses it.
    pub(crate) fn detach(&mut self, name: &str, held: Held) {
        let Some(shared) = self.shared.get_mut(name) else { return };
        for lock in 0..SHM_LOCKS {
            if held.alone & (1 << lock) != 0 {
                shared.locks[lock] = 0;
            } else if held.shared & (1 << lock) != 0 {
                shared.locks[lock] -= 1;
            }
        }
        shared.users -= 1;
        if shared.users == 0 {
            self.shared.remove(name);
        }
    }

    /// Takes `count` locks from `first` on, shared or exclusive. Returns false and takes none if another handle blocks
    /// one.
    pub(crate) fn lock_shared(&mut self, name: &str, first: usize, count: usize, alone: bool, held: &mut Held) -> bool {
        let Some(shared) = self.shared.get_mut(name) else { return false };
        let range = first..first + count;
        let free = |lock: usize| {
            let mine = i32::from(held.shared >> lock & 1 == 1);
            if alone { shared.locks[lock] == mine } else { shared.locks[lock] >= 0 }
        };
        if !range.clone().all(free) {
            return false;
        }
        for lock in range {
            let bit = 1 << lock;
            if alone {
                shared.locks[lock] = -1;
                (held.alone, held.shared) = (held.alone | bit, held.shared & !bit);
            } else if held.shared & bit == 0 {
                shared.locks[lock] += 1;
                held.shared |= bit;
            }
        }
        true
    }

    /// Releases `count` locks from `first` on.
    pub(crate) fn unlock_shared(&mut self, name: &str, first: usize, count: usize, held: &mut Held) {
        let Some(shared) = self.shared.get_mut(name) else { return };
        for lock in first..first + count {
            let bit = 1 << lock;
            if held.alone & bit != 0 {
                shared.locks[lock] = 0;
            } else if held.shared & bit != 0 {
                shared.locks[lock] -= 1;
            }
            (held.alone, held.shared) = (held.alone & !bit, held.shared & !bit);
        }
    }
}
