//! What keeps a request with its tenant, remembered between its phases: the ids that are opened and sealed, the guard of a vector
//! store, and what judges the answer.
use std::collections::BTreeMap;
use std::rc::Rc;

use weir_config::shared::Shared;
use weir_sealed_ids::list::{Page, Shown};
use weir_sealed_ids::operation::Operation;
use weir_sealed_ids::{Dialect, Guard, Kinds, Sealer};
use weir_vector_guard::{Call, Verdict};

use crate::api::Api;
use crate::policy::Route;

/// The API that a client speaks: its route's, where the route keeps something apart and so knows, and else its path's.
pub(super) fn api(route: Option<&Route>, path: &[u8]) -> Api {
    let Some(route) = route else { return Api::of(path) };
    match route.seal.as_ref().map(|seal| seal.dialect) {
        _ if route.guard.is_some() => Api::Other,
        Some(Dialect::OpenAi) => Api::OpenAi,
        Some(Dialect::Anthropic) => Api::Anthropic,
        Some(Dialect::Gemini) => Api::Gemini,
        None => Api::of(path),
    }
}

/// What is kept apart of one request.
#[derive(Debug)]
pub(super) struct SealedIds {
    pub(super) guard: Rc<Guard>,
    /// What the request does; None for an inference.
    pub(super) operation: Option<&'static Operation>,
}

impl SealedIds {
    /// What an id of an unknown prefix is in the answer.
    pub(super) fn fallback(&self) -> Kinds {
        Kinds::only(self.operation.map_or(Shared::StoredResponses, |operation| operation.kind))
    }
}

/// What is remembered of a guarded request.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) call: Call,
    /// Records that reached the client.
    pub(super) results: u64,
    /// Records that were taken out, by owner.
    pub(super) removed: BTreeMap<String, u64>,
    /// The answer could not be checked, and was withheld.
    pub(super) is_withheld: bool,
}

impl Guarded {
    pub(super) fn new(call: Call) -> Self {
        Guarded { call, results: 0, removed: BTreeMap::new(), is_withheld: false }
    }

    /// Checks a whole answer.
    pub(super) fn judge(&mut self, status: u16, body: &[u8]) -> Judged {
        let checked = self.call.answer(status, body);
        (self.results, self.removed) = (checked.results, checked.removed);
        match checked.verdict {
            Verdict::Same => Judged::Same,
            Verdict::Changed(body) => Judged::Changed(body),
            Verdict::NotFound(body) => Judged::Replaced(404, body),
            Verdict::Unreadable => {
                self.withhold();
                Judged::Unreadable
            }
        }
    }

    /// The answer cannot be checked.
    pub(super) fn withhold(&mut self) {
        (self.is_withheld, self.results) = (true, 0);
    }
}

/// Judges answers of one request. A closed list: each kind of answer that is held has a variant.
#[derive(Debug)]
pub(super) enum Keeper {
    /// Shows a tenant its own entries of a list of the whole account.
    List {
        /// The page that it asked for.
        page: Page,
        /// Seals the entries.
        sealer: Box<Sealer>,
    },
    /// A guarded vector store's.
    Guard(Guarded),
    /// Another answer stands in its place, whatever it says.
    Replace(u16, Vec<u8>),
}

/// What a keeper says about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It may go on as it is.
    Same,
    /// This body goes on instead, with the same status.
    Changed(Vec<u8>),
    /// This answer goes on instead.
    Replaced(u16, Vec<u8>),
    /// The client is sent on to this path.
    Elsewhere(String),
    /// It cannot be judged, so nothing of it may go on.
    Unreadable,
}

impl Keeper {
    /// Whether answers of this status are held; 0: the gateway does not say which it is.
    pub(super) fn holds(&self, status: u16) -> bool {
        match self {
            Keeper::Guard(guarded) => guarded.call.holds_answer_of(status),
            Keeper::List { .. } => matches!(status, 0 | 200..300),
            Keeper::Replace(..) => true,
        }
    }

    /// Judges a whole answer.
    pub(super) fn judge(&mut self, status: u16, body: &[u8]) -> Judged {
        match self {
            Keeper::Guard(guarded) => guarded.judge(status, body),
            Keeper::Replace(status, body) => Judged::Replaced(*status, std::mem::take(body)),
            Keeper::List { page, sealer } => match page.show(sealer, body) {
                Shown::Page(page) => Judged::Changed(page),
                Shown::GoOn(path) => Judged::Elsewhere(path),
                Shown::Unreadable => Judged::Unreadable,
            },
        }
    }

    /// Notes that an answer cannot be judged.
    pub(super) fn withhold(&mut self) {
        match self {
            Keeper::Guard(guarded) => guarded.withhold(),
            Keeper::List { .. } | Keeper::Replace(..) => {}
        }
    }
}
