//! Whether this node could own event log and ledger: looked at again and again, so that a standby is known to be good before it is needed.
//!
//! # Constraints
//!
//! - A look changes nothing, and takes no right. It has connections of its own, so that one that is stuck keeps nothing else from working.
//! - A look that does not end in [`LOOK_MAX`] counts as one that failed.
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use weir_clock::Clock;
use weir_leases_redis::{LeasesPlace, RedisLeasesError};
use weir_ledger::meters::Meters;
use weir_ledger::query::LedgerReader;
use weir_tenants::Directory;

use crate::config::Config;
use crate::config::shared::Shared;
use crate::leases::{self, LeasesError};
use crate::server::ui::Dashboard;
use crate::store::DataDir;
use crate::vault::Vault;

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often files and secrets are read: those of many tenants take a while.
const FILES_EVERY: Duration = Duration::from_secs(60);
/// The longest look at the event log, at the ledger, and at the files.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// For this long an owner waits for an event log that does not answer, before it looks for a node that reaches it.
pub(super) const LOG_AWAY_MAX: Duration = Duration::from_secs(15);

/// What the looks have found.
#[derive(Clone, Debug)]
pub(super) struct Fit(Arc<State>);

#[derive(Debug)]
struct State {
    clock: Arc<dyn Clock>,
    found: Mutex<Found>,
}

/// What a look is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Log,
    Ledger,
    Files,
}

#[derive(Debug, Default)]
struct Found {
    /// What the look under way is at, and since when.
    under_way: Option<(At, Duration)>,
    /// When the last look began that found nothing.
    good_at: Option<Duration>,
    /// What the last look found.
    problem: Option<String>,
    /// How looks at the event log have gone.
    log_away: Away,
    /// The settings on disk.
    shared: Shared,
}

/// For how long the event log has not answered, less the time that it has since: a way that fails again and again adds up.
#[derive(Debug, Default)]
struct Away {
    total: Duration,
    /// When the last look ended.
    looked_at: Duration,
    /// How it failed, if it did.
    why: Option<String>,
}

impl Away {
    /// A look began and ended.
    fn looked(&mut self, (began, ended): (Duration, Duration), why: Option<String>) {
        let was_away = self.why.is_some() || !self.total.is_zero();
        let since = if was_away { self.looked_at } else { began };
        let passed = ended.saturating_sub(since);
        self.total = if why.is_some() { self.total + passed } else { self.total.saturating_sub(passed) };
        (self.looked_at, self.why) = (ended, why);
    }
}

impl Fit {
    /// Looks in the background, until the last clone is dropped.
    pub(super) fn start(config: &Config, home: &DataDir, clock: &Arc<dyn Clock>) -> std::io::Result<Self> {
        let found = Mutex::new(Found { shared: config.shared.clone(), ..Found::default() });
        let state = Arc::new(State { clock: Arc::clone(clock), found });
        let (known, config, home) = (Arc::downgrade(&state), config.clone(), home.clone());
        std::thread::Builder::new().name("fit".to_owned()).spawn(move || {
            let mut files = Files::default();
            while look(&known, &config, &home, &mut files).is_some() {
                std::thread::sleep(LOOK_EVERY);
            }
        })?;
        Ok(Fit(state))
    }

    /// Why this node could not own, as far as the looks tell; None if it could, or no look has ended yet.
    pub(super) fn problem(&self) -> Option<String> {
        let now = self.0.clock.elapsed();
        self.0.with(|found| found.stuck(now).map(|(_, why)| why).or_else(|| found.problem.clone()))
    }

    /// When it was last found that this node can own; None if it cannot.
    pub(super) fn able_at(&self) -> Option<Duration> {
        let problem = self.problem();
        self.0.with(|found| found.good_at.filter(|_| problem.is_none()))
    }

    /// For how long the event log has not answered this node, and why.
    pub(super) fn log_away(&self) -> Option<(Duration, String)> {
        let now = self.0.clock.elapsed();
        self.0.with(|found| {
            let stuck = found.stuck(now).filter(|(at, _)| *at == At::Log);
            let Away { total, looked_at, why } = &found.log_away;
            let since = |moment: Duration| *total + now.saturating_sub(moment);
            match (stuck, why) {
                (Some((_, stuck)), Some(_)) => Some((since(*looked_at), stuck)),
                (Some((_, stuck)), None) => Some((since(found.under_way?.1), stuck)),
                (None, Some(why)) => Some((since(*looked_at), why.clone())),
                (None, None) => None,
            }
        })
    }

