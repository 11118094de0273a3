//! The role `upstream`: one attempt of a request at one provider.
//!
//! It runs as an upstream filter of the provider's cluster, once for each attempt, and neither identifies nor counts: the
//! downstream role has done that, and has told by [`told`] which models it chose. An attempt gets the model's name at the
//! provider, its dialect, path and authority, and loses what weir and the client have put into its head. The answer goes back in
//! the client's dialect.
//!
//! An answer is held until its first byte can go to the client, and one that comes whole until its end: until then another
//! provider can still answer ([`held`]).
//!
//! Envoy gives all attempts one header map, so that an attempt finds what the one before it has changed: whatever an attempt
//! needs is set, never assumed, and a credential that an earlier provider's filter has put in is taken off.
mod admission;
mod clouds;
mod held;

use std::rc::Rc;

use weir_config::{ConfigError, routing as shape};
use weir_contract::{AttemptFailure, Timestamp};
use weir_llm_translate::{AnswerHead, AnswerTranslator, Dialect, Expected, Server, Unfit, head, translate};

use crate::api::Api;
use crate::head::{INJECTED, Pair, is};
use crate::refusal::{LocalReply, Refusal};
use crate::routing::told::{Attempted, Terms};
use crate::routing::{Model, check_provider, check_reach, compile_model, server_of, told};
pub use admission::{Admission, NotTried};
use clouds::BETA;
pub(crate) use clouds::betas;
use held::Held;

/// Headers that may take a provider's key: they are taken off before each attempt, so that no key reaches another provider.
pub const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// The header of an answer behind which Envoy tries nobody else. A provider behind an Envoy of its own may send it: then it goes off,
/// since the next provider knows nothing of that one's limits. Where nothing is left of the budget of retries it is put on.
pub const LAST: &str = "x-envoy-ratelimited";

/// Other credentials of clients, and what weir has said to this gateway.
const REMOVED: [&str; 4] = ["cookie", "proxy-authorization", "x-envoy-attempt-count", "x-envoy-upstream-rq-timeout-ms"];

/// The version of Messages that is asked for where the client speaks another dialect.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// A part of the path of Vertex AI's OpenAI-compatible endpoint, whose errors are Google's.
const OPENAI_AT_VERTEX: &str = "/endpoints/openapi/";

/// A configuration of the role, compiled.
#[derive(Debug)]
pub struct Upstream {
    provider: Box<str>,
    server: Server,
    /// A cloud answers in the place of models, with errors of its own form.
    is_cloud: bool,
    /// Names in `anthropic-beta` that it knows beside those of the tables.
    betas: Box<[Box<str>]>,
    /// The paths of requests for whole answers, and for streams.
    paths: [Box<str>; 2],
    authority: Option<Box<str>>,
    models: Vec<Rc<Model>>,
    /// How long it may say nothing, in milliseconds.
    silence_ms: Option<u64>,
}

impl Upstream {
    /// Checks and compiles it.
    ///
    /// # Errors
    /// For another version, and for a name or number that no catalogue takes.
    pub fn compile(config: &shape::Upstream) -> Result<Self, ConfigError> {
        let shape::Role::Upstream = config.role;
        if config.version != 1 {
            return Err(ConfigError::new(
                "version",
                format_args!("{} is not known; this is version 1", config.version),
            ));
        }
        check_provider(&config.provider, "provider")?;
        check_reach(&config.provider, "provider")?;
        let mut models = Vec::new();
        for (at, model) in config.models.iter().enumerate() {
            let path = format!("models[{at}]");
            if model.provider != config.provider.name {
                let problem = format_args!("this filter stands in front of {:?}", config.provider.name);
                return Err(ConfigError::new(format!("{path}.provider"), problem));
            }
            models.push(Rc::new(compile_model(model, 0, &path)?));
        }
        let server = server_of(config.provider.dialect);
        let own_path = match server {
            Server::BedrockAnthropic => "/model/{model}/invoke",
            _ if server.dialect() == Dialect::Anthropic => "/v1/messages",
            _ => "/v1/chat/completions",
        };
        let path = config.provider.path.as_deref().unwrap_or(own_path);
        let stream_path = config.provider.stream_path.as_deref().unwrap_or(path);
        Ok(Upstream {
            provider: config.provider.name.as_str().into(),
            server,
            is_cloud: server.is_cloud() || path.contains(OPENAI_AT_VERTEX),
            betas: config.provider.betas.iter().map(|name| name.as_str().into()).collect(),
            paths: [path.into(), stream_path.into()],
            authority: config.provider.authority.as_deref().map(Into::into),
            models,
            silence_ms: config.silence_max_seconds.map(|seconds| seconds.saturating_mul(1000)),
        })
    }

