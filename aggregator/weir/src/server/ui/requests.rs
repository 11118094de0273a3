//! Single requests: by an event's id, by the gateway's or the provider's id or that of a trace, or those behind a sum.
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use weir_contract::Timestamp;
use weir_dashboard::{Block, Cell, Field, Form, Href, Kind, Section, Table, Tone};

use super::asked::{self, Ask};
use super::guard::Staff;
use super::words::tenant_link;
use super::{UiError, page};
use crate::cost_events::{END, EventCost, EventCostQuery, Latest};
use crate::lookup::{EventView, EventsQuery};
use crate::server::error::ApiError;
use crate::server::{App, money, read};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What the address says. Empty values say nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// An event's id.
    event: String,
    /// The gateway's id of a request, the provider's of an answer, or that of a trace.
    id: String,
    /// How far back an id is looked for: `day` (also if absent), `week` or `all`.
    back: String,
    tenant: String,
    model: String,
    class: String,
    route: String,
    feature: String,
    prompt_version: String,
    environment: String,
    credential: String,
    plan: String,
    /// Only requests counted in hours from this moment on, and before the next one.
    from: String,
    to: String,
    /// Only requests before this place in the log: the cursor of the page with later ones.
    before: String,
}

/// The first parameters of [`Asked::named`], which people see and change.
const SHOWN_AS_FIELDS: usize = 3;

pub(super) async fn get_page(
    State(app): State<App>,
    staff: Staff,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let since = asked.since(app.0.clock.now())?;
    let text = |text: &str| Kind::Text(text.to_owned());
    let find = |fields, words| Block::Form(Form::ask(Section::Requests.href(), fields, words));
    // What a link of another page asks for stays, and is said.
    let more = asked.named().into_iter().skip(SHOWN_AS_FIELDS).map(|(name, value)| Field::hidden(name, value));
    let mut blocks = vec![
        find(vec![Field::optional("event", "Event id", text(&asked.event))], "Show the event"),
        find(vec![Field::optional("id", "Request id, response id or trace id", text(&asked.id))], "Find"),
        find(
            vec![
                Field::optional("tenant", "Tenant", text(&asked.tenant)),
                Field::optional("model", "Model", text(&asked.model)),
                Field::optional("feature", "Feature", text(&asked.feature)),
            ]
            .into_iter()
            .chain(more)
            .collect(),
            "List",
        ),
    ];
    let further: Vec<String> =
        asked.named().into_iter().skip(SHOWN_AS_FIELDS).map(|(name, value)| format!("{name} {value}")).collect();
    if !further.is_empty() {
        let all = Section::Requests.href().with("tenant", &asked.tenant);
        blocks.push(Block::Paragraph(format!("Only requests with {}.", further.join(", "))));
        blocks.push(Block::Tabs("All of the tenant".to_owned(), vec![("Without that".to_owned(), all, false)]));
    }
    if !asked.event.is_empty() {
        blocks.extend(event(&read::event(&app, asked.event.trim()).await?));
    } else if !asked.id.is_empty() {
        let query = EventsQuery { id: asked.id.trim().to_owned(), from: since, to: None };
        blocks.push(asked.how_far());
        blocks.push(Block::Table(found(&read::events(&app, query).await?)));
    } else {
        blocks.extend(list(&app, &asked).await?);
    }
    Ok(page(&app, &staff, Section::Requests, "Requests", blocks))
}

