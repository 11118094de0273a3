//! SQLite's interface to files (`sqlite3_vfs`, <https://www.sqlite.org/vfs.html>) on the thread's [`Disk`].
//!
//! All `unsafe` of the simulator is in this file. SQLite's pointers are valid for the length of a call; each function
//! turns them into references first, and needs no `unsafe` after that.
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use rusqlite::ffi;

use crate::disk::{Disk, Refusal};
use crate::locks::{self, Held, Locks};

/// The name of this VFS in SQLite: `file:NAME?vfs=weir-disk`.
pub const NAME: &str = "weir-disk";
/// The fixed time that SQLite reads: 2026-11-21, as a Julian day in milliseconds.
const SOME_TIME_MS: i64 = 212_662_324_800_000;
/// The largest name of a file.
const NAME_MAX: c_int = 255;
/// Unix makes the same promise: a write interrupted by power loss damages no bytes beside it.
const CHARACTERISTICS: c_int = ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE;

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
    static LOCKS: RefCell<Locks> = RefCell::new(Locks::default());
}

/// Gives this thread an empty disk. Handles of an earlier one fail from now on.
pub fn install(disk: Disk) {
    register();
    LOCKS.with_borrow_mut(Locks::clear);
    DISK.with_borrow_mut(|slot| *slot = Some(disk));
}

/// Calls `what` with this thread's disk. None if it has none.
pub fn with<T>(what: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    DISK.with_borrow_mut(|slot| {
        let disk = slot.as_mut()?;
        let generation = disk.generation();
        let out = what(disk);
        if disk.generation() != generation {
            LOCKS.with_borrow_mut(Locks::clear);
        }
        Some(out)
    })
}

/// Seeds SQLite's own random numbers, which belong to the whole process. To repeat them, keep other threads away from
/// SQLite.
pub fn seed_sqlite(seed: u64) {
    register();
    let seed = c_int::try_from(seed % 0x7fff_fffe).unwrap_or(0) + 1;
    // SAFETY: PRNG_SEED takes an int and a database that may be null, and is made to be called between uses.
    unsafe { ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, seed, std::ptr::null_mut::<ffi::sqlite3>()) };
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vfs = Box::leak(Box::new(vfs()));
        // SAFETY: the VFS and everything it points to live for ever. SQLite is initialised by the call.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes the VFS");
    });
}

fn vfs() -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: c_int::try_from(size_of::<Handle>()).unwrap_or(c_int::MAX),
        mxPathname: NAME_MAX,
        pNext: std::ptr::null_mut(),
        zName: c"weir-disk".as_ptr(),
        pAppData: std::ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: None,
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// SQLite's allocation for an open file. SQLite knows only `base`.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    /// This crate's part, valid from `open` to `close`.
    open: *mut Open,
}

/// An open file.
struct Open {
    name: String,
    /// The life in which the file was opened; the handle fails in any later one.
    generation: u64,
    lock: i32,
    attached: bool,
    held: Held,
    temporary: bool,
}

/// The open file behind a handle.
///
/// # Safety
/// `file` is a handle that [`open`] filled and [`close`] did not get yet, and SQLite uses it in one call at a time.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: see above; `open` set the pointer to a leaked box.
    unsafe { &mut *(*file.cast::<Handle>()).open }
}

