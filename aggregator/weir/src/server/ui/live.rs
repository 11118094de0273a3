//! Live figures: read once every two seconds while somebody watches, however many do, and sent to each as server-sent events.
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::UiError;
use super::guard::{Staff, session_name, token_of};
use super::words::grouped;
use crate::config::tokens::Scope;
use crate::server::connections::Slot;
use crate::server::error::ApiError;
use crate::server::read::own_totals_view;
use crate::server::{App, budgets};

/// How often figures are read.
const EVERY: Duration = Duration::from_secs(2);
/// The most pages that follow at a time; further ones have no live figures.
const VIEWERS_MAX: usize = 64;
/// The most of one session: so many pages has a person open, and nobody takes the places of others.
const VIEWERS_OF_SESSION_MAX: usize = 6;

/// Who watches, and the latest figures.
#[derive(Debug)]
pub(super) struct Live {
    room: Arc<Semaphore>,
    /// Pages that follow, by session.
    following: Arc<Mutex<HashMap<String, usize>>>,
    figures: watch::Sender<String>,
}

impl Default for Live {
    fn default() -> Self {
        let room = Semaphore::new(VIEWERS_MAX).into();
        Live { room, following: Arc::default(), figures: watch::Sender::new(String::new()) }
    }
}

/// The place of a page that follows; it is free again once this is dropped.
#[derive(Debug)]
struct Place {
    session: String,
    following: Arc<Mutex<HashMap<String, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = following.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                following.remove(&self.session);
            }
        }
    }
}

impl Live {
    /// A place for a page of a session; None if there is none left.
    fn place(&self, session: &str) -> Option<Place> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let count = following.entry(session.to_owned()).or_default();
        if *count >= VIEWERS_OF_SESSION_MAX {
            return None;
        }
        *count += 1;
        let following = Arc::clone(&self.following);
        Some(Place { session: session.to_owned(), following, _permit: permit })
    }

    /// How many people watch.
    pub(super) fn viewers(&self) -> usize {
        self.figures.receiver_count()
    }
}

/// Reads the figures for as long as the server runs, while somebody watches.
pub(in crate::server) async fn follow(app: App) {
    let mut before: Option<(Duration, u64)> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        if app.0.ui.live.viewers() == 0 {
            before = None;
            continue;
        }
        let Ok(view) = own_totals_view(&app).await else { continue };
        let (now, accepted) = (app.0.clock.elapsed(), view.totals.accepted);
        let figures = json!({
            "accepted": grouped(accepted),
            "per_second": before.map(|before| per_second(before, (now, accepted))),
            "uncounted": grouped(view.log_position.saturating_sub(view.position)),
            "missing": grouped(view.totals.missing),
            "lag": format!("{} ms", grouped(budgets::lag_ms(&app))),
            "books": if view.balanced { "every equation holds" } else { "an equation does not hold" },
        });
        before = Some((now, accepted));
        app.0.ui.live.figures.send_replace(figures.to_string());
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
        tokio::select! {
            changed = self.figures.changed() => changed.ok()?,
            _ = self.stopped.wait_for(|stopped| *stopped) => return None,
        }
        let holder = self.app.0.ui.sessions.holder(&self.place.session, self.app.0.clock.elapsed());
        // A token that was revoked ends what it began.
        let lasts =
            holder.and_then(|holder| token_of(&self.app, &holder)).is_some_and(|token| token.opens(&Scope::Viewer));
        lasts.then(|| Event::default().data(self.figures.borrow_and_update().clone()))
    }
}

/// Sends figures until the person leaves. The connection takes no place from those of gateways.
pub(super) async fn get_live(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    _staff: Staff,
) -> Result<Response, UiError> {
    let place = app.0.ui.live.place(session_name(&app, &headers).unwrap_or_default()).ok_or(ApiError::Busy)?;
    slot.leave();
    let (figures, stopped) = (app.0.ui.live.figures.subscribe(), app.0.waiters.stopped());
    let watching = Watching { app, place, figures, stopped };
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_does_not_take_all_places() {
        let live = Live::default();
        let own: Vec<_> = (0..VIEWERS_OF_SESSION_MAX).map(|_| live.place("one").expect("a place")).collect();
        assert!(live.place("one").is_none() && live.place("other").is_some());
        drop(own);
        assert!(live.place("one").is_some() && live.following.lock().expect("free").is_empty());
    }

    #[test]
    fn events_per_second_are_those_between_two_looks() {
        let at = |seconds, accepted| (Duration::from_secs(seconds), accepted);
        assert_eq!(per_second(at(10, 1_000), at(12, 41_000)), "20,000");
        assert_eq!(per_second(at(10, 1_000), at(12, 1_000)), "0");
        assert_eq!(per_second(at(10, 1_000), at(10, 900)), "0", "a rebuilt ledger counts from the beginning");
    }
}