    /// The model of a word of the choice, if this provider serves it.
    fn model(&self, word: &str) -> Option<Rc<Model>> {
        match told::read_in_full(word) {
            Some((provider, model)) => (*provider == *self.provider).then(|| Rc::new(model)),
            None => self.models.iter().find(|model| *model.name == *word).cloned(),
        }
    }
}

/// A text of the gateway's state of the stream.
fn text(state: Option<&[u8]>) -> &str {
    state.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

/// Changes to a request's head: `remove` goes first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestChanges {
    /// Names, lower case.
    pub remove: Vec<&'static str>,
    /// Names and values.
    pub set: Vec<(&'static str, String)>,
}

/// Changes to an answer's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AnswerChanges {
    /// Names.
    pub remove: Vec<String>,
    /// Names, `:status` among them, and values.
    pub set: Vec<(String, String)>,
    /// The head waits until the body has ended: [`Attempt::answer_chunk`] says how it goes on.
    pub holds: bool,
}

/// What goes on of an answer after a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Instead of the chunk.
    pub bytes: Vec<u8>,
    /// More changes to a head that was held.
    pub set: Vec<(&'static str, String)>,
    /// The head is still held.
    pub holds: bool,
    /// More is known of the attempt: [`Attempt::attempts`] says it, and [`Attempt::follow`] whether another may.
    pub tells: bool,
}

/// What the gateway's state of the stream says of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// [`told::CHOICE`].
    pub choice: Option<&'a [u8]>,
    /// [`told::ATTEMPTS`].
    pub attempts: Option<&'a [u8]>,
}

/// One attempt.
#[derive(Debug, Default)]
pub struct Attempt {
    /// The attempts before it, as text.
    before: String,
    /// `x-request-id`.
    request_id: String,
    /// At clouds: the features that the client asks for in `anthropic-beta`, with commas.
    betas: String,
    number: usize,
    started: Timestamp,
    /// What it is held to.
    terms: Terms,
    /// How many models were chosen.
    chosen: usize,
    model: Option<Rc<Model>>,
    client: Option<Dialect>,
    expected: Option<Expected>,
    answer: Option<AnswerTranslator>,
    /// What of the answer is held.
    held: Held,
    /// Something else was answered in its place, so the rest of it goes nowhere.
    is_replaced: bool,
    status: Option<u16>,
    retry_after_secs: Option<u64>,
    failure: Option<AttemptFailure>,
    /// It goes up with the tenant's own key.
    has_own_key: bool,
    /// What the budget of retries has refused.
    refused: Refused,
}

/// What the budget of retries has refused, if it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Refused {
    #[default]
    Nothing,
    /// This attempt.
    This,
    /// The next one.
    Next,
}

impl Attempt {
    /// An attempt that begins now.
    pub fn at(now: Timestamp) -> Self {
        Attempt { started: now, ..Attempt::default() }
    }

