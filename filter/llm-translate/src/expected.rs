//! What a request leaves for the translation of its answer.
use crate::answer_head::AnswerHead;
use crate::target::Dialect;

/// What a translated answer signs foreign thoughts with. Anthropic refuses thoughts that it has not signed, so they are
/// taken out when the client sends them back.
pub const FOREIGN_SIGNATURE: &str = "weir:another-providers-thoughts";

/// The tool whose input is the answer, where the client wants JSON without a schema.
pub(crate) const JSON_TOOL: &str = "answer_in_json";

/// What an answer's translation needs to know of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub(crate) client: Dialect,
    pub(crate) upstream: Dialect,
    /// The client wants to be told the usage of a stream.
    pub(crate) with_usage: bool,
    /// The client reads thoughts.
    pub(crate) with_thoughts: bool,
    /// The answer is the input of a tool that the translation has added.
    pub(crate) json_tool: bool,
    /// A cloud may answer in the place of the model, with errors of its own form.
    pub(crate) of_cloud: bool,
}

impl Expected {
    pub(crate) fn same(dialect: Dialect) -> Self {
        Expected {
            client: dialect,
            upstream: dialect,
            with_usage: true,
            with_thoughts: true,
            json_tool: false,
            of_cloud: false,
        }
    }

    /// The same, of a server behind which a cloud may answer in the place of the model.
    #[must_use]
    pub fn at_cloud(self) -> Self {
        Expected { of_cloud: true, ..self }
    }

    /// Whether an answer with this head has to be written anew: because of its dialect, or since it is an error of a cloud's own form.
    #[must_use]
    pub fn rewrites(&self, head: &AnswerHead<'_>) -> bool {
        self.is_translated() || self.is_error_of_cloud(head)
    }

    /// Whether an answer may be an error of a cloud's own form.
    pub(crate) fn is_error_of_cloud(&self, head: &AnswerHead<'_>) -> bool {
        head.is_error() && (self.of_cloud || head.error_type().is_some())
    }

    /// Whether an answer has to be translated at all.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.client != self.upstream
    }
}
