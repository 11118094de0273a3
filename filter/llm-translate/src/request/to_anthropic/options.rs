//! Tools, formats and thinking.
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use crate::expected::JSON_TOOL;
use crate::request::value::{flag, quoted, text};
use crate::table::{elements, member, openai};
use crate::target::{Target, Thinking};
use crate::unfit::Unfit;
use crate::write::Writer;

/// The least budget that Anthropic takes, in tokens.
const BUDGET_MIN: u64 = 1024;

/// What the client wants of the answer's form.
enum Format {
    Free,
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema(Id),
}

/// Writes tools, the choice among them, the format and the thinking. Returns whether the answer comes through
/// [`JSON_TOOL`].
pub(super) fn write(tree: &Tree<'_>, to: &Target<'_>, cap: u64, writer: &mut Writer) -> Result<bool, Unfit> {
    let format = format(tree)?;
    let effort = effort(tree, to)?;
    let tools = member(tree, ROOT, "tools").map_or(Ok(Vec::new()), |tools| elements(tree, tools, "tools"))?;
    let is_forced = match (&format, tools.is_empty()) {
        (Format::Json, true) => {
            json_tool(writer);
            true
        }
        (Format::Json, false) => {
            return Err(Unfit::no_counterpart("response_format", "JSON without a schema does not go beside tools"));
        }
        (_, true) => false,
        (_, false) => {
            write_tools(tree, &tools, writer)?;
            write_choice(tree, writer)?
        }
    };
    thinking(tree, effort, (cap, is_forced), to, writer)?;
    output_config(tree, &format, effort.filter(|_| to.thinking == Thinking::Effort), writer);
    Ok(matches!(format, Format::Json))
}

