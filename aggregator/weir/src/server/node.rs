//! One `weir serve` among several that share an event log and a ledger: the owner of both, or a follower that passes requests on to it.
//!
//! A node listens from its start to its end; [`front`] hands each request to the routes of the role that it has then. A follower looks
//! whether the ledger has a writer. Where it has none, the follower takes the right to write, then the log, and becomes the owner. An owner
//! that another has taken over from ends its process: its supervisor starts it again, as a follower with nothing in memory. So does an owner
//! that does not reach the event log any more, once another node says that it does: see [`fit`].
mod arriving;
mod fit;
mod follower;
mod forward;
mod front;
mod readers;
mod vet;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::task::JoinHandle;
use weir_clock::Clock;
use weir_database::Error as DatabaseError;
use weir_ledger::{LedgerError, TABLES_VERSION};

use super::run::open::{Opened, Place, Right, build, open};
use super::run::{Listeners, ServeError, finish, listen, serve};
use super::tls::Tls;
use super::{App, health};
use crate::config::Config;
use crate::config::tokens::random_token;
use crate::fleet::{Fleet, Known, Member, NodeRow, Said, View};
use crate::metrics::node::NodeMetrics;
use crate::store::{DataDir, Lock, ServerNote, StoreError};
use fit::{Fit, LOG_AWAY_MAX};
use follower::Follower;
use forward::Forwarder;
pub(crate) use forward::client as client_of_nodes;
use front::Front;
use readers::Readers;

/// How long a node waits after it could not become the owner, so that another one may.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long a follower whose connection to PostgreSQL broke leaves the ledger to the owner, whose connection broke as well.
const RECONNECT_GRACE: Duration = Duration::from_secs(2);
/// How often the owner looks whether it still is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From then on a look at the table of nodes hangs: there are four a second.
const HANGING: Duration = Duration::from_secs(3);
/// How long an owner that stops waits for open requests, and for the ledger to count the rest of the log: the next owner does the rest.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How often certificates are read again.
const TLS_EVERY: Duration = Duration::from_secs(1);

/// A node that listens.
#[derive(Debug)]
pub struct Node {
    config: Config,
    clock: Arc<dyn Clock>,
    home: DataDir,
    lock: Arc<Lock>,
    note: ServerNote,
    fleet: Fleet,
    metrics: NodeMetrics,
    fit: Fit,
    follower: Arc<Follower>,
    front: Front,
    listeners: Option<Listeners>,
    address: SocketAddr,
    tls: Option<Tls>,
}

/// How a node's life as owner ends.
#[derive(Debug)]
enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another node has taken over, or it cannot write any more.
    Lost(String),
    /// It gives the ownership up to a node that reaches what it does not.
    Yields(String),
}

