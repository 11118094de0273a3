//! `GET /v1/directory`: the tenants, a page at a time, or what changed since a version.
//!
//! A gateway that knows the version in force may wait for the next one: with `wait=25s` in the query or `Prefer: wait=25`
//! (RFC 7240, section 4.3) the answer comes once something changes, or once that time is over. Waiting calls keep no place
//! of a listener from others ([`Slot`]), and are bounded by [`WAITERS_MAX`]; further ones are answered at once.
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use weir_contract::Timestamp;
use weir_contract::directory::{Page, Tenant};
use weir_contract::flags::KNOWS_FLAGS;
use weir_contract::hard::KNOWS_HARD_BUDGETS;
use weir_contract::placement::KNOWS_PLACEMENT;
use weir_contract::scopes::KNOWS_SCOPES;
use weir_contract::stage::{self, KNOWS_FURTHER_STAGES, KNOWS_STAGES};
use weir_contract::vault::KNOWS_VAULT;

use super::App;
use super::auth::require;
use super::connections::{Slot, until};
use super::error::ApiError;
use super::{byok, catalogue};
use crate::config::tokens::{Scope, Token};
use crate::metrics::UnsignedGauge;
use weir_contract::plans::PLANS_HEADER;
use weir_settings::duration::Millis;

/// The most calls that wait at a time, if the process may open as many files.
const WAITERS_MAX: usize = 8_192;
/// Open files that waiting calls leave to everything else.
const OTHER_FILES: usize = 768;
/// The fewest calls that may wait, however few files the process may open.
const WAITERS_MIN: usize = 64;
/// The longest wait. Proxies and firewalls drop connections that are silent for a minute.
const WAIT_MAX: Duration = Duration::from_secs(55);
/// Changes that follow each other this closely are one answer.
const GATHER: Duration = Duration::from_millis(50);

/// The calls that wait for a change.
#[derive(Debug)]
pub(super) struct Waiters {
    room: Semaphore,
    stopped: watch::Sender<bool>,
}

impl Default for Waiters {
    fn default() -> Self {
        let most = open_files_max().saturating_sub(OTHER_FILES).clamp(WAITERS_MIN, WAITERS_MAX);
        Waiters { room: Semaphore::new(most), stopped: watch::Sender::new(false) }
    }
}

fn open_files_max() -> usize {
    let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    soft.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Lets the process open as many files as its host allows: each waiting gateway is an open connection. A service's soft
/// limit is 1,024 for programs that cannot count further.
pub(crate) fn raise_open_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

impl Waiters {
    /// Tells when the server stops.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// Ends all waiting, now and from now on: the server stops.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryQuery {
    /// The cursor of a page: the previous page's `next`.
    from: Option<String>,
    /// The version that the gateway knows. If it is still kept, the answer is one page with the difference.
    since: Option<String>,
    /// How long to wait for a change if the version known is in force.
    wait: Option<Millis>,
}

pub(super) async fn get_directory(
    State(app): State<App>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    query: Result<Query<DirectoryQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let token = require(&app, &headers, Scope::Directory)?;
    let Query(query) = query.map_err(|error| ApiError::Request(error.body_text()))?;
    byok::check_recipient(&headers)?;
    if let Some(plans) = headers.get(PLANS_HEADER).and_then(|value| value.to_str().ok()) {
        app.0.seen.announced(plans, app.0.clock.now());
    }
    catalogue::note(&app, &headers);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.or(query.since.as_deref()).map(|version| version.trim_matches('"'));
    let wait = query.wait.map(|wait| Duration::from_millis(wait.0)).or_else(|| preferred_wait(&headers));
    if let (Some(known), Some(wait), None) = (known, wait, &query.from) {
        app.0.seen.fetched(token.name.clone(), app.0.clock.now(), known);
        wait_for_another(&app, &slot, (known, &headers), wait.min(WAIT_MAX)).await;
        // The token may have been withdrawn meanwhile.
        require(&app, &headers, Scope::Directory)?;
    }
    let mut response = answer(&app, &headers, &query, &token).await?;
    if !slot.retake() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// `wait` of a `Prefer` header, in whole seconds.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().parse().ok()).flatten()
    });
    seconds.map(Duration::from_secs)
}

