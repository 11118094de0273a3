//! What went wrong, as a page in its frame: with the navigation and, where a form was refused, with the form again and what the person has
//! filled in. Only a form that came from a page of this session is shown again.
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use weir_dashboard::{Block, Form, Href, Page, Role, Section, names};

use super::guard::{Fields, person};
use super::sent::{Sent, page_of};
use super::{addresses, alerts, billing, budget, keys, provider_keys, tenant, tokens};
use crate::server::App;
use crate::server::error::ApiError;

/// What an answer says went wrong.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) words: String,
}

impl Told {
    pub(super) fn of(error: &ApiError) -> Self {
        let title = match error.status() {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "This is not yours to see or do",
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => "It did not work",
            _ => "This cannot be done as asked",
        };
        Told { title, words: error.to_string() }
    }
}

/// Shows errors in the frame of the person's other pages.
pub(super) async fn in_its_frame(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let sent = Sent::<Fields>::default();
    request.extensions_mut().insert(sent.clone());
    let (headers, path) = (request.headers().clone(), request.uri().path().to_owned());
    let is_form = request.method() == Method::POST;
    let mut response = next.run(request).await;
    let Some(told) = response.extensions_mut().remove::<Told>() else { return response };
    let Some(person) = person(&app, &headers) else { return response };
    let viewer = person.as_ref();
    let form = match sent.get() {
        // Whoever may not do it needs no form for it.
        Some(_) if response.status() == StatusCode::FORBIDDEN => None,
        Some(fields) => again(&app, &names(&path), fields).await,
        None => None,
    };
    let mut blocks = vec![Block::Wrong(told.words)];
    blocks.extend(form.map(Block::Form));
    let named = names(&path).first().and_then(|segment| Section::named(segment));
    let section = if viewer.role == Role::Tenant { Section::Own } else { named.unwrap_or(Section::Overview) };
    let (words, back) = match is_form {
        true if viewer.role == Role::Tenant => ("Back to the page", Section::Own.href()),
        true => ("Back to the page", page_of(&path, &headers)),
        false => ("To the first page", Href::to(&[])),
    };
    blocks.push(Block::Tabs("Back".to_owned(), vec![(words.to_owned(), back, false)]));
    let page = Page { title: told.title.to_owned(), section, at: app.0.clock.now(), blocks };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(page.render(viewer));
    response
}

/// The form again, with what the person has filled in. A tenant's version is the one that it has now: the page says what was changed
/// meanwhile.
async fn again(app: &App, segments: &[String], fields: &Fields) -> Option<Form> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let form = match segments[..] {
        ["tenants", id, what @ ("state" | "budget")] => {
            let (of, now) = (id.to_owned(), app.0.clock.now());
            let tenant = crate::server::tenants::kept(app, move |store| store.tenant(&of, now)).await.ok()?;
            if what == "state" { tenant::state_form(&tenant) } else { tenant::budget_form(&tenant) }
        }
        ["tenants", id, "keys"] => keys::new_form(&keys::Place::of(id)),
        ["own", "keys"] => keys::new_form(&keys::Place::own()),
        ["tenants", id, "provider-keys"] => provider_keys::form(id),
        ["own", "alert-addresses"] => addresses::new_form(),
        ["own", "alert-addresses", number, "prove"] => addresses::prove_form(number),
        ["budgets", "raise"] => budget::raise_form(fields.get("budget"), fields.get("tenant")),
        ["budgets", "pause"] => budget::pause_form(fields.get("budget"), fields.get("tenant")),
        ["billing", "settle"] => billing::settle_form(fields.number("row").ok()?),
        ["alerts", "ack"] => alerts::ack_form(fields.get("rule"), fields.get("subject")),
        ["alerts", "silence"] => alerts::silence_form(),
        ["tokens"] => tokens::new_form(),
        _ => return None,
    };
    let filled = |name: &str| if name == "version" { None } else { fields.optional(name) };
    Some(form.filled(filled))
}
