//! A page of the directory, taken in a part at a time.
//!
//! Reading a page of 256 KB and adding its tenants takes longer than a request may wait. So an arriving page is only
//! cut into tenants; they are parsed and added at the ticks that follow, at most [`BYTES_PER_STEP`] each time.
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use weir_contract::TenantId;
use weir_contract::catalogue::{CATALOGUE_MAX_BYTES, Part};
use weir_contract::directory::{PAGE_MAX_BYTES, Revoked, Tenant, Totals};
use weir_contract::flags::{self, Flags};

/// How much of a page is read in one step, in bytes. `host-tests/tests/filter/directory.rs` counts what a step costs.
pub(crate) const BYTES_PER_STEP: usize = 48 * 1024;

/// The longest version or cursor that is taken, in bytes.
const CURSOR_MAX_BYTES: usize = 256;

/// A page that has arrived, cut into tenants.
#[derive(Debug)]
pub(crate) struct PageReader {
    /// The parts of the page besides its tenants.
    pub frame: Frame,
    body: Vec<u8>,
    /// The start and end of each tenant in `body`.
    spans: std::vec::IntoIter<(usize, usize)>,
}

/// The parts of a page besides its tenants.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The version of the state.
    pub version: Box<str>,
    /// The version that the page is a difference to.
    pub since: Option<Box<str>>,
    /// Where the next page starts.
    pub next: Option<Box<str>>,
    /// Removed tenants.
    pub removed: Vec<TenantId>,
    /// All revocations.
    pub revoked: Revoked,
    /// All feature flags.
    pub flags: Flags,
    /// How much the whole state holds.
    pub totals: Option<Totals>,
    /// The public key under which the tenants' own keys are sealed, in hex.
    pub sealed_by: Option<Box<str>>,
    /// The catalogue of models, if there is another.
    pub catalogue: Option<Arrived>,
    /// Figures of models, if there are others.
    pub figures: Option<Arrived>,
}

/// A part that is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its version.
    pub version: Box<str>,
    /// Its content, as JSON.
    pub content: Rc<[u8]>,
}

impl Arrived {
    fn cut(part: Option<Part<'_>>) -> Result<Option<Self>, String> {
        let Some(part) = part else { return Ok(None) };
        let content = part.content.get().as_bytes();
        if !part.has_version() || content.len() > CATALOGUE_MAX_BYTES {
            return Err(format!("a part without a version, or of more than {CATALOGUE_MAX_BYTES} bytes"));
        }
        Ok(Some(Arrived { version: (*part.version).into(), content: content.into() }))
    }
}

/// [`weir_contract::directory::Page`] with its tenants unparsed.
#[derive(Deserialize)]
struct RawPage<'a> {
    version: String,
    since: Option<String>,
    next: Option<String>,
    #[serde(borrow)]
    tenants: Vec<&'a RawValue>,
    #[serde(default)]
    removed: Vec<TenantId>,
    #[serde(default)]
    revoked: Revoked,
    #[serde(default)]
    flags: Flags,
    totals: Option<Totals>,
    sealed_by: Option<String>,
    #[serde(borrow)]
    catalogue: Option<Part<'a>>,
    #[serde(borrow)]
    figures: Option<Part<'a>>,
}

impl PageReader {
    /// Cuts a page.
    ///
    /// # Errors
    /// If the page is invalid; the text is for the log.
    pub(crate) fn cut(body: &[u8]) -> Result<Self, String> {
        if body.len() > PAGE_MAX_BYTES {
            return Err(format!("a page of {} bytes; at most {PAGE_MAX_BYTES} are taken", body.len()));
        }
        let mut page: RawPage<'_> = serde_json::from_slice(body).map_err(|error| format!("no page: {error}"))?;
        let other = |name: &Option<String>| name.as_ref().is_some_and(|name| !is_plain(name));
        if !is_plain(&page.version) || other(&page.next) || other(&page.since) {
            return Err("a version or cursor of another form than letters, digits, '.', '-' and '_'".to_owned());
        }
        if page.since.is_some() && page.next.is_some() {
            return Err("a difference on several pages".to_owned());
        }
        flags::check(&mut page.flags).map_err(|error| error.to_string())?;
        let start = body.as_ptr() as usize;
        let span = |tenant: &&RawValue| {
            let from = (tenant.get().as_ptr() as usize).saturating_sub(start);
            (from, from + tenant.get().len())
        };
        let spans: Vec<_> = page.tenants.iter().map(span).collect();
        let frame = Frame {
            version: page.version.into(),
            since: page.since.map(Into::into),
            next: page.next.map(Into::into),
            removed: page.removed,
            revoked: page.revoked,
            flags: page.flags,
            totals: page.totals,
            sealed_by: page.sealed_by.map(Into::into),
            catalogue: Arrived::cut(page.catalogue)?,
            figures: Arrived::cut(page.figures)?,
        };
        Ok(PageReader { frame, body: body.to_vec(), spans: spans.into_iter() })
    }

    /// Parses the next tenants: at most [`BYTES_PER_STEP`] of them, but at least one; none once all have been
    /// returned.
    ///
    /// # Errors
    /// If one of them is invalid.
    pub(crate) fn step(&mut self) -> Result<Vec<Tenant>, String> {
        let (mut tenants, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES_PER_STEP
            && let Some((from, to)) = self.spans.next()
        {
            let text = self.body.get(from..to).unwrap_or_default();
            bytes += text.len();
            tenants.push(serde_json::from_slice(text).map_err(|error| format!("no tenant: {error}"))?);
        }
        Ok(tenants)
    }

    /// Whether all tenants have been returned.
    pub(crate) fn is_done(&self) -> bool {
        self.spans.len() == 0
    }
}

/// Versions and cursors go into a path and a header.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= CURSOR_MAX_BYTES && text.bytes().all(plain)
}
