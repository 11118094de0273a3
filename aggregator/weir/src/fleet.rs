//! The nodes that share an event log and a ledger: which there are, and which one owns both.
//!
//! # Constraints
//!
//! - Every node has a row in the schema `weir_fleet` beside the ledger's, written by a connection of its own, so that a node whose ledger
//!   is stuck is still seen. Ages are told by the server's clock.
//! - The owner has the server's advisory lock on the ledger's schema; nothing else makes an owner. The table of partitions says who that
//!   is, so that others find its address. It is written in a transaction of the ledger, which fails once another has taken over.
//! - A name belongs to one data directory at one address while its node is seen.
//! - A node that gives the ownership up leaves it to others for a while, as long as one of them can own.
//!
//! # Layout
//!
//! | table | content |
//! |---|---|
//! | `node` | a row per node, and per command that asks the owner while its node does not run, which has no address: its life, address, version, the tables it knows, hashes of the secrets that prove it, when it was seen, found that it can own, and gave the ownership up |
//! | `partition` | a row per partition, of which there is one, number 0: its owner, how often it changed, since when |
pub(crate) mod tables;
pub(crate) mod visit;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::watch;
use weir_clock::Clock;
use weir_contract::directory::KeyHash;
use weir_database::{Error, Place};

use crate::config::node::NodeSettings;
use crate::config::tokens::{NoRandomness, random_token};
use tables::{Joined, Tables};
pub(crate) use tables::{NodeRow, PartitionRow, View, claim};

/// How often the tables are read: a take-over begins within this time of its cause.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a node says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// An owner that was not seen for this long may be paused, in milliseconds: twice what is between two beats, and a little more.
const SILENT_MS: u64 = 2_500;
/// For this long a node waits for another process with its name, address and data directory to have ended.
const BESIDE_MAX: Duration = Duration::from_secs(6);
/// How long to wait after the tables could not be asked.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a node that stops waits until its row is gone.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// One life of a node, from its start to its end.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Random at each start.
    pub(crate) life: String,
    /// With this the node proves itself to the owner.
    pub(crate) proof: String,
    /// The hash of its data directory's own secret.
    pub(crate) home: KeyHash,
    /// The hash of the token of commands on its machine.
    pub(crate) commands: KeyHash,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member({} at {})", self.name, self.address)
    }
}

impl Member {
    /// A new life of `node`, whose data directory has the secret `home`; `commands` is the token of commands on its machine.
    pub(crate) fn new(node: &NodeSettings, home: &str, commands: &str) -> Result<Self, NoRandomness> {
        Ok(Member {
            name: node.name.clone(),
            address: node.address.clone(),
            life: random_token()?,
            proof: random_token()?,
            home: KeyHash::of(home.as_bytes()),
            commands: KeyHash::of(commands.as_bytes()),
        })
    }
}

/// What a node says of itself to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// What a person should know; empty if there is nothing.
    pub(crate) note: String,
    /// When it last found that it can own, in elapsed time; None if it cannot.
    pub(crate) able_at: Option<Duration>,
    /// Digests of the settings that all nodes have alike.
    pub(crate) settings: String,
}

/// How a node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It takes its row away.
    Gone,
    /// It stays in the table as one that gave the ownership up.
    Yields,
}

/// What is known of the fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The tables as they were read last.
    pub(crate) view: View,
    /// Whether this node has its row.
    pub(crate) is_member: bool,
    /// Since when the connection lasts, in elapsed time. None: it is the first one.
    pub(crate) reconnected_at: Option<Duration>,
    /// Why the tables cannot be read or written at the moment.
    pub(crate) problem: Option<String>,
    /// Why this node may not go on: its name or address belongs to another.
    pub(crate) refused: Option<String>,
}

/// This node's place in the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) me: Arc<Member>,
    known: watch::Receiver<Known>,
    said: Arc<watch::Sender<Said>>,
    stop: Sender<Leave>,
    ended: watch::Receiver<bool>,
}

impl Fleet {
    /// Joins the fleet of the ledger at `ledger`, in the background and for as long as it takes.
    pub(crate) fn join(ledger: &Place, me: Member, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (publish, known) = watch::channel(Known::default());
        let (said, told) = watch::channel(Said::default());
        let (stop, stopped) = channel();
        let (end, ended) = watch::channel(false);
        let me = Arc::new(me);
        let mut thread = Thread {
            ledger: ledger.clone(),
            me: Arc::clone(&me),
            clock,
            publish,
            told,
            stopped,
            tables: None,
            session: 0,
            beaten_at: None,
            beside_since: None,
        };
        std::thread::Builder::new().name("fleet".to_owned()).spawn(move || {
            thread.run();
            end.send_replace(true);
        })?;
        Ok(Fleet { me, known, said: Arc::new(said), stop, ended })
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Tells of each look at the tables.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }

