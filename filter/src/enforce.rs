//! What a plan decides about a request once its body is known: whether it passes, what changes in it, what it
//! reserves.
//!
//! Nothing is done here: [`judge`] decides, [`changes`] lists the edits, [`tokens`] estimates the reservation.
mod dialect;

use weir_config::plans::Otherwise;
use weir_contract::Class;
use weir_llm_usage::{Provider, estimate};

use crate::body::Document;
use crate::body::edit::Splices;
use crate::classify::{ClassSet, PathModel};
use crate::limit::Unit;
use crate::plan::Plan;
use crate::refusal::{Refusal, Unread};
use dialect::Caps;

/// The assumed output of an answer without a cap, in tokens: long enough for most. A plan's `output_tokens_max` makes
/// the estimate exact.
pub(crate) const OUTPUT_TOKENS_ASSUMED: u64 = 1_024;

/// What is known about a request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    #[default]
    None,
    /// It was read.
    Read(Box<Document>),
    /// It was not read.
    Unread(Unread),
}

/// The parts of a request that a plan looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The classes that it may be taken for.
    pub classes: ClassSet,
    /// The path, without its query.
    pub path: &'a [u8],
    /// The body.
    pub body: &'a Body,
    /// How many bytes the body has, as far as known.
    pub bytes: u64,
    /// The model named in the path.
    pub path_model: Option<&'a PathModel>,
    /// The model in the path counts although no class of inference is known: it is a provider's operation.
    pub path_counts: bool,
    /// The path can be changed: the gateway takes another one, and the client has not signed it.
    pub path_changes: bool,
    /// Tokens are drawn beside the plan's own limits: from the pool of its route.
    pub draws_tokens: bool,
}

impl<'a> RequestView<'a> {
    /// The model named in the path, if the path is an inference operation: elsewhere that segment may be anything.
    pub fn model_in_path(&self) -> Option<&'a PathModel> {
        self.path_model.filter(|_| self.path_counts || self.classes.any(|class| class != Class::Other))
    }
}

impl RequestView<'_> {
    /// The caps that the API being called takes. `replacing`: the model that replaces the one asked for.
    fn caps(&self, document: &Document, replacing: Option<&str>) -> Caps {
        let in_path = || self.model_in_path().map(|model| &*model.name);
        // Bedrock goes by the path alone: a name in the body must not choose another model's cap.
        let model = replacing.or_else(in_path).filter(|_| dialect::is_by_model(self.path));
        let model = model.or(replacing).or(document.model_name()).or_else(in_path).unwrap_or_default();
        dialect::caps(self.path, model, document)
    }
}

/// What was changed in a request for its plan, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another model, in the body or in the path.
    pub model: bool,
    /// The cap of the output was lowered, or put in.
    pub output: bool,
    /// Fewer answers.
    pub answers: bool,
    /// Usage was asked for.
    pub usage: bool,
}

/// Whether a plan allows a request, and which model must replace the one asked for, wherever body and path name one.
pub fn judge<'a>(asked: &RequestView<'a>) -> Result<Option<&'a str>, Refusal> {
    let plan = asked.plan;
    if plan.classes.as_ref().is_some_and(|allowed| asked.classes.any(|class| !allowed.contains(&class))) {
        return Err(Refusal::ClassNotAllowed);
    }
    if plan.request_max_bytes.is_some_and(|max| asked.bytes > max) {
        return Err(Refusal::RequestTooLarge);
    }
    match asked.body {
        Body::Unread(Unread::Unasked) => judge_model(asked),
        Body::Unread(unread) if asked.classes.any(|class| needs_body(asked, class)) => {
            Err(Refusal::UnreadableBody(*unread))
        }
        Body::Read(document) if document.ambiguous && (plan.needs_body() || asked.draws_tokens) => {
            Err(Refusal::AmbiguousBody)
        }
        _ => judge_model(asked),
    }
}

/// Whether a request of that class cannot be judged without its body. Uploads, tool tunnels and unknown APIs can:
/// they hold no prompt, and their tokens are charged when the answer reports them.
fn needs_body(asked: &RequestView<'_>, class: Class) -> bool {
    let plan = asked.plan;
    let models = plan.models.is_some();
    let tokens = || asked.draws_tokens || plan.limits.iter().any(|limit| limit.unit == Unit::Tokens);
    match class {
        Class::Chat | Class::Completion | Class::Embedding | Class::Rag => plan.has_body_rules() || tokens(),
        Class::Image => models || plan.n_max.is_some(),
        Class::Audio | Class::Rerank | Class::Moderation => models,
        Class::Batch | Class::Mcp | Class::Other => false,
    }
}

/// Every model named in path and body must be allowed. A missing name is as bad where one is required.
fn judge_model<'a>(asked: &RequestView<'a>) -> Result<Option<&'a str>, Refusal> {
    let Some(models) = &asked.plan.models else { return Ok(None) };
    let in_path = asked.model_in_path();
    if in_path.is_some_and(|model| model.ambiguous) {
        return Err(Refusal::AmbiguousPath);
    }
    let of_body = match asked.body {
        Body::Read(document) if document.other_models => return Err(Refusal::ModelNotAllowed),
        Body::Read(document) => match &document.model {
            Some(model) => model.name.as_deref().is_some_and(|name| models.allows(name)),
            None => in_path.is_some() || !needs_model(asked),
        },
        Body::None | Body::Unread(_) => true,
    };
    if of_body && in_path.is_none_or(|model| models.allows(&model.name)) {
        return Ok(None);
    }
    // Weir cannot add a model to a form or to a body whose root is not an object.
    let takes = in_path.is_some()
        || !matches!(asked.body, Body::Read(document) if document.model.is_none() && !document.takes_members());
    match &models.otherwise {
        Otherwise::Replace(model) if takes && (in_path.is_none() || asked.path_changes) => Ok(Some(model)),
        Otherwise::Replace(_) | Otherwise::Refuse => Err(Refusal::ModelNotAllowed),
    }
}

