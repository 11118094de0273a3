//! What gateways learn of the tenants: a state, cut into pages, and what differs between two states.
use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use weir_contract::TenantId;
use weir_contract::directory::{PAGE_MAX_BYTES, Revoked, Tenant, Totals};

/// What a page's frame takes at most: versions, cursor, sums, punctuation, in bytes.
const FRAME_MAX_BYTES: usize = 512;

/// All tenants at one moment.
#[derive(Debug, Default)]
pub struct State {
    version: String,
    /// In the file's order, each as it is sent.
    rows: Vec<(TenantId, Box<RawValue>)>,
    by_id: HashMap<TenantId, usize>,
    revoked: Revoked,
    totals: Totals,
    /// The rows of each page; at least one page.
    pages: Vec<Range<usize>>,
}

/// [`weir_contract::directory::Page`], its tenants written already.
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
    /// Of tenants that are in order.
    pub fn new(tenants: &[Tenant], revoked: Revoked) -> Result<Self, serde_json::Error> {
        let mut state = State { revoked, ..State::default() };
        let mut hash = Sha256::new();
        for tenant in tenants {
            let json = serde_json::value::to_raw_value(tenant)?;
            hash.update(json.get());
            state.totals = Totals { tenants: state.totals.tenants + 1, keys: state.totals.keys + tenant.keys.len() };
            state.by_id.insert(tenant.id.clone(), state.rows.len());
            state.rows.push((tenant.id.clone(), json));
        }
        let revoked = serde_json::to_vec(&state.revoked)?;
        if !state.revoked.is_empty() {
            hash.update(&revoked);
        }
        // 64 bits tell versions apart; nobody gains by forging one.
        state.version = hex::encode(&hash.finalize()[..8]);
        state.cut(revoked.len());
        Ok(state)
    }

    /// Cuts it into pages of at most [`PAGE_MAX_BYTES`]. A tenant is never cut in two; what is revoked stands on the first
    /// page, whole.
    fn cut(&mut self, revoked_bytes: usize) {
        let (mut start, mut bytes) = (0, FRAME_MAX_BYTES + revoked_bytes);
        for (at, (_, json)) in self.rows.iter().enumerate() {
            let size = json.get().len() + 1;
            if bytes + size > PAGE_MAX_BYTES && at > start {
                self.pages.push(start..at);
                (start, bytes) = (at, FRAME_MAX_BYTES);
            }
            bytes += size;
        }
        self.pages.push(start..self.rows.len());
    }

    /// A hash of everything gateways learn.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A page by its cursor: none is the first. A cursor of another version starts again from the first page.
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
            tenants: rows.iter().map(|(_, json)| &**json).collect(),
            ..Sent::default()
        })
    }

    /// The tenants that `next` has otherwise than this state, or not at all, or alone; None where they are more than `max`.
    pub fn changes(&self, next: &State, max: usize) -> Option<Vec<TenantId>> {
        let gone = self.rows.iter().filter(|(id, _)| !next.by_id.contains_key(id));
        let other = next.rows.iter().filter(|(id, json)| self.json(id).is_none_or(|old| old.get() != json.get()));
        let changes: Vec<_> = gone.chain(other).map(|(id, _)| id.clone()).take(max + 1).collect();
        (changes.len() <= max).then_some(changes)
    }

    /// The difference to the version `since`, in which these tenants were otherwise; None where it does not fit on a page.
    pub fn difference<'a>(
        &self,
        since: &str,
        changed: impl Iterator<Item = &'a TenantId>,
    ) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let (mut tenants, mut removed) = (Vec::new(), Vec::new());
        for id in changed {
            match self.json(id) {
                Some(json) => tenants.push(json),
                None => removed.push(id),
            }
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

    fn json(&self, id: &TenantId) -> Option<&RawValue> {
        let (_, json) = self.rows.get(*self.by_id.get(id)?)?;
        Some(json)
    }
}
