//! What the address of a page asks. A page refuses what it does not know: it must not silently show something else.
use axum::extract::{FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;
use weir_contract::Timestamp;
use weir_contract::stage::Stage;
use weir_dashboard::Href;

use super::UiError;
use super::words::DONE;
use crate::server::App;
use crate::server::error::ApiError;

/// The parameters of an address.
#[derive(Debug)]
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Ask<T> {
    type Rejection = UiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, UiError> {
        let Query(asked) = Query::from_request_parts(parts, app).await.map_err(ApiError::from)?;
        Ok(Ask(asked))
    }
}

/// Takes the notice of an act out of an address that did not come from a page of this server: it would say what nobody has done.
/// Browsers name where an address comes from (<https://www.w3.org/TR/fetch-metadata/>), except to sites without TLS.
pub(super) async fn without_others_notice(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site");
    let is_ours = from.is_none_or(|from| from == "same-origin");
    match without(DONE, request.uri().query().unwrap_or_default()) {
        // Relative to the page's own address.
        Some(rest) if !is_ours => Redirect::to(&format!("?{rest}")).into_response(),
        _ => next.run(request).await,
    }
}

/// The page of this server that an address below `/ui` names, without what it says was done.
pub(super) fn page_at(address: &str) -> Option<Href> {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    match without(DONE, query) {
        Some(rest) if rest.is_empty() => Href::local(path),
        Some(rest) => Href::local(&format!("{path}?{rest}")),
        None => Href::local(address),
    }
}

/// The parameters of an address without one of them; None where it is not among them.
fn without(name: &str, query: &str) -> Option<String> {
    let is_it = |pair: &&str| pair.split('=').next() == Some(name);
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    query.split('&').any(|pair| is_it(&pair)).then(|| rest.join("&"))
}

/// A moment in UTC as people and browsers write it, with a zone or without one and without seconds; None where nothing is written.
pub(super) fn moment(name: &str, text: &str) -> Result<Option<Timestamp>, ApiError> {
    let text = text.trim();
    let parsed = Timestamp::parse(&format!("{text}:00Z")).or_else(|| Timestamp::parse(&format!("{text}Z")));
    let wrong = || ApiError::Request(format!("`{name}` is a date and a time in UTC, such as 2026-12-01T09:00:00Z"));
    (!text.is_empty()).then(|| parsed.or_else(|| Timestamp::parse(text)).ok_or_else(wrong)).transpose()
}

/// One of these words; the first where the address says nothing.
pub(super) fn one_of<'a>(name: &str, asked: &'a str, known: &[&'a str]) -> Result<&'a str, ApiError> {
    if asked.is_empty() {
        return Ok(known.first().copied().unwrap_or_default());
    }
    let found = known.iter().find(|word| **word == asked).copied();
    found.ok_or_else(|| ApiError::Request(format!("`{name}` is one of {}, not {asked:?}", known.join(", "))))
}

/// A stage; None where the address says nothing.
pub(super) fn stage(asked: &str) -> Result<Option<Stage>, ApiError> {
    let known = Stage::ALL.map(Stage::as_str);
    let named = if asked.is_empty() { None } else { Some(one_of("stage", asked, &known)?) };
    Ok(named.and_then(Stage::from_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_taken_out_of_an_address() {
        let rest = |query| without("done", query);
        assert_eq!(rest("tenant=acme&done=raised&by=x").as_deref(), Some("tenant=acme&by=x"));
        assert_eq!((rest("done=raised").as_deref(), rest("done").as_deref()), (Some(""), Some("")));
        assert_eq!((rest(""), rest("undone=1&by=done")), (None, None));
    }

    #[test]
    fn a_word_that_is_not_known_is_refused_with_those_that_are() {
        assert_eq!(one_of("back", "", &["day", "week"]).expect("the first"), "day");
        assert_eq!(one_of("back", "week", &["day", "week"]).expect("known"), "week");
        let told = one_of("back", "year", &["day", "week"]).expect_err("not known").to_string();
        assert_eq!(told, "`back` is one of day, week, not \"year\"");
        assert_eq!((stage("").expect("all"), stage("warn").expect("known")), (None, Some(Stage::Warn)));
        assert!(stage("zzz").is_err());
    }
}
