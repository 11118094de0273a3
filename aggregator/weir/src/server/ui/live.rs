//! Live figures, and the levels and leases of limits: read every two seconds while somebody watches, once for all who watch the same,
//! and sent to each as server-sent events.
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};
use weir_contract::directory::KeyHash;

use super::guard::{Staff, session_name, token_of};
use super::words::grouped;
use super::{UiError, levels};
use crate::config::tokens::Scope;
use crate::server::connections::Slot;
use crate::server::error::ApiError;
use crate::server::read::own_totals_view;
use crate::server::{App, budgets};

/// How often figures are read.
const EVERY: Duration = Duration::from_secs(2);
/// The pause after levels were read, in times of what that took: they cost at most a tenth of a core, whatever is asked for.
const PAUSE_FACTOR: u32 = 9;
/// The most pages that follow at a time; further ones have no live figures.
const VIEWERS_MAX: usize = 64;
/// The most of one session, and of one token or person in all sessions: nobody takes the places of others. A browser has six connections to
/// a server, and a page that follows keeps one: some stay free for other pages.
const VIEWERS_OF_SESSION_MAX: usize = 4;
const VIEWERS_OF_ONE_MAX: usize = 16;

/// Who watches, and the latest figures.
#[derive(Debug)]
pub(super) struct Live {
    room: Arc<Semaphore>,
    /// Pages that follow, by session and by token or person.
    following: Arc<Mutex<HashMap<KeyHash, usize>>>,
    figures: watch::Sender<String>,
    /// Levels and leases, by what pages ask for. At most [`VIEWERS_MAX`]: what nobody follows is forgotten.
    limits: Mutex<BTreeMap<levels::Asked, watch::Sender<String>>>,
}

impl Default for Live {
    fn default() -> Self {
        let room = Semaphore::new(VIEWERS_MAX).into();
        let (following, limits) = (Arc::default(), Mutex::default());
        Live { room, following, figures: watch::Sender::new(String::new()), limits }
    }
}

/// The place of a page that follows; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    session: String,
    counted: [KeyHash; 2],
    following: Arc<Mutex<HashMap<KeyHash, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        for of in &self.counted {
            if let Some(count) = following.get_mut(of) {
                *count -= 1;
            }
        }
        following.retain(|_, count| *count > 0);
    }
}

impl Live {
    /// A place for a page of a session of `one`, a token or person; None if there is none left.
    fn place(&self, session: &str, one: KeyHash) -> Option<Place> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let counted = [KeyHash::of(session.as_bytes()), one];
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = counted.iter().zip([VIEWERS_OF_SESSION_MAX, VIEWERS_OF_ONE_MAX]);
        if bounds.into_iter().any(|(of, most)| following.get(of).is_some_and(|count| *count >= most)) {
            return None;
        }
        counted.iter().for_each(|of| *following.entry(*of).or_default() += 1);
        let following = Arc::clone(&self.following);
        Some(Place { session: session.to_owned(), counted, following, _permit: permit })
    }

    /// How many people watch.
    pub(super) fn viewers(&self) -> usize {
        VIEWERS_MAX - self.room.available_permits()
    }

    fn lock_limits(&self) -> MutexGuard<'_, BTreeMap<levels::Asked, watch::Sender<String>>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Levels and leases for a page, from now on.
    pub(super) fn limits(&self, asked: levels::Asked) -> watch::Receiver<String> {
        let mut all = self.lock_limits();
        all.retain(|_, tables| tables.receiver_count() > 0);
        all.entry(asked).or_insert_with(|| watch::Sender::new(String::new())).subscribe()
    }

    /// What somebody follows.
    fn followed_limits(&self) -> Vec<levels::Asked> {
        let mut all = self.lock_limits();
        all.retain(|_, tables| tables.receiver_count() > 0);
        all.keys().cloned().collect()
    }

    fn show_limits(&self, asked: &levels::Asked, html: &str) {
        if let Some(tables) = self.lock_limits().get(asked) {
            let now = json!({ "html": html }).to_string();
            tables.send_if_modified(|before| {
                let is_new = *before != now;
                *before = now;
                is_new
            });
        }
    }
}

/// Reads what is watched, for as long as the server runs.
pub(in crate::server) async fn follow(app: App) {
    tokio::join!(follow_figures(&app), follow_limits(&app));
}

async fn follow_figures(app: &App) {
    let mut before: Option<(Duration, u64)> = None;
    loop {
        sleep(EVERY).await;
        if app.0.ui.live.figures.receiver_count() == 0 {
            before = None;
            continue;
        }
        let Ok(view) = own_totals_view(app).await else { continue };
        let (now, accepted) = (app.0.clock.elapsed(), view.totals.accepted);
        let figures = json!({
            "accepted": grouped(accepted),
            "per_second": before.map(|before| per_second(before, (now, accepted))),
            "uncounted": grouped(view.log_position.saturating_sub(view.position)),
            "missing": grouped(view.totals.missing),
            "lag": format!("{} ms", grouped(budgets::lag_ms(app))),
            "books": if view.balanced { "every equation holds" } else { "an equation does not hold" },
        });
        before = Some((now, accepted));
        app.0.ui.live.figures.send_replace(figures.to_string());
    }
}

