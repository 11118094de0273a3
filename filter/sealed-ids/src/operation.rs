//! The operations on what an account keeps, by dialect: what is not in these tables is refused on routes that seal.
//!
//! Read from the published descriptions: OpenAI's OpenAPI description 2.3.0 (Assistants API: v2), Azure OpenAI
//! `2025-04-01-preview` and `v1`, Anthropic's API `2023-06-01` with the beta `files-api-2025-04-14`, Gemini `v1beta`.
use weir_config::shared::Shared;

use crate::kind::{Dialect, Kinds};
use crate::owner::{Marking, Owner};

/// An operation of a provider's API.
#[derive(Debug)]
pub struct Operation {
    method: &'static str,
    /// Its path below the API's root. `{file-|file_}`: an id with one of these prefixes; `{}`: one with any. The first
    /// pattern that fits counts.
    pattern: &'static str,
    /// The kind of what it is about.
    pub kind: Shared,
    /// What is done with its body.
    pub body: BodyRule,
    /// What is done with its answer.
    pub answer: AnswerRule,
}

/// What is done with the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// It is JSON, or there is none. Ids in it are opened, and its owner is marked.
    Json(Marking),
    /// It is a form with a file, whose name carries its owner.
    Upload,
    /// It is a form with a file, or JSON that names one. What it makes stands below an object that has an owner.
    Part,
}

/// What is done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerRule {
    /// Ids in it are sealed as it streams by.
    Sealed,
    /// It is a file's content, and passes as it is.
    Content,
    /// It lists objects of the whole account, of which a tenant is shown its own.
    List(Listing),
}

/// How a list of the whole account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The member that holds the entries.
    pub entries: &'static str,
    /// How an entry's owner is told; None shows no tuned model and every other one.
    pub owner: Option<Owner>,
    /// How it is paged.
    pub paging: Paging,
}

/// How a list is paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// It is whole.
    None,
    /// By `limit` and the id behind which it goes on.
    After {
        /// The parameter with that id.
        name: &'static str,
        /// How many entries a page has that says nothing.
        usual: usize,
        /// How many the provider gives at most. So many are asked for, as other tenants' entries are among them.
        most: usize,
    },
    /// By a token of the provider's.
    Token {
        /// The parameter with the number of entries.
        size: &'static str,
        /// How many the provider gives at most, so many are asked for.
        most: usize,
    },
}

const SEALED: AnswerRule = AnswerRule::Sealed;
const PLAIN: BodyRule = BodyRule::Json(Marking::None);
const MARKED: BodyRule = BodyRule::Json(Marking::Always(Owner::Metadata));
const REMARKED: BodyRule = BodyRule::Json(Marking::IfMetadata);

const fn list(owner: Owner, name: &'static str, usual: usize, most: usize) -> AnswerRule {
    AnswerRule::List(Listing { entries: "data", owner: Some(owner), paging: Paging::After { name, usual, most } })
}

const fn tokens(entries: &'static str, most: usize) -> AnswerRule {
    let paging = Paging::Token { size: "pageSize", most };
    AnswerRule::List(Listing { entries, owner: Some(Owner::Name("displayName")), paging })
}

const fn op(
    method: &'static str,
    pattern: &'static str,
    kind: Shared,
    body: BodyRule,
    answer: AnswerRule,
) -> Operation {
    Operation { method, pattern, kind, body, answer }
}

use Shared::{Assistants, Batches, Files, FineTuning, StoredResponses, VectorStores};

const BY_METADATA: AnswerRule = list(Owner::Metadata, "after", 20, 100);

