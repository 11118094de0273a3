//! Cuts the tenants into pages for gateways, and finds the difference between two states.
use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use weir_contract::TenantId;
use weir_contract::directory::{DIFFERENCE_MAX_ROWS, PAGE_MAX_BYTES, Revoked, Tenant, Totals};

/// The most bytes of a page beside its tenants: versions, cursor, totals, punctuation.
const FRAME_MAX_BYTES: usize = 512;

/// All tenants at one moment.
#[derive(Debug, Default)]
pub struct State {
    version: String,
    /// The tenants in the file's order.
    rows: Vec<Row>,
    by_id: HashMap<TenantId, usize>,
    revoked: Revoked,
    totals: Totals,
    /// The rows of each page; at least one page.
    pages: Vec<Range<usize>>,
}

/// A tenant.
#[derive(Debug)]
struct Row {
    id: TenantId,
    keys: usize,
    /// The tenant as sent.
    json: Box<RawValue>,
}

/// [`weir_contract::directory::Page`] with its tenants already serialized.
#[derive(Debug, Default, Serialize)]
struct Sent<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<&'a Revoked>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    removed: &'a [&'a TenantId],
    tenants: Vec<&'a RawValue>,
}

impl State {
    /// The state of these tenants, which the caller has checked.
    pub fn new(tenants: &[Tenant], revoked: Revoked) -> Result<Self, serde_json::Error> {
        let mut state = State { revoked, ..State::default() };
        let mut hash = Sha256::new();
        for tenant in tenants {
            let json = serde_json::value::to_raw_value(tenant)?;
            hash.update(json.get());
            state.totals = Totals { tenants: state.totals.tenants + 1, keys: state.totals.keys + tenant.keys.len() };
            state.by_id.insert(tenant.id.clone(), state.rows.len());
            state.rows.push(Row { id: tenant.id.clone(), keys: tenant.keys.len(), json });
        }
        let revoked = if state.revoked.is_empty() { Vec::new() } else { serde_json::to_vec(&state.revoked)? };
        hash.update(&revoked);
        // 64 bits distinguish versions well enough: a collision on purpose has no use.
        state.version = hex::encode(&hash.finalize()[..8]);
        state.cut(revoked.len());
        Ok(state)
    }

    /// Splits the state into pages of at most [`PAGE_MAX_BYTES`]. A tenant is never split; the first page carries all
    /// revocations.
    fn cut(&mut self, revoked_bytes: usize) {
        let (mut start, mut bytes) = (0, FRAME_MAX_BYTES + revoked_bytes);
        for (at, row) in self.rows.iter().enumerate() {
            let size = row.json.get().len() + 1;
            let holds_something = bytes > FRAME_MAX_BYTES;
            if bytes + size > PAGE_MAX_BYTES && holds_something {
                self.pages.push(start..at);
                (start, bytes) = (at, FRAME_MAX_BYTES);
            }
            bytes += size;
        }
        self.pages.push(start..self.rows.len());
    }

    /// The first tenant that fits on no page, keys included.
    pub fn too_large(&self) -> Option<&TenantId> {
        let max = PAGE_MAX_BYTES - FRAME_MAX_BYTES - 1;
        self.rows.iter().find(|row| row.json.get().len() > max).map(|row| &row.id)
    }

    /// A hash of everything that gateways receive.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A page by its cursor; None is the first page. A cursor of another version starts again at the first page.
    pub fn page(&self, cursor: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
        let number = cursor
            .and_then(|cursor| cursor.split_once('.'))
            .filter(|(version, _)| *version == self.version)
            .and_then(|(_, number)| number.parse::<usize>().ok())
            .filter(|number| *number < self.pages.len())
            .unwrap_or(0);
        let rows = self.pages.get(number).and_then(|range| self.rows.get(range.clone())).unwrap_or_default();
        serde_json::to_vec(&Sent {
            version: &self.version,
            next: (number + 1 < self.pages.len()).then(|| format!("{}.{}", self.version, number + 1)),
            totals: self.totals,
            revoked: (number == 0 && !self.revoked.is_empty()).then_some(&self.revoked),
            tenants: rows.iter().map(|row| &*row.json).collect(),
            ..Sent::default()
        })
    }

    /// Tenants that `next` adds, changes or removes; None if they are more than `max`.
    pub fn changes(&self, next: &State, max: usize) -> Option<Vec<TenantId>> {
        let gone = self.rows.iter().filter(|row| !next.by_id.contains_key(&row.id));
        let is_other = |row: &&Row| self.row(&row.id).is_none_or(|old| old.json.get() != row.json.get());
        let changes: Vec<_> =
            gone.chain(next.rows.iter().filter(is_other)).map(|row| row.id.clone()).take(max + 1).collect();
        (changes.len() <= max).then_some(changes)
    }

    /// The difference to the version `since`, in which the tenants `changed` were different. None if it exceeds a page
    /// or [`DIFFERENCE_MAX_ROWS`].
    pub fn difference<'a>(
        &self,
        since: &str,
        changed: impl Iterator<Item = &'a TenantId>,
    ) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let (mut tenants, mut removed, mut rows) = (Vec::new(), Vec::new(), 0);
        for id in changed {
            rows += 1;
            match self.row(id) {
                Some(row) => {
                    rows += row.keys;
                    tenants.push(&*row.json);
                }
                None => removed.push(id),
            }
        }
        if rows > DIFFERENCE_MAX_ROWS {
            return Ok(None);
        }
        let revoked = (!self.revoked.is_empty()).then_some(&self.revoked);
        let sent = Sent {
            version: &self.version,
            since: Some(since),
            totals: self.totals,
            revoked,
            removed: &removed,
            tenants,
            ..Sent::default()
        };
        let page = serde_json::to_vec(&sent)?;
        Ok((page.len() <= PAGE_MAX_BYTES).then_some(page))
    }

    fn row(&self, id: &TenantId) -> Option<&Row> {
        self.rows.get(*self.by_id.get(id)?)
    }
}
