//! The single events behind a sum of costs, each with what it cost, in pages.
//!
//! Sums never come from here: the list reads the event log, which is pruned one day, and sums stay. A page reads a bounded part of the
//! log; where that holds fewer events than asked for, the page is short, and its cursor says where to go on.
mod latest;
mod line;
mod users;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weir_contract::flags::members;
use weir_contract::{Payload, Timestamp};
use weir_event_log::{LogReader, Position, Record};
use weir_ledger::LedgerError;
use weir_ledger::analysis::{DIMENSIONS, OTHER, dimensions};
use weir_ledger::books::BookIndex;
use weir_ledger::counted::Counted;
use weir_ledger::query::{LedgerReader, LogRef};
use weir_ledger::validate;
use weir_money::prices::Book;

pub(crate) use latest::{END, Latest, latest};
pub(crate) use line::EventCost;
pub(crate) use users::{RecentUsers, recent_users};

use crate::lookup::{LookupError, plain};
use crate::store::DataDir;

/// Events of a page where the question does not say.
pub(crate) const LIMIT_DEFAULT: usize = 100;
/// The most events of a page.
pub(crate) const LIMIT_MAX: usize = 1_000;
/// Bytes of the log that one read returns, uncompressed.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of the log that a page reads, uncompressed: about a second's work.
const PAGE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Price books that are kept in memory at a time.
const BOOKS_MAX: usize = 8;
/// The value that asks for requests without a value of the dimension.
const NO_VALUE: &str = "(none)";

/// `GET /v1/cost/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventCostQuery {
    /// Only this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// From this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only this model, as sums name it; `(none)` asks for requests without one. The same for the other dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Only requests that saw this feature flag as true, or with a value, as events write it: `use-claude`, `use-claude=?0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Only requests that used something without a price.
    #[serde(default)]
    pub unpriced: bool,
    /// Only requests that failed.
    #[serde(default)]
    pub failed: bool,
    /// The cursor of the page before: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Events of a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A page of events, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventCosts {
    /// The events.
    pub events: Vec<EventCost>,
    /// The cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The moment from which events are kept, if the span begins before it: older events are gone, and only their sums stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_since: Option<Timestamp>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum EventCostsError {
    /// The files cannot be read.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The question is not valid.
    #[error("{0}")]
    Question(String),
    /// The span is empty.
    #[error("the span ends before or where it begins")]
    Span,
}

impl From<LedgerError> for EventCostsError {
    fn from(error: LedgerError) -> Self {
        EventCostsError::Lookup(error.into())
    }
}

impl EventCostQuery {
    /// The values that are asked for, in the order of [`DIMENSIONS`].
    fn values(&self) -> [&Option<String>; DIMENSIONS.len()] {
        let EventCostQuery { model, class, route, feature, prompt_version, environment, credential, plan, .. } = self;
        [model, class, route, feature, prompt_version, environment, credential, plan]
    }

    fn check(&self) -> Result<(usize, Cursor), EventCostsError> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        let question = |text: String| Err(EventCostsError::Question(text));
        if !(1..=LIMIT_MAX).contains(&limit) {
            return question(format!("`limit` is a number from 1 to {LIMIT_MAX}"));
        }
        let other = |(_, value): &(&&str, &Option<String>)| value.as_deref() == Some(OTHER);
        if let Some((dimension, _)) = DIMENSIONS.iter().zip(self.values()).find(other) {
            return question(format!(
                "{OTHER} sums values of `{dimension}` beyond the bound; it has no events of its own"
            ));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(EventCostsError::Span);
        }
        match self.after.as_deref().map(Cursor::parse) {
            Some(None) => question("`after` is the `next` of the page before".to_owned()),
            Some(Some(cursor)) => Ok((limit, cursor)),
            None => Ok((limit, Cursor::default())),
        }
    }

    fn covers(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }
}

/// The place in the log after an item: a record, and how many of its items are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    position: Position,
    items: usize,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (position, items) = text.split_once('.')?;
        Some(Cursor { position: position.parse().ok().filter(|position| *position > 0)?, items: items.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.position, self.items)
    }
}

/// Reads a page of the events that were counted and fit a query.
pub(crate) fn page(home: &DataDir, query: &EventCostQuery) -> Result<EventCosts, EventCostsError> {
    let (limit, cursor) = query.check()?;
    let mut log = home.log_place().reader().map_err(LookupError::from)?;
    let mut search = Search::open(home, query, limit)?;
    search.cursor = cursor;
    let counted_up_to = search.ledger.position()?;
    let first = log.read_after(0, 1).map_err(LookupError::from)?.into_iter().next();
    search.note_what_is_gone(first.as_ref());
    let mut after = match cursor.position {
        0 => earliest(log.as_mut(), query)?,
        position => position - 1,
    };
    search.cursor.position = after + 1;
    let mut read = 0;
    while after < counted_up_to && read < PAGE_MAX_BYTES && search.page.events.len() < limit {
        let records = log.read_after(after, PIECE_BYTES).map_err(LookupError::from)?;
        let Some(last) = records.last() else { return Ok(search.page) };
        after = last.position;
        for record in records.iter().filter(|record| record.position <= counted_up_to) {
            read += record.body.len();
            if search.is_over(record) {
                return Ok(search.page);
            }
            search.record(record)?;
            if search.page.events.len() >= limit {
                break;
            }
        }
    }
    if search.cursor.position <= counted_up_to {
        search.page.next = Some(search.cursor.to_string());
    }
    Ok(search.page)
}