impl Node {
    /// Listens, and joins the other nodes in the background.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ServeError> {
        let settings = config.node.clone().ok_or(ServeError::NoNode)?;
        let tokens = config.tokens()?;
        let tls = config.tls.clone().map(Tls::open).transpose()?;
        let home = DataDir::of(&config);
        let lock = Arc::new(home.take_lock()?);
        let (listeners, address, commands) = listen(config.listen, tls.as_ref()).await?;
        let note = ServerNote { address: commands, token: random_token()? };
        let me = Member::new(&settings, &home.owner()?, &note.token)?;
        let metrics = NodeMetrics::default();
        let fleet = Fleet::join(home.ledger(), me, Arc::clone(&clock))?;
        let fit = Fit::start(&config, &home, &clock)?;
        let forwarder = Forwarder::new(&config, &settings, fleet.clone(), metrics.clone())?;
        let readers = (!address.ip().is_loopback()).then(|| Readers::new(&config, tokens, Arc::clone(&clock)));
        let follower = Arc::new(Follower::new(fleet.clone(), forwarder, metrics.clone(), readers));
        let life = HeaderValue::try_from(&fleet.me.life).map_err(std::io::Error::other)?;
        let front = Front::new(Follower::router(&follower), life);
        home.write_note(&note)?;
        Ok(Node {
            config,
            clock,
            home,
            lock,
            note,
            fleet,
            metrics,
            fit,
            follower,
            front,
            listeners: Some(listeners),
            address,
            tls,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, as owner or follower. An error says why the process must end before.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let mut stop = Box::pin(stop);
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let listeners = self.listeners.take().ok_or(ServeError::NoNode)?;
        let serving = tokio::spawn(serve(listeners, self.front.router(), self.metrics.connections.clone(), stopped));
        let mut tasks = vec![tokio::spawn(Arc::clone(&self.follower).watch_owner())];
        tasks.extend(self.tls.take().map(|tls| tokio::spawn(reload(tls))));
        let outcome = self.take_turns(&mut stop).await;
        let owned = match outcome {
            Ok(owned) => owned,
            Err(error) => {
                self.home.remove_note();
                return Err(error);
            }
        };
        if let Some((app, _)) = &owned {
            app.stop_waiting();
        }
        self.follower.stop();
        stopping.send_replace(true);
        if tokio::time::timeout(HAND_OVER_MAX, serving).await.is_err() {
            tracing::warn!("some requests did not end in time; they are broken off");
        }
        self.front.show(Follower::router(&self.follower));
        if let Some((app, own_tasks)) = owned {
            tasks.extend(own_tasks);
            end(tasks).await;
            finish(app, HAND_OVER_MAX).await;
        } else {
            end(tasks).await;
        }
        self.fleet.leave().await;
        self.home.remove_note();
        Ok(())
    }

    /// Follows and owns until `stop`; returns what it owned then.
    async fn take_turns<S>(&self, stop: &mut S) -> Result<Option<(App, Vec<JoinHandle<()>>)>, ServeError>
    where
        S: Future<Output = ()> + Unpin,
    {
        let Some((config, opened, epoch)) = self.follow(stop).await? else { return Ok(None) };
        let (fleet, metrics, note) = (Some(self.fleet.clone()), self.metrics.clone(), self.note.clone());
        let place = Place { note, loopback: self.address.ip().is_loopback(), tls: None, fleet, metrics };
        let (app, tasks) = build(&config, opened, Arc::clone(&self.clock), place).await?;
        self.front.show(vet::router(&app, &self.fleet, &self.metrics));
        self.metrics.owner.set(1);
        self.metrics.takeovers.inc();
        self.follower.owns(true);
        self.say("", None);
        tracing::info!(node = self.fleet.me.name, epoch, "this node owns the event log and the ledger");
        match self.own(&app, epoch, stop).await {
            Ended::Stopped => Ok(Some((app, tasks))),
            Ended::Lost(why) => Err(ServeError::Superseded(why)),
            Ended::Yields(why) => {
                tracing::warn!(%why, "this node gives the event log and the ledger up");
                self.fleet.yield_up().await;
                Err(ServeError::Yielded(why))
            }
        }
    }

    /// Follows until this node may own: returns the configuration by which it owns, what it has opened, and the number of the change. None: it was told to stop.
    async fn follow<S>(&self, stop: &mut S) -> Result<Option<(Config, Opened, u64)>, ServeError>
    where
        S: Future<Output = ()> + Unpin,
    {
        let (mut known, mut not_before, mut tried) = (self.fleet.subscribe(), Duration::ZERO, None);
        loop {
            tokio::select! {
                () = &mut *stop => return Ok(None),
                looked = known.changed() => if looked.is_err() { return Err(ServeError::FleetEnded) },
                // A look at the table of nodes that hangs says nothing, but those at log and ledger do.
                () = tokio::time::sleep(HANGING) => {
                    self.stands_by(&self.fleet.known(), tried.as_deref());
                    continue;
                }
            }
            let now = known.borrow_and_update().clone();
            show(&self.metrics, &now);
            if let Some(refused) = now.refused {
                return Err(ServeError::Refused(refused));
            }
            // Whatever kept this node from taking over may be gone once another one owns: the looks tell.
            tried = tried.filter(|_| !self.has_owner(&now.view));
            let able = self.stands_by(&now, tried.as_deref());
            if self.clock.elapsed() < not_before || !self.may_try(&now, able) {
                continue;
            }
            let config = self.newest();
            let opening = open(config.clone(), Arc::clone(&self.clock), self.right());
            let opened = tokio::select! {
                opened = opening => opened,
                // What is under way ends with the process.
                () = &mut *stop => return Ok(None),
            };
            match opened {
                Ok((opened, Some(epoch))) => return Ok(Some((config, opened, epoch))),
                Ok((_, None)) => return Err(ServeError::NoNode),
                // Its right may end at once.
                Err(error) if is_owned(&error) => tracing::debug!("another node was first"),
                Err(error) => {
                    not_before = self.clock.elapsed() + TRY_AGAIN;
                    tried = Some(error.to_string());
                }
            }
        }
    }

    /// The configuration on disk, or that of the start if it is not good. What this node is to others stays what it was.
    fn newest(&self) -> Config {
        let here = self.config.clone();
        let Ok(newest) = Config::load(&here.path) else { return here };
        Config {
            listen: here.listen,
            tls: here.tls,
            data: here.data,
            log: here.log,
            ledger: here.ledger,
            node: here.node,
            ..newest
        }
    }

    /// Notes whether this node could own, and tells the others; returns whether it could.
    fn stands_by(&self, known: &Known, tried: Option<&str>) -> bool {
        let problem = too_old(&known.view).or_else(|| {
            let why = tried.map(str::to_owned).or_else(|| self.fit.problem());
            why.map(|why| format!("could not take over: {why}"))
        });
        let able_at = self.fit.able_at().filter(|_| problem.is_none());
        let note = problem.clone().or_else(|| self.differs(&known.view)).unwrap_or_default();
        if self.follower.cannot(&note) && !note.is_empty() {
            tracing::warn!("this node {note}");
        }
        self.say(&note, able_at);
        self.metrics.able.set(problem.is_none().into());
        problem.is_none()
    }

    /// Tells the other nodes of this one.
    fn say(&self, note: &str, able_at: Option<Duration>) {
        self.fleet.tell(Said { note: note.to_owned(), able_at, settings: self.fit.shared().line() });
    }

    /// What to say if this node's settings are not those of the owner. Nodes of different versions may have different settings.
    fn differs(&self, view: &View) -> Option<String> {
        let mine = |owner: &&NodeRow| owner.life != self.fleet.me.life && owner.version == env!("CARGO_PKG_VERSION");
        let owner = view.owner().filter(mine).filter(|owner| !owner.settings.is_empty())?;
        let names = self.fit.shared().differs(&owner.settings);
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!(
                "would take over with other settings than node {} has: {names}; make them the same on all nodes",
                owner.name
            )
        })
    }

    /// Whether another node owns.
    fn has_owner(&self, view: &View) -> bool {
        let others = |owner: &NodeRow| owner.life != self.fleet.me.life && !owner.is_missing();
        view.writer.is_some() && view.owner().is_some_and(others)
    }

    fn right(&self) -> Right {
        Right { lock: Arc::clone(&self.lock), claim: Some(Arc::clone(&self.fleet.me)) }
    }

    /// Whether this node may try to own. One that could not, or that has given the ownership up, leaves it to others that could.
    fn may_try(&self, known: &Known, able: bool) -> bool {
        let view = &known.view;
        let yields = view.node(&self.fleet.me.name).is_some_and(NodeRow::yields);
        let is_left_to_others =
            view.standbys(&self.fleet.me.life).any(|other| !able || (yields && !other.yields())) || is_too_old(view);
        let is_settled =
            known.reconnected_at.is_none_or(|at| self.clock.elapsed().saturating_sub(at) >= RECONNECT_GRACE);
        known.problem.is_none() && known.is_member && view.writer.is_none() && is_settled && !is_left_to_others
    }

    /// Owns until `stop`, or until another node does.
    async fn own<S>(&self, app: &App, epoch: u64, stop: &mut S) -> Ended
    where
        S: Future<Output = ()> + Unpin,
    {
        loop {
            tokio::select! {
                () = &mut *stop => return Ended::Stopped,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let known = self.fleet.known();
            show(&self.metrics, &known);
            if let Some(refused) = known.refused {
                return Ended::Lost(refused);
            }
            let other = known.view.partition().filter(|partition| partition.epoch > epoch);
            if let Some(other) = other {
                return Ended::Lost(format!("node {:?} has taken over at {}", other.owner, other.since));
            }
            if let Some(why) = health::is_over(app) {
                return Ended::Lost(why);
            }
            let unwritable = || app.0.store.log.progress().away(self.clock.elapsed());
            let is_long = |(away, _): &(Duration, String)| *away >= LOG_AWAY_MAX;
            let away = self.fit.log_away().filter(is_long).or_else(|| unwritable().filter(is_long));
            let standby = |(away, _): &(Duration, String)| {
                let is_desperate = *away >= 2 * LOG_AWAY_MAX;
                known.view.standbys(&self.fleet.me.life).find(|node| is_desperate || !node.yields())
            };
            if let Some(((away, why), standby)) = away.and_then(|away| standby(&away).map(|node| (away, node))) {
                let away = away.as_secs();
                return Ended::Yields(format!(
                    "it has been without the event log for {away} s ({why}), and node {} at {} may",
                    standby.name, standby.address
                ));
            }
            self.say("", None);
            self.metrics.able.set(self.fit.problem().is_none().into());
        }
    }
}

/// Whether the ledger's tables are of a later version than this node knows.
fn is_too_old(view: &View) -> bool {
    view.tables > TABLES_VERSION
}

fn too_old(view: &View) -> Option<String> {
    is_too_old(view).then(|| {
        format!(
            "passes requests on and takes nothing over until it is upgraded: the ledger's tables are of a later version (format {}, this one \
             knows {TABLES_VERSION})",
            view.tables
        )
    })
}

/// Whether the right to write is another's.
fn is_owned(error: &ServeError) -> bool {
    let ledger = match error {
        ServeError::Store(StoreError::Ledger(error)) => error,
        _ => return false,
    };
    matches!(ledger, LedgerError::Database(DatabaseError::Owned(_) | DatabaseError::Fenced))
}

fn show(metrics: &NodeMetrics, known: &Known) {
    let missing = known.view.nodes.iter().filter(|node| node.is_missing()).count();
    metrics.show_nodes(known.view.nodes.len().saturating_sub(missing), missing);
}

/// Ends tasks, and waits until they have dropped what they hold.
async fn end(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}

async fn reload(mut tls: Tls) {
    loop {
        tokio::time::sleep(TLS_EVERY).await;
        tls.reload();
    }
}