    /// Digests of the settings on disk that all nodes have alike.
    pub(super) fn shared(&self) -> Shared {
        self.0.with(|found| found.shared.clone())
    }
}

impl State {
    fn with<T>(&self, act: impl FnOnce(&mut Found) -> T) -> T {
        act(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begins(&self, at: At) -> Duration {
        let now = self.clock.elapsed();
        self.with(|found| found.under_way = Some((at, now)));
        now
    }
}

impl Found {
    /// What the look under way is stuck at, if it takes too long.
    fn stuck(&self, now: Duration) -> Option<(At, String)> {
        let (at, _) = self.under_way.filter(|(_, began)| now.saturating_sub(*began) > LOOK_MAX)?;
        let what = match at {
            At::Log => "the event log does not answer",
            At::Ledger => "the ledger does not answer",
            At::Files => "the files and secrets of weir.yaml are not read",
        };
        Some((at, format!("{what} within {} s", LOOK_MAX.as_secs())))
    }
}

/// Looks once. None: nobody asks any more.
fn look(known: &Weak<State>, config: &Config, home: &DataDir, files: &mut Files) -> Option<()> {
    let newest = Config::load(&config.path).ok();
    let shared = newest.as_ref().map(|config| config.shared.clone());
    let config = newest.as_ref().unwrap_or(config);
    let began = known.upgrade()?.begins(At::Log);
    let log = log_id(home);
    let state = known.upgrade()?;
    let looked = (began, state.clock.elapsed());
    state.with(|found| found.log_away.looked(looked, log.as_ref().err().cloned()));
    if log.is_ok() {
        state.begins(At::Ledger);
    }
    drop(state);
    let ledger = log.and_then(|id| ledger_of(home, id.as_deref(), &config.meters));
    if ledger.is_ok() {
        known.upgrade()?.begins(At::Files);
    }
    let files = ledger.and_then(|()| files.check(config, home, began));
    known.upgrade()?.with(|found| {
        found.under_way = None;
        found.problem = files.err();
        if found.problem.is_none() {
            found.good_at = Some(began);
        }
        found.shared = shared.unwrap_or_else(|| found.shared.clone());
    });
    Some(())
}

/// Checks the event log's server as a start does, and reads the log's name; None if there is no log.
fn log_id(home: &DataDir) -> Result<Option<String>, String> {
    home.check_nothing_is_lost().map_err(|error| error.to_string())?;
    let place = home.log_place();
    let facts = place.check().and_then(|()| place.facts()).map_err(|error| error.to_string())?;
    Ok(facts.map(|facts| facts.id))
}

/// Checks that the ledger counts this log, and that it could go on with these meters.
fn ledger_of(home: &DataDir, log: Option<&str>, meters: &Meters) -> Result<(), String> {
    let ledger = LedgerReader::open(home.ledger());
    let counts = ledger.and_then(|ledger| ledger.check_meters(meters).and_then(|()| ledger.log_id()));
    match (counts.map_err(|error| error.to_string())?, log) {
        (Some(counts), Some(log)) if counts != log => Err(format!(
            "{}: the ledger counts another event log than this one: give all nodes the same `log`",
            home.log_place().label()
        )),
        (Some(_), None) => Err(format!(
            "{}: there is no event log here, and the ledger counts one: give all nodes the same `log`, or restore it (`weir restore`)",
            home.log_place().label()
        )),
        _ => Ok(()),
    }
}

/// What reading the files and secrets has found that an owner needs.
#[derive(Default)]
struct Files {
    read_at: Option<Duration>,
    problem: Option<String>,
}

impl Files {
    fn check(&mut self, config: &Config, home: &DataDir, now: Duration) -> Result<(), String> {
        let is_good = self.problem.is_none();
        if !(is_good && self.read_at.is_some_and(|at| now.saturating_sub(at) < FILES_EVERY)) {
            self.read_at = Some(now);
            self.problem = read_files(config, home).err();
        }
        self.problem.clone().map_or(Ok(()), Err)
    }
}

/// Reads all that a start reads, and whose absence ends it.
fn read_files(config: &Config, home: &DataDir) -> Result<(), String> {
    let wrong = |error: &dyn std::error::Error| error.to_string();
    config.tokens().map_err(|error| wrong(&error))?;
    config.user_keys().map_err(|error| wrong(&error))?;
    Directory::open(config.tenants.file()).map_err(|error| wrong(&error))?;
    config.prices.book().map_err(|error| wrong(&error))?;
    if let Some(stripe) = &config.stripe {
        config.stripe_key(stripe).map_err(|error| wrong(&error))?;
    }
    Dashboard::new(config.ui.clone(), &config.base).map_err(|error| wrong(&error))?;
    if let Some(vault) = &config.vault {
        Vault::can_open(home.tenants(), vault, &config.base).map_err(|error| wrong(&error))?;
    }
    config.leases.place.as_ref().map_or(Ok(()), leases_fit)
}

/// Whether a start would take the Redis of leases. One that does not answer ends no start.
fn leases_fit(place: &LeasesPlace) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string())?.block_on(leases::check(place)) {
        Ok(()) | Err(LeasesError::Redis(RedisLeasesError::Away(_))) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_clock::ManualClock;
    use weir_contract::Timestamp;

    fn fit(clock: &Arc<ManualClock>, found: Found) -> Fit {
        let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
        Fit(Arc::new(State { clock, found: Mutex::new(found) }))
    }

    #[test]
    fn a_look_that_does_not_end_counts_as_one_that_failed() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let began = clock.elapsed();
        for (at, is_log, words) in [
            (At::Log, true, "the event log does not answer within 8 s"),
            (At::Ledger, false, "the ledger does not answer within 8 s"),
            (At::Files, false, "the files and secrets of weir.yaml are not read within 8 s"),
        ] {
            let clock = Arc::clone(&clock);
            let good = Found { good_at: Some(began), under_way: Some((at, clock.elapsed())), ..Found::default() };
            let fit = fit(&clock, good);
            assert_eq!((fit.problem(), fit.able_at(), fit.log_away()), (None, Some(began), None));
            clock.advance(LOOK_MAX + Duration::from_millis(1));
            assert!(fit.problem().is_some_and(|why| why.contains(words)));
            assert_eq!(fit.able_at(), None);
            assert_eq!(fit.log_away().is_some_and(|(away, _)| away > LOOK_MAX), is_log);
        }
    }

