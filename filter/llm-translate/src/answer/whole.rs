//! Answers that come whole.
use weir_contract::time::Timestamp;
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::VALUES_MAX;
use super::say::{kind, name, text_at};
use super::usage::Usage;
use crate::expected::{Expected, FOREIGN_SIGNATURE, JSON_TOOL};
use crate::table::member;
use crate::target::Dialect;
use crate::write::Writer;

/// Writes an answer in the client's dialect. None if it is no answer of the provider's.
pub(super) fn translate(expected: Expected, body: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let tree = Tree::read_up_to(body, VALUES_MAX).ok()?;
    match expected.client {
        Dialect::OpenAi => to_openai(expected, &tree, now),
        Dialect::Anthropic => to_anthropic(expected, &tree),
    }
}

/// Why an answer ends, in OpenAI's words.
pub(super) fn finish_reason(stop_reason: &str, has_calls: bool) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" if has_calls => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

/// Why an answer ends, in Anthropic's words.
pub(super) fn stop_reason(finish_reason: &str, has_calls: bool, has_refused: bool) -> &'static str {
    match finish_reason {
        "length" | "model_length" => "max_tokens",
        "content_filter" => "refusal",
        _ if has_refused => "refusal",
        _ if has_calls => "tool_use",
        _ => "end_turn",
    }
}

fn to_openai(expected: Expected, tree: &Tree<'_>, now: Timestamp) -> Option<Vec<u8>> {
    let content = member(tree, ROOT, "content").filter(|content| tree.kind(*content) == Some(Kind::Array))?;
    let stop_reason = member(tree, ROOT, "stop_reason").and_then(|reason| tree.text(reason)).unwrap_or_default();
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{").member("id", name(tree, ROOT, "id", "\"chatcmpl-translated\"")).text("object", "chat.completion");
    writer.count("created", now.as_secs()).member("model", name(tree, ROOT, "model", "\"unknown\""));
    writer.name("choices").open("[").open("{").count("index", 0).name("message").open("{").text("role", "assistant");
    let is_json = |block: &Id| expected.json_tool && text_of(tree, *block, "name").as_deref() == Some(JSON_TOOL);
    let of_kind = |wanted: &'static str| tree.children(content).filter(move |block| kind(tree, *block) == wanted);
    texts(tree, of_kind("text"), of_kind("tool_use").filter(is_json), &mut writer);
    let details = member(tree, ROOT, "stop_details").filter(|_| stop_reason == "refusal");
    let explanation = details.and_then(|details| member(tree, details, "explanation"));
    writer.member("refusal", explanation.map_or(&b"null"[..], |explanation| tree.raw(explanation)));
    let thoughts: Vec<&[u8]> = of_kind("thinking").filter_map(|block| raw_text(tree, block, "thinking")).collect();
    if !thoughts.is_empty() {
        writer.name("reasoning_content").raw("\"").glue(thoughts.concat()).glue("\"");
    }
    let calls: Vec<Id> = of_kind("tool_use").filter(|block| !is_json(block)).collect();
    if !calls.is_empty() {
        writer.name("tool_calls").open("[");
        calls.iter().try_for_each(|call| tool_call(tree, *call, &mut writer))?;
        writer.close("]");
    }
    writer.close("}").member("logprobs", "null").text("finish_reason", finish_reason(&stop_reason, !calls.is_empty()));
    writer.close("}").close("]");
    let mut usage = Usage::default();
    usage.update(tree, member(tree, ROOT, "usage"));
    usage.write_openai(&mut writer);
    writer.close("}");
    Some(writer.into_bytes())
}

/// The content of an answer: its texts one after the other, and JSON that has come as a tool's input.
fn texts(tree: &Tree<'_>, texts: impl Iterator<Item = Id>, json: impl Iterator<Item = Id>, writer: &mut Writer) {
    let texts: Vec<&[u8]> = texts.filter_map(|block| raw_text(tree, block, "text")).collect();
    let inputs: Vec<Id> = json.filter_map(|block| member(tree, block, "input")).collect();
    writer.name("content");
    if texts.is_empty() && inputs.is_empty() {
        writer.raw("null");
        return;
    }
    writer.raw("\"").glue(texts.concat());
    for input in inputs {
        writer.escaped(std::str::from_utf8(tree.raw(input)).unwrap_or_default());
    }
    writer.glue("\"");
}

