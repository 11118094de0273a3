//! The file `forgotten.json` of the data directory: the users to forget, and the record through which the log is free of them.
//!
//! It lies beside log and ledger, not in them: a restored backup is older than the last wish to be forgotten. A log elsewhere
//! remembers the users as well, so that a server with another data directory knows them. The file is replaced whole, by a
//! synced file that takes its name; it holds names as events have them, no person's own.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_contract::Timestamp;

use weir_event_log::Position;
use weir_event_log::redact::Users;

/// The most users that are remembered: their file has 8 MB then, which is written at every wish.
pub(crate) const USERS_MAX: usize = 100_000;

/// Why the list cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ForgottenError {
    /// The operating system failed, or the file is no list.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// More users are to be forgotten than are remembered.
    #[error("{}: at most {USERS_MAX} users are remembered; remove those whose events are older than `log_retention`", .0.display())]
    TooMany(PathBuf),
}

/// The users to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// The last record that is free of them.
    through: Position,
    /// When each was forgotten first, by name.
    users: BTreeMap<String, Timestamp>,
}

impl Forgotten {
    /// Reads the list of a data directory; an absent file is an empty list.
    pub fn read(path: &Path) -> Result<Self, ForgottenError> {
        let io = |source| ForgottenError::Io { path: path.to_owned(), source };
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| io(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(io(error)),
        }
    }

    /// The users.
    pub fn users(&self) -> Users {
        Users::new(self.users.keys().map(String::as_str))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// The last record that is free of them.
    pub fn through(&self) -> Position {
        self.through
    }

    /// Adds users, durably. Returns the last record that is free of those known before; None if nobody was.
    pub fn begin(&mut self, path: &Path, names: &[String], now: Timestamp) -> Result<Option<Position>, ForgottenError> {
        let before = (!self.users.is_empty()).then_some(self.through);
        let mut next = self.clone();
        for name in names {
            next.users.entry(name.clone()).or_insert(now);
        }
        if next.users.len() > USERS_MAX {
            return Err(ForgottenError::TooMany(path.to_owned()));
        }
        if next.users != self.users {
            // Until all of it is free of the new ones, none of it counts as free.
            next.through = 0;
            next.write(path)?;
            *self = next;
        }
        Ok(before)
    }

    /// Notes that the log is free of all users up to `through`, durably.
    pub fn finish(&mut self, path: &Path, through: Position) -> Result<(), ForgottenError> {
        let next = Forgotten { through, ..self.clone() };
        next.write(path)?;
        *self = next;
        Ok(())
    }

    /// Takes over the users that the log remembers itself, in records up to `through`: a server with another data directory had them forgotten.
    /// The records behind that one are looked at again, and the last one, so that whatever was left undone with it is done.
    pub fn learn(&mut self, users: &Users, through: Position, now: Timestamp) {
        let known = self.users.len();
        let is_new = self.users.is_empty();
        for name in users.iter() {
            self.users.entry(name.to_owned()).or_insert(now);
        }
        if self.users.len() > known {
            let through = through.saturating_sub(1);
            self.through = if is_new { through } else { self.through.min(through) };
        }
    }

    /// The users of both lists, of whom nothing in the log is free yet: for a log that was put in another's place.
    pub fn merge(mut self, other: Self) -> Self {
        for (name, at) in other.users {
            let known = self.users.entry(name).or_insert(at);
            *known = (*known).min(at);
        }
        Forgotten { through: 0, users: self.users }
    }

    /// Writes the file, unless there is nothing to say and none.
    pub fn write(&self, path: &Path) -> Result<(), ForgottenError> {
        if *self == Self::default() && !path.exists() {
            return Ok(());
        }
        let new = path.with_extension("json.new");
        let io = |source| ForgottenError::Io { path: path.to_owned(), source };
        let text = serde_json::to_vec(self).map_err(|error| io(error.into()))?;
        let _made_anew = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new).map_err(io)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&new, path).map_err(io)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_outlives_its_process_and_starts_over_in_another_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("forgotten.json");
        let (now, later) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
        let names = |digit: &str| vec![format!("hmac:{}", digit.repeat(32))];
        let mut list = Forgotten::read(&home).expect("empty");
        assert_eq!((list.begin(&home, &names("a"), now).expect("written"), list.count()), (None, 1));
        list.finish(&home, 7).expect("written");
        let mut list = Forgotten::read(&home).expect("read");
        assert_eq!(list.begin(&home, &names("b"), later).expect("written"), Some(7));
        assert_eq!(Forgotten::read(&home).expect("read").through(), 0, "a crash now begins again");
        list.finish(&home, 9).expect("written");
        let mut elsewhere = Forgotten::default();
        elsewhere.learn(&list.users(), 9, later);
        assert_eq!((elsewhere.through(), elsewhere.count()), (8, 2), "a data directory of another machine");
        elsewhere.through = 9;
        elsewhere.learn(&list.users(), 5, later);
        assert_eq!(elsewhere.through(), 9, "nobody is new");
        let other = Forgotten { through: 3, users: [(names("a").remove(0), later)].into() };
        let merged = other.merge(list);
        assert_eq!((merged.through(), merged.count(), merged.users[&names("a")[0]]), (0, 2, now));
    }
}