static OPENAI: [Operation; 82] = [
    op("POST", "files", Files, BodyRule::Upload, SEALED),
    op("GET", "files", Files, PLAIN, list(Owner::Name("filename"), "after", 10_000, 10_000)),
    op("GET", "files/{file-|file_|assistant-}", Files, PLAIN, SEALED),
    op("DELETE", "files/{file-|file_|assistant-}", Files, PLAIN, SEALED),
    op("GET", "files/{file-|file_|assistant-}/content", Files, PLAIN, AnswerRule::Content),
    op("POST", "containers", Files, BodyRule::Json(Marking::Always(Owner::Name("name"))), SEALED),
    op("GET", "containers", Files, PLAIN, list(Owner::Name("name"), "after", 20, 100)),
    op("GET", "containers/{cntr_}", Files, PLAIN, SEALED),
    op("DELETE", "containers/{cntr_}", Files, PLAIN, SEALED),
    op("POST", "containers/{cntr_}/files", Files, BodyRule::Part, SEALED),
    op("GET", "containers/{cntr_}/files", Files, PLAIN, SEALED),
    op("GET", "containers/{cntr_}/files/{cfile_|file-}", Files, PLAIN, SEALED),
    op("DELETE", "containers/{cntr_}/files/{cfile_|file-}", Files, PLAIN, SEALED),
    op("GET", "containers/{cntr_}/files/{cfile_|file-}/content", Files, PLAIN, AnswerRule::Content),
    op("POST", "batches", Batches, MARKED, SEALED),
    op("GET", "batches", Batches, PLAIN, BY_METADATA),
    op("GET", "batches/{batch_}", Batches, PLAIN, SEALED),
    op("POST", "batches/{batch_}/cancel", Batches, PLAIN, SEALED),
    op("POST", "assistants", Assistants, MARKED, SEALED),
    op("GET", "assistants", Assistants, PLAIN, BY_METADATA),
    op("GET", "assistants/{asst_}", Assistants, PLAIN, SEALED),
    op("POST", "assistants/{asst_}", Assistants, REMARKED, SEALED),
    op("DELETE", "assistants/{asst_}", Assistants, PLAIN, SEALED),
    op("POST", "threads", Assistants, PLAIN, SEALED),
    op("POST", "threads/runs", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}", Assistants, PLAIN, SEALED),
    op("DELETE", "threads/{thread_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/messages", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/messages", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/messages/{msg_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/messages/{msg_}", Assistants, PLAIN, SEALED),
    op("DELETE", "threads/{thread_}/messages/{msg_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/runs", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/runs", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/runs/{run_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/runs/{run_}", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/runs/{run_}/cancel", Assistants, PLAIN, SEALED),
    op("POST", "threads/{thread_}/runs/{run_}/submit_tool_outputs", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/runs/{run_}/steps", Assistants, PLAIN, SEALED),
    op("GET", "threads/{thread_}/runs/{run_}/steps/{step_}", Assistants, PLAIN, SEALED),
    op("POST", "conversations", Assistants, PLAIN, SEALED),
    op("GET", "conversations/{conv_}", Assistants, PLAIN, SEALED),
    op("POST", "conversations/{conv_}", Assistants, PLAIN, SEALED),
    op("DELETE", "conversations/{conv_}", Assistants, PLAIN, SEALED),
    op("POST", "conversations/{conv_}/items", Assistants, PLAIN, SEALED),
    op("GET", "conversations/{conv_}/items", Assistants, PLAIN, SEALED),
    op("GET", "conversations/{conv_}/items/{}", Assistants, PLAIN, SEALED),
    op("DELETE", "conversations/{conv_}/items/{}", Assistants, PLAIN, SEALED),
    op("POST", "vector_stores", VectorStores, MARKED, SEALED),
    op("GET", "vector_stores", VectorStores, PLAIN, BY_METADATA),
    op("GET", "vector_stores/{vs_}", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}", VectorStores, REMARKED, SEALED),
    op("DELETE", "vector_stores/{vs_}", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}/search", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}/files", VectorStores, PLAIN, SEALED),
    op("GET", "vector_stores/{vs_}/files", VectorStores, PLAIN, SEALED),
    op("GET", "vector_stores/{vs_}/files/{file-|assistant-}", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}/files/{file-|assistant-}", VectorStores, PLAIN, SEALED),
    op("DELETE", "vector_stores/{vs_}/files/{file-|assistant-}", VectorStores, PLAIN, SEALED),
    op("GET", "vector_stores/{vs_}/files/{file-|assistant-}/content", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}/file_batches", VectorStores, PLAIN, SEALED),
    op("GET", "vector_stores/{vs_}/file_batches/{vsfb_}", VectorStores, PLAIN, SEALED),
    op("POST", "vector_stores/{vs_}/file_batches/{vsfb_}/cancel", VectorStores, PLAIN, SEALED),
    op("GET", "vector_stores/{vs_}/file_batches/{vsfb_}/files", VectorStores, PLAIN, SEALED),
    op("GET", "responses/{resp_}", StoredResponses, PLAIN, SEALED),
    op("DELETE", "responses/{resp_}", StoredResponses, PLAIN, SEALED),
    op("POST", "responses/{resp_}/cancel", StoredResponses, PLAIN, SEALED),
    op("GET", "responses/{resp_}/input_items", StoredResponses, PLAIN, SEALED),
    op("POST", "chat/completions", StoredResponses, BodyRule::Json(Marking::IfStored), SEALED),
    op("GET", "chat/completions", StoredResponses, PLAIN, BY_METADATA),
    op("GET", "chat/completions/{chatcmpl-}", StoredResponses, PLAIN, SEALED),
    op("POST", "chat/completions/{chatcmpl-}", StoredResponses, REMARKED, SEALED),
    op("DELETE", "chat/completions/{chatcmpl-}", StoredResponses, PLAIN, SEALED),
    op("GET", "chat/completions/{chatcmpl-}/messages", StoredResponses, PLAIN, SEALED),
    op("POST", "fine_tuning/jobs", FineTuning, MARKED, SEALED),
    op("GET", "fine_tuning/jobs", FineTuning, PLAIN, BY_METADATA),
    op("GET", "fine_tuning/jobs/{ftjob-}", FineTuning, PLAIN, SEALED),
    op("POST", "fine_tuning/jobs/{ftjob-}/cancel", FineTuning, PLAIN, SEALED),
    op("GET", "fine_tuning/jobs/{ftjob-}/events", FineTuning, PLAIN, SEALED),
    op("GET", "fine_tuning/jobs/{ftjob-}/checkpoints", FineTuning, PLAIN, SEALED),
    op("DELETE", "models/{ft:}", FineTuning, PLAIN, SEALED),
];

/// Where tuned models stand among others.
static MODELS: [Operation; 2] = [
    op(
        "GET",
        "models",
        FineTuning,
        PLAIN,
        AnswerRule::List(Listing { entries: "data", owner: None, paging: Paging::None }),
    ),
    op("GET", "models/{ft:}", FineTuning, PLAIN, SEALED),
];

static ANTHROPIC: [Operation; 10] = [
    op("POST", "files", Files, BodyRule::Upload, SEALED),
    op("GET", "files", Files, PLAIN, list(Owner::Name("filename"), "after_id", 20, 1_000)),
    op("GET", "files/{file_}", Files, PLAIN, SEALED),
    op("DELETE", "files/{file_}", Files, PLAIN, SEALED),
    op("GET", "files/{file_}/content", Files, PLAIN, AnswerRule::Content),
    // A batch of messages carries no owner, so they are not listed.
    op("POST", "messages/batches", Batches, PLAIN, SEALED),
    op("GET", "messages/batches/{msgbatch_}", Batches, PLAIN, SEALED),
    op("DELETE", "messages/batches/{msgbatch_}", Batches, PLAIN, SEALED),
    op("POST", "messages/batches/{msgbatch_}/cancel", Batches, PLAIN, SEALED),
    op("GET", "messages/batches/{msgbatch_}/results", Batches, PLAIN, AnswerRule::Content),
];

const RENAMED: BodyRule = BodyRule::Json(Marking::IfNamed("displayName"));
const NAMED: BodyRule = BodyRule::Json(Marking::Always(Owner::Name("displayName")));

static GEMINI: [Operation; 8] = [
    // Uploads hand out an address of the provider's own, which goes round the gateway.
    op("GET", "files", Files, PLAIN, tokens("files", 100)),
    op("GET", "files/{files/}", Files, PLAIN, SEALED),
    op("DELETE", "files/{files/}", Files, PLAIN, SEALED),
    op("POST", "cachedContents", VectorStores, NAMED, SEALED),
    op("GET", "cachedContents", VectorStores, PLAIN, tokens("cachedContents", 1_000)),
    op("GET", "cachedContents/{cachedContents/}", VectorStores, PLAIN, SEALED),
    op("PATCH", "cachedContents/{cachedContents/}", VectorStores, RENAMED, SEALED),
    op("DELETE", "cachedContents/{cachedContents/}", VectorStores, PLAIN, SEALED),
];

impl Operation {
    /// Its name in findings: the method and the path, `{id}` for an id.
    pub fn name(&self) -> String {
        let mut name = format!("{} ", self.method);
        let mut rest = self.pattern;
        while let Some((before, slot)) = rest.split_once('{') {
            name.push_str(before);
            name.push_str("{id}");
            rest = slot.split_once('}').map_or("", |(_, behind)| behind);
        }
        name.push_str(rest);
        name
    }
}

/// The prefix of tuned models.
const TUNED: &str = "ft:";

/// A part of a path that holds an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot<'p> {
    /// The part, as written.
    pub(crate) part: &'p str,
    /// The prefix of its id that stands in the path before it.
    pub(crate) outside: &'static str,
    prefixes: &'static str,
}