/// Returns true if the upstream would choose a model by itself for a body that names none.
fn needs_model(asked: &RequestView<'_>) -> bool {
    use Class::{Audio, Chat, Completion, Embedding, Image, Rerank};
    let own_api =
        matches!(crate::classify::by_path(asked.path), Chat | Completion | Embedding | Rerank | Image | Audio);
    own_api || matches!(asked.body, Body::Read(document) if document.classes().any(|class| class != Class::Mcp))
}

/// The edits of the body that the plan requires. `model`: the result of [`judge`].
pub fn changes(asked: &RequestView<'_>, model: Option<&str>) -> (Splices, Changes) {
    let mut splices = Splices::default();
    let mut changes = Changes { model: model.is_some(), ..Changes::default() };
    let Body::Read(document) = asked.body else { return (splices, changes) };
    // A body that leaves the model to the path stays that way.
    if let Some(model) = model.filter(|_| document.model.is_some() || asked.model_in_path().is_none()) {
        splices.replace_model(document, model);
    }
    if let Some(max) = asked.plan.output_tokens_max.filter(|_| asked.classes.any(is_generative)) {
        let before = splices.len();
        let caps = asked.caps(document, model);
        splices.cap_output(document, max, caps.fields, caps.others);
        changes.output = splices.len() > before;
    }
    if let Some(max) = asked.plan.n_max {
        let before = splices.len();
        splices.bound_answers(document, max);
        changes.answers = splices.len() > before;
    }
    (splices, changes)
}

/// Whether a stream of that path can be asked for its usage: OpenAI's API and compatible ones.
pub(crate) fn can_be_asked_for_usage(path: &[u8], document: &Document) -> bool {
    document.stream && !document.ambiguous && dialect::has_stream_options(path)
}

/// Refuses a request whose stream must be asked for its usage, and whose body does not say plainly what it asks for: its
/// client would choose that the stream is only estimated.
pub(crate) fn check_readable_stream(asked: &RequestView<'_>) -> Result<(), Refusal> {
    match asked.body {
        _ if !dialect::has_stream_options(asked.path) => Ok(()),
        Body::Read(document) if document.stream && document.ambiguous => Err(Refusal::AmbiguousBody),
        Body::Unread(unread @ (Unread::Encoded | Unread::NotJson)) => Err(Refusal::UnreadableBody(*unread)),
        Body::None | Body::Read(_) | Body::Unread(_) => Ok(()),
    }
}

/// Whether the provider is known to refuse `stream_options`, and to say what a stream used without being asked: Mistral.
pub(crate) fn refuses_stream_options(provider: Option<Provider>, path: &[u8], model: &str) -> bool {
    match provider {
        Some(provider) => provider == Provider::Mistral,
        None => dialect::is_mistrals(path, model),
    }
}

/// The most tokens that a request is likely to use: its reservation. `model`: what [`judge`] says.
pub fn tokens(asked: &RequestView<'_>, model: Option<&str>) -> u64 {
    if !asked.classes.any(|class| !matches!(class, Class::Other | Class::Mcp)) {
        return 0;
    }
    let plan_cap = asked.plan.output_tokens_max;
    let unasked = plan_cap.unwrap_or(OUTPUT_TOKENS_ASSUMED);
    let (input, cap, answers) = match asked.body {
        Body::None => return 0,
        Body::Unread(_) => (unseen_tokens(asked), unasked, 1),
        Body::Read(document) => {
            (document.input_estimate(), output_cap(asked, document, model), answers(document, asked.plan.n_max))
        }
    };
    let output = plan_cap.map_or(cap, |max| cap.min(max)).saturating_mul(answers);
    if asked.classes.any(is_generative) { input.saturating_add(output) } else { input }
}

/// The most tokens of one answer, as far as its body says. A cap under a name that the API does not know can only raise it:
/// where the plan takes none out, a server behind the API may know it.
fn output_cap(asked: &RequestView<'_>, document: &Document, model: Option<&str>) -> u64 {
    let caps = asked.caps(document, model);
    let largest = |cap: Option<Option<u64>>| cap.map(|cap| cap.unwrap_or(u64::MAX));
    let own = largest(document.output_cap(|name| caps.take(name)));
    let unasked = asked.plan.output_tokens_max.unwrap_or(OUTPUT_TOKENS_ASSUMED);
    own.unwrap_or(unasked).max(largest(document.output_cap(|name| !caps.take(name))).unwrap_or(0))
}

/// What is reserved for the input of a body that was not read. Sounds and pictures are no text.
fn unseen_tokens(asked: &RequestView<'_>) -> u64 {
    let bytes = asked.bytes.max(1);
    let is_text = asked.classes.any(|class| !matches!(class, Class::Image | Class::Audio));
    match asked.body {
        Body::Unread(Unread::NotJson | Unread::Encoded) => estimate::OVERHEAD_TOKENS,
        _ if is_text => estimate::unseen_tokens(bytes),
        _ => estimate::OVERHEAD_TOKENS,
    }
}

/// How many answers will be made, after the plan has bounded `n`.
fn answers(document: &Document, n_max: Option<u64>) -> u64 {
    let asked = document.answers().unwrap_or(u64::MAX);
    let prompts = document.prompts.max(1);
    n_max.map_or(asked, |max| asked.min(max.saturating_mul(prompts)))
}

/// Whether a model writes text in answer.
fn is_generative(class: Class) -> bool {
    matches!(class, Class::Chat | Class::Completion | Class::Rag)
}

#[cfg(test)]
mod tests;
