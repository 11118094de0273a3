//! A request in the target's own dialect, without what this server refuses.
use std::ops::Range;

use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::value::text;
use crate::expected::FOREIGN_SIGNATURE;
use crate::ids;
use crate::table::{Fate, elements, member, rules_of};
use crate::target::{Server, Target, Thinking};
use crate::unfit::Unfit;
use crate::write::Writer;

/// Chat Completions for a server that speaks it.
pub(super) fn for_server(tree: &Tree<'_>, to: &Target<'_>) -> Result<Vec<u8>, Unfit> {
    if tree.kind(ROOT) != Some(Kind::Object) {
        return Err(Unfit::malformed("body", "it must be an object"));
    }
    let rules = rules_of(to.server);
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{");
    for at in tree.children(ROOT) {
        let name = tree.name(at);
        let rule = rules.and_then(|rules| rules.field(&name));
        if tree.kind(at) == Some(Kind::Null) && (rule.is_some() || name == "max_completion_tokens") {
            continue;
        }
        if let Some(rule) = rule {
            rule.check(tree, at).map_err(|why| Unfit::no_counterpart(name.clone().into_owned(), why))?;
        }
        match (&*name, rule.map(|rule| rule.fate)) {
            (_, Some(Fate::Dropped(_))) => {}
            ("model", _) => {
                writer.text("model", to.model);
            }
            ("temperature" | "top_p", _) if !to.samples => {}
            // Models that think refuse the old name.
            ("max_tokens", _) if to.server == Server::OpenAi && to.thinking != Thinking::Never => {
                if member(tree, ROOT, "max_completion_tokens").is_none() {
                    writer.member("max_completion_tokens", tree.raw(at));
                }
            }
            ("max_tokens", _) if rules.is_some() && member(tree, ROOT, "max_completion_tokens").is_some() => {}
            ("max_completion_tokens", Some(_)) => {
                writer.member("max_tokens", tree.raw(at));
            }
            ("seed", Some(_)) if tree.member(ROOT, "random_seed").is_some() => {}
            ("seed", Some(_)) => {
                writer.member("random_seed", tree.raw(at));
            }
            ("messages", Some(_)) => {
                writer.member("messages", messages(tree, at, to)?);
            }
            _ => copy(tree, at, &mut writer),
        }
    }
    writer.close("}");
    Ok(writer.into_bytes())
}

/// The list of messages with the few values that such a server wants otherwise.
fn messages(tree: &Tree<'_>, list: Id, to: &Target<'_>) -> Result<Vec<u8>, Unfit> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut edit = |value: Option<Id>, with: &str| {
        if let Some(node) = value.and_then(|value| tree.node(value)) {
            let mut quoted = Writer::default();
            quoted.string(with);
            edits.push((node.at.clone(), String::from_utf8(quoted.into_bytes()).unwrap_or_default()));
        }
    };
    for message in elements(tree, list, "messages")? {
        for at in tree.children(message) {
            match &*tree.name(at) {
                "role" if tree.text(at).is_some_and(|role| role == "developer") => edit(Some(at), "system"),
                "tool_call_id" if to.server == Server::Mistral => {
                    edit(Some(at), &call_id(tree, Some(at), to)?);
                }
                "tool_calls" if to.server == Server::Mistral => {
                    for call in tree.children(at) {
                        let id = member(tree, call, "id");
                        edit(id, &call_id(tree, id, to)?);
                    }
                }
                "content" => parts(tree, at, to)?,
                _ => {}
            }
        }
    }
    Ok(edited(tree, list, &edits))
}

fn call_id(tree: &Tree<'_>, id: Option<Id>, to: &Target<'_>) -> Result<String, Unfit> {
    Ok(ids::for_server(to.server, &text(tree, id, "tool_call_id")?).into_owned())
}

