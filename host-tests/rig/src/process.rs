//! A child process: its output goes to a file, it is killed when dropped, and it can be killed and started again.

use crate::clock;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How often a child is asked whether it has ended or is ready.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What messages call it.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// Where standard output and standard error go; appended to, so that a restart loses nothing.
    pub log: PathBuf,
}

/// A running child. Dropping it kills it (SIGKILL) and waits for it.
#[derive(Debug)]
pub struct Process {
    recipe: Recipe,
    child: Child,
}

impl Process {
    /// Starts it. That it is ready is for the caller to find out.
    ///
    /// # Errors
    /// When the log cannot be opened or the binary not run; the message names it.
    pub fn start(recipe: Recipe) -> io::Result<Self> {
        let child = spawn(&recipe)?;
        Ok(Self { recipe, child })
    }

    /// Kills it at once, as `kill -9` does: nothing is flushed, nothing said goodbye to.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again after it ended or was killed, with the same arguments.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.child = spawn(&self.recipe)?;
        Ok(())
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub(crate) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.recipe.log)
    }

    /// Waits until `ready` yields a value.
    ///
    /// # Errors
    /// When the process ends first, or `limit` passes: the message holds the end of its log.
    pub fn wait_until<T>(&mut self, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> io::Result<T> {
        let state = clock::wait_for(limit, POLL, || match self.child.try_wait() {
            Ok(None) => ready().map(Ok),
            Ok(Some(status)) => Some(Err(format!("ended before it was ready ({status})"))),
            Err(error) => Some(Err(error.to_string())),
        });
        let state = state.unwrap_or_else(|| Err(format!("was not ready within {} s", limit.as_secs())));
        state.map_err(|what| {
            let end = last_lines(&self.log(), 20);
            io::Error::other(format!("{} {what}; the end of its log:\n{end}", self.recipe.name))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(recipe: &Recipe) -> io::Result<Child> {
    let context = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", recipe.program.display()));
    let log = OpenOptions::new().create(true).append(true).open(&recipe.log).map_err(context)?;
    let errors: File = log.try_clone()?;
    Command::new(&recipe.program)
        .args(&recipe.args)
        .envs(recipe.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(context)
}

pub(crate) fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.into_iter().skip(from).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Recipe {
        Recipe {
            name: "the script".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            log: folder.join("log"),
        }
    }

    #[test]
    fn a_process_that_ends_early_says_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell("echo $GREETING; exit 3", folder.path())).unwrap();
        let error = process.wait_until::<()>(Duration::from_secs(5), || None).unwrap_err().to_string();
        assert!(error.contains("the script ended before it was ready (exit status: 3)"), "{error}");
        assert!(error.ends_with("hello"), "{error}");
    }

    #[test]
    fn a_killed_process_can_be_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell("echo started; exec sleep 60", folder.path())).unwrap();
        let log = folder.path().join("log");
        let starts = || read_log(&log).lines().count();
        process.wait_until(Duration::from_secs(5), || (starts() == 1).then_some(())).unwrap();
        let first = process.pid();
        process.restart().unwrap();
        process.wait_until(Duration::from_secs(5), || (starts() == 2).then_some(())).unwrap();
        assert_ne!(process.pid(), first);
    }
}