/// Every decision about a request, as its event says it, and what it cost.
fn event(view: &EventView) -> Vec<Block> {
    let data = &view.event["data"];
    let plain = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Cell::Missing,
        serde_json::Value::String(text) => Cell::text(text),
        other => Cell::Code(other.to_string()),
    };
    let of = |field: &'static str| plain(&data[field]);
    let tenant = view.event["subject"].as_str().map_or(Cell::Missing, tenant_link);
    let facts = vec![
        ("Tenant", tenant),
        ("When", view.event["time"].as_str().and_then(Timestamp::parse).map_or(Cell::Missing, Cell::Time)),
        ("Outcome", of("outcome")),
        ("Status", of("status")),
        ("Who: credential", of("credential_id")),
        ("Plan", of("plan")),
        ("Class", of("class")),
        ("Route", of("route")),
        ("Feature", of("feature")),
        ("Model asked for", of("request_model")),
        ("Model that served", of("response_model")),
        ("Provider", of("provider")),
        ("Why this one", of("routed")),
        ("Budget", of("budget")),
        ("Its stage", of("budget_stage")),
        ("Flags", of("flags")),
        ("Usage", of("usage")),
        ("Request id", of("request_id")),
        ("Response id", of("response_id")),
        ("Trace", trace(data)),
        ("Span that sent it", of("span_id")),
        ("Received", view.received_at.into()),
        ("Counted in the hour", view.window.into()),
        ("Record of the log", view.position.into()),
    ];
    let facts = facts.into_iter().filter(|(_, cell)| !matches!(cell, Cell::Missing)).collect();
    let mut blocks = vec![Block::Facts("The request".to_owned(), facts)];
    if view.counted_before {
        let told = "The provider keeps the answer, and its usage was counted with an earlier event: this one has none.";
        blocks.push(Block::Notice(Tone::Plain, told.to_owned()));
    }
    let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap_or_default();
    blocks.extend(view.cost.as_ref().map(|cost| Block::Text("What it cost, line by line".to_owned(), pretty(cost))));
    blocks.push(Block::Text("The event as received".to_owned(), pretty(&view.event)));
    blocks
}

/// A request's trace, which leads to the other requests of it.
fn trace(data: &serde_json::Value) -> Cell {
    let link = |id| Cell::link(id, Section::Requests.href().with("id", id));
    data["trace_id"].as_str().map_or(Cell::Missing, link)
}

fn event_link(id: &str) -> Cell {
    Cell::link(id, Section::Requests.href().with("event", id))
}

fn found(events: &[EventView]) -> Table {
    let rows = events.iter().map(|view| {
        let of = |field: &str| Cell::maybe(view.event["data"][field].as_str());
        let id = view.event["id"].as_str().map_or(Cell::Missing, event_link);
        let tenant = view.event["subject"].as_str().map_or(Cell::Missing, tenant_link);
        vec![
            id,
            view.received_at.into(),
            tenant,
            of("outcome"),
            of("request_model"),
            of("response_model"),
            of("provider"),
        ]
    });
    let columns = ["Event", "Received", "Tenant", "Outcome", "Model asked for", "Model that served", "Provider"];
    let empty = "No event of this time in the log has this request id, response id or trace id. The log keeps events for `log_retention`.";
    Table::new("Events of this id", &columns, empty).rows(rows)
}

/// The latest requests that fit, a page at a time.
async fn list(app: &App, asked: &Asked) -> Result<Vec<Block>, UiError> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let query = EventCostQuery {
        from: asked::moment("from", &asked.from)?,
        to: asked::moment("to", &asked.to)?,
        tenant: some(&asked.tenant),
        model: some(&asked.model),
        class: some(&asked.class),
        route: some(&asked.route),
        feature: some(&asked.feature),
        prompt_version: some(&asked.prompt_version),
        environment: some(&asked.environment),
        credential: some(&asked.credential),
        plan: some(&asked.plan),
        ..EventCostQuery::default()
    };
    let mut latest = money::latest(app, query.clone(), asked.before.clone()).await?;
    if latest.events.is_empty() && latest.later && asked.before.is_empty() {
        // What was read late or sent again stands behind its hour.
        latest = money::latest(app, query, END.to_owned()).await?;
    }
    let columns = ["Event", "When", "Tenant", "Model", "Outcome", "Input tokens", "Output tokens", "Cost"];
    let empty = "No request fits in the part of the event log that was looked at.";
    let table = Table::new("Requests, the latest first", &columns, empty).rows(latest.events.iter().map(row));
    let mut blocks = vec![Block::Table(table)];
    blocks.extend(
        latest.since.map(|since| Block::Facts("What was looked at".to_owned(), vec![("Received since", since.into())])),
    );
    blocks.extend(further(asked, &latest));
    if latest.further.is_none() && latest.is_pruned {
        let told =
            "Older events are no longer in the log, which keeps them for `log_retention`: only their sums stand.";
        blocks.push(Block::Paragraph(told.to_owned()));
    }
    Ok(blocks)
}

