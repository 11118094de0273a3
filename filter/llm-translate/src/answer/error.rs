//! Errors, whole and in a stream.
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::VALUES_MAX;
use crate::cloud::{Failing, OfCloud};
use crate::table::member;
use crate::target::Dialect;
use crate::write::Writer;

/// How much of a provider's message is taken over, in characters.
const MESSAGE_MAX_CHARS: usize = 2000;

/// A failure of the provider's, or of its answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Failing,
    message: String,
}

/// The answer cannot be read.
pub(super) fn unreadable() -> Failure {
    Failure { kind: Failing::Server, message: "The provider's answer cannot be read.".to_owned() }
}

/// The answer ends too early.
pub(super) fn cut() -> Failure {
    Failure { kind: Failing::Server, message: "The provider's answer ended before it was complete.".to_owned() }
}

/// The event with which a stream ends that breaks off, whatever of an event has gone before it.
#[must_use]
pub fn cut_event(client: Dialect) -> Vec<u8> {
    [b"\n\n", &cut().event(client)[..]].concat()
}

/// The body of an answer with this status, in the place of an error in no client's dialect.
#[must_use]
pub fn error_answer(client: Dialect, status: u16) -> Vec<u8> {
    read(status, None, b"").body(client)
}

/// Whether an error's body is in this dialect already, as the model behind a cloud writes it.
pub(super) fn is_in(client: Dialect, body: &[u8]) -> bool {
    let Ok(tree) = Tree::read_up_to(body, VALUES_MAX) else { return false };
    let Some(error) = member(&tree, ROOT, "error") else { return false };
    let has_text = |holder: Id, name: &str| member(&tree, holder, name).and_then(|text| tree.text(text)).is_some();
    match client {
        Dialect::Anthropic => has_text(ROOT, "type") && has_text(error, "type") && has_text(error, "message"),
        Dialect::OpenAi => has_text(error, "type") && has_text(error, "message"),
    }
}

/// The body of an answer in the place of one that cannot be read.
#[must_use]
pub fn unreadable_answer(client: Dialect) -> Vec<u8> {
    unreadable().body(client)
}

/// Reads an error's body, in whatever form a provider writes it. `cloud`: what its head says, if it may be a cloud's.
pub(super) fn read(status: u16, cloud: Option<OfCloud>, body: &[u8]) -> Failure {
    let tree = Tree::read_up_to(body, VALUES_MAX).ok();
    let root = tree.as_ref().map_or(ROOT, root);
    let message = tree.as_ref().and_then(|tree| message(tree, root));
    let message = message.unwrap_or_else(|| format!("The provider answered with status {status}."));
    let named = |find: fn(&str) -> Option<Failing>| {
        tree.as_ref().and_then(|tree| names(tree, root).find_map(|name| find(&name)))
    };
    let kind = named(|name| is_billing(name).then_some(Failing::Billing));
    let by_cloud = || cloud.and_then(|OfCloud(kind)| kind.or_else(|| named(Failing::of_cloud)));
    let kind = kind.or_else(by_cloud).unwrap_or_else(|| Failing::of_status(status));
    Failure { kind, message }
}

/// The object that says the error: Google wraps it in a list where an answer could have been a stream.
fn root(tree: &Tree<'_>) -> Id {
    let first = tree.children(ROOT).next().filter(|_| tree.kind(ROOT) == Some(Kind::Array));
    first.unwrap_or(ROOT)
}

/// The failure that an event of a stream tells of.
pub(super) fn in_stream(tree: &Tree<'_>) -> Option<Failure> {
    member(tree, ROOT, "error")?;
    let kind = names(tree, ROOT).find_map(|name| Failing::of_name(&name)).unwrap_or(Failing::Server);
    Some(Failure { kind, message: message(tree, ROOT).unwrap_or_else(|| unreadable().message) })
}

/// The words by which an error calls itself.
fn names<'t>(tree: &'t Tree<'_>, root: Id) -> impl Iterator<Item = String> + 't {
    let holder = member(tree, root, "error").filter(|error| tree.kind(*error) == Some(Kind::Object)).unwrap_or(root);
    ["code", "type", "status", "__type"]
        .iter()
        .filter_map(move |name| tree.text(member(tree, holder, name)?))
        .map(std::borrow::Cow::into_owned)
}

