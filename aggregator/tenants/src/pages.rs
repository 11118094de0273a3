//! Cuts the tenants into pages for gateways, and finds the difference between two states.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use weir_contract::TenantId;
use weir_contract::directory::{DIFFERENCE_MAX_ROWS, PAGE_MAX_BYTES, Revoked, Tenant, Totals};
use weir_contract::flags::Flags;

/// The most bytes of a page beside its tenants: versions, cursor, totals, punctuation.
const FRAME_MAX_BYTES: usize = 640;
/// The bytes of `,"sealed":""`.
const SEALED_MEMBER_BYTES: usize = 12;

/// All tenants at one moment.
#[derive(Clone, Debug, Default)]
pub struct State {
    version: String,
    rows: Vec<Arc<Row>>,
    by_id: HashMap<TenantId, usize>,
    /// The sum of the digests of all rows, so that a changed tenant costs one digest and not all of them.
    digests: u128,
    revoked: Revoked,
    flags: Flags,
    totals: Totals,
    /// The rows of each page; at least one page. Empty until a page is asked for.
    pages: OnceLock<Vec<Range<usize>>>,
}

/// A tenant.
#[derive(Debug)]
struct Row {
    id: TenantId,
    keys: usize,
    /// How much longer it is for a gateway that the tenant's own keys at providers are handed to.
    handed_bytes: usize,
    /// The first 128 bits of the SHA-256 of `json`.
    digest: u128,
    /// The tenant as sent.
    json: Box<RawValue>,
}

impl Row {
    fn new(tenant: &Tenant) -> Result<Self, serde_json::Error> {
        let json = serde_json::value::to_raw_value(tenant)?;
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(json.get())[..16]);
        let digest = u128::from_be_bytes(digest);
        let handed_bytes = tenant.provider_keys.iter().map(|key| key.sealed_bytes as usize + SEALED_MEMBER_BYTES).sum();
        Ok(Row { id: tenant.id.clone(), keys: tenant.keys.len(), handed_bytes, digest, json })
    }

    /// The most bytes that it takes on a page.
    fn bytes(&self) -> usize {
        self.json.get().len() + self.handed_bytes
    }

    fn fits(&self) -> bool {
        self.bytes() < PAGE_MAX_BYTES - FRAME_MAX_BYTES
    }
}

