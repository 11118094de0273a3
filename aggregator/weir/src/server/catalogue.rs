//! The catalogue of models and their live figures, as gateways get them with the directory.
//!
//! Each gateway says which version of both it has. One that lacks the catalogue in force is answered at once, with the parts before
//! the other members of the page; new figures wait for the next answer. See [`weir_contract::catalogue`].
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::http::HeaderMap;
use tokio::sync::watch;
use weir_contract::catalogue::{GATEWAY_HEADER, KNOWS_CATALOGUE, KNOWS_FIGURES, Known, NO_VERSION, REFUSES_CATALOGUE};
use weir_contract::directory::PAGE_MAX_BYTES;
use weir_contract::stage::KNOWS_HEADER;

use super::App;
use crate::config::catalogue::Catalogue;
use crate::figures::Measured;

/// The catalogue in force.
#[derive(Debug, Default)]
pub(super) struct CatalogueInForce {
    current: RwLock<Option<Arc<Catalogue>>>,
    changed: watch::Sender<()>,
}

/// What a gateway lacks.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// The catalogue, with None where there is none any more.
    catalogue: Option<Option<Arc<Catalogue>>>,
    figures: Option<Arc<Measured>>,
}

impl CatalogueInForce {
    pub(super) fn new(catalogue: Option<Catalogue>) -> Self {
        CatalogueInForce { current: RwLock::new(catalogue.map(Arc::new)), changed: watch::Sender::default() }
    }

    /// The catalogue in force, if there is one.
    pub(super) fn current(&self) -> Option<Arc<Catalogue>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sees every change from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn replace(&self, catalogue: Option<Catalogue>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = catalogue.map(Arc::new);
        self.changed.send_replace(());
    }
}

impl Lacking {
    /// Whether it is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.catalogue.is_none() && self.figures.is_none()
    }

    /// The page with these parts, as far as they fit: what does not goes with the next answer.
    pub(super) fn added_to(&self, page: Bytes) -> Bytes {
        let Some(rest) = page.strip_prefix(b"{") else { return page };
        let mut parts = String::from("{");
        let mut add = |name: &str, version: &str, content: &str| {
            let part = format!(r#""{name}":{{"version":"{version}","content":{content}}},"#);
            if parts.len() + part.len() + rest.len() <= PAGE_MAX_BYTES {
                parts.push_str(&part);
            }
        };
        match &self.catalogue {
            Some(Some(catalogue)) => add(KNOWS_CATALOGUE, &catalogue.version, &catalogue.json),
            Some(None) => add(KNOWS_CATALOGUE, NO_VERSION, "null"),
            None => {}
        }
        if let Some(figures) = &self.figures {
            add(KNOWS_FIGURES, &figures.version, &figures.json);
        }
        [parts.as_bytes(), rest].concat().into()
    }
}

/// The words by which a gateway says what it reads and has.
fn words(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(KNOWS_HEADER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether the gateway that asks lacks the catalogue in force, so that it should not wait.
pub(super) fn lacks_catalogue(app: &App, headers: &HeaderMap) -> bool {
    let current = app.0.catalogue.current();
    Known::among(words(headers), KNOWS_CATALOGUE).lacks(current.as_ref().map(|catalogue| catalogue.version.as_str()))
}

/// What the gateway that asks lacks of catalogue and figures.
pub(super) fn lacking(app: &App, headers: &HeaderMap) -> Lacking {
    let catalogue = lacks_catalogue(app, headers).then(|| app.0.catalogue.current());
    let figures = match Known::among(words(headers), KNOWS_FIGURES) {
        Known::Unread => None,
        known => Some(app.measured()).filter(|measured| known.lacks(Some(&measured.version))),
    };
    Lacking { catalogue, figures }
}

/// Remembers which catalogue the gateway that asks uses, or refuses.
pub(super) fn note(app: &App, headers: &HeaderMap) {
    let Some(gateway) = headers.get(GATEWAY_HEADER).and_then(|value| value.to_str().ok()) else { return };
    let version = match Known::among(words(headers), KNOWS_CATALOGUE) {
        Known::Unread | Known::Nothing => return,
        Known::Version(version) => version,
    };
    let refuses = words(headers).any(|word| word == REFUSES_CATALOGUE);
    app.0.seen.catalogue_used(gateway, version, refuses, app.0.clock.now());
}

/// Puts the catalogue of a changed configuration in force.
pub(super) fn reload(app: &App, catalogue: Option<Catalogue>) {
    if app.0.catalogue.current().as_deref() == catalogue.as_ref() {
        return;
    }
    let version = catalogue.as_ref().map_or(NO_VERSION, |catalogue| catalogue.version.as_str()).to_owned();
    app.0.catalogue.replace(catalogue);
    tracing::info!(version, "another catalogue of models is in force");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_before_the_members_of_a_page_and_stay_out_where_it_is_full() {
        let measured = Measured { version: "f1".to_owned(), json: "[]".to_owned() };
        let lacking = Lacking { catalogue: Some(None), figures: Some(Arc::new(measured)) };
        let page = lacking.added_to(Bytes::from_static(br#"{"version":"v","tenants":[]}"#));
        let expected = r#"{"catalogue":{"version":"none","content":null},"figures":{"version":"f1","content":[]},"version":"v","tenants":[]}"#;
        assert_eq!(page, expected);
        let full = Bytes::from(format!(r#"{{"version":"{}"}}"#, "v".repeat(PAGE_MAX_BYTES - 14)));
        assert_eq!(lacking.added_to(full.clone()), full);
    }
}