impl Slot<'_> {
    /// Whether an id may stand here, by its prefix.
    pub(crate) fn takes(&self, id: &str) -> bool {
        self.prefixes.split('|').any(|prefix| id.starts_with(prefix))
    }
}

/// The operation of a request, and the ids in its path. `below`: the path below the API's root.
pub(crate) fn find<'p>(
    dialect: Dialect,
    sealed: Kinds,
    method: &[u8],
    below: &'p str,
) -> Option<(&'static Operation, Vec<Slot<'p>>)> {
    let table: &'static [Operation] = match dialect {
        Dialect::OpenAi => &OPENAI,
        Dialect::Anthropic => &ANTHROPIC,
        Dialect::Gemini => &GEMINI,
    };
    let models: &'static [Operation] = match dialect {
        Dialect::OpenAi if sealed.has(FineTuning) => &MODELS,
        _ => &[],
    };
    // What stands before the first id of a pattern, or all of it, tells most others; their first letters do it sooner.
    let first = below.as_bytes().first();
    let fits = |operation: &&Operation| {
        if operation.pattern.as_bytes().first() != first {
            return false;
        }
        let (before, has_id) = match operation.pattern.split_once('{') {
            Some((before, _)) => (before, true),
            None => (operation.pattern, false),
        };
        let is_long = below.len() > before.len();
        is_long == has_id && below.starts_with(before) && operation.method.as_bytes() == method
    };
    table.iter().chain(models).filter(fits).find_map(|operation| Some((operation, match_path(operation, below)?)))
}

