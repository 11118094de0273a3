//! Decides about single strings: opens ids in requests, seals them in answers.
use std::rc::Rc;

use weir_config::shared::Shared;

use crate::key::{Keys, Use};
use crate::kind::{Dialect, Kinds, is_likely_id, unknown_prefix};
use crate::place::Place;
use crate::rewrite::{Judge, Verdict};
use crate::{Refused, owner};

/// What a route keeps apart.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The keys that seal and open.
    pub keys: Rc<Keys>,
    /// Whose API the route speaks.
    pub dialect: Dialect,
    /// The kinds whose ids are sealed.
    pub sealed: Kinds,
    /// The kinds that all tenants share there, by the operator's word.
    pub shared: Kinds,
}

/// Two guards are the same if they keep apart the same with the same keys.
impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        let keys = Rc::ptr_eq(&self.keys, &other.keys);
        keys && (self.dialect, self.sealed, self.shared) == (other.dialect, other.sealed, other.shared)
    }
}

impl Guard {
    /// Opens an id that must be of a sealed kind.
    ///
    /// # Errors
    /// If it is not this tenant's.
    pub fn open(&self, tenant: &str, text: &str) -> Result<String, Refused> {
        self.keys.open(Use::Id, tenant, text).ok_or(Refused::NotOwn)
    }

    /// Opens an id where an object of any kind may be named; None where the text stays as it is.
    ///
    /// # Errors
    /// If it is of a sealed kind and not this tenant's.
    pub(crate) fn open_any(&self, tenant: &str, text: &str) -> Result<Option<String>, Refused> {
        let must_open = match self.dialect.kinds_of(text) {
            Some((_, kinds)) => kinds.meet(self.sealed),
            // Items of answers and conversations have prefixes that no table lists in full.
            None => self.dialect == Dialect::OpenAi && self.sealed.meet(ITEMS),
        };
        if must_open { self.open(tenant, text).map(Some) } else { Ok(None) }
    }

    /// Seals an id; None where it stays as it is. `fallback`: what an id of an unknown prefix is.
    fn seal(&self, tenant: &str, id: &str, fallback: Kinds) -> Option<String> {
        let kinds = self.dialect.kinds_of(id).map_or(fallback, |(_, kinds)| kinds);
        if kinds.meet(self.sealed) { self.seal_always(tenant, id) } else { None }
    }

    /// Seals an id whatever its prefix says.
    fn seal_always(&self, tenant: &str, id: &str) -> Option<String> {
        let prefix = self.dialect.kinds_of(id).map_or_else(|| unknown_prefix(id), |(prefix, _)| prefix);
        self.keys.seal(Use::Id, tenant, id, prefix)
    }
}

const ITEMS: Kinds = Kinds::only(Shared::StoredResponses).with(Shared::Assistants);

/// Opens the ids in a request.
#[derive(Debug)]
pub struct Opener<'g> {
    /// What is kept apart.
    pub guard: &'g Guard,
    /// Whose request it is.
    pub tenant: &'g str,
}

impl Judge for Opener<'_> {
    fn looks_at(&self, place: Place) -> bool {
        match place {
            Place::Id(kinds) => kinds.meet(self.guard.sealed),
            Place::OwnId | Place::Unknown => true,
            Place::Model => self.guard.sealed.has(Shared::FineTuning),
            Place::Address => self.guard.sealed.has(Shared::Files),
            Place::Name | Place::Text | Place::ToolCalls | Place::MadeUp => false,
        }
    }

    fn judge(&mut self, place: Place, text: &str) -> Verdict {
        let Opener { guard, tenant } = self;
        if text.is_empty() {
            return Verdict::Keep;
        }
        let opened = match place {
            Place::Id(_) => guard.open(tenant, text).map(Some),
            Place::OwnId => guard.open_any(tenant, text),
            Place::Model if text.starts_with(TUNED) => guard.open(tenant, text).map(Some),
            Place::Address => open_address(guard, tenant, text),
            Place::Unknown if is_likely_id(guard.dialect, guard.sealed, text) => Err(Refused::UnknownPlace),
            _ => Ok(None),
        };
        match opened {
            Ok(None) => Verdict::Keep,
            Ok(Some(id)) => Verdict::Replace(id),
            Err(refused) => Verdict::Refuse(refused),
        }
    }

    fn judge_long(&mut self, place: Place) -> Verdict {
        match place {
            Place::Id(_) | Place::OwnId | Place::Address => Verdict::Refuse(Refused::NotOwn),
            _ => Verdict::Keep,
        }
    }

    fn judge_deep(&mut self) -> Verdict {
        Verdict::Refuse(Refused::Unreadable)
    }
}

