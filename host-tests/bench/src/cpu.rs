//! CPU time of another process's threads, and which core they may use.

use std::io;
use std::process::Command;

/// The threads of Envoy that serve requests, as it names them.
const WORKER: &str = "wrk:";

/// Binds every thread of a process to one core, by `taskset` (util-linux).
///
/// # Errors
/// When `taskset` is missing or refused.
pub fn pin(pid: u32, core: usize) -> io::Result<()> {
    let done = Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &pid.to_string()]).output()?;
    if done.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()))
    }
}

/// Nanoseconds of CPU that the worker threads of this Envoy have used.
///
/// # Errors
/// When Linux does not say.
pub(crate) fn of_workers(pid: u32) -> io::Result<u64> {
    let mut all = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with(WORKER) {
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            let first = stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
            all += first.ok_or_else(|| io::Error::other("schedstat begins with no number"))?;
        }
    }
    Ok(all)
}