fn tool_call(tree: &Tree<'_>, block: Id, writer: &mut Writer) -> Option<()> {
    let tool = member(tree, block, "name").filter(|name| tree.text(*name).is_some())?;
    let input = member(tree, block, "input").map_or(&b"{}"[..], |input| tree.raw(input));
    writer.open("{").member("id", name(tree, block, "id", "\"call_unnamed\"")).text("type", "function");
    writer.name("function").open("{").member("name", tree.raw(tool));
    writer.text("arguments", std::str::from_utf8(input).ok()?).close("}").close("}");
    Some(())
}

fn to_anthropic(expected: Expected, tree: &Tree<'_>) -> Option<Vec<u8>> {
    let choice = tree.children(member(tree, ROOT, "choices")?).next()?;
    let message = member(tree, choice, "message")?;
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{").member("id", name(tree, ROOT, "id", "\"msg_translated\"")).text("type", "message");
    writer.text("role", "assistant").member("model", name(tree, ROOT, "model", "\"unknown\""));
    writer.name("content").open("[");
    let thoughts = ["reasoning_content", "reasoning"].iter().find_map(|name| raw_text(tree, message, name));
    if let Some(thoughts) = thoughts.filter(|_| expected.with_thoughts) {
        writer.open("{").text("type", "thinking").name("thinking").raw("\"").glue(thoughts).glue("\"");
        writer.text("signature", FOREIGN_SIGNATURE).close("}");
    }
    let refusal = raw_text(tree, message, "refusal");
    let parts = member(tree, message, "content").filter(|content| tree.kind(*content) == Some(Kind::Array));
    let parts = parts.map(|parts| tree.children(parts).filter_map(|part| raw_text(tree, part, "text")).collect());
    let texts: Vec<&[u8]> = parts.unwrap_or_else(|| raw_text(tree, message, "content").into_iter().collect());
    for text in texts.into_iter().chain(refusal) {
        writer.open("{").text("type", "text").name("text").raw("\"").glue(text).glue("\"").close("}");
    }
    let calls: Vec<Id> =
        member(tree, message, "tool_calls").map(|calls| tree.children(calls).collect()).unwrap_or_default();
    for (number, call) in calls.iter().enumerate() {
        tool_use(tree, *call, number, &mut writer)?;
    }
    let finish_reason = text_of(tree, choice, "finish_reason").unwrap_or_default();
    writer.close("]").text("stop_reason", stop_reason(&finish_reason, !calls.is_empty(), refusal.is_some()));
    writer.member("stop_sequence", "null");
    let usage = member(tree, ROOT, "usage").map(|usage| Usage::of_openai(tree, usage)).unwrap_or_default();
    usage.write_anthropic(&mut writer);
    writer.close("}");
    Some(writer.into_bytes())
}

fn tool_use(tree: &Tree<'_>, call: Id, number: usize, writer: &mut Writer) -> Option<()> {
    let function = member(tree, call, "function")?;
    let tool = member(tree, function, "name").filter(|name| tree.text(*name).is_some())?;
    let arguments = text_of(tree, function, "arguments").unwrap_or_default();
    let input = if arguments.trim().is_empty() { "{}" } else { arguments.trim() };
    let is_object = Tree::read_up_to(input.as_bytes(), VALUES_MAX).is_ok_and(|it| it.kind(ROOT) == Some(Kind::Object));
    if !is_object {
        return None;
    }
    writer.open("{").text("type", "tool_use");
    match name(tree, call, "id", "") {
        b"" => writer.text("id", &format!("call_{number}")),
        id => writer.member("id", id),
    };
    writer.member("name", tree.raw(tool)).member("input", input).close("}");
    Some(())
}

fn text_of<'b>(tree: &Tree<'b>, holder: Id, name: &str) -> Option<std::borrow::Cow<'b, str>> {
    tree.text(member(tree, holder, name)?)
}

/// A text that is not empty, as it is written, without quotes.
fn raw_text<'b>(tree: &Tree<'b>, holder: Id, name: &str) -> Option<&'b [u8]> {
    text_at(tree, member(tree, holder, name)).map(|(_, text)| text)
}
