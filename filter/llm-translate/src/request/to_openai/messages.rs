//! Messages, each in its order; results of tools become messages of their own.
use weir_llm_usage::json::tree::{Id, ROOT, Tree};

use super::parts::{part, plain_text, result_text};
use super::{Content, content, kind_of, text_of};
use crate::ids::for_server;
use crate::request::value::{flag, quoted, text};
use crate::table::{anthropic, elements, member};
use crate::target::Target;
use crate::unfit::Unfit;
use crate::write::Writer;

pub(super) fn write(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let list = member(tree, ROOT, "messages").ok_or_else(|| Unfit::malformed("messages", "it must be there"))?;
    let messages = elements(tree, list, "messages")?;
    writer.name("messages").open("[");
    if let Some(system) = member(tree, ROOT, "system") {
        match tree.text(system) {
            Some(_) => message(writer, "system", tree.raw(system)),
            None => texts(tree, "system", &elements(tree, system, "system")?, writer)?,
        }
    }
    let mut last = String::new();
    for at in messages {
        let role = text(tree, member(tree, at, "role"), "messages[].role")?;
        match &*role {
            "system" => system_message(tree, at, writer)?,
            "user" => user(tree, to, at, writer)?,
            "assistant" => assistant(tree, to, at, writer)?,
            _ => return Err(Unfit::malformed("messages[].role", "it is no role that Messages knows")),
        }
        last = role.into_owned();
    }
    if last.is_empty() {
        return Err(Unfit::malformed("messages", "there must be one"));
    }
    if last == "assistant" {
        return Err(Unfit::no_counterpart("messages", "only Anthropic continues a message that the client began"));
    }
    writer.close("]");
    Ok(())
}

/// A message with content as it is written.
fn message(writer: &mut Writer, role: &str, content: &[u8]) {
    writer.open("{").text("role", role).member("content", content).close("}");
}

/// A message of texts.
fn texts(tree: &Tree<'_>, role: &str, blocks: &[Id], writer: &mut Writer) -> Result<(), Unfit> {
    for block in blocks {
        if kind_of(tree, *block)? != "text" {
            return Err(Unfit::malformed("system", "only text may stand here"));
        }
    }
    match blocks {
        [] => Ok(()),
        blocks => {
            writer.open("{").text("role", role).name("content");
            parts(tree, blocks, writer)?;
            writer.close("}");
            Ok(())
        }
    }
}

/// One text as a string, anything else as parts.
fn parts(tree: &Tree<'_>, blocks: &[Id], writer: &mut Writer) -> Result<(), Unfit> {
    if let [block] = blocks
        && kind_of(tree, *block)? == "text"
    {
        writer.raw(text_of(tree, *block)?);
        return Ok(());
    }
    writer.open("[");
    blocks.iter().try_for_each(|block| part(tree, *block, writer))?;
    writer.close("]");
    Ok(())
}

fn system_message(tree: &Tree<'_>, at: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::SYSTEM_MESSAGE.check(tree, at)?;
    match content(tree, at, "messages[system].content")? {
        Content::Text(content) => message(writer, "system", tree.raw(content)),
        Content::Blocks(blocks) => texts(tree, "system", &blocks, writer)?,
    }
    Ok(())
}

fn user(tree: &Tree<'_>, to: &Target<'_>, at: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::USER.check(tree, at)?;
    let blocks = match content(tree, at, "messages[user].content")? {
        Content::Text(content) => {
            message(writer, "user", tree.raw(content));
            return Ok(());
        }
        Content::Blocks(blocks) => blocks,
    };
    let mut results = Vec::new();
    let mut others = Vec::new();
    for block in blocks {
        if kind_of(tree, block)? == "tool_result" { results.push(block) } else { others.push(block) }
    }
    let mut pictures = Vec::new();
    for result in &results {
        pictures.extend(tool(tree, to, *result, writer)?);
    }
    if pictures.is_empty() && others.is_empty() && !results.is_empty() {
        return Ok(());
    }
    writer.open("{").text("role", "user").name("content");
    if pictures.is_empty() {
        parts(tree, &others, writer)?;
    } else {
        writer.open("[");
        for (id, picture) in pictures {
            plain_text(writer, &format!("A picture of the tool's result {id}:"));
            part(tree, picture, writer)?;
        }
        others.iter().try_for_each(|block| part(tree, *block, writer))?;
        writer.close("]");
    }
    writer.close("}");
    Ok(())
}

/// Writes a result as a message; returns its pictures, which such a message cannot have.
fn tool(tree: &Tree<'_>, to: &Target<'_>, block: Id, writer: &mut Writer) -> Result<Vec<(String, Id)>, Unfit> {
    anthropic::TOOL_RESULT.check(tree, block)?;
    let id = text(tree, member(tree, block, "tool_use_id"), "content[tool_result].tool_use_id")?;
    let id = for_server(to.server, &id);
    let is_error = flag(tree, member(tree, block, "is_error"), "content[tool_result].is_error")?;
    writer.open("{").text("role", "tool").text("tool_call_id", &id).name("content").raw("\"");
    if is_error {
        writer.glue("Error: ");
    }
    let mut pictures = Vec::new();
    if member(tree, block, "content").is_some() {
        match content(tree, block, "content[tool_result].content")? {
            Content::Text(content) => {
                writer.glue(crate::request::value::inner(tree.raw(content)));
            }
            Content::Blocks(blocks) => pictures = result_text(tree, &blocks, writer)?,
        }
    }
    writer.glue("\"").close("}");
    Ok(pictures.into_iter().map(|picture| (id.to_string(), picture)).collect())
}

fn assistant(tree: &Tree<'_>, to: &Target<'_>, at: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::ASSISTANT.check(tree, at)?;
    let blocks = match content(tree, at, "messages[assistant].content")? {
        Content::Text(content) => {
            message(writer, "assistant", tree.raw(content));
            return Ok(());
        }
        Content::Blocks(blocks) => blocks,
    };
    let (mut said, mut calls) = (Vec::new(), Vec::new());
    for block in blocks {
        match &*kind_of(tree, block)? {
            "text" => said.push(block),
            "tool_use" => calls.push(block),
            "thinking" => anthropic::THINKING.check(tree, block)?,
            "redacted_thinking" => anthropic::REDACTED_THINKING.check(tree, block)?,
            other => return Err(Unfit::unknown(format!("content[{other}]"))),
        }
    }
    if said.is_empty() && calls.is_empty() {
        return Ok(());
    }
    writer.open("{").text("role", "assistant");
    if said.is_empty() {
        writer.member("content", "null");
    } else {
        writer.name("content");
        parts(tree, &said, writer)?;
    }
    if !calls.is_empty() {
        writer.name("tool_calls").open("[");
        calls.iter().try_for_each(|call| tool_call(tree, to, *call, writer))?;
        writer.close("]");
    }
    writer.close("}");
    Ok(())
}

fn tool_call(tree: &Tree<'_>, to: &Target<'_>, block: Id, writer: &mut Writer) -> Result<(), Unfit> {
    anthropic::TOOL_USE.check(tree, block)?;
    let id = text(tree, member(tree, block, "id"), "content[tool_use].id")?;
    let name = quoted(tree, member(tree, block, "name"), "content[tool_use].name")?;
    let input = member(tree, block, "input");
    let input = input.and_then(|input| std::str::from_utf8(tree.raw(input)).ok()).unwrap_or("{}");
    writer.open("{").text("id", &for_server(to.server, &id)).text("type", "function").name("function").open("{");
    writer.member("name", name).text("arguments", input).close("}").close("}");
    Ok(())
}
