//! The center of one `weir serve`, on a thread of its own.
//!
//! Every limit is a row of the [`LeaseDatabase`]. The thread takes the calls that wait, lets the center decide, commits what
//! changed, and answers only then: so a center that is killed and starts again knows everything that it ever granted. A
//! file that is missing or damaged means a lost memory: the center begins a new epoch, in which each limit starts empty.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use weir_clock::Clock;
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall};
use weir_leases::{Center, Timing};

use super::database::LeaseDatabase;
use super::view::{self, LimitRow, LimitsQuery};
use super::{Home, LeaseTotals, LeasesError};

/// The most calls that wait for the center. Further ones are answered 503: each takes some milliseconds.
const CALLS_WAITING_MAX: usize = 512;
/// The most calls of one commit.
const CALLS_PER_COMMIT_MAX: usize = 64;

/// What the thread is asked.
enum Ask {
    Call(Box<Call>, oneshot::Sender<Result<Answer, LeasesError>>),
    Draw(Box<DrawCall>, oneshot::Sender<Result<DrawAnswer, LeasesError>>),
    View(LimitsQuery, oneshot::Sender<Vec<LimitRow>>),
    Totals(oneshot::Sender<LeaseTotals>),
}

/// What is answered once the changes are stored.
enum Decided {
    Call(Answer, oneshot::Sender<Result<Answer, LeasesError>>),
    Draw(DrawAnswer, oneshot::Sender<Result<DrawAnswer, LeasesError>>),
}

/// The thread, for every handler.
#[derive(Clone, Debug)]
pub(super) struct LeaseThread {
    asks: mpsc::Sender<Ask>,
}

impl LeaseThread {
    /// Starts the center that keeps its leases at `home`. `new` says that nothing was ever kept: then nobody holds a lease.
    pub(super) fn start(home: Home<'_>, timing: Timing, new: bool, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (mut database, kept) = LeaseDatabase::open(home.place, home.before, home.fence)?;
        let time = Time::start(clock, database.now_ms().map_err(std::io::Error::other)?);
        let now = time.now();
        let mut center = match kept {
            Some(kept) => Center::restored(kept).with_timing(timing),
            None if new => Center::new(now, now, timing),
            None => {
                tracing::warn!(place = %home.place.label(), "no leases are kept here: fleet-wide limits start empty");
                Center::forgotten(now, now, timing)
            }
        };
        database.save(&mut center).map_err(std::io::Error::other)?;
        let (asks, waiting) = mpsc::channel(CALLS_WAITING_MAX);
        let thread = Thread { center, database, time, waiting };
        std::thread::Builder::new().name("leases".to_owned()).spawn(move || thread.run())?;
        Ok(LeaseThread { asks })
    }

    /// Answers a checked `POST /v1/leases`.
    pub(super) async fn call(&self, call: Call) -> Result<Answer, LeasesError> {
        self.ask(|reply| Ask::Call(Box::new(call), reply)).await?
    }

    /// Answers a checked `POST /v1/leases/draw`.
    pub(super) async fn draw(&self, call: DrawCall) -> Result<DrawAnswer, LeasesError> {
        self.ask(|reply| Ask::Draw(Box::new(call), reply)).await?
    }

    /// The limits that a query selects.
    pub(super) async fn view(&self, query: LimitsQuery) -> Result<Vec<LimitRow>, LeasesError> {
        self.ask(|reply| Ask::View(query, reply)).await
    }

    /// How leases stand.
    pub(super) async fn totals(&self) -> Result<LeaseTotals, LeasesError> {
        self.ask(Ask::Totals).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, LeasesError> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(ask(reply)).map_err(|_| LeasesError::Busy)?;
        answer.await.map_err(|_| LeasesError::Unsaved)
    }
}

/// The center's time: the time of day at the start, that of the database's server where there is one, and from then on a clock that
/// nobody sets. A center on another machine goes on by the same time.
struct Time {
    clock: Arc<dyn Clock>,
    start_ms: u64,
    elapsed: Duration,
}

impl Time {
    fn start(clock: Arc<dyn Clock>, now_ms: Option<u64>) -> Self {
        Time { start_ms: now_ms.unwrap_or_else(|| clock.now().as_millis()), elapsed: clock.elapsed(), clock }
    }

    fn now(&self) -> u64 {
        let since = self.clock.elapsed().saturating_sub(self.elapsed).as_millis();
        self.start_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

struct Thread {
    center: Center,
    database: LeaseDatabase,
    time: Time,
    waiting: mpsc::Receiver<Ask>,
}

impl Thread {
    /// Answers until nobody can ask any more.
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut decided: Vec<Decided> = self.decide(first).into_iter().collect();
            while decided.len() < CALLS_PER_COMMIT_MAX
                && let Ok(next) = self.waiting.try_recv()
            {
                decided.extend(self.decide(next));
            }
            let saved = self.database.save(&mut self.center).map_err(|error| {
                tracing::error!(%error, "the leases cannot be stored; nothing is granted");
                LeasesError::Unsaved
            });
            for decided in decided {
                // Whoever asked may have gone: what was granted to it counts until it expires.
                match decided {
                    Decided::Call(answer, reply) => drop(reply.send(saved.clone().map(|()| answer))),
                    Decided::Draw(answer, reply) => drop(reply.send(saved.clone().map(|()| answer))),
                }
            }
        }
    }

    fn decide(&mut self, ask: Ask) -> Option<Decided> {
        let now = self.time.now();
        match ask {
            Ask::Call(call, reply) => Some(Decided::Call(self.center.call(&call, now), reply)),
            Ask::Draw(call, reply) => Some(Decided::Draw(self.center.draw(&call, now), reply)),
            Ask::View(query, reply) => {
                let _ = reply.send(view::rows(&mut self.center, &query, now));
                None
            }
            Ask::Totals(reply) => {
                let (counts, levels) = (self.center.counts(), self.center.levels());
                let _ = reply.send(LeaseTotals { counts, levels, ..LeaseTotals::default() });
                None
            }
        }
    }
}
