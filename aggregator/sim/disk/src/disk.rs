//! The model of the disk: files, their durable content, and faults.
mod file;

use std::collections::BTreeMap;

use fastrand::Rng;

use file::{Change, File, survive};

/// The most lines of a trace; older ones are dropped.
const TRACE_MAX: usize = 4_000;

/// A fault that hits once, at one of the next operations of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails and nothing is written.
    WriteFails,
    /// A write fails after writing a part.
    WriteShort,
    /// A sync fails; the writes that it covers are lost, in part or whole.
    SyncFails,
    /// A read fails.
    ReadFails,
    /// A write finds the disk full.
    Full,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 5] = [Fault::WriteFails, Fault::WriteShort, Fault::SyncFails, Fault::ReadFails, Fault::Full];

    /// The fault in words, for traces.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::WriteFails => "failed write",
            Fault::WriteShort => "short write",
            Fault::SyncFails => "failed sync",
            Fault::ReadFails => "failed read",
            Fault::Full => "full disk",
        }
    }
}

/// The end of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; the operating system lives on.
    Kill,
    /// The machine loses power.
    PowerLoss,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An I/O error.
    Io,
    /// The disk is full.
    Full,
    /// The file does not exist.
    Missing,
}

/// The content of files at some moment, by name.
pub type Copies = BTreeMap<String, Vec<u8>>;

/// A disk, its faults and its history.
#[derive(Debug)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Removed files that may come back.
    ghosts: BTreeMap<String, File>,
    rng: Rng,
    /// Operations left until the process dies within one.
    fuse: Option<u64>,
    fault: Option<(Fault, u64)>,
    full: bool,
    dead: bool,
    sync_failed: bool,
    trouble: bool,
    generation: u64,
    operations: u64,
    met: BTreeMap<&'static str, u64>,
    trace: Vec<String>,
}

impl Disk {
    /// An empty disk; `seed` determines its accidents.
    pub fn new(seed: u64) -> Self {
        Disk {
            files: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            rng: Rng::with_seed(seed),
            fuse: None,
            fault: None,
            full: false,
            dead: false,
            sync_failed: false,
            trouble: false,
            generation: 0,
            operations: 0,
            met: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    /// Kills the process within the operation that follows `operations` more changes.
    pub fn set_fuse(&mut self, operations: u64) {
        self.fuse = Some(operations);
    }

    /// Makes one operation of the fault's kind fail: the one after `operations` more.
    pub fn plan(&mut self, fault: Fault, operations: u64) {
        self.fault = Some((fault, operations));
    }

    /// Stops files from growing, or allows it again.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        (self.fuse, self.fault, self.full) = (None, None, false);
    }

    /// Returns true if the process is dead: every operation fails until [`Disk::restart`].
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Returns true if a sync has failed since power came on. Readers may then see content that is not durable.
    pub fn sync_failed(&self) -> bool {
        self.sync_failed
    }

    /// Returns true if an operation of this life failed.
    pub fn had_trouble(&self) -> bool {
        self.trouble
    }

    /// The number of changes so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Kills the process: its further operations fail.
    pub fn die(&mut self) {
        self.dead = true;
    }

    /// Faults and crashes so far, with their number.
    pub fn met(&self) -> &BTreeMap<&'static str, u64> {
        &self.met
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Begins the next life; the caller has dropped everything of the last one.
    pub fn restart(&mut self, crash: Crash) {
        self.note(|| format!("{crash:?}"));
        if crash == Crash::PowerLoss {
            self.lose_power();
        }
        (self.dead, self.fuse, self.fault, self.trouble) = (false, None, None, false);
        self.generation += 1;
    }

    /// Copies the files whose names begin with `prefix`, as readers see them.
    pub fn copy(&self, prefix: &str) -> Copies {
        let named = self.files.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(name, file)| (name.clone(), file.data.clone())).collect()
    }

