//! Messages to Chat Completions.
mod messages;
mod options;
mod parts;

use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::value::{self, flag, quoted, text};
use crate::expected::Expected;
use crate::table::{anthropic, elements, member};
use crate::target::{Dialect, Server, Target};
use crate::unfit::Unfit;
use crate::write::Writer;

/// OpenAI takes that many sequences to stop at.
const STOP_MAX: usize = 4;
/// The longest name of a user that OpenAI takes, in bytes.
const USER_MAX_BYTES: usize = 64;

pub(super) fn translate(tree: &Tree<'_>, to: &Target<'_>) -> Result<(Vec<u8>, Expected), Unfit> {
    anthropic::REQUEST.check(tree, ROOT)?;
    let of = |name: &str| member(tree, ROOT, name);
    text(tree, of("model"), "model")?;
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{").text("model", to.model);
    let cap = of("max_tokens").ok_or_else(|| Unfit::malformed("max_tokens", "it must be there"))?;
    match value::count(tree, cap, "max_tokens")? {
        0 => return Err(Unfit::no_counterpart("max_tokens", "only Anthropic reads a prompt without answering")),
        // A model refuses a cap beyond what it writes, and would never reach it.
        cap => writer.count("max_completion_tokens", cap.min(to.output_tokens_max)),
    };
    if flag(tree, of("stream"), "stream")? {
        // Chunks without padding are alike, and so are translated without being read again.
        let unpadded = if to.server == Server::OpenAi { r#","include_obfuscation":false"# } else { "" };
        writer.member("stream", "true").member("stream_options", format!(r#"{{"include_usage":true{unpadded}}}"#));
    }
    sampling(tree, to, &mut writer)?;
    stop(tree, to, &mut writer)?;
    let with_thoughts = options::write(tree, to, &mut writer)?;
    user(tree, &mut writer)?;
    messages::write(tree, to, &mut writer)?;
    writer.close("}");
    let answer = Expected {
        client: Dialect::Anthropic,
        upstream: Dialect::OpenAi,
        with_usage: true,
        with_thoughts,
        json_tool: false,
        of_cloud: false,
    };
    Ok((writer.into_bytes(), answer))
}

fn sampling(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    for name in ["temperature", "top_p", "top_k"] {
        let found = member(tree, ROOT, name);
        value::number(tree, found, name)?;
        if name == "top_k" && found.is_some() && to.server != Server::Vllm {
            return Err(Unfit::no_counterpart("top_k", "the server does not know it"));
        }
        if to.samples {
            writer.copy(name, tree, found);
        }
    }
    Ok(())
}

fn stop(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let Some(stop) = member(tree, ROOT, "stop_sequences") else { return Ok(()) };
    let sequences = elements(tree, stop, "stop_sequences")?;
    if sequences.len() > STOP_MAX && to.server == Server::OpenAi {
        return Err(Unfit::no_counterpart("stop_sequences", "OpenAI takes four"));
    }
    if sequences.is_empty() {
        return Ok(());
    }
    writer.name("stop").open("[");
    for sequence in sequences {
        writer.raw(quoted(tree, Some(sequence), "stop_sequences")?);
    }
    writer.close("]");
    Ok(())
}

fn user(tree: &Tree<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let Some(metadata) = member(tree, ROOT, "metadata") else { return Ok(()) };
    anthropic::METADATA.check(tree, metadata)?;
    let Some(user) = member(tree, metadata, "user_id") else { return Ok(()) };
    let user = text(tree, Some(user), "metadata.user_id")?;
    if user.len() <= USER_MAX_BYTES {
        writer.text("user", &user);
    }
    Ok(())
}

/// A string, or blocks.
enum Content {
    Text(Id),
    Blocks(Vec<Id>),
}

fn content(tree: &Tree<'_>, holder: Id, place: &'static str) -> Result<Content, Unfit> {
    let content = member(tree, holder, "content").ok_or_else(|| Unfit::malformed(place, "it must be there"))?;
    Ok(match tree.kind(content) {
        Some(Kind::String) => Content::Text(content),
        _ => Content::Blocks(elements(tree, content, place)?),
    })
}

fn kind_of<'b>(tree: &Tree<'b>, block: Id) -> Result<std::borrow::Cow<'b, str>, Unfit> {
    text(tree, member(tree, block, "type"), "type")
}

/// The text of a text block, as it is written.
fn text_of<'b>(tree: &Tree<'b>, block: Id) -> Result<&'b [u8], Unfit> {
    anthropic::TEXT.check(tree, block)?;
    quoted(tree, member(tree, block, "text"), "content[text].text")
}