/// Returns once another version than `known` is in force, or another catalogue than the gateway has; after `wait`; and at once if
/// there is no room or the server stops.
async fn wait_for_another(app: &App, slot: &Slot, (known, headers): (&str, &HeaderMap), wait: Duration) {
    let (mut changed, waiters) = (app.0.directory.subscribe(), &app.0.waiters);
    let mut recatalogued = app.0.catalogue.subscribe();
    let is_current = || app.0.directory.current().version() == known && !catalogue::lacks_catalogue(app, headers);
    if !is_current() {
        return;
    }
    let Ok(_room) = waiters.room.try_acquire() else {
        app.0.metrics.directory_wait_refused();
        return;
    };
    slot.leave();
    let _counted = Counted::new(app.0.metrics.directory_waiting());
    let another = async {
        while is_current() {
            let is_open = tokio::select! {
                change = changed.changed() => change.is_ok(),
                change = recatalogued.changed() => change.is_ok(),
            };
            if !is_open {
                return;
            }
            tokio::time::sleep(GATHER).await;
        }
    };
    tokio::select! {
        () = another => {}
        () = tokio::time::sleep(wait) => {}
        () = until(waiters.stopped.subscribe()) => {}
    }
}

/// Counts a waiting call until it is dropped, as it is if its client goes.
struct Counted(UnsignedGauge);

impl Counted {
    fn new(gauge: UnsignedGauge) -> Self {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn answer(app: &App, headers: &HeaderMap, query: &DirectoryQuery, token: &Token) -> Result<Response, ApiError> {
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let difference = match query {
        DirectoryQuery { from: None, since: Some(since), .. } => app.0.directory.difference(since).map_err(internal)?,
        _ => None,
    };
    let (snapshot, page) = match difference {
        Some(difference) => (difference.to, Some(difference.page)),
        None => (app.0.directory.current(), None),
    };
    tracing::debug!(token = token.name, version = snapshot.version(), since = ?query.since, "the directory was fetched");
    app.0.seen.fetched(token.name.clone(), app.0.clock.now(), snapshot.version());
    let etag = format!("\"{}\"", snapshot.version());
    let lacking = catalogue::lacking(app, headers);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let etag = HeaderValue::from_str(&etag).map_err(|error| ApiError::internal(&error))?;
    if known && lacking.is_empty() {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let page = match page {
        Some(page) => page,
        None => snapshot.state().page(query.from.as_deref()).map_err(internal)?.into(),
    };
    let page = for_gateway(page, headers).map_err(internal)?;
    let page = lacking.added_to(with_keys(app, headers, token, page).await?);
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::ETAG, etag), (header::CONTENT_TYPE, json)], page).into_response())
}

/// Whether a gateway reads an addition to the directory; one of a version before refuses it.
fn knows(headers: &HeaderMap, addition: &str) -> bool {
    let values = headers.get_all(stage::KNOWS_HEADER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim() == addition)
}

/// The page with the tenants' own keys sealed to the worker that asks, if it may have them.
async fn with_keys(app: &App, headers: &HeaderMap, token: &Token, page: Bytes) -> Result<Bytes, ApiError> {
    // First: a malformed key is refused whatever stands on the page.
    let Some((mut sender, vault)) = byok::recipient(app, headers, token)? else { return Ok(page) };
    if !knows(headers, KNOWS_VAULT) || !has_any(&page, &[PROVIDER_KEYS]) {
        return Ok(page);
    }
    let internal = |error: serde_json::Error| ApiError::internal(&error);
    let mut shown: Page = serde_json::from_slice(&page).map_err(internal)?;
    let store = Arc::clone(&app.0.kept);
    let sealing = tokio::task::spawn_blocking(move || {
        byok::hand_over(&store, &vault.ring, &mut sender, &mut shown).map(|()| shown)
    });
    let shown = sealing.await.map_err(|error| ApiError::internal(&error))??;
    serde_json::to_vec(&shown).map(Bytes::from).map_err(internal)
}

/// How the field of a tenant's own keys begins on a page.
const PROVIDER_KEYS: &str = "\"provider_keys\":";

/// Whether one of these fields stands on a page. A text on the page does not look like one: its quotes are escaped.
fn has_any(page: &[u8], fields: &[&str]) -> bool {
    std::str::from_utf8(page).map_or(true, |text| fields.iter().any(|field| text.contains(field)))
}

/// A moment at which every key had expired that has one.
const LONG_PAST: Timestamp = Timestamp::from_secs(1);