fn is_billing(name: &str) -> bool {
    matches!(name, "insufficient_quota" | "billing_error" | "billing_hard_limit_reached")
}

/// OpenAI, Anthropic: `error.message`. vLLM, Mistral: `message`, or `detail` as FastAPI writes it. Ollama: `error`.
fn message(tree: &Tree<'_>, root: Id) -> Option<String> {
    let error = member(tree, root, "error");
    let detail = member(tree, root, "detail");
    let first = detail.and_then(|detail| tree.children(detail).next()).and_then(|first| member(tree, first, "msg"));
    let places =
        [error.and_then(|error| member(tree, error, "message")), error, member(tree, root, "message"), detail, first];
    let text = places.into_iter().flatten().find_map(|place| tree.text(place))?;
    Some(text.chars().take(MESSAGE_MAX_CHARS).collect())
}

impl Failing {
    fn of_status(status: u16) -> Self {
        match status {
            401 => Failing::Authentication,
            402 => Failing::Billing,
            403 => Failing::Permission,
            404 => Failing::NotFound,
            413 => Failing::TooLarge,
            408 | 504 => Failing::Timeout,
            424 => Failing::Server,
            429 => Failing::RateLimit,
            503 | 529 => Failing::Overloaded,
            400..=499 => Failing::Invalid,
            _ => Failing::Server,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "invalid_request_error" => Failing::Invalid,
            "authentication_error" | "invalid_api_key" => Failing::Authentication,
            "permission_error" => Failing::Permission,
            "not_found_error" => Failing::NotFound,
            "request_too_large" => Failing::TooLarge,
            "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens" => Failing::RateLimit,
            "timeout_error" => Failing::Timeout,
            "overloaded_error" | "overloaded" | "server_overloaded" => Failing::Overloaded,
            name if is_billing(name) => Failing::Billing,
            _ => return None,
        })
    }

    fn anthropic(self) -> &'static str {
        match self {
            Failing::Invalid => "invalid_request_error",
            Failing::Authentication => "authentication_error",
            Failing::Billing => "billing_error",
            Failing::Permission => "permission_error",
            Failing::NotFound => "not_found_error",
            Failing::TooLarge => "request_too_large",
            Failing::RateLimit => "rate_limit_error",
            Failing::Timeout => "timeout_error",
            Failing::Overloaded => "overloaded_error",
            Failing::Server => "api_error",
        }
    }

    /// The type and the code.
    fn openai(self) -> (&'static str, Option<&'static str>) {
        match self {
            Failing::Invalid | Failing::Permission => ("invalid_request_error", None),
            Failing::Authentication => ("invalid_request_error", Some("invalid_api_key")),
            Failing::Billing => ("insufficient_quota", Some("insufficient_quota")),
            Failing::NotFound => ("invalid_request_error", Some("not_found")),
            Failing::TooLarge => ("invalid_request_error", Some("request_too_large")),
            Failing::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
            Failing::Timeout => ("server_error", Some("timeout")),
            Failing::Overloaded => ("server_error", Some("overloaded")),
            Failing::Server => ("server_error", None),
        }
    }
}

impl Failure {
    /// As the body of an answer.
    pub(super) fn body(&self, client: Dialect) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.open("{");
        match client {
            Dialect::Anthropic => {
                writer.text("type", "error").name("error").open("{").text("type", self.kind.anthropic());
                writer.text("message", &self.message);
            }
            Dialect::OpenAi => {
                let (kind, code) = self.kind.openai();
                writer.name("error").open("{").text("message", &self.message).text("type", kind);
                writer.member("param", "null");
                match code {
                    Some(code) => writer.text("code", code),
                    None => writer.member("code", "null"),
                };
            }
        }
        writer.close("}").close("}");
        writer.into_bytes()
    }

    /// As the last event of a stream.
    pub(super) fn event(&self, client: Dialect) -> Vec<u8> {
        let before = if client == Dialect::Anthropic { "event: error\ndata: " } else { "data: " };
        [before.as_bytes(), &self.body(client), b"\n\n"].concat()
    }
}