    #[test]
    fn an_event_log_is_away_since_the_first_look_that_failed() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let why = || "refused".to_owned();
        let since = clock.elapsed();
        let fit = fit(&clock, Found { problem: Some(why()), ..Found::default() });
        fit.0.with(|found| found.log_away.looked((since, since), Some(why())));
        clock.advance(LOG_AWAY_MAX);
        assert_eq!((fit.log_away(), fit.problem()), (Some((LOG_AWAY_MAX, why())), Some(why())));
        fit.0.with(|found| found.under_way = Some((At::Log, fit.0.clock.elapsed())));
        clock.advance(2 * LOOK_MAX);
        assert!(fit.log_away().is_some_and(|(away, _)| away == LOG_AWAY_MAX + 2 * LOOK_MAX), "the next one hangs");
    }

    #[test]
    fn a_way_to_the_event_log_that_fails_again_and_again_is_away_in_the_end() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let fit = fit(&clock, Found::default());
        // Looks every other second; a look takes no time.
        let look = |works: bool| {
            clock.advance(LOOK_EVERY);
            let now = clock.elapsed();
            fit.0.with(|found| found.log_away.looked((now, now), (!works).then(|| "refused".to_owned())));
            fit.log_away().map(|(away, _)| away)
        };
        let secs = Duration::from_secs;
        let outage = |looks: usize| {
            let found: Vec<_> = (0..looks).map(|_| look(false)).collect();
            found.last().copied().flatten()
        };
        assert_eq!(outage(6), Some(secs(10)), "since the first look that failed");
        assert_eq!([look(true), look(true)], [None, None], "it answers");
        assert_eq!(outage(6), Some(secs(18)), "10 s, less 4, and 12");
        assert!((0..20).all(|_| look(true).is_none()));
        assert_eq!(outage(2), Some(secs(2)), "forgotten");
    }
}
