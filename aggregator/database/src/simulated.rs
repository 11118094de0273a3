//! A PostgreSQL that the simulator plays over SQLite: sessions that are lost, the lock of the one writer, and its number.
//!
//! [`install`] sets the server for its thread. Connections to SQLite that are opened there for writing behave as sessions of a
//! PostgreSQL: they obey the same row of the owner, may be lost, and are made anew as those of `postgres` are. A transaction is lost
//! where it begins or where it is committed; what lies between happens at once. No delivered build has this module.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_fault::{Point, hit};

use crate::{Error, Holder, right};

/// The server.
pub trait Server {
    /// Begins a session. None: the caller is no process of the simulation, and has the file for itself.
    fn connect(&self) -> Result<Option<u64>, Error>;

    /// One exchange of a session outside a transaction. False: the session is lost.
    fn reach(&self, session: u64) -> bool;

    /// Takes the lock of the one writer; false if another session has it.
    fn lock(&self, session: u64) -> bool;

    /// Hears that a session took over.
    fn took_over(&self, session: u64);

    /// Chooses how a commit ends. `owns` says that the session took over before.
    fn commit(&self, session: u64, owns: bool) -> Fate;

    /// Hears of the end of a commit: time passes.
    fn committed(&self, session: u64);

    /// Hears that a connection is dropped.
    fn end(&self, session: u64);
}

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes effect, and the session hears of it.
    Done,
    /// It takes effect, and the session is lost.
    Untold,
    /// The session is lost before.
    Undone,
}

thread_local! {
    static SERVER: RefCell<Option<Rc<dyn Server>>> = const { RefCell::new(None) };
}

/// Makes connections that this thread opens use `server`; None: none.
pub fn install(server: Option<Rc<dyn Server>>) {
    SERVER.set(server);
}

fn installed() -> Result<Rc<dyn Server>, Error> {
    SERVER.with_borrow(Clone::clone).ok_or(Error::Lost)
}

/// A session of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    number: Cell<u64>,
    is_lost: Cell<bool>,
    /// The number under which it may write, once it has one.
    epoch: Cell<Option<i64>>,
}

impl Session {
    pub(crate) fn open() -> Result<Option<Self>, Error> {
        let Ok(server) = installed() else { return Ok(None) };
        let number = server.connect()?;
        Ok(number.map(|number| Session {
            number: Cell::new(number),
            is_lost: Cell::new(false),
            epoch: Cell::new(None),
        }))
    }

    pub(crate) fn owns(&self) -> bool {
        self.epoch.get().is_some()
    }

    /// One exchange outside a transaction; makes a new session if the last one is lost.
    pub(crate) fn reach(&self) -> Result<(), Error> {
        let server = installed()?;
        if self.is_lost.get() {
            server.end(self.number.get());
            self.number.set(server.connect()?.ok_or(Error::Lost)?);
            if self.owns() {
                self.own(&*server)?;
            }
            self.is_lost.set(false);
        }
        let is_there = server.reach(self.number.get());
        self.is_lost.set(!is_there);
        if is_there { Ok(()) } else { Err(Error::Lost) }
    }

    fn own(&self, server: &dyn Server) -> Result<(), Error> {
        if hit(Point::TwoOwners) || server.lock(self.number.get()) {
            Ok(())
        } else {
            Err(Error::Owned(Holder::default()))
        }
    }

    pub(crate) fn take_right(&self) -> Result<(), Error> {
        self.reach()?;
        self.own(&*installed()?)
    }

    pub(crate) fn take_over(&self, db: &rusqlite::Connection) -> Result<(), Error> {
        self.take_right()?;
        db.execute_batch(right::OWNER)?;
        self.epoch.set(Some(db.query_row(right::TAKE_OVER, [], |row| row.get(0))?));
        installed()?.took_over(self.number.get());
        Ok(())
    }

    /// Checks in a transaction that has begun whether the session may write.
    pub(crate) fn check(&self, db: &rusqlite::Connection) -> Result<(), Error> {
        let Some(epoch) = self.epoch.get() else { return Ok(()) };
        let found = db.query_row("SELECT epoch FROM ledger_owner", [], |row| row.get(0))?;
        right::check(Some(found), epoch)
    }

    pub(crate) fn commit(&self, db: &rusqlite::Connection) -> Result<(), Error> {
        let (server, number) = (installed()?, self.number.get());
        let fate = server.commit(number, self.owns());
        db.execute_batch(if fate == Fate::Undone { "ROLLBACK" } else { "COMMIT" })?;
        self.is_lost.set(fate != Fate::Done);
        server.committed(number);
        if fate == Fate::Done { Ok(()) } else { Err(Error::Lost) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(server) = installed() {
            server.end(self.number.get());
        }
    }
}
