//! Which form a request sent, and which page has it.
use std::sync::{Arc, OnceLock};

use weir_dashboard::{Href, Section, names};

/// The parameter of the page that asks to sign in which says that the session of a form had ended.
pub(super) const ENDED: &str = "ended";

/// The form of a request, once it is known to come from a page of the session.
#[derive(Clone, Debug)]
pub(super) struct Sent<F>(Arc<OnceLock<F>>);

impl<F> Default for Sent<F> {
    fn default() -> Self {
        Sent(Arc::default())
    }
}

impl<F> Sent<F> {
    pub(super) fn note(&self, fields: F) {
        // A request has one form.
        let _ = self.0.set(fields);
    }

    pub(super) fn get(&self) -> Option<&F> {
        self.0.get()
    }
}

/// The page that has the form of this address.
pub(super) fn page_of(path: &str) -> Href {
    let segments = names(path);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["tenants", id, ..] => Href::to(&["tenants", id]),
        [section, ..] => Section::named(section).map_or(Href::to(&[]), Section::href),
        [] => Href::to(&[]),
    }
}
