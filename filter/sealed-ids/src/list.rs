//! Shows a tenant its own entries of a list of the whole account.
//!
//! The provider's page holds the entries of all tenants. It is asked for its largest page; other tenants' entries are taken
//! out, and what is left is cut to the page that the client asked for, so that the last entry shown says where the next page
//! begins. A page without an entry of its own would end the loops of the official clients, so the client is sent on
//! (307) to where the provider's page ends. Clients follow a bounded number of such steps, and then report an error: nothing is
//! left out in silence.
use serde_json::value::RawValue;

use crate::judge::{Guard, Sealer};
use crate::key::Use;
use crate::operation::{Listing, Paging};
use crate::owner::{self, Object};
use crate::percent;
use crate::rewrite::Rewriter;

/// The member with the token of the next page, where an API has tokens beside cursors (Anthropic's files).
const NEXT_PAGE: &str = "next_page";

/// A page of a list that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    listing: Listing,
    limit: usize,
    /// The path and query of the client, without where the page begins.
    target: String,
}

/// What a client is shown instead of the provider's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// This page.
    Page(Vec<u8>),
    /// Nothing on it is its own: the list goes on at this path.
    GoOn(String),
    /// It is no list that can be read.
    Unreadable,
}

impl Page {
    pub(crate) fn new(listing: Listing, limit: Option<usize>, path: &str, query: &str) -> Self {
        let usual = match listing.paging {
            Paging::After { usual, .. } => usual,
            Paging::None | Paging::Token { .. } => usize::MAX,
        };
        Page { listing, limit: limit.unwrap_or(usual), target: format!("{path}?{query}") }
    }

    /// What a tenant is shown of the provider's page.
    pub fn show(&self, sealer: &mut Sealer, body: &[u8]) -> Shown {
        self.filter(sealer.guard(), sealer.tenant(), body).map_or(Shown::Unreadable, |shown| match shown {
            Shown::Page(page) => seal(sealer, &page).map_or(Shown::Unreadable, Shown::Page),
            other => other,
        })
    }

    fn filter(&self, guard: &Guard, tenant: &str, body: &[u8]) -> Option<Shown> {
        let envelope = Object::read(body)?;
        let entries = match envelope.get(self.listing.entries) {
            Some(entries) => serde_json::from_str::<Vec<&RawValue>>(entries.get()).ok()?,
            // Gemini leaves out an empty list.
            None if matches!(self.listing.paging, Paging::Token { .. }) => Vec::new(),
            None => return None,
        };
        let last = entries.last().and_then(|entry| id_of(entry));
        let mut own: Vec<&RawValue> = entries.into_iter().filter(|entry| self.is_shown(entry, tenant)).collect();
        let has_more = envelope.get("has_more").is_some_and(|more| more.get() == "true");
        // Behind a cut, a page's token would leave entries out.
        let by_token = envelope.get(NEXT_PAGE).is_some();
        let is_cut = own.len() > self.limit && !by_token;
        if is_cut {
            own.truncate(self.limit);
        }
        if let (Paging::After { .. }, true, Some(token)) =
            (self.listing.paging, own.is_empty(), envelope.text(NEXT_PAGE))
        {
            return Some(self.go_on_behind("page", &token));
        }
        if let (Paging::After { name, .. }, true, true, Some(last)) =
            (self.listing.paging, own.is_empty(), has_more, last)
        {
            return self.go_on(guard, tenant, name, &last);
        }
        let page = self.write(&envelope, &own, is_cut || (has_more && !own.is_empty()));
        Some(Shown::Page(page.into_bytes()))
    }

    fn is_shown(&self, entry: &RawValue, tenant: &str) -> bool {
        let Some(object) = Object::read(entry.get().as_bytes()) else { return false };
        match self.listing.owner {
            Some(owner) => owner::is_own(&object, owner, tenant),
            None => object.text("id").is_some_and(|id| !id.trim().to_ascii_lowercase().starts_with("ft:")),
        }
    }

    fn go_on(&self, guard: &Guard, tenant: &str, name: &str, last: &str) -> Option<Shown> {
        let (prefix, _) = guard.dialect.kinds_of(last)?;
        let cursor = guard.keys.seal(Use::Cursor, tenant, last, prefix)?;
        Some(self.go_on_behind(name, &cursor))
    }

    fn go_on_behind(&self, name: &str, place: &str) -> Shown {
        let joint = if self.target.ends_with('?') { "" } else { "&" };
        Shown::GoOn(format!("{}{joint}{name}={}", self.target, percent::encode(place)))
    }

    /// The envelope around one's own entries.
    fn write(&self, envelope: &Object<'_>, own: &[&RawValue], has_more: bool) -> String {
        let entries = own.iter().map(|entry| entry.get()).collect::<Vec<_>>().join(",");
        let entries = format!("[{entries}]");
        let end = |entry: Option<&&RawValue>| {
            entry.and_then(|entry| id_of(entry)).map_or("null".to_owned(), |id| owner::quoted(&id))
        };
        let (first, last) = (end(own.first()), end(own.last()));
        let pages = matches!(self.listing.paging, Paging::After { .. });
        owner::write(envelope.0.iter().map(|(name, value)| match name.as_str() {
            name if name == self.listing.entries => (name, entries.as_str()),
            "first_id" if pages => ("first_id", first.as_str()),
            "last_id" if pages => ("last_id", last.as_str()),
            "has_more" if pages => ("has_more", if has_more { "true" } else { "false" }),
            name => (name, value.get()),
        }))
    }
}

fn id_of(entry: &RawValue) -> Option<String> {
    Object::read(entry.get().as_bytes())?.text("id")
}

/// A whole document with its ids sealed.
fn seal(sealer: &mut Sealer, document: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(document.len().saturating_mul(2));
    let mut rewriter = Rewriter::new(sealer.guard().dialect);
    rewriter.feed(document, sealer, &mut out).ok()?;
    rewriter.finish(&mut out);
    Some(out)
}