    /// What other nodes are told of this one.
    pub(crate) fn tell(&self, said: Said) {
        self.said.send_replace(said);
    }

    /// Whether a node is who it says.
    pub(crate) fn is_proven(&self, name: &str, proof: &[u8]) -> bool {
        let hash = KeyHash::of(proof).to_string();
        self.known.borrow().view.known(name).is_some_and(|node| node.proof == hash)
    }

    /// Whether a token is that of commands on a node's machine.
    pub(crate) fn is_of_commands(&self, name: &str, token: &[u8]) -> bool {
        let hash = KeyHash::of(token).to_string();
        self.known.borrow().view.known(name).is_some_and(|node| node.commands == hash)
    }

    /// Takes this node's row away, if that is soon done.
    pub(crate) async fn leave(&self) {
        self.end(Leave::Gone).await;
    }

    /// Tells the others that this node gives the ownership up, if that is soon done. Nothing else is told any more.
    pub(crate) async fn yield_up(&self) {
        self.end(Leave::Yields).await;
    }

    async fn end(&self, leave: Leave) {
        let _ = self.stop.send(leave);
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(LEAVE_MAX, ended.wait_for(|ended| *ended)).await;
    }
}

/// The thread that keeps this node's row and reads the tables.
struct Thread {
    ledger: Place,
    me: Arc<Member>,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Known>,
    told: watch::Receiver<Said>,
    stopped: Receiver<Leave>,
    tables: Option<Tables>,
    /// The server's number of the session; 0 before the first.
    session: i64,
    beaten_at: Option<Duration>,
    /// Since when another process has been seen as this node.
    beside_since: Option<Duration>,
}

impl Thread {
    fn run(&mut self) {
        let mut wait = Duration::ZERO;
        let leave = loop {
            match self.stopped.recv_timeout(wait) {
                Ok(leave) => break leave,
                Err(RecvTimeoutError::Disconnected) => break Leave::Gone,
                Err(RecvTimeoutError::Timeout) => {}
            }
            wait = match self.turn() {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    self.fails(&error);
                    // The next connection makes the tables where they are gone.
                    self.tables = None;
                    PAUSE
                }
            };
        };
        let Some(tables) = &self.tables else { return };
        let left = match leave {
            Leave::Gone => tables.leave(&self.me),
            Leave::Yields => tables.yield_up(&self.me),
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the table of nodes does not say that this node ends; it is dropped there after a while");
        }
    }

    fn fails(&self, error: &Error) {
        let problem = error.to_string();
        if self.publish.borrow().problem.as_ref() != Some(&problem) {
            tracing::error!(%error, "the table of nodes cannot be used; trying again");
        }
        self.publish.send_modify(|known| known.problem = Some(problem));
    }

    fn turn(&mut self) -> Result<(), Error> {
        let now = self.clock.elapsed();
        let tables = match self.tables.take() {
            Some(tables) => tables,
            None => Tables::open(&self.ledger)?,
        };
        let tables = self.tables.insert(tables);
        let is_due = self.beaten_at.is_none_or(|at| now.saturating_sub(at) >= BEAT_EVERY);
        let (said, was_here) = (self.told.borrow().clone(), self.publish.borrow().is_member);
        let able_ms = said.able_at.map(|at| u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX));
        let joined = if is_due { Some(tables.beat(&self.me, &said, able_ms, was_here)?) } else { None };
        let view = tables.view()?;
        if view.writer.is_some() && view.owner().is_none_or(|owner| owner.silent_ms > SILENT_MS) {
            // Who may not end it, as another role of the server, waits until it ends by itself.
            if let Err(error) = tables.end_stuck_writer() {
                tracing::warn!(%error, "the session of an owner that is stuck cannot be ended");
            }
        }
        let session = std::mem::replace(&mut self.session, view.session);
        if is_due && joined != Some(Joined::Beside) {
            self.beaten_at = Some(now);
        }
        self.beside_since = match joined {
            Some(Joined::Beside) => self.beside_since.or(Some(now)),
            _ => None,
        };
        let is_long_beside = self.beside_since.is_some_and(|since| now.saturating_sub(since) >= BESIDE_MAX);
        self.publish.send_modify(|known| {
            if session != 0 && session != view.session {
                known.reconnected_at = Some(now);
            }
            match joined {
                Some(Joined::Here) => known.is_member = true,
                Some(Joined::Beside) if is_long_beside => {
                    known.refused = Some(format!(
                        "node: another process runs as node {:?} at {}, with a copy of this data directory: give this node a name, an address and \
                         a data directory of its own",
                        self.me.name, self.me.address
                    ));
                }
                Some(Joined::Refused(why)) => (known.is_member, known.refused) = (false, Some(why)),
                Some(Joined::Beside) | None => {}
            }
            (known.view, known.problem) = (view, None);
        });
        Ok(())
    }
}