    /// Begins it: reads what was chosen and what was tried before, and says what goes off the head.
    pub fn begin(&mut self, upstream: &Upstream, given: &Given<'_>, pairs: &[Pair<'_>]) -> RequestChanges {
        let removed = KEY_HEADERS.iter().chain(&REMOVED).chain(&INJECTED).copied();
        let remove = removed.filter(|removed| pairs.iter().any(|(name, _)| is(name, removed))).collect();
        if upstream.server.is_cloud() {
            self.betas = betas(pairs.iter().filter(|(name, _)| is(name, BETA)).map(|(_, value)| *value));
        }
        self.before = text(given.attempts).to_owned();
        let request_id = pairs.iter().find(|(name, _)| is(name, "x-request-id")).map(|(_, value)| *value);
        self.request_id = String::from_utf8_lossy(request_id.unwrap_or_default()).into_owned();
        self.number = told::attempts(&self.before).count().saturating_add(1);
        if let Some(told::Choice { dialect, terms, mut models }) = told::read_choice(text(given.choice)) {
            (self.client, self.terms, self.chosen) = (Some(dialect), terms, models.clone().count());
            self.model = models.find_map(|word| upstream.model(word));
        }
        RequestChanges { remove, set: Vec::new() }
    }

    /// Writes the request anew for the provider.
    ///
    /// # Errors
    /// If it cannot be said in its dialect. The downstream role tries no such provider, but does not look into what needs no
    /// translation. That is the client's fault, so it counts as no failure of the provider.
    pub fn request(&mut self, upstream: &Upstream, body: &[u8]) -> Result<(RequestChanges, Vec<u8>), Unfit> {
        self.write_request(upstream, body).inspect_err(|_| self.status = Some(Refusal::NoModelFits.status()))
    }

    /// The answer to a request that cannot be written anew.
    pub fn refusal(&self) -> LocalReply {
        self.reply(Refusal::NoModelFits)
    }

    fn reply(&self, refusal: Refusal) -> LocalReply {
        let api = match self.client {
            Some(Dialect::Anthropic) => Api::Anthropic,
            Some(Dialect::OpenAi) | None => Api::OpenAi,
        };
        refusal.reply(api, &self.request_id)
    }

    fn write_request(&mut self, upstream: &Upstream, body: &[u8]) -> Result<(RequestChanges, Vec<u8>), Unfit> {
        let unchosen = || Unfit {
            reason: weir_llm_translate::Reason::Unreadable,
            field: "body".to_owned(),
            why: "no model was chosen",
        };
        let model = self.model.as_ref().ok_or_else(unchosen)?;
        let client = self.client.ok_or_else(unchosen)?;
        let translated = translate(client, &model.target(upstream.server), body)?;
        self.expected = Some(if upstream.is_cloud { translated.answer.at_cloud() } else { translated.answer });
        let mut changes = RequestChanges::default();
        let body = self.with_betas(upstream, translated.body, &mut changes)?;
        let set = &mut changes.set;
        set.extend([
            (":path", upstream.path(model, translated.streams)),
            ("content-length", body.len().to_string()),
            ("content-type", "application/json".to_owned()),
        ]);
        set.extend(upstream.authority.as_deref().map(|authority| (":authority", authority.to_owned())));
        if translated.answer.is_translated() {
            set.push(("accept-encoding", "identity".to_owned()));
            if upstream.server.dialect() == Dialect::Anthropic {
                set.push((ANTHROPIC_VERSION.0, ANTHROPIC_VERSION.1.to_owned()));
            }
        }
        Ok((changes, body))
    }

    /// The state that lists the attempts, this one included; None for a request that weir has not routed.
    pub fn attempts(&self, upstream: &Upstream) -> Option<String> {
        let model = self.model.as_ref()?;
        if self.refused == Refused::This {
            let mut text = self.before.clone();
            told::refuse_retry(&mut text);
            return Some(text);
        }
        // An answer that is held may still fail.
        let status = self.status.filter(|_| self.held == Held::Nothing);
        let (provider, model) = (&*upstream.provider, &*model.name);
        let Attempt { retry_after_secs, failure, .. } = *self;
        let mut text = self.before.clone();
        Attempted { provider, model, status, retry_after_secs, failure }.write(&mut text);
        if self.refused == Refused::Next {
            told::refuse_retry(&mut text);
        }
        Some(text)
    }

    /// Reads the head of the provider's answer. `ends`: it has no body.
    pub fn answer_head(
        &mut self,
        upstream: &Upstream,
        pairs: &[Pair<'_>],
        ends: bool,
        now: Timestamp,
    ) -> AnswerChanges {
        let texts: Vec<(&str, &str)> = pairs
            .iter()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
            .collect();
        let find =
            |name: &str| texts.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let status = find(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        (self.status, self.retry_after_secs) =
            (Some(status), find("retry-after").and_then(|secs| secs.trim().parse().ok()));
        let Some(model) = &self.model else { return AnswerChanges::default() };
        let served = format!("{};{};{}", upstream.provider, model.name, self.number);
        let mut changes = AnswerChanges { set: vec![("x-weir-served".to_owned(), served)], ..AnswerChanges::default() };
        changes.remove.extend(find(LAST).map(|_| LAST.to_owned()));
        let given = AnswerHead { status, headers: &texts };
        let is_good = (200..300).contains(&status);
        if is_good && ends {
            changes.set.push((":status".to_owned(), "502".to_owned()));
            (self.status, self.failure) = (Some(502), Some(AttemptFailure::Unreadable));
        }
        let Some(expected) = self.expected.filter(|expected| expected.rewrites(&given)) else {
            self.held = Held::of_own(&given, is_good && !ends && self.expected.is_some());
            changes.holds = self.held != Held::Nothing;
            return changes;
        };
        let edits = head(&expected, &given, now);
        self.failure = self.failure.or(failure_of_cloud(status, edits.status));
        changes.remove.extend(edits.remove);
        changes.set.extend(edits.set);
        changes.set.extend(edits.status.map(|status| (":status".to_owned(), status.to_string())));
        if !ends {
            self.answer = Some(AnswerTranslator::new(expected, &given, now));
            self.held = if given.is_stream() { Held::First } else { Held::Whole };
            changes.holds = true;
        }
        changes
    }

    /// Whether its answer is translated, so that every chunk goes to [`Attempt::answer_chunk`].
    pub fn translates(&self) -> bool {
        self.answer.is_some()
    }
}

/// How an attempt has failed by an answer that a cloud gives another status than other providers: no statuses of failures.
fn failure_of_cloud(status: u16, told: Option<u16>) -> Option<AttemptFailure> {
    match (status, told?) {
        (429 | 500.., _) => None,
        (_, 429) => Some(AttemptFailure::RateLimited),
        (_, 500..) => Some(AttemptFailure::ServerError),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