/// Links to other parts of the log: what comes before, and what came late.
fn further(asked: &Asked, latest: &Latest) -> Option<Block> {
    let before = |words: String, cursor: &str| (words, asked.href().with("before", cursor), false);
    let mut links: Vec<_> = latest.further.iter().map(|cursor| before("Further back".to_owned(), cursor)).collect();
    links.extend(latest.earlier.as_ref().map(|(window, cursor)| {
        before(format!("To the last hour before with requests of {}: {window}", asked.tenant), &cursor.to_string())
    }));
    links.extend(latest.later.then(|| before("Received later than that".to_owned(), END)));
    (!links.is_empty()).then(|| Block::Tabs("Other requests".to_owned(), links))
}

fn row(event: &EventCost) -> Vec<Cell> {
    let cost = match (event.cost, event.currency) {
        (Some(cost), Some(currency)) => Cell::amount(cost, currency),
        _ => Cell::Missing,
    };
    vec![
        event_link(&event.id),
        event.time.into(),
        tenant_link(&event.tenant),
        Cell::maybe(event.dimensions.get("model").cloned()),
        if event.failed { Cell::status(&event.outcome, Tone::Bad) } else { Cell::text(&event.outcome) },
        event.input_tokens.into(),
        event.output_tokens.into(),
        cost,
    ]
}

impl Asked {
    /// From when on the log is read for an id: it has no index of them, so that a day takes a part of the time.
    fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
        let days = match asked::one_of("back", &self.back, &["day", "week", "all"])? {
            "all" => return Ok(None),
            "week" => 7,
            _ => 1,
        };
        Ok(Some(Timestamp::from_millis(now.as_millis().saturating_sub(days * DAY_MS))))
    }

    /// Links that look for the same id further back.
    fn how_far(&self) -> Block {
        let here = if matches!(self.back.as_str(), "week" | "all") { &self.back } else { "day" };
        let link = |(words, back): (&str, &str)| {
            let href = Section::Requests.href().with("id", &self.id).with("back", back);
            (words.to_owned(), href, back == here)
        };
        let spans =
            [("Received in the last day", "day"), ("In the last week", "week"), ("In the whole log (slow)", "all")];
        Block::Tabs("How far back".to_owned(), spans.map(link).into())
    }

    /// What is asked of requests, by name: first what the form shows as fields, all of them; then what else is given.
    fn named(&self) -> Vec<(&'static str, &String)> {
        let Asked {
            tenant, model, class, route, feature, prompt_version, environment, credential, plan, from, to, ..
        } = self;
        let shown = [("tenant", tenant), ("model", model), ("feature", feature)];
        let more = [
            ("class", class),
            ("route", route),
            ("prompt_version", prompt_version),
            ("environment", environment),
            ("credential", credential),
            ("plan", plan),
            ("from", from),
            ("to", to),
        ];
        shown.into_iter().chain(more.into_iter().filter(|(_, value)| !value.is_empty())).collect()
    }

    /// The address that asks the same of the latest requests.
    fn href(&self) -> Href {
        let given = self.named().into_iter().filter(|(_, value)| !value.is_empty());
        given.fold(Section::Requests.href(), |href, (name, value)| href.with(name, value))
    }
}
