//! Which form a request sent, and which page has it.
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use weir_dashboard::{Href, Section, names};

use super::asked::page_at;

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

/// The page that has the form of this address: the one that the browser names, if it is one of this server, else one that has such forms.
pub(super) fn page_of(path: &str, headers: &HeaderMap) -> Href {
    // A form that was refused is shown again at its own address, which is no page.
    let named = named_page(headers).filter(|page| page.as_str() != format!("/ui{path}"));
    named.unwrap_or_else(|| page_with_forms_of(path))
}

fn named_page(headers: &HeaderMap) -> Option<Href> {
    let of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (_, rest) = of(header::REFERER)?.split_once("://")?;
    let (host, page) = rest.split_at(rest.find('/')?);
    if of(header::HOST)?.eq_ignore_ascii_case(host) { page_at(page) } else { None }
}

fn page_with_forms_of(path: &str) -> Href {
    let segments = names(path);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["tenants", id, ..] => Href::to(&["tenants", id]),
        [section, ..] => Section::named(section).map_or(Href::to(&[]), Section::href),
        [] => Href::to(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_the_page_that_the_browser_names_if_it_is_ours() {
        let page = |referer: &str| {
            let pairs = [("host", "weir.example.com"), ("referer", referer)];
            let headers = pairs.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            page_of("/budgets/raise", &HeaderMap::from_iter(headers)).as_str().to_owned()
        };
        let own = "https://weir.example.com/ui/budgets/one?tenant=acme&budget=daily";
        assert_eq!(page(own), "/ui/budgets/one?tenant=acme&budget=daily");
        assert_eq!(page(&format!("{own}&done=raised")), "/ui/budgets/one?tenant=acme&budget=daily");
        assert_eq!(page("https://weir.example.com/ui/alerts?done=tested"), "/ui/alerts");
        for other in [
            "",
            "https://evil.example.com/ui/alerts",
            "https://weir.example.com",
            "https://weir.example.com/v1/usage",
            "https://weir.example.com/ui/budgets/raise",
            "https://weir.example.com//evil.example.com/ui/",
        ] {
            assert_eq!(page(other), "/ui/budgets", "{other}");
        }
    }
}