/// Whether a tenant fits on a page.
pub(crate) fn fits(tenant: &Tenant) -> Result<bool, serde_json::Error> {
    Ok(Row::new(tenant)?.fits())
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
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<&'a Flags>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    removed: &'a [&'a TenantId],
    tenants: Vec<&'a RawValue>,
}

impl State {
    /// The state of these tenants, which the caller has checked.
    pub fn new(tenants: &[Tenant], revoked: Revoked) -> Result<Self, serde_json::Error> {
        let mut state = State { revoked, ..State::default() };
        for tenant in tenants {
            state.set(Row::new(tenant)?);
        }
        state.name()?;
        Ok(state)
    }

    /// Adds or replaces tenants, which the caller has checked. A tenant that fits on no page changes nothing and is
    /// returned.
    pub(crate) fn put(&mut self, tenants: &[Tenant]) -> Result<Vec<TenantId>, serde_json::Error> {
        let mut too_large = Vec::new();
        for tenant in tenants {
            let row = Row::new(tenant)?;
            if row.fits() {
                self.set(row);
            } else {
                too_large.push(tenant.id.clone());
            }
        }
        self.name()?;
        Ok(too_large)
    }

    /// Removes a tenant, if it is there.
    pub(crate) fn remove(&mut self, id: &TenantId) -> Result<(), serde_json::Error> {
        if let Some(at) = self.by_id.remove(id) {
            let row = self.rows.swap_remove(at);
            self.count_out(&row);
            if let Some(moved) = self.rows.get(at) {
                self.by_id.insert(moved.id.clone(), at);
            }
        }
        self.name()
    }

    fn set(&mut self, row: Row) {
        self.digests = self.digests.wrapping_add(row.digest);
        self.totals = Totals { tenants: self.totals.tenants + 1, keys: self.totals.keys + row.keys };
        match self.by_id.get(&row.id) {
            Some(&at) => {
                let old = std::mem::replace(&mut self.rows[at], Arc::new(row));
                self.count_out(&old);
            }
            None => {
                self.by_id.insert(row.id.clone(), self.rows.len());
                self.rows.push(Arc::new(row));
            }
        }
    }

    fn count_out(&mut self, row: &Row) {
        self.digests = self.digests.wrapping_sub(row.digest);
        self.totals = Totals { tenants: self.totals.tenants - 1, keys: self.totals.keys - row.keys };
    }

    /// Computes the version after a change.
    fn name(&mut self) -> Result<(), serde_json::Error> {
        let mut hash = Sha256::new_with_prefix(self.digests.to_be_bytes());
        if !self.revoked.is_empty() {
            hash.update(serde_json::to_vec(&self.revoked)?);
        }
        if !self.flags.is_empty() {
            hash.update(serde_json::to_vec(&self.flags)?);
        }
        // 64 bits distinguish versions well enough: a collision on purpose has no use.
        self.version = hex::encode(&hash.finalize()[..8]);
        self.pages = OnceLock::new();
        Ok(())
    }

    /// Splits the state into pages of at most [`PAGE_MAX_BYTES`]. A tenant is never split; the first page carries all
    /// revocations and feature flags.
    fn cut(&self) -> Vec<Range<usize>> {
        // At most [`weir_contract::directory::REVOKED_MAX`] short names, and [`weir_contract::flags::FLAGS_MAX`] flags, which always
        // serialize.
        let revoked =
            if self.revoked.is_empty() { 0 } else { serde_json::to_vec(&self.revoked).map_or(0, |text| text.len()) };
        let flags =
            if self.flags.is_empty() { 0 } else { serde_json::to_vec(&self.flags).map_or(0, |text| text.len()) };
        let (mut pages, mut start, mut bytes) = (Vec::new(), 0, FRAME_MAX_BYTES + revoked + flags);
        for (at, row) in self.rows.iter().enumerate() {
            let size = row.bytes() + 1;
            let holds_something = bytes > FRAME_MAX_BYTES;
            if bytes + size > PAGE_MAX_BYTES && holds_something {
                pages.push(start..at);
                (start, bytes) = (at, FRAME_MAX_BYTES);
            }
            bytes += size;
        }
        pages.push(start..self.rows.len());
        pages
    }

    /// How many tenants and keys there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.totals.tenants, self.totals.keys)
    }

    /// Replaces what is revoked.
    pub(crate) fn revoke(&mut self, revoked: Revoked) -> Result<(), serde_json::Error> {
        self.revoked = revoked;
        self.name()
    }

    /// Replaces the feature flags.
    pub(crate) fn set_flags(&mut self, flags: Flags) -> Result<(), serde_json::Error> {
        self.flags = flags;
        self.name()
    }

    /// The feature flags.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// The first tenant that fits on no page, keys included.
    pub fn too_large(&self) -> Option<&TenantId> {
        self.rows.iter().find(|row| !row.fits()).map(|row| &row.id)
    }

    /// A hash of everything that gateways receive.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A page by its cursor; None is the first page. A cursor of another version starts again at the first page.
    pub fn page(&self, cursor: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
        let pages = self.pages.get_or_init(|| self.cut());
        let number = cursor
            .and_then(|cursor| cursor.split_once('.'))
            .filter(|(version, _)| *version == self.version)
            .and_then(|(_, number)| number.parse::<usize>().ok())
            .filter(|number| *number < pages.len())
            .unwrap_or(0);
        let rows = pages.get(number).and_then(|range| self.rows.get(range.clone())).unwrap_or_default();
        serde_json::to_vec(&Sent {
            version: &self.version,
            next: (number + 1 < pages.len()).then(|| format!("{}.{}", self.version, number + 1)),
            totals: self.totals,
            revoked: (number == 0 && !self.revoked.is_empty()).then_some(&self.revoked),
            flags: (number == 0 && !self.flags.is_empty()).then_some(&self.flags),
            tenants: rows.iter().map(|row| &*row.json).collect(),
            ..Sent::default()
        })
    }

    /// Tenants that `next` adds, changes or removes; None if they are more than `max`.
    pub fn changes(&self, next: &State, max: usize) -> Option<Vec<TenantId>> {
        let gone = self.rows.iter().filter(|row| !next.by_id.contains_key(&row.id));
        let is_other = |row: &&Arc<Row>| self.row(&row.id).is_none_or(|old| old.json.get() != row.json.get());
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
        let (mut tenants, mut removed, mut rows, mut handed_bytes) = (Vec::new(), Vec::new(), 0, 0);
        for id in changed {
            rows += 1;
            match self.row(id) {
                Some(row) => {
                    rows += row.keys;
                    handed_bytes += row.handed_bytes;
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
            flags: (!self.flags.is_empty()).then_some(&self.flags),
            removed: &removed,
            tenants,
            ..Sent::default()
        };
        let page = serde_json::to_vec(&sent)?;
        Ok((page.len() + handed_bytes <= PAGE_MAX_BYTES).then_some(page))
    }

    /// A tenant as gateways receive it.
    pub(crate) fn tenant(&self, id: &TenantId) -> Option<serde_json::Result<Tenant>> {
        self.row(id).map(|row| serde_json::from_str(row.json.get()))
    }

    /// Whether there is a tenant of this name.
    pub(crate) fn knows(&self, id: &TenantId) -> bool {
        self.by_id.contains_key(id)
    }

    fn row(&self, id: &TenantId) -> Option<&Row> {
        self.rows.get(*self.by_id.get(id)?).map(|row| &**row)
    }
}