fn match_path<'p>(operation: &'static Operation, below: &'p str) -> Option<Vec<Slot<'p>>> {
    let (mut parts, mut slots) = (below.split('/'), Vec::new());
    for expected in Expected(operation.pattern) {
        let part = parts.next()?;
        match expected.strip_prefix('{').and_then(|slot| slot.strip_suffix('}')) {
            Some(prefixes) => {
                // Gemini's prefix stands in the path before its id.
                let outside = if prefixes.ends_with('/') { prefixes } else { "" };
                // Tuned models stand among others, which are nobody's.
                if part.is_empty() || (prefixes == TUNED && !part.starts_with(TUNED)) {
                    return None;
                }
                slots.push(Slot { part, outside, prefixes });
            }
            None if expected == part => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(slots)
}

/// The parts of a pattern: a slash within braces parts nothing.
struct Expected(&'static str);

impl Iterator for Expected {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        if self.0.is_empty() {
            return None;
        }
        let end = match self.0.strip_prefix('{') {
            Some(slot) => slot.find('}')?.checked_add(2)?,
            None => self.0.find('/').unwrap_or(self.0.len()),
        };
        let (part, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.strip_prefix('/').unwrap_or(rest);
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const ALL: Kinds = Kinds::only(FineTuning).with(Files);

    fn slots(dialect: Dialect, method: &str, below: &str) -> Option<Vec<String>> {
        let (_, slots) = find(dialect, ALL, method.as_bytes(), below)?;
        Some(slots.iter().map(|slot| format!("{}{}", slot.outside, slot.part)).collect())
    }

    #[test]
    fn every_pattern_matches_itself() {
        for (dialect, table) in
            [(Dialect::OpenAi, &OPENAI[..]), (Dialect::Anthropic, &ANTHROPIC[..]), (Dialect::Gemini, &GEMINI[..])]
        {
            for operation in table {
                let part = |part: &str| match part.strip_prefix('{') {
                    Some(slot) => slot.trim_end_matches(['}', '/']).split('|').next().unwrap().to_owned() + "x1",
                    None => part.to_owned(),
                };
                let below = Expected(operation.pattern).map(part).collect::<Vec<_>>().join("/");
                let (found, _) = find(dialect, ALL, operation.method.as_bytes(), &below).unwrap();
                assert!(std::ptr::eq(found, operation), "{below}: {}", found.pattern);
            }
        }
    }

    #[test]
    fn ids_are_found_in_the_path() {
        let thread = slots(Dialect::OpenAi, "GET", "threads/thread_a/runs/run_b/steps/step_c").unwrap();
        assert_eq!(thread, ["thread_a", "run_b", "step_c"]);
        assert_eq!(slots(Dialect::Gemini, "GET", "files/abc").unwrap(), ["files/abc"]);
        assert_eq!(slots(Dialect::OpenAi, "GET", "models/ft:x").unwrap(), ["ft:x"]);
    }

    #[test]
    fn other_operations_are_unknown() {
        for (method, below) in [
            ("GET", "files/file-a/other"),
            ("PUT", "files/file-a"),
            ("GET", "files/"),
            ("POST", "uploads"),
            ("GET", "Files"),
            ("GET", "models/gpt-4o"),
        ] {
            assert_eq!(slots(Dialect::OpenAi, method, below), None, "{method} {below}");
        }
        assert_eq!(slots(Dialect::Anthropic, "GET", "messages/batches"), None, "nothing tells whose they are");
    }
}
