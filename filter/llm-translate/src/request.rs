//! Requests: from a client's dialect to that of a target.
mod clean;
mod to_anthropic;
mod to_openai;
mod value;

use weir_llm_usage::json::tree::Tree;

use crate::expected::Expected;
use crate::table;
use crate::target::{Dialect, Target};
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
}

/// Writes a client's request anew for a target.
///
/// A body of the target's own dialect gets the target's name of the model and loses what this server refuses.
///
/// # Errors
/// If the target cannot serve it without a loss, or it cannot be read.
pub fn translate(from: Dialect, to: &Target<'_>, body: &[u8]) -> Result<Translated, Unfit> {
    let tree = Tree::read_up_to(body, VALUES_MAX)?;
    let same = Expected::same(from);
    match (from, to.server.dialect()) {
        (Dialect::OpenAi, Dialect::Anthropic) => to_anthropic::translate(&tree, to),
        (Dialect::OpenAi, Dialect::OpenAi) => Ok(Translated { body: clean::for_server(&tree, to)?, answer: same }),
        (Dialect::Anthropic, Dialect::Anthropic) => {
            Ok(Translated { body: clean::for_anthropic(&tree, to)?, answer: same })
        }
        (Dialect::Anthropic, Dialect::OpenAi) => {
            let translated = to_openai::translate(&tree, to)?;
            if table::rules_of(to.server).is_none() {
                return Ok(translated);
            }
            let tree = Tree::read_up_to(&translated.body, VALUES_MAX)?;
            Ok(Translated { body: clean::for_server(&tree, to)?, ..translated })
        }
    }
}