/// The page without what the gateway does not read.
fn for_gateway(page: Bytes, headers: &HeaderMap) -> Result<Bytes, serde_json::Error> {
    let words = [KNOWS_STAGES, KNOWS_HARD_BUDGETS, KNOWS_VAULT, KNOWS_FLAGS, KNOWS_PLACEMENT, KNOWS_SCOPES];
    let [stages, hard, vault, flags, placement, scopes] = words.map(|word| knows(headers, word));
    let further = knows(headers, KNOWS_FURTHER_STAGES);
    let mut unread = Vec::new();
    unread.extend((!stages).then_some("\"stages\":"));
    unread.extend((!further).then_some("\"further_stages\":"));
    unread.extend((!hard).then_some("\"hard_budgets\":"));
    unread.extend((!flags).then_some("\"flags\":"));
    unread.extend([PROVIDER_KEYS, "\"house_key\":"].into_iter().filter(|_| !vault));
    unread.extend((!placement).then_some("\"placement\":"));
    unread.extend((!scopes).then_some("\"scopes\":"));
    if !has_any(&page, &unread) {
        return Ok(page);
    }
    let mut shown: Page = serde_json::from_slice(&page)?;
    if !flags {
        shown.flags.clear();
    }
    for tenant in &mut shown.tenants {
        if !stages {
            tenant.stages.clear();
        }
        if !further {
            tenant.further_stages.clear();
        }
        if !hard {
            tenant.hard_budgets.clear();
        }
        if !vault {
            (tenant.provider_keys, tenant.house_key) = (Vec::new(), false);
        }
        if !placement {
            tenant.placement = None;
        }
        if !scopes {
            end_confined_keys(tenant);
        }
    }
    serde_json::to_vec(&shown).map(Bytes::from)
}

/// Lets the keys that have scopes expire, for a gateway that would serve them without.
fn end_confined_keys(tenant: &mut Tenant) {
    for key in tenant.keys.iter_mut().filter(|key| key.scopes.is_some()) {
        (key.scopes, key.expires) = (None, Some(LONG_PAST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_gets_only_the_additions_that_it_reads() {
        let stage = r#"[{"budget":"b","stage":"warn","used_permille":800}]"#;
        let hard = r#"[{"budget":"h","of":"tokens","amount":5,"starts":"2026-11-28T00:00:00.000Z"}]"#;
        let own = r#""provider_keys":[{"provider":"openai","version":1,"sealed_bytes":64}],"house_key":true"#;
        let tenant = format!(
            r#"{{"id":"acme","plan":"p","stages":{stage},"further_stages":{stage},"hard_budgets":{hard},{own},"placement":{{"region":"eu"}}}}"#
        );
        let flags = r#"{"beta":{"type":"bool","default":true}}"#;
        let page = Bytes::from(format!(r#"{{"version":"v","flags":{flags},"tenants":[{tenant}]}}"#));
        let told = |knows: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(stage::KNOWS_HEADER, HeaderValue::from_static(knows));
            let told = for_gateway(page.clone(), &headers).expect("a page");
            let told = String::from_utf8_lossy(&told).into_owned();
            let fields =
                ["\"stages", "further_stages", "hard_budgets", "provider_keys", "house_key", "beta", "placement"];
            fields.map(|field| told.contains(field))
        };
        assert_eq!(told("other"), [false; 7]);
        assert_eq!(told("other, stages"), [true, false, false, false, false, false, false]);
        assert_eq!(told("further_stages"), [false, true, false, false, false, false, false]);
        assert_eq!(told("stages,hard_budgets"), [true, false, true, false, false, false, false]);
        assert_eq!(told("vault"), [false, false, false, true, true, false, false]);
        assert_eq!(told("flags"), [false, false, false, false, false, true, false]);
        assert_eq!(told("placement"), [false, false, false, false, false, false, true]);
        assert_eq!(told("stages,further_stages,hard_budgets,vault,flags,placement"), [true; 7]);
    }

    #[test]
    fn a_gateway_that_reads_no_scopes_is_told_that_confined_keys_have_expired() {
        let key = |rest: &str| format!(r#"{{"id":"k","sha256":"{}"{rest}}}"#, "a".repeat(64));
        let tenant = format!(r#"{{"id":"acme","plan":"p","keys":[{},{}]}}"#, key(r#","scopes":["chat"]"#), key(""));
        let page = Bytes::from(format!(r#"{{"version":"v","tenants":[{tenant}],"totals":{{"tenants":1,"keys":2}}}}"#));
        let told = |knows: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(stage::KNOWS_HEADER, HeaderValue::from_static(knows));
            let told = for_gateway(page.clone(), &headers).expect("a page");
            let told: Page = serde_json::from_slice(&told).expect("a page");
            told.tenants[0].keys.iter().map(|key| (key.scopes.is_some(), key.expires)).collect::<Vec<_>>()
        };
        assert_eq!(told("stages"), [(false, Some(LONG_PAST)), (false, None)]);
        assert_eq!(told("scopes"), [(true, None), (false, None)]);
    }

    #[test]
    fn the_wait_is_read_from_prefer_whatever_else_is_preferred() {
        let wait = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", value.parse().expect("a value"));
            }
            preferred_wait(&headers)
        };
        assert_eq!(wait(&["respond-async, Wait = 25"]), Some(Duration::from_secs(25)));
        assert_eq!(wait(&["respond-async", "wait=5"]), Some(Duration::from_secs(5)));
        assert_eq!((wait(&[]), wait(&["wait"]), wait(&["wait=soon"])), (None, None, None));
    }
}