fn json_tool(writer: &mut Writer) {
    writer.name("tools").open("[").open("{").text("name", JSON_TOOL);
    writer.text("description", "Gives the answer, as one JSON object.");
    writer.member("input_schema", r#"{"type":"object","additionalProperties":true}"#).close("}").close("]");
    writer.name("tool_choice").open("{").text("type", "tool").text("name", JSON_TOOL).close("}");
}

fn write_tools(tree: &Tree<'_>, tools: &[Id], writer: &mut Writer) -> Result<(), Unfit> {
    writer.name("tools").open("[");
    for tool in tools {
        openai::TOOL.check(tree, *tool)?;
        let function = member(tree, *tool, "function");
        let function = function.ok_or_else(|| Unfit::malformed("tools[].function", "it must be there"))?;
        openai::TOOL_FUNCTION.check(tree, function)?;
        writer.open("{").member("name", quoted(tree, member(tree, function, "name"), "tools[].function.name")?);
        writer.copy("description", tree, member(tree, function, "description"));
        match member(tree, function, "parameters") {
            Some(parameters) if !tree.is_nothing(parameters) => writer.member("input_schema", tree.raw(parameters)),
            _ => writer.member("input_schema", r#"{"type":"object","properties":{}}"#),
        };
        writer.copy("strict", tree, member(tree, function, "strict")).close("}");
    }
    writer.close("]");
    Ok(())
}

/// Writes which tool to call; returns whether one must be called.
fn write_choice(tree: &Tree<'_>, writer: &mut Writer) -> Result<bool, Unfit> {
    let parallel = member(tree, ROOT, "parallel_tool_calls");
    let is_one_by_one = parallel.is_some() && !flag(tree, parallel, "parallel_tool_calls")?;
    let choice = member(tree, ROOT, "tool_choice");
    let (kind, name) = match choice.map(|choice| (choice, tree.text(choice))) {
        None => ("auto", None),
        Some((_, Some(word))) => match &*word {
            "auto" => ("auto", None),
            "none" => ("none", None),
            "required" => ("any", None),
            _ => return Err(Unfit::malformed("tool_choice", "it must be auto, none or required")),
        },
        Some((choice, None)) => {
            openai::TOOL_CHOICE.check(tree, choice)?;
            let function = member(tree, choice, "function");
            let name = function.and_then(|function| member(tree, function, "name"));
            ("tool", Some(quoted(tree, name, "tool_choice.function.name")?))
        }
    };
    if choice.is_none() && !is_one_by_one {
        return Ok(false);
    }
    writer.name("tool_choice").open("{").text("type", kind);
    if let Some(name) = name {
        writer.member("name", name);
    }
    if is_one_by_one && kind != "none" {
        writer.member("disable_parallel_tool_use", "true");
    }
    writer.close("}");
    Ok(matches!(kind, "any" | "tool"))
}

fn format(tree: &Tree<'_>) -> Result<Format, Unfit> {
    let Some(format) = member(tree, ROOT, "response_format") else { return Ok(Format::Free) };
    openai::RESPONSE_FORMAT.check(tree, format)?;
    match &*text(tree, member(tree, format, "type"), "response_format.type")? {
        "text" => Ok(Format::Free),
        "json_object" => Ok(Format::Json),
        "json_schema" => schema(tree, format).map(Format::Schema),
        _ => Err(Unfit::no_counterpart("response_format.type", "Messages knows JSON only")),
    }
}

fn schema(tree: &Tree<'_>, format: Id) -> Result<Id, Unfit> {
    let missing = || Unfit::malformed("response_format.json_schema", "it must have a schema");
    let holder = member(tree, format, "json_schema").ok_or_else(missing)?;
    openai::JSON_SCHEMA.check(tree, holder)?;
    if member(tree, holder, "strict").is_none() {
        let why = "Messages takes strict schemas only";
        return Err(Unfit::no_counterpart("response_format.json_schema.strict", why));
    }
    let schema = member(tree, holder, "schema").filter(|schema| tree.kind(*schema) == Some(Kind::Object));
    schema.ok_or_else(missing)
}

/// How hard to think, in Anthropic's words. None if the client does not say, or the model does not think.
fn effort(tree: &Tree<'_>, to: &Target<'_>) -> Result<Option<&'static str>, Unfit> {
    let Some(effort) = member(tree, ROOT, "reasoning_effort") else { return Ok(None) };
    let effort = match &*text(tree, Some(effort), "reasoning_effort")? {
        "none" => "none",
        "minimal" | "low" => "low",
        "medium" => "medium",
        "high" => "high",
        "xhigh" => "xhigh",
        "max" => "max",
        _ => return Err(Unfit::malformed("reasoning_effort", "it is no effort that Chat Completions knows")),
    };
    Ok(Some(effort).filter(|_| to.thinking != Thinking::Never))
}

fn thinking(
    tree: &Tree<'_>,
    effort: Option<&str>,
    (cap, is_forced): (u64, bool),
    to: &Target<'_>,
    writer: &mut Writer,
) -> Result<(), Unfit> {
    let budget = match effort {
        Some("none") => {
            writer.member("thinking", r#"{"type":"disabled"}"#);
            return Ok(());
        }
        Some("low") => 2048,
        Some("medium") => 8192,
        Some("high") => 16_384,
        Some(_) => 32_768,
        None => return Ok(()),
    };
    // Half of the output stays for the answer. Anthropic wants thoughts in front of the calls that are being answered,
    // and no client of Chat Completions has them.
    let budget = u64::min(budget, cap / 2);
    if to.thinking != Thinking::Budget || budget < BUDGET_MIN || answers_calls(tree) {
        return Ok(());
    }
    if is_forced {
        return Err(Unfit::no_counterpart(
            "reasoning_effort",
            "Anthropic does not think before a call that it must make",
        ));
    }
    if to.samples && (member(tree, ROOT, "temperature").is_some() || member(tree, ROOT, "top_p").is_some()) {
        return Err(Unfit::no_counterpart("reasoning_effort", "Anthropic does not think at another temperature"));
    }
    writer.name("thinking").open("{").text("type", "enabled").count("budget_tokens", budget).close("}");
    Ok(())
}

/// Whether the last message is the result of a call.
fn answers_calls(tree: &Tree<'_>) -> bool {
    let last = member(tree, ROOT, "messages").and_then(|messages| tree.children(messages).last());
    let role = last.and_then(|last| member(tree, last, "role"));
    role.and_then(|role| tree.text(role)).is_some_and(|role| role == "tool")
}

fn output_config(tree: &Tree<'_>, format: &Format, effort: Option<&str>, writer: &mut Writer) {
    let effort = effort.filter(|effort| *effort != "none");
    let schema = if let Format::Schema(schema) = format { Some(*schema) } else { None };
    if effort.is_none() && schema.is_none() {
        return;
    }
    writer.name("output_config").open("{");
    if let Some(effort) = effort {
        writer.text("effort", effort);
    }
    if let Some(schema) = schema {
        writer.name("format").open("{").text("type", "json_schema").member("schema", tree.raw(schema)).close("}");
    }
    writer.close("}");
}