/// The prefix of a tuned model's name.
const TUNED: &str = "ft:";

/// Opens the id in an address of the provider's; None for one elsewhere.
fn open_address(guard: &Guard, tenant: &str, address: &str) -> Result<Option<String>, Refused> {
    if guard.dialect != Dialect::Gemini || is_elsewhere(address) {
        return Ok(None);
    }
    let at = address.find(GEMINI_FILES).ok_or(Refused::NotOwn)?;
    let (before, id) = address.split_at_checked(at).ok_or(Refused::NotOwn)?;
    guard.open(tenant, id).map(|id| Some(format!("{before}{id}")))
}

/// Whether an address is plainly one outside the provider's account: of a host that is written in its plain form. What a
/// lenient server may take for the provider's own, such as a cloud's storage, is not.
fn is_elsewhere(address: &str) -> bool {
    let lower = address.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    !host.is_empty() && host.bytes().all(is_plain) && !host.contains("googleapis.com")
}

const GEMINI_FILES: &str = "files/";

/// Seals the ids in an answer.
#[derive(Debug)]
pub struct Sealer {
    guard: Rc<Guard>,
    tenant: Box<str>,
    /// What an id of an unknown prefix is in this answer.
    fallback: Kinds,
    /// The last id that was sealed: every event of a stream repeats it.
    last: Option<Sealed>,
}

/// An id that was sealed, and what it was taken for.
#[derive(Debug)]
struct Sealed {
    id: Box<str>,
    fallback: Kinds,
    is_one: bool,
    text: Box<str>,
}

impl Sealer {
    /// Seals for a tenant. `fallback`: what an id of an unknown prefix is in this answer.
    pub fn new(guard: Rc<Guard>, tenant: &str, fallback: Kinds) -> Self {
        Sealer { guard, tenant: tenant.into(), fallback, last: None }
    }

    /// What is kept apart.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whose answer it is.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Seals an id. `is_one`: its place says that it is one of a sealed kind.
    fn seal(&mut self, id: &str, fallback: Kinds, is_one: bool) -> Option<String> {
        let is_last = |last: &&Sealed| (last.fallback, last.is_one) == (fallback, is_one) && *last.id == *id;
        if let Some(last) = self.last.as_ref().filter(is_last) {
            return Some(last.text.to_string());
        }
        let sealed = match is_one {
            true => self.guard.seal_always(&self.tenant, id)?,
            false => self.guard.seal(&self.tenant, id, fallback)?,
        };
        self.last = Some(Sealed { id: id.into(), fallback, is_one, text: sealed.as_str().into() });
        Some(sealed)
    }

    /// Seals the id that an address ends in, or that a part of its path is.
    fn seal_address(&mut self, address: &str) -> Option<String> {
        if self.guard.dialect == Dialect::Gemini {
            let (before, id) = address.split_at_checked(address.find(GEMINI_FILES)?)?;
            return Some(format!("{before}{}", self.seal(id, Kinds::NONE, false)?));
        }
        // Below the gateway's own root, so that clients do not go round the gateway.
        let path = address.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)))?;
        let mut found = false;
        let parts = path.split('/').map(|part| match self.guard.seal(&self.tenant, part, Kinds::NONE) {
            Some(sealed) => {
                found = true;
                sealed
            }
            None => part.to_owned(),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        found.then_some(path)
    }
}

impl Judge for Sealer {
    fn looks_at(&self, place: Place) -> bool {
        match place {
            Place::Id(kinds) => kinds.meet(self.guard.sealed),
            Place::OwnId | Place::Address | Place::Name => true,
            Place::Model => self.guard.sealed.has(Shared::FineTuning),
            Place::Unknown | Place::Text | Place::ToolCalls | Place::MadeUp => false,
        }
    }

    fn judge(&mut self, place: Place, text: &str) -> Verdict {
        let sealed = match place {
            Place::Id(_) => self.seal(text, Kinds::NONE, true),
            Place::OwnId if self.guard.dialect == Dialect::OpenAi => self.seal(text, self.fallback, false),
            Place::OwnId => self.seal(text, Kinds::NONE, false),
            Place::Model if text.starts_with(TUNED) => self.seal(text, Kinds::NONE, false),
            Place::Address => self.seal_address(text),
            Place::Name => text.strip_prefix(&owner::mark(&self.tenant)).map(str::to_owned),
            _ => None,
        };
        sealed.map_or(Verdict::Keep, Verdict::Replace)
    }

    fn judge_long(&mut self, _: Place) -> Verdict {
        Verdict::Keep
    }

    fn judge_deep(&mut self) -> Verdict {
        Verdict::Keep
    }
}
