//! Sessions of readers: a bounded number at a time, kept for the next reader, since a new one takes milliseconds and prepares every
//! statement anew.
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::server::Server;
use super::{Access, Session};
use crate::Error;

/// The most readers at a time. The server bounds those of its callers below this.
const READERS_MAX: usize = 16;
/// The most sessions that wait for a reader. Beyond them a session ends with its reader.
const WAITING_MAX: usize = 8;
/// How long a reader waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The sessions of a place for readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pooled(Arc<Pool>);

#[derive(Debug, Default)]
struct Pool {
    sessions: Mutex<Sessions>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Sessions {
    waiting: Vec<Session>,
    in_use: usize,
}

impl Pooled {
    /// A session of a reader.
    pub(crate) fn take(&self, server: &Arc<dyn Server>, schema: &Arc<str>) -> Result<Leased, Error> {
        let crowded = |sessions: &mut Sessions| sessions.in_use >= READERS_MAX;
        let (mut sessions, _) =
            self.0.freed.wait_timeout_while(self.lock(), TURN, crowded).unwrap_or_else(PoisonError::into_inner);
        if sessions.in_use >= READERS_MAX {
            return Err(Error::Crowded(READERS_MAX));
        }
        sessions.in_use += 1;
        let waiting = sessions.waiting.pop();
        drop(sessions);
        // Counted before it is there, and no longer if it never is.
        let mut leased = Leased { session: waiting, back: Some(self.clone()) };
        if leased.session.is_none() {
            leased.session = Some(Session::open(server, schema, Access::Read)?);
        }
        Ok(leased)
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, session: Option<Session>) {
        let session = session.filter(|session| {
            session.end_transaction();
            session.is_connected()
        });
        let mut sessions = self.lock();
        sessions.in_use -= 1;
        if sessions.waiting.len() < WAITING_MAX {
            sessions.waiting.extend(session);
        }
        drop(sessions);
        self.0.freed.notify_one();
    }
}

/// A session that somebody uses.
#[derive(Debug)]
pub(crate) struct Leased {
    /// None only before it is opened, and while it is dropped.
    session: Option<Session>,
    back: Option<Pooled>,
}

impl Leased {
    /// A session that ends with its user.
    pub(crate) fn alone(session: Session) -> Self {
        Leased { session: Some(session), back: None }
    }
}

impl Deref for Leased {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a session is there until it is dropped")
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if let Some(back) = &self.back {
            back.put_back(self.session.take());
        }
    }
}
