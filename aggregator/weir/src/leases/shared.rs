//! The center in a Redis that several `weir serve` share.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_clock::Clock;
use weir_contract::lease::{Answer, Call, DrawAnswer, DrawCall};
use weir_leases::Timing;
use weir_leases::limit::Levels;
use weir_leases_redis::{LeasesPlace, RedisLeases, RedisLeasesError};

use super::view::{LIMITS_SHOWN_MAX, LimitRow, LimitsQuery};
use super::{LeaseTotals, LeasesError};
use crate::store::private;

/// The most limits that metrics look at; there are more keys in no Redis that leases have for themselves.
const LIMITS_COUNTED_MAX: usize = 20_000;
/// How long a look at all limits serves for metrics.
const LEVELS_FRESH: Duration = Duration::from_secs(15);

/// The center, for every handler.
#[derive(Debug)]
pub(super) struct SharedLeases {
    center: RedisLeases,
    place: LeasesPlace,
    /// The file which says that this data directory had leases in the place.
    note: PathBuf,
    noted: AtomicBool,
    away: AtomicBool,
    failed: AtomicU64,
    clock: Arc<dyn Clock>,
    levels: Mutex<Option<(Duration, Levels)>>,
}

impl SharedLeases {
    pub(super) fn open(
        place: &LeasesPlace,
        timing: Timing,
        note: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LeasesError> {
        let noted = std::fs::read_to_string(note).is_ok_and(|text| text == place.label());
        Ok(SharedLeases {
            center: RedisLeases::open(place, timing, noted)?,
            place: place.clone(),
            note: note.to_owned(),
            noted: AtomicBool::new(noted),
            away: AtomicBool::new(false),
            failed: AtomicU64::new(0),
            clock,
            levels: Mutex::new(None),
        })
    }

    /// Joins the memory and notes it, before anything is granted under it.
    pub(super) async fn join(&self) -> Result<(), LeasesError> {
        self.center.join().await?;
        if !self.noted.load(Ordering::Acquire) {
            let write = private(&self.note).and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(self.place.label().as_bytes())?;
                file.sync_all()
            });
            write.map_err(|error| {
                tracing::error!(%error, path = %self.note.display(), "cannot be written; nothing is granted");
                LeasesError::Unsaved
            })?;
            self.noted.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub(super) async fn call(&self, call: &Call) -> Result<Answer, LeasesError> {
        self.join().await.map_err(|error| self.told(error))?;
        self.heard(self.center.call(call).await)
    }

    pub(super) async fn draw(&self, call: &DrawCall) -> Result<DrawAnswer, LeasesError> {
        self.join().await.map_err(|error| self.told(error))?;
        self.heard(self.center.draw(call).await)
    }

    pub(super) async fn view(&self, query: &LimitsQuery) -> Result<Vec<LimitRow>, LeasesError> {
        look_at(&self.center, query).await
    }

    pub(super) async fn totals(&self) -> Result<LeaseTotals, LeasesError> {
        let levels = self.levels().await;
        Ok(LeaseTotals { counts: self.center.counts(), levels, failed: self.failed.load(Ordering::Relaxed) })
    }

    /// The last look at all limits, or a new one. A Redis that does not answer leaves the last one.
    async fn levels(&self) -> Levels {
        let now = self.clock.elapsed();
        let last = *self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, levels)) = last
            && now.saturating_sub(at) < LEVELS_FRESH
        {
            return levels;
        }
        let Ok(survey) = self.center.survey(LIMITS_COUNTED_MAX, |_| true).await else {
            return last.map(|(_, levels)| levels).unwrap_or_default();
        };
        let mut levels = Levels::default();
        for (_, mut limit) in survey.limits {
            limit.view(survey.now);
            levels.count(&limit);
        }
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, levels));
        levels
    }

    /// Tells once when the Redis stops answering, and once when it answers again.
    fn heard<T>(&self, answer: Result<T, RedisLeasesError>) -> Result<T, LeasesError> {
        match answer {
            Ok(answer) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the leases' Redis answers again");
                }
                Ok(answer)
            }
            Err(error) => Err(self.told(error.into())),
        }
    }

    fn told(&self, error: LeasesError) -> LeasesError {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "leases are not renewed until this is over");
        }
        error
    }
}

/// The limits that a query selects in a Redis, for commands while no server runs here.
pub(crate) async fn look(place: &LeasesPlace, query: &LimitsQuery) -> Result<Vec<LimitRow>, LeasesError> {
    look_at(&RedisLeases::open(place, Timing::default(), true)?, query).await
}

/// Checks the Redis as a start does, and changes nothing.
pub(crate) async fn check(place: &LeasesPlace) -> Result<(), LeasesError> {
    Ok(RedisLeases::open(place, Timing::default(), true)?.check().await?)
}

async fn look_at(center: &RedisLeases, query: &LimitsQuery) -> Result<Vec<LimitRow>, LeasesError> {
    let survey = center.survey(LIMITS_SHOWN_MAX, |key| query.selects(key)).await?;
    let row = |(key, mut limit): (_, weir_leases::Limit)| LimitRow::new(key, limit.view(survey.now));
    Ok(survey.limits.into_iter().map(row).collect())
}