/// A name as SQLite gives it: nothing for temporary files.
///
/// # Safety
/// `name` is null or ends with a zero byte.
unsafe fn name_of(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: see above.
    Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// Calls `what` with the disk if the handle's process is alive.
fn alive<T>(open: &Open, what: impl FnOnce(&mut Disk) -> Result<T, Refusal>) -> Result<T, Refusal> {
    DISK.with_borrow_mut(|slot| match slot {
        Some(disk) if disk.generation() == open.generation && !disk.is_dead() => what(disk),
        _ => Err(Refusal::Io),
    })
}

fn code(outcome: Result<(), Refusal>, io: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refusal::Io) => io,
        Err(Refusal::Full) => ffi::SQLITE_FULL,
        Err(Refusal::Missing) => ffi::SQLITE_IOERR,
    }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives `szOsFile` bytes of ours. Without methods it does not call `close`.
    unsafe { (*handle).base.pMethods = std::ptr::null() };
    // SAFETY: a name of SQLite's, or null.
    let name = unsafe { name_of(name) };
    let opened = DISK.with_borrow_mut(|slot| {
        let disk = slot.as_mut().filter(|disk| !disk.is_dead())?;
        let temporary = name.is_none();
        let name = name.unwrap_or_else(|| format!("temporary-{}", disk.operations()));
        if !disk.exists(&name) {
            if flags & ffi::SQLITE_OPEN_CREATE == 0 {
                return None;
            }
            disk.create(&name);
        }
        let generation = disk.generation();
        Some(Open { name, generation, lock: locks::NONE, attached: false, held: Held::default(), temporary })
    });
    let Some(opened) = opened else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: as above; `out_flags` is null or SQLite's.
    unsafe {
        (*handle).open = Box::into_raw(Box::new(opened));
        (*handle).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` made the box; SQLite closes a handle once.
    let open = unsafe { Box::from_raw((*file.cast::<Handle>()).open) };
    let mine = alive(&open, |_| Ok(())).is_ok();
    if mine {
        LOCKS.with_borrow_mut(|locks| locks.unlock(&open.name, open.lock, locks::NONE));
    }
    if mine && open.attached {
        LOCKS.with_borrow_mut(|locks| locks.detach(&open.name, open.held));
    }
    if open.temporary {
        let _ = alive(&open, |disk| disk.delete(&open.name, true));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let (Ok(count), Ok(at)) = (usize::try_from(count), usize::try_from(at)) else { return ffi::SQLITE_IOERR_READ };
    // SAFETY: SQLite gives a buffer of `count` bytes.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), count) };
    match alive(open, |disk| disk.read(&open.name, at, into)) {
        Ok(there) if there == count => ffi::SQLITE_OK,
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let (Ok(count), Ok(at)) = (usize::try_from(count), usize::try_from(at)) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives `count` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), count) };
    code(alive(open, |disk| disk.write(&open.name, at, bytes)), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let Ok(size) = usize::try_from(size) else { return ffi::SQLITE_IOERR_TRUNCATE };
    code(alive(open, |disk| disk.truncate(&open.name, size)), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    code(alive(open, |disk| disk.sync(&open.name)), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    match alive(open, |disk| disk.size(&open.name)) {
        Ok(found) => {
            // SAFETY: SQLite gives a place for it.
            unsafe { *size = i64::try_from(found).unwrap_or(i64::MAX) };
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    if open.lock >= level {
        return ffi::SQLITE_OK;
    }
    if alive(open, |_| Ok(())).is_err() {
        return ffi::SQLITE_IOERR_LOCK;
    }
    match LOCKS.with_borrow_mut(|locks| locks.lock(&open.name, open.lock, level)) {
        Ok(now) => {
            open.lock = now;
            ffi::SQLITE_OK
        }
        Err(now) => {
            open.lock = now;
            ffi::SQLITE_BUSY
        }
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    if open.lock > level && alive(open, |_| Ok(())).is_ok() {
        LOCKS.with_borrow_mut(|locks| locks.unlock(&open.name, open.lock, level));
    }
    open.lock = open.lock.min(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let reserved = LOCKS.with_borrow(|locks| locks.reserved(&open.name));
    // SAFETY: SQLite gives a place for it.
    unsafe { *out = c_int::from(reserved) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _op: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    CHARACTERISTICS
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let (Ok(region), Ok(bytes)) = (usize::try_from(region), usize::try_from(bytes)) else { return ffi::SQLITE_IOERR };
    if alive(open, |_| Ok(())).is_err() {
        return ffi::SQLITE_IOERR_SHMMAP;
    }
    let found = LOCKS.with_borrow_mut(|locks| {
        if !open.attached {
            locks.attach(&open.name);
            open.attached = true;
        }
        locks.region(&open.name, region, bytes, extend != 0)
    });
    // SAFETY: SQLite gives a place for it.
    unsafe { *out = found.map_or(std::ptr::null_mut(), <*mut u64>::cast) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else { return ffi::SQLITE_IOERR };
    let gives_back = flags & ffi::SQLITE_SHM_UNLOCK != 0;
    if first + count > locks::SHM_LOCKS || alive(open, |_| Ok(())).is_err() {
        return if gives_back { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHMLOCK };
    }
    LOCKS.with_borrow_mut(|locks| {
        if gives_back {
            locks.unlock_shared(&open.name, first, count, &mut open.held);
            return ffi::SQLITE_OK;
        }
        let alone = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        let taken = locks.lock_shared(&open.name, first, count, alone, &mut open.held);
        if taken { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
    })
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: a handle of ours.
    let open = unsafe { opened(file) };
    if open.attached && alive(open, |_| Ok(())).is_ok() {
        LOCKS.with_borrow_mut(|locks| locks.detach(&open.name, open.held));
    }
    (open.attached, open.held) = (false, Held::default());
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, durably: c_int) -> c_int {
    // SAFETY: a name of SQLite's.
    let name = unsafe { name_of(name) }.unwrap_or_default();
    let outcome = DISK.with_borrow_mut(|slot| match slot {
        Some(disk) if !disk.is_dead() => disk.delete(&name, durably != 0),
        _ => Err(Refusal::Io),
    });
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refusal::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => ffi::SQLITE_IOERR_DELETE,
    }
}

unsafe extern "C" fn access(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: a name of SQLite's.
    let name = unsafe { name_of(name) }.unwrap_or_default();
    let there = DISK.with_borrow(|slot| slot.as_ref().is_some_and(|disk| disk.exists(&name)));
    // SAFETY: SQLite gives a place for it.
    unsafe { *out = c_int::from(there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a name of SQLite's.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).map_or(true, |room| room < name.len()) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite gives `room` bytes, and the name fits.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast::<c_char>(), out, name.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    let room = usize::try_from(count).unwrap_or(0);
    // SAFETY: SQLite gives `count` bytes.
    unsafe { std::ptr::write_bytes(out, 0x5a, room) };
    count
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    // There is only one thread, so no other can release a lock meanwhile.
    micros
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, out: *mut i64) -> c_int {
    // SAFETY: SQLite gives a place for it.
    unsafe { *out = SOME_TIME_MS };
    ffi::SQLITE_OK
}