/// Checks the parts of a message: which kinds the server takes.
fn parts(tree: &Tree<'_>, content: Id, to: &Target<'_>) -> Result<(), Unfit> {
    if tree.kind(content) != Some(Kind::Array) {
        return Ok(());
    }
    for part in tree.children(content) {
        let kind = member(tree, part, "type").and_then(|kind| tree.text(kind));
        match kind.as_deref() {
            Some("file" | "input_audio") => {
                return Err(Unfit::no_counterpart("content[]", "the server takes texts and pictures only"));
            }
            Some("image_url") if to.server == Server::Ollama && !is_data(tree, part) => {
                let why = "Ollama does not fetch pictures";
                return Err(Unfit::no_counterpart("content[image_url].image_url.url", why));
            }
            _ if member(tree, part, "prompt_cache_breakpoint").is_some() && to.server == Server::Mistral => {
                return Err(Unfit::no_counterpart("content[].prompt_cache_breakpoint", "Mistral refuses it"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_data(tree: &Tree<'_>, part: Id) -> bool {
    let image = member(tree, part, "image_url");
    let url = image.and_then(|image| member(tree, image, "url").or(Some(image)));
    url.and_then(|url| tree.text(url)).is_some_and(|url| url.starts_with("data:"))
}

/// A value with parts of it replaced.
fn edited(tree: &Tree<'_>, value: Id, edits: &[(Range<usize>, String)]) -> Vec<u8> {
    let Some(node) = tree.node(value) else { return Vec::new() };
    let mut out = Vec::with_capacity(node.at.len());
    let mut from = node.at.start;
    for (at, with) in edits {
        out.extend_from_slice(tree.bytes.get(from..at.start).unwrap_or_default());
        out.extend_from_slice(with.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(tree.bytes.get(from..node.at.end).unwrap_or_default());
    out
}

/// Messages for Anthropic: without the thoughts that other providers have had.
pub(super) fn for_anthropic(tree: &Tree<'_>, to: &Target<'_>) -> Result<Vec<u8>, Unfit> {
    if tree.kind(ROOT) != Some(Kind::Object) {
        return Err(Unfit::malformed("body", "it must be an object"));
    }
    let mut writer = Writer::with_capacity(tree.bytes.len());
    writer.open("{");
    let rules = rules_of(to.server);
    let version = to.server.version_in_body();
    if let Some(version) = version {
        writer.text("anthropic_version", version);
    }
    for at in tree.children(ROOT) {
        let name = tree.name(at);
        let rule = rules.and_then(|rules| rules.field(&name));
        if let Some(rule) = rule.filter(|_| tree.kind(at) != Some(Kind::Null)) {
            rule.check(tree, at).map_err(|why| Unfit::no_counterpart(name.clone().into_owned(), why))?;
        }
        match &*name {
            _ if rule.is_some_and(|rule| matches!(rule.fate, Fate::Dropped(_))) => &mut writer,
            "model" => writer.text("model", to.model),
            "temperature" | "top_p" | "top_k" if !to.samples => &mut writer,
            "messages" => {
                writer.name("messages").open("[");
                let messages = elements(tree, at, "messages")?;
                if to.server.is_cloud() {
                    let contents = messages.iter().filter_map(|message| member(tree, *message, "content"));
                    contents.into_iter().try_for_each(|content| has_its_sources(tree, content))?;
                }
                messages.into_iter().for_each(|message| without_foreign_thoughts(tree, message, &mut writer));
                writer.close("]")
            }
            _ => {
                copy(tree, at, &mut writer);
                &mut writer
            }
        };
    }
    writer.close("}");
    Ok(writer.into_bytes())
}

/// Checks blocks for clouds, which fetch nothing: not from a URL, and not from Anthropic's store of files.
fn has_its_sources(tree: &Tree<'_>, content: Id) -> Result<(), Unfit> {
    if tree.kind(content) != Some(Kind::Array) {
        return Ok(());
    }
    for block in tree.children(content) {
        let source = member(tree, block, "source");
        let kind = source.and_then(|source| tree.text(member(tree, source, "type")?));
        if matches!(kind.as_deref(), Some("url" | "file")) {
            return Err(Unfit::no_counterpart("content[].source", "the cloud takes pictures and documents in base64"));
        }
        // Results of tools hold blocks, and documents may.
        let inner = [member(tree, block, "content"), source.and_then(|source| member(tree, source, "content"))];
        inner.into_iter().flatten().try_for_each(|inner| has_its_sources(tree, inner))?;
    }
    Ok(())
}

/// Copies a member as it is written, its name included.
fn copy(tree: &Tree<'_>, member: Id, writer: &mut Writer) {
    let name = tree.node(member).and_then(|node| tree.bytes.get(node.name.clone())).unwrap_or_default();
    writer.raw(name).glue(":").raw(tree.raw(member));
}

fn without_foreign_thoughts(tree: &Tree<'_>, message: Id, writer: &mut Writer) {
    let is_foreign = |block: &Id| {
        let signature = member(tree, *block, "signature").and_then(|signature| tree.text(signature));
        signature.is_some_and(|signature| signature == FOREIGN_SIGNATURE)
    };
    let content = member(tree, message, "content").filter(|content| tree.kind(*content) == Some(Kind::Array));
    if !content.is_some_and(|content| tree.children(content).any(|block| is_foreign(&block))) {
        writer.raw(tree.raw(message));
        return;
    }
    let Some(content) = content else { return };
    let kept: Vec<Id> = tree.children(content).filter(|block| !is_foreign(block)).collect();
    if kept.is_empty() {
        return;
    }
    writer.open("{");
    for at in tree.children(message) {
        if at != content {
            copy(tree, at, writer);
            continue;
        }
        writer.name("content").open("[");
        kept.iter().for_each(|block| {
            writer.raw(tree.raw(*block));
        });
        writer.close("]");
    }
    writer.close("}");
}
