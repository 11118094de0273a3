//! Messages: turns that alternate, and their blocks.
mod turns;

use weir_llm_usage::json::tree::{Id, ROOT, Tree};

use super::{Content, content, kind_of};
use crate::request::value::{is_blank, quoted, text};
use crate::table::{Section, elements, member, openai};
use crate::target::Target;
use crate::unfit::Unfit;
use crate::write::Writer;
use turns::Turns;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    User,
    Assistant,
    Tool,
}

pub(super) fn write(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<(), Unfit> {
    let list = member(tree, ROOT, "messages").ok_or_else(|| Unfit::malformed("messages", "it must be there"))?;
    let messages = elements(tree, list, "messages")?.into_iter().map(|message| Ok((role_of(tree, message)?, message)));
    let messages: Vec<(Role, Id)> = messages.collect::<Result<_, Unfit>>()?;
    system(tree, &messages, writer)?;
    writer.name("messages").open("[");
    let mut turns = Turns::new(tree, to, writer);
    for (role, message) in messages {
        match role {
            Role::System => {}
            Role::User => turns.user(message)?,
            Role::Assistant => turns.assistant(message)?,
            Role::Tool => turns.tool(message)?,
        }
    }
    turns.finish()
}

fn role_of(tree: &Tree<'_>, message: Id) -> Result<Role, Unfit> {
    let (role, section): (Role, &Section) = match &*text(tree, member(tree, message, "role"), "messages[].role")? {
        "system" | "developer" => (Role::System, &openai::SYSTEM),
        "user" => (Role::User, &openai::USER),
        "assistant" => (Role::Assistant, &openai::ASSISTANT),
        "tool" => (Role::Tool, &openai::TOOL_MESSAGE),
        "function" => return Err(Unfit::no_counterpart("messages[function]", "deprecated: only `tool` is translated")),
        _ => return Err(Unfit::malformed("messages[].role", "it is no role that Chat Completions knows")),
    };
    section.check(tree, message)?;
    Ok(role)
}

/// Writes all messages of the system as blocks of one list.
fn system(tree: &Tree<'_>, messages: &[(Role, Id)], writer: &mut Writer) -> Result<(), Unfit> {
    let mut texts = Vec::new();
    for (_, message) in messages.iter().filter(|(role, _)| *role == Role::System) {
        match content(tree, *message)? {
            Content::None => {}
            Content::Text(content) => texts.push(tree.raw(content)),
            Content::Parts(parts) => {
                for part in parts {
                    texts.push(text_part(tree, part)?);
                }
            }
        }
    }
    texts.retain(|text| !is_blank(text));
    if texts.is_empty() {
        return Ok(());
    }
    writer.name("system").open("[");
    texts.into_iter().for_each(|text| text_block(writer, text));
    writer.close("]");
    Ok(())
}

/// The text of a part that may only be text, as it is written.
fn text_part<'b>(tree: &Tree<'b>, part: Id) -> Result<&'b [u8], Unfit> {
    if kind_of(tree, part)? != "text" {
        return Err(Unfit::malformed("content[]", "only text may stand here"));
    }
    openai::TEXT.check(tree, part)?;
    quoted(tree, member(tree, part, "text"), "content[text].text")
}

fn text_block(writer: &mut Writer, quoted: &[u8]) {
    writer.open("{").text("type", "text").member("text", quoted).close("}");
}