async fn follow_limits(app: &App) {
    loop {
        sleep(EVERY).await;
        for asked in app.0.ui.live.followed_limits() {
            let began = Instant::now();
            match levels::now(app, &asked).await {
                Ok(html) => app.0.ui.live.show_limits(&asked, &html),
                Err(error) => tracing::debug!(%error, "levels are not shown anew"),
            }
            sleep(began.elapsed() * PAUSE_FACTOR).await;
        }
    }
}

fn per_second((earlier, before): (Duration, u64), (now, accepted): (Duration, u64)) -> String {
    let millis = u64::try_from(now.saturating_sub(earlier).as_millis()).unwrap_or(u64::MAX).max(1);
    grouped(accepted.saturating_sub(before).saturating_mul(1_000) / millis)
}

/// One person's stream.
struct Watching {
    app: App,
    place: Place,
    figures: watch::Receiver<String>,
    stopped: watch::Receiver<bool>,
}

impl Watching {
    /// The next figures; None once the session or the server ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let is_new = tokio::select! {
                changed = self.figures.changed() => changed.map(|()| true).ok()?,
                () = sleep(EVERY) => false,
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            };
            if !self.lasts() {
                return None;
            }
            if is_new {
                return Some(Event::default().data(self.figures.borrow_and_update().clone()));
            }
        }
    }

    /// Whether the session may still see them. A token that was revoked ends what it began.
    fn lasts(&self) -> bool {
        let holder = self.app.0.ui.sessions.holder(&self.place.session, self.app.0.clock.elapsed());
        holder.and_then(|holder| token_of(&self.app, &holder)).is_some_and(|token| token.opens(&Scope::Viewer))
    }
}

/// Sends figures until the person leaves.
pub(super) async fn get_live(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    _staff: Staff,
) -> Result<Response, UiError> {
    let place = place(&app, &headers)?;
    let figures = app.0.ui.live.figures.subscribe();
    Ok(respond(app, &slot, place, figures))
}

/// A place for the page that asks. A browser that was led here, by another site say, is none: a window would keep a connection for nothing.
pub(super) fn place(app: &App, headers: &HeaderMap) -> Result<Place, ApiError> {
    let is_script = headers.get("sec-fetch-dest").is_none_or(|dest| dest == "empty");
    if !is_script {
        return Err(ApiError::Request("live figures are for the script of a page".to_owned()));
    }
    let session = session_name(app, headers).unwrap_or_default();
    let holder = app.0.ui.sessions.holder(session, app.0.clock.elapsed()).ok_or(ApiError::Unauthorized)?;
    app.0.ui.live.place(session, holder.one()).ok_or(ApiError::Busy)
}

/// Sends what is watched until the person leaves. The connection takes no place from those of gateways.
pub(super) fn respond(app: App, slot: &Slot, place: Place, figures: watch::Receiver<String>) -> Response {
    slot.leave();
    let stopped = app.0.waiters.stopped();
    let watching = Watching { app, place, figures, stopped };
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_does_not_take_all_places() {
        let (live, ada, bob) = (Live::default(), KeyHash::of(b"ada"), KeyHash::of(b"bob"));
        let own: Vec<_> = (0..VIEWERS_OF_SESSION_MAX).map(|_| live.place("one", ada).expect("a place")).collect();
        assert!(live.place("one", ada).is_none() && live.place("other", ada).is_some());
        drop(own);
        assert!(live.place("one", ada).is_some() && live.following.lock().expect("free").is_empty());
        // Nor does one token in many sessions.
        let sessions = (0..VIEWERS_MAX).map(|number| live.place(&number.to_string(), ada));
        let own: Vec<_> = sessions.map_while(|place| place).collect();
        assert_eq!(own.len(), VIEWERS_OF_ONE_MAX);
        assert!(live.place("another", bob).is_some());
        drop(own);
        assert!(live.place("another", ada).is_some());
    }

    #[test]
    fn events_per_second_are_those_between_two_looks() {
        let at = |seconds, accepted| (Duration::from_secs(seconds), accepted);
        assert_eq!(per_second(at(10, 1_000), at(12, 41_000)), "20,000");
        assert_eq!(per_second(at(10, 1_000), at(12, 1_000)), "0");
        assert_eq!(per_second(at(10, 1_000), at(10, 900)), "0", "a rebuilt ledger counts from the beginning");
    }

    #[test]
    fn levels_are_read_once_for_all_who_ask_the_same_and_not_for_those_who_have_left() {
        let (live, all) = (Live::default(), levels::Asked::default());
        let (one, mut other) = (live.limits(all.clone()), live.limits(all.clone()));
        assert_eq!(live.followed_limits().len(), 1);
        live.show_limits(&all, "<p>3 left</p>");
        assert!(other.has_changed().expect("it lasts"));
        assert_eq!(*other.borrow_and_update(), "{\"html\":\"<p>3 left</p>\"}");
        live.show_limits(&all, "<p>3 left</p>");
        assert!(!other.has_changed().expect("it lasts"), "nothing new is not sent");
        drop((one, other));
        assert!(live.followed_limits().is_empty());
    }
}
