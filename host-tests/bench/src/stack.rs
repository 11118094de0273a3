//! A running Envoy on one core, and clients on the other.

use crate::cpu;
use crate::gateway::{self, Listener};
use crate::load::{Clients, Pace, Shot};
use crate::upstream;
use anyhow::{Context, ensure};
use weir_rig::envoy::{Envoy, Options};

/// Connections to each listener: enough to keep a worker busy.
pub const CONNECTIONS: usize = 8;

/// One burst: CPU of Envoy's worker for each request in nanoseconds, requests a second, pieces of an answer's body.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Nanoseconds.
    pub cpu: i64,
    /// Requests a second.
    pub rate: i64,
    /// Pieces of an answer's body.
    pub reads: i64,
}

/// The running stack.
#[derive(Debug)]
pub struct Stack {
    /// Envoy, with one worker.
    pub envoy: Envoy,
    clients: Vec<(String, Clients)>,
}

impl Stack {
    /// Starts Envoy with these listeners, and who answers behind it.
    ///
    /// # Errors
    /// When something is missing, or there is only one core.
    pub fn start(listeners: &[Listener]) -> anyhow::Result<Self> {
        cpu::pin(std::process::id(), 1).context("two cores are needed")?;
        let options = Options { concurrency: 1, log_level: "error".to_owned(), ..Options::default() };
        let envoy = Envoy::start(&gateway::bootstrap(listeners, upstream::start()?), &options)?;
        cpu::pin(envoy.pid(), 0)?;
        let connect = |listener: &Listener| {
            anyhow::Ok((listener.name.clone(), Clients::connect(envoy.listener(&listener.name)?, CONNECTIONS)?))
        };
        let clients = listeners.iter().map(connect).collect::<anyhow::Result<_>>()?;
        Ok(Stack { envoy, clients })
    }

    /// Sends every shot once, and says what it took; also how long each waited, in nanoseconds.
    ///
    /// # Errors
    /// When an answer is not 200.
    pub fn burst(&mut self, name: &str, shots: &[Shot], pace: Pace) -> anyhow::Result<(Burst, Vec<u64>)> {
        let pid = self.envoy.pid();
        let found = self.clients.iter_mut().find(|(known, _)| known == name);
        let (_, clients) = found.context("a listener for each variant")?;
        let before = cpu::of_workers(pid)?;
        let volley = clients.fire(shots, pace).with_context(|| format!("{}: {}", name, self.envoy.log()))?;
        let spent = cpu::of_workers(pid)? - before;
        ensure!(volley.failed == 0, "{}: {} of {} failed: {}", name, volley.failed, shots.len(), self.envoy.log());
        let count = shots.len().max(1);
        let each = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX) / i64::try_from(count).unwrap_or(1);
        let micros = i64::try_from(volley.took.as_micros().max(1))?;
        let rate = i64::try_from(count)? * 1_000_000 / micros;
        Ok((Burst { cpu: each(spent), rate, reads: each(volley.reads) }, volley.nanos))
    }
}

/// The middle one, or 0 where there is none.
#[must_use]
pub fn median(figures: impl Iterator<Item = i64>) -> i64 {
    let mut figures: Vec<i64> = figures.collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

/// The median, and the quartiles around it.
#[must_use]
pub(crate) fn quartiles(figures: impl Iterator<Item = i64>) -> [i64; 3] {
    let mut figures: Vec<i64> = figures.collect();
    figures.sort_unstable();
    [2, 1, 3].map(|quarter| figures.get(figures.len() * quarter / 4).copied().unwrap_or(0))
}
