//! Chat Completions to Messages.
mod messages;
mod options;

use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::value::{self, flag, is_blank, quoted, text};
use crate::expected::Expected;
use crate::table::{elements, member, openai};
use crate::target::{Dialect, Target};
use crate::unfit::Unfit;
use crate::write::Writer;

pub(super) fn translate(tree: &Tree<'_>, to: &Target<'_>) -> Result<(Vec<u8>, Expected), Unfit> {
    openai::REQUEST.check(tree, ROOT)?;
    let of = |name: &str| member(tree, ROOT, name);
    text(tree, of("model"), "model")?;
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{");
    match to.server.version_in_body() {
        Some(version) => writer.text("anthropic_version", version),
        None => writer.text("model", to.model),
    };
    let cap = output_cap(tree, to)?;
    writer.count("max_tokens", cap);
    let is_stream = flag(tree, of("stream"), "stream")?;
    if is_stream {
        writer.member("stream", "true");
    }
    sampling(tree, to, &mut writer)?;
    stop(tree, &mut writer)?;
    let json_tool = options::write(tree, to, cap, &mut writer)?;
    user(tree, &mut writer)?;
    messages::write(tree, to, &mut writer)?;
    writer.close("}");
    let answer = Expected {
        client: Dialect::OpenAi,
        upstream: Dialect::Anthropic,
        with_usage: includes_usage(tree)?,
        with_thoughts: true,
        json_tool,
        of_cloud: false,
    };
    Ok((writer.into_bytes(), answer))
}

/// The client's cap. A model refuses one beyond what it writes, and would never reach it.
fn output_cap(tree: &Tree<'_>, to: &Target<'_>) -> Result<u64, Unfit> {
    let cap = member(tree, ROOT, "max_completion_tokens").or(member(tree, ROOT, "max_tokens"));
    let cap = cap.map(|cap| value::count(tree, cap, "max_completion_tokens")).transpose()?;
    Ok(cap.map_or(to.output_tokens_max, |cap| cap.min(to.output_tokens_max)))
}

fn includes_usage(tree: &Tree<'_>) -> Result<bool, Unfit> {
    let Some(options) = member(tree, ROOT, "stream_options") else { return Ok(false) };
    openai::STREAM_OPTIONS.check(tree, options)?;
    flag(tree, member(tree, options, "include_usage"), "stream_options.include_usage")
}

fn sampling(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    for name in ["temperature", "top_p"] {
        let found = member(tree, ROOT, name);
        value::number(tree, found, name)?;
        let number = found.and_then(|found| std::str::from_utf8(tree.raw(found)).ok()?.parse::<f64>().ok());
        if number.is_some_and(|number| number > 1.0) {
            return Err(Unfit::no_counterpart(name, "above 1 is more than Messages knows"));
        }
        if to.samples {
            writer.copy(name, tree, found);
        }
    }
    Ok(())
}

fn stop(tree: &Tree<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let Some(stop) = member(tree, ROOT, "stop") else { return Ok(()) };
    let sequences = match tree.kind(stop) {
        Some(Kind::String) => vec![stop],
        _ => elements(tree, stop, "stop")?,
    };
    if sequences.is_empty() {
        return Ok(());
    }
    writer.name("stop_sequences").open("[");
    for sequence in sequences {
        let sequence = quoted(tree, Some(sequence), "stop")?;
        if is_blank(sequence) {
            return Err(Unfit::no_counterpart("stop", "Messages refuses a sequence of white space"));
        }
        writer.raw(sequence);
    }
    writer.close("]");
    Ok(())
}

fn user(tree: &Tree<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let user = member(tree, ROOT, "safety_identifier").or(member(tree, ROOT, "user"));
    if user.is_some() {
        let user = quoted(tree, user, "user")?;
        writer.name("metadata").open("{").member("user_id", user).close("}");
    }
    Ok(())
}

/// A string, or a list whose elements are objects with a type.
enum Content {
    None,
    Text(Id),
    Parts(Vec<Id>),
}

fn content(tree: &Tree<'_>, message: Id) -> Result<Content, Unfit> {
    let Some(content) = member(tree, message, "content") else { return Ok(Content::None) };
    Ok(match tree.kind(content) {
        Some(Kind::String) => Content::Text(content),
        _ => Content::Parts(elements(tree, content, "content")?),
    })
}

fn kind_of<'b>(tree: &Tree<'b>, part: Id) -> Result<std::borrow::Cow<'b, str>, Unfit> {
    text(tree, member(tree, part, "type"), "type")
}
