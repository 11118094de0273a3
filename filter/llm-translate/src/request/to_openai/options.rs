//! Tools, formats and thinking.
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use crate::request::value::{count, flag, quoted, text};
use crate::table::{anthropic, elements, member};
use crate::target::{Target, Thinking};
use crate::unfit::Unfit;
use crate::write::Writer;

/// Writes tools, the choice among them, the format and the thinking. Returns whether the client reads thoughts.
pub(super) fn write(tree: &Tree<'_>, to: &Target<'_>, writer: &mut Writer) -> Result<bool, Unfit> {
    let tools = member(tree, ROOT, "tools").map_or(Ok(Vec::new()), |tools| elements(tree, tools, "tools"))?;
    let choice = member(tree, ROOT, "tool_choice");
    if let Some(choice) = choice {
        anthropic::TOOL_CHOICE.check(tree, choice)?;
    }
    if !tools.is_empty() {
        write_tools(tree, &tools, writer)?;
        if let Some(choice) = choice {
            write_choice(tree, choice, writer)?;
        }
    }
    let (by_thinking, with_thoughts) = thinking(tree)?;
    let by_config = output_config(tree, writer)?;
    if let Some(effort) = by_config.as_deref().or(by_thinking).filter(|_| to.thinking != Thinking::Never) {
        writer.text("reasoning_effort", effort);
    }
    Ok(with_thoughts)
}

fn write_tools(tree: &Tree<'_>, tools: &[Id], writer: &mut Writer) -> Result<(), Unfit> {
    writer.name("tools").open("[");
    for tool in tools {
        // A server's tool has members of its own, so its type is what to name.
        if let Some(kind) = member(tree, *tool, "type") {
            let why = anthropic::TOOL.field("type").and_then(|field| field.check(tree, kind).err());
            if let Some(why) = why {
                return Err(Unfit::no_counterpart("tools[].type", why));
            }
        }
        anthropic::TOOL.check(tree, *tool)?;
        let schema = member(tree, *tool, "input_schema").filter(|schema| tree.kind(*schema) == Some(Kind::Object));
        let schema = schema.ok_or_else(|| Unfit::malformed("tools[].input_schema", "it must be a schema"))?;
        writer.open("{").text("type", "function").name("function").open("{");
        writer.member("name", quoted(tree, member(tree, *tool, "name"), "tools[].name")?);
        writer.copy("description", tree, member(tree, *tool, "description"));
        writer.member("parameters", tree.raw(schema));
        writer.copy("strict", tree, member(tree, *tool, "strict")).close("}").close("}");
    }
    writer.close("]");
    Ok(())
}

fn write_choice(tree: &Tree<'_>, choice: Id, writer: &mut Writer) -> Result<(), Unfit> {
    match &*text(tree, member(tree, choice, "type"), "tool_choice.type")? {
        "auto" => writer.text("tool_choice", "auto"),
        "none" => writer.text("tool_choice", "none"),
        "any" => writer.text("tool_choice", "required"),
        "tool" => {
            let name = quoted(tree, member(tree, choice, "name"), "tool_choice.name")?;
            writer.name("tool_choice").open("{").text("type", "function").name("function").open("{");
            writer.member("name", name).close("}").close("}")
        }
        _ => return Err(Unfit::malformed("tool_choice.type", "it is no choice that Messages knows")),
    };
    if flag(tree, member(tree, choice, "disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")? {
        writer.member("parallel_tool_calls", "false");
    }
    Ok(())
}

/// The effort that the client's `thinking` stands for, and whether the client reads thoughts.
fn thinking(tree: &Tree<'_>) -> Result<(Option<&'static str>, bool), Unfit> {
    let Some(thinking) = member(tree, ROOT, "thinking") else { return Ok((None, false)) };
    anthropic::THINKING_CONFIG.check(tree, thinking)?;
    match &*text(tree, member(tree, thinking, "type"), "thinking.type")? {
        "disabled" => Ok((Some("none"), false)),
        "enabled" => {
            let missing = || Unfit::malformed("thinking.budget_tokens", "it must be there");
            let budget = member(tree, thinking, "budget_tokens").ok_or_else(missing)?;
            let effort = match count(tree, budget, "thinking.budget_tokens")? {
                0..=2048 => "low",
                2049..=8192 => "medium",
                _ => "high",
            };
            Ok((Some(effort), true))
        }
        "adaptive" | "between_tools" => Ok((None, true)),
        _ => Err(Unfit::malformed("thinking.type", "it is no thinking that Messages knows")),
    }
}

/// Writes the format; returns the effort.
fn output_config<'b>(tree: &Tree<'b>, writer: &mut Writer) -> Result<Option<std::borrow::Cow<'b, str>>, Unfit> {
    let Some(config) = member(tree, ROOT, "output_config") else { return Ok(None) };
    anthropic::OUTPUT_CONFIG.check(tree, config)?;
    if let Some(format) = member(tree, config, "format") {
        anthropic::FORMAT.check(tree, format)?;
        let schema = member(tree, format, "schema").filter(|schema| tree.kind(*schema) == Some(Kind::Object));
        let schema = schema.ok_or_else(|| Unfit::malformed("output_config.format.schema", "it must be a schema"))?;
        writer.name("response_format").open("{").text("type", "json_schema").name("json_schema").open("{");
        writer.text("name", "answer").member("schema", tree.raw(schema)).member("strict", "true").close("}").close("}");
    }
    member(tree, config, "effort").map(|effort| text(tree, Some(effort), "output_config.effort")).transpose()
}
