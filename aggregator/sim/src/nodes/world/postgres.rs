//! The sessions of a PostgreSQL: who has the lock of the one writer, which sessions were silent for too long.
//!
//! A model of `pg_try_advisory_lock`, of `idle_session_timeout` and of `idle_in_transaction_session_timeout`; the tables are SQLite's.
//! The real ones are held against real processes by `make fleet-kills`.
use std::collections::BTreeMap;

use super::Caller;

/// How long a session with the lock may be silent: `IDLE_OWNER_MS` of `weir-database`.
const SILENT_MAX_MS: u64 = 3_000;

#[derive(Clone, Copy, Debug)]
struct Session {
    caller: Caller,
    heard_ms: u64,
    has_lock: bool,
}

/// The server.
#[derive(Debug, Default)]
pub(in crate::nodes) struct Postgres {
    sessions: BTreeMap<u64, Session>,
    next: u64,
    /// Who took over last, and its session.
    owner: Option<(Caller, u64)>,
    /// What nobody may ever see.
    pub(in crate::nodes) violation: Option<String>,
}

impl Postgres {
    pub(super) fn connect(&mut self, caller: Caller, now_ms: u64) -> u64 {
        self.next += 1;
        self.sessions.insert(self.next, Session { caller, heard_ms: now_ms, has_lock: false });
        self.next
    }

    /// Hears of a session; false if it is over.
    pub(super) fn hear(&mut self, session: u64, now_ms: u64) -> bool {
        self.expire(now_ms);
        self.sessions.get_mut(&session).map(|session| session.heard_ms = now_ms).is_some()
    }

    pub(super) fn expire(&mut self, now_ms: u64) {
        self.sessions.retain(|_, session| !session.has_lock || now_ms - session.heard_ms < SILENT_MAX_MS);
    }

    /// Takes the lock for a session; false if another one has it.
    pub(super) fn lock(&mut self, session: u64) -> bool {
        let is_taken = self.sessions.iter().any(|(number, other)| *number != session && other.has_lock);
        let Some(found) = self.sessions.get_mut(&session) else { return false };
        found.has_lock |= !is_taken;
        if found.has_lock
            && let Some((owner, its)) = &mut self.owner
            && *owner == found.caller
        {
            *its = session;
        }
        found.has_lock
    }

    /// Who has the lock.
    pub(super) fn holder(&self) -> Option<Caller> {
        self.sessions.values().find(|session| session.has_lock).map(|session| session.caller)
    }

    /// A session takes over: the one of the owner before it must be over, or have been silent for too long.
    pub(super) fn take_over(&mut self, session: u64, now_ms: u64) {
        let Some(caller) = self.sessions.get(&session).map(|session| session.caller) else { return };
        if let Some((owner, its)) = self.owner
            && owner != caller
            && self.sessions.get(&its).is_some_and(|its| now_ms - its.heard_ms < SILENT_MAX_MS)
        {
            self.note(format!("{caller} takes over while {owner} owns"));
        }
        self.owner = Some((caller, session));
    }

    /// Judges a commit of a session that has taken over before.
    pub(super) fn judge_commit(&mut self, session: u64) {
        let caller = self.sessions.get(&session).map(|session| session.caller);
        if let (Some(caller), Some((owner, _))) = (caller, self.owner)
            && caller != owner
        {
            self.note(format!("{caller} commits though {owner} has taken over"));
        }
    }

    fn note(&mut self, violation: String) {
        self.violation.get_or_insert(violation);
    }

    pub(super) fn end(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Ends the sessions of a process that was killed.
    pub(super) fn end_all(&mut self, caller: Caller) {
        self.sessions.retain(|_, session| session.caller != caller);
    }

    /// Ends all sessions.
    pub(super) fn restart(&mut self) {
        self.sessions.clear();
    }
}