/// Whether a flag with its value is a member of the flags that a request saw. A text may hold what else stands between members.
fn saw(flags: Option<&str>, member: &str) -> bool {
    let Some(asked) = members(member).next() else { return false };
    flags.is_some_and(|flags| members(flags).any(|one| one == asked))
}

/// The last record before those that may hold events of the span: an event may be a day ahead of its receipt, and the clock may
/// have been set back.
fn earliest(log: &mut dyn LogReader, query: &EventCostQuery) -> Result<Position, EventCostsError> {
    let Some(from) = query.from else { return Ok(0) };
    let ahead = validate::AHEAD_MAX_MS + 24 * weir_contract::time::HOUR_MS;
    let from = Timestamp::from_millis(from.as_millis().saturating_sub(ahead));
    Ok(log.before(from).map_err(LookupError::from)?)
}

struct Search<'q> {
    query: &'q EventCostQuery,
    counted: Counted,
    index: BookIndex,
    ledger: LedgerReader,
    books: HashMap<i64, Option<Book>>,
    limit: usize,
    /// What is behind.
    cursor: Cursor,
    page: EventCosts,
}

impl<'q> Search<'q> {
    fn open(home: &DataDir, query: &'q EventCostQuery, limit: usize) -> Result<Self, EventCostsError> {
        let ledger = LedgerReader::open(home.ledger())?;
        Ok(Search {
            query,
            counted: Counted::open(&ledger)?,
            index: ledger.book_index()?,
            ledger,
            books: HashMap::new(),
            limit,
            cursor: Cursor::default(),
            page: EventCosts::default(),
        })
    }

    fn note_what_is_gone(&mut self, first: Option<&Record>) {
        let Some(first) = first.filter(|first| first.follows > 0) else { return };
        if self.query.from.is_none_or(|from| from < first.received_at) {
            self.page.kept_since = Some(first.received_at);
        }
    }

    /// Returns true if no event of this record and those after it can be in the span: what is older than the ids that were
    /// remembered then is refused.
    fn is_over(&self, record: &Record) -> bool {
        self.query.to.is_some_and(|to| record.forgotten_before > validate::day(to))
    }

    /// Returns true if a record, or an event, may be of the tenant: parsing it costs more.
    fn may_have(&self, text: &[u8]) -> bool {
        let needle = self.query.tenant.as_deref().and_then(plain);
        needle.is_none_or(|tenant| std::str::from_utf8(text).map_or(true, |text| text.contains(tenant)))
    }

    fn record(&mut self, record: &Record) -> Result<(), EventCostsError> {
        let done = if self.cursor.position == record.position { self.cursor.items } else { 0 };
        self.cursor = Cursor { position: record.position + 1, items: 0 };
        if record.format.is_of_readings() || !self.may_have(&record.body) {
            return Ok(());
        }
        let items = validate::split(record.format, &record.body).map_err(LookupError::from)?;
        for (item, raw) in items.into_iter().enumerate().skip(done) {
            let log_ref = LogRef { position: record.position, item };
            if let Some(event) = self.event(record, raw, log_ref)? {
                self.page.events.push(event);
            }
            if self.page.events.len() >= self.limit {
                self.cursor = Cursor { position: record.position, items: item + 1 };
                return Ok(());
            }
        }
        Ok(())
    }

    /// The event, if it was counted and fits the query.
    fn event(&mut self, record: &Record, raw: &[u8], log_ref: LogRef) -> Result<Option<EventCost>, EventCostsError> {
        if !self.may_have(raw) {
            return Ok(None);
        }
        let Ok(event) = validate::validate(raw, record.admission()) else { return Ok(None) };
        let (Some(tenant), Payload::Usage(data)) = (&event.subject, &event.payload) else { return Ok(None) };
        let is_of = |asked: &Option<String>, value: &str| {
            asked.as_deref().is_none_or(|asked| asked == value || asked == NO_VALUE && value.is_empty())
        };
        let values = dimensions(data);
        let fits = is_of(&self.query.tenant, tenant.as_str())
            && self.query.covers(event.time)
            && self.query.flag.as_deref().is_none_or(|flag| saw(data.flags.as_deref(), flag))
            && self.query.values().iter().zip(values).all(|(asked, value)| is_of(asked, value));
        if !fits || !self.counted.has(event.id, log_ref, &self.ledger)? {
            return Ok(None);
        }
        let counted = self.counted.data((event.id, tenant), data, &self.ledger)?;
        let number = self.index.number(log_ref.position, tenant, event.time.hour());
        let book = match number {
            Some(number) => self.book(number)?,
            None => None,
        };
        let mut line = EventCost::new(&event, &counted, values, book);
        line.counted_before = matches!(counted, Cow::Owned(_));
        let wanted = (!self.query.unpriced || !line.unpriced.is_empty()) && (!self.query.failed || line.failed);
        Ok(wanted.then_some(line))
    }

    fn book(&mut self, number: i64) -> Result<Option<&Book>, EventCostsError> {
        if !self.books.contains_key(&number) {
            if self.books.len() >= BOOKS_MAX {
                self.books.clear();
            }
            let wrong = |problem| LedgerError::Inconsistent(format!("price book {number}: {problem}"));
            let read = |text: String| Book::read(&text).map_err(|error| wrong(error.to_string()));
            let book = self.ledger.book(number)?.map(read).transpose()?;
            self.books.insert(number, book);
        }
        Ok(self.books.get(&number).and_then(Option::as_ref))
    }
}