    /// Replaces the disk by one that has only `copies`. For use between two lives.
    pub fn replace_all(&mut self, copies: Copies) {
        self.note(|| "another disk".to_owned());
        let file = |data: Vec<u8>| File { durable: Some(data.clone()), data, pending: Vec::new() };
        self.files = copies.into_iter().map(|(name, data)| (name, file(data))).collect();
        self.ghosts.clear();
        self.sync_failed = false;
    }

    /// Faults, crashes and changes, the latest last.
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace.len() >= TRACE_MAX {
            self.trace.drain(..TRACE_MAX / 2);
        }
        let line = format!("{:>6} {}", self.operations, line());
        self.trace.push(line);
    }

    fn lose_power(&mut self) {
        let rng = &mut self.rng;
        for (name, ghost) in std::mem::take(&mut self.ghosts) {
            if rng.bool() {
                self.files.entry(name).or_insert(ghost);
            }
        }
        self.files.retain(|_, file| file.durable.is_some() || rng.bool());
        for file in self.files.values_mut() {
            let mut image = file.durable.take().unwrap_or_default();
            let fate = survive(rng, &std::mem::take(&mut file.pending), &mut image);
            *self.met.entry(fate).or_default() += 1;
            file.data = image.clone();
            file.durable = Some(image);
        }
        self.sync_failed = false;
    }

    /// Counts an operation. Returns true if the process dies within it.
    fn burn(&mut self) -> bool {
        self.operations += 1;
        let Some(left) = self.fuse.as_mut() else { return false };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.dead = true;
        true
    }

    fn strikes(&mut self, kinds: &[Fault]) -> Option<Fault> {
        let (fault, left) = self.fault.as_mut()?;
        if !kinds.contains(fault) {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fault = *fault;
        (self.fault, self.trouble) = (None, true);
        self.meet(fault.name());
        Some(fault)
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub(crate) fn create(&mut self, name: &str) {
        self.files.entry(name.to_owned()).or_default();
    }

    pub(crate) fn size(&self, name: &str) -> Result<usize, Refusal> {
        self.files.get(name).map(|file| file.data.len()).ok_or(Refusal::Missing)
    }

    /// Fills `into` from offset `at`; bytes behind the file's end are zero. Returns the number of bytes that exist.
    pub(crate) fn read(&mut self, name: &str, at: usize, into: &mut [u8]) -> Result<usize, Refusal> {
        if self.strikes(&[Fault::ReadFails]).is_some() {
            self.note(|| format!("read {name} {at}: fails"));
            return Err(Refusal::Io);
        }
        let file = self.files.get(name).ok_or(Refusal::Missing)?;
        let there = file.data.get(at..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        into[count..].fill(0);
        Ok(count)
    }

    pub(crate) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let dies = self.burn();
        let grows = self.size(name)? < at + bytes.len();
        let fault = self.strikes(&[Fault::WriteFails, Fault::WriteShort, Fault::Full]);
        let (written, outcome) = match fault {
            Some(Fault::WriteFails) => (0, Err(Refusal::Io)),
            Some(Fault::WriteShort) => (self.rng.usize(..=bytes.len()), Err(Refusal::Io)),
            Some(_) => (0, Err(Refusal::Full)),
            None if self.full && grows => {
                self.trouble = true;
                self.meet(Fault::Full.name());
                (0, Err(Refusal::Full))
            }
            None if dies => (self.rng.usize(..=bytes.len()), Err(Refusal::Io)),
            None => (bytes.len(), Ok(())),
        };
        let end = if dies { ", the last" } else { "" };
        self.note(|| format!("write {name} {at}+{}: {fault:?} {written} written{end}", bytes.len()));
        let file = self.files.get_mut(name).ok_or(Refusal::Missing)?;
        if written > 0 {
            let change = Change::Write { at, bytes: bytes[..written].to_vec() };
            change.apply(&mut file.data);
            file.pending.push(change);
        }
        outcome
    }

    pub(crate) fn truncate(&mut self, name: &str, len: usize) -> Result<(), Refusal> {
        if self.burn() {
            return Err(Refusal::Io);
        }
        self.note(|| format!("truncate {name} to {len}"));
        let file = self.files.get_mut(name).ok_or(Refusal::Missing)?;
        let change = Change::Truncate(len);
        change.apply(&mut file.data);
        file.pending.push(change);
        Ok(())
    }

    pub(crate) fn sync(&mut self, name: &str) -> Result<(), Refusal> {
        let dies = self.burn();
        let fails = self.strikes(&[Fault::SyncFails]).is_some();
        let happens = if dies { self.rng.bool() } else { !fails };
        self.note(|| format!("sync {name}: {}", if happens { "done" } else { "not done" }));
        let file = self.files.get_mut(name).ok_or(Refusal::Missing)?;
        if happens {
            // Starts from the durable content: the content that readers see may include changes that a failed sync has
            // dropped.
            let durable = file.durable.get_or_insert_default();
            file.pending.drain(..).for_each(|change| change.apply(durable));
            self.ghosts.clear();
        } else if fails {
            let lost = std::mem::take(&mut file.pending);
            let fate = survive(&mut self.rng, &lost, file.durable.get_or_insert_default());
            *self.met.entry(fate).or_default() += 1;
            self.sync_failed = true;
        }
        if dies || fails { Err(Refusal::Io) } else { Ok(()) }
    }

    pub(crate) fn delete(&mut self, name: &str, durably: bool) -> Result<(), Refusal> {
        if self.burn() {
            return Err(Refusal::Io);
        }
        self.note(|| format!("delete {name}"));
        let file = self.files.remove(name).ok_or(Refusal::Missing)?;
        if !durably {
            self.ghosts.insert(name.to_owned(), file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        let mut disk = Disk::new(1);
        disk.create("f");
        disk
    }

    fn read(disk: &mut Disk) -> Vec<u8> {
        let mut bytes = vec![0; disk.size("f").unwrap_or(0)];
        disk.read("f", 0, &mut bytes).expect("read");
        bytes
    }

    #[test]
    fn what_is_synced_survives_and_a_kill_takes_nothing() {
        let mut disk = disk();
        disk.write("f", 0, b"synced").expect("written");
        disk.sync("f").expect("synced");
        disk.write("f", 6, b" seen").expect("written");
        disk.restart(Crash::Kill);
        assert_eq!(read(&mut disk), b"synced seen");
        disk.restart(Crash::PowerLoss);
        assert!(read(&mut disk).starts_with(b"synced"));
    }

    #[test]
    fn what_is_not_synced_may_be_lost_torn_or_reordered() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = Disk::new(seed);
            disk.create("f");
            disk.write("f", 0, &[1; 1024]).expect("written");
            disk.sync("f").expect("synced");
            disk.write("f", 0, &[2; 512]).expect("written");
            disk.write("f", 512, &[3; 512]).expect("written");
            disk.restart(Crash::PowerLoss);
            let bytes = read(&mut disk);
            outcomes.insert((bytes[0], bytes[600]));
        }
        assert_eq!(outcomes, [(1, 1), (1, 3), (2, 1), (2, 3)].into());
    }

    #[test]
    fn after_a_failed_sync_the_next_one_proves_nothing() {
        let lost = (0..100).any(|seed| {
            let mut disk = Disk::new(seed);
            disk.create("f");
            disk.sync("f").expect("synced");
            disk.write("f", 0, b"x").expect("written");
            disk.plan(Fault::SyncFails, 0);
            disk.sync("f").expect_err("fails");
            disk.sync("f").expect("says it is synced");
            assert_eq!(read(&mut disk), b"x", "readers still see it");
            disk.restart(Crash::PowerLoss);
            read(&mut disk).is_empty()
        });
        assert!(lost, "and it may be gone");
    }

    #[test]
    fn the_fuse_ends_the_process_within_an_operation() {
        let mut disk = disk();
        disk.set_fuse(1);
        disk.write("f", 0, b"one").expect("written");
        disk.write("f", 3, b"two").expect_err("dies");
        assert!(disk.is_dead());
        disk.restart(Crash::Kill);
        assert!(!disk.is_dead() && read(&mut disk).starts_with(b"one"));
    }
}
