//! Requests: from a client's dialect to that of a target.
mod clean;
mod to_anthropic;
mod to_openai;
mod value;

use weir_llm_usage::json::tree::{ROOT, Tree};

use crate::expected::Expected;
use crate::table;
use crate::target::{Dialect, Server, Target};
use crate::unfit::Unfit;

/// The most values that a body may have: 14 MB of memory while it is translated. A conversation of a megabyte has some
/// ten thousand.
const VALUES_MAX: usize = 256 * 1024;

/// A request as its target takes it.
#[derive(Clone, Debug)]
pub struct Translated {
    /// The body.
    pub body: Vec<u8>,
    /// What the answer's translation needs to know.
    pub answer: Expected,
    /// The client wants a stream.
    pub streams: bool,
}

/// Writes a client's request anew for a target.
///
/// A body of the target's own dialect gets the target's name of the model and loses what this server refuses.
///
/// # Errors
/// If the target cannot serve it without a loss, or it cannot be read.
pub fn translate(from: Dialect, to: &Target<'_>, body: &[u8]) -> Result<Translated, Unfit> {
    let tree = Tree::read_up_to(body, VALUES_MAX)?;
    let streams = table::member(&tree, ROOT, "stream").is_some_and(|stream| tree.raw(stream) == b"true");
    if streams && to.server == Server::BedrockAnthropic {
        return Err(Unfit::no_counterpart("stream", "Bedrock streams in frames of AWS"));
    }
    let (body, answer) = written(from, to, &tree)?;
    let answer = if to.server.is_cloud() { answer.at_cloud() } else { answer };
    Ok(Translated { body, answer, streams })
}

fn written(from: Dialect, to: &Target<'_>, tree: &Tree<'_>) -> Result<(Vec<u8>, Expected), Unfit> {
    let same = Expected::same(from);
    match (from, to.server.dialect()) {
        (Dialect::OpenAi, Dialect::Anthropic) => to_anthropic::translate(tree, to),
        (Dialect::OpenAi, Dialect::OpenAi) => Ok((clean::for_server(tree, to)?, same)),
        (Dialect::Anthropic, Dialect::Anthropic) => Ok((clean::for_anthropic(tree, to)?, same)),
        (Dialect::Anthropic, Dialect::OpenAi) => {
            let (body, answer) = to_openai::translate(tree, to)?;
            if table::rules_of(to.server).is_none() {
                return Ok((body, answer));
            }
            let tree = Tree::read_up_to(&body, VALUES_MAX)?;
            Ok((clean::for_server(&tree, to)?, answer))
        }
    }
}
