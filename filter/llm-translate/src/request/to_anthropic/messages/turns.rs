//! Turns, written as their blocks come: neighbours of one role are one turn.
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::{Content, content, kind_of, text_block, text_part};
use crate::ids::for_server;
use crate::request::VALUES_MAX;
use crate::request::value::{data_url, is_blank, quoted, text};
use crate::table::{elements, member, openai};
use crate::target::Target;
use crate::unfit::Unfit;
use crate::write::Writer;

pub(super) struct Turns<'t, 'b> {
    tree: &'t Tree<'b>,
    to: &'t Target<'t>,
    writer: &'t mut Writer,
    /// The role of the turn that is open.
    turn: Option<&'static str>,
}

impl<'t, 'b> Turns<'t, 'b> {
    pub(super) fn new(tree: &'t Tree<'b>, to: &'t Target<'t>, writer: &'t mut Writer) -> Self {
        Turns { tree, to, writer, turn: None }
    }

    /// Ends the last turn, which must be the user's.
    pub(super) fn finish(self) -> Result<(), Unfit> {
        match self.turn {
            Some("user") => {
                self.writer.close("]").close("}").close("]");
                Ok(())
            }
            Some(_) => Err(Unfit::no_counterpart("messages[assistant]", "Messages would continue the last message")),
            None => Err(Unfit::no_counterpart("messages", "Messages wants a message that says something")),
        }
    }

    pub(super) fn user(&mut self, message: Id) -> Result<(), Unfit> {
        match content(self.tree, message)? {
            Content::None => Err(Unfit::malformed("messages[user].content", "it must be there")),
            Content::Text(content) => self.text("user", self.tree.raw(content)),
            Content::Parts(parts) => parts.into_iter().try_for_each(|part| self.user_part(part)),
        }
    }

    pub(super) fn assistant(&mut self, message: Id) -> Result<(), Unfit> {
        match content(self.tree, message)? {
            Content::None => {}
            Content::Text(content) => self.text("assistant", self.tree.raw(content))?,
            Content::Parts(parts) => parts.into_iter().try_for_each(|part| self.assistant_part(part))?,
        }
        if let Some(refusal) = member(self.tree, message, "refusal") {
            self.text("assistant", quoted(self.tree, Some(refusal), "messages[assistant].refusal")?)?;
        }
        let calls = member(self.tree, message, "tool_calls");
        let calls = calls.map_or(Ok(Vec::new()), |calls| elements(self.tree, calls, "tool_calls"))?;
        calls.into_iter().try_for_each(|call| self.call(call))
    }

    pub(super) fn tool(&mut self, message: Id) -> Result<(), Unfit> {
        let id = text(self.tree, member(self.tree, message, "tool_call_id"), "messages[tool].tool_call_id")?;
        let content = content(self.tree, message)?;
        self.begin("user")?;
        self.writer.open("{").text("type", "tool_result").text("tool_use_id", &for_server(self.to.server, &id));
        match content {
            Content::None => {}
            Content::Text(content) => {
                self.writer.member("content", self.tree.raw(content));
            }
            Content::Parts(parts) => {
                self.writer.name("content").open("[");
                for part in parts {
                    let quoted = text_part(self.tree, part)?;
                    if !is_blank(quoted) {
                        text_block(self.writer, quoted);
                    }
                }
                self.writer.close("]");
            }
        }
        self.writer.close("}");
        Ok(())
    }

    /// Begins a turn, unless the open one has the same role.
    fn begin(&mut self, role: &'static str) -> Result<(), Unfit> {
        match self.turn {
            Some(open) if open == role => return Ok(()),
            Some(_) => {
                self.writer.close("]").close("}");
            }
            None if role == "assistant" => {
                return Err(Unfit::no_counterpart("messages[assistant]", "Messages begins with the user"));
            }
            None => {}
        }
        self.turn = Some(role);
        self.writer.open("{").text("role", role).name("content").open("[");
        Ok(())
    }

    fn text(&mut self, role: &'static str, quoted: &[u8]) -> Result<(), Unfit> {
        if !is_blank(quoted) {
            self.begin(role)?;
            text_block(self.writer, quoted);
        }
        Ok(())
    }

    fn user_part(&mut self, part: Id) -> Result<(), Unfit> {
        match &*kind_of(self.tree, part)? {
            "text" => self.text("user", text_part(self.tree, part)?),
            "image_url" => self.image(part),
            "file" => self.file(part),
            "input_audio" => Err(Unfit::no_counterpart("content[input_audio]", "Messages has no audio")),
            other => Err(Unfit::unknown(format!("content[{other}]"))),
        }
    }

    fn image(&mut self, part: Id) -> Result<(), Unfit> {
        openai::IMAGE.check(self.tree, part)?;
        let missing = || Unfit::malformed("content[image_url].image_url", "it must be there");
        let image = member(self.tree, part, "image_url").ok_or_else(missing)?;
        openai::IMAGE_URL.check(self.tree, image)?;
        let url = text(self.tree, member(self.tree, image, "url"), "content[image_url].image_url.url")?;
        let data = match data_url(&url) {
            Some(("image/jpeg" | "image/jpg", data)) => Some(("image/jpeg", data)),
            Some((kind @ ("image/png" | "image/gif" | "image/webp"), data)) => Some((kind, data)),
            None if is_at_url(&url) && self.to.server.is_cloud() => {
                return Err(Unfit::no_counterpart(
                    "content[image_url].image_url.url",
                    "the cloud takes pictures in base64",
                ));
            }
            None if is_at_url(&url) => None,
            _ => {
                let why = "Messages takes JPEG, PNG, GIF and WebP, in base64 or at a URL";
                return Err(Unfit::no_counterpart("content[image_url].image_url.url", why));
            }
        };
        self.begin("user")?;
        self.writer.open("{").text("type", "image").name("source").open("{");
        match data {
            Some((kind, data)) => self.writer.text("type", "base64").text("media_type", kind).text("data", data),
            None => self.writer.text("type", "url").text("url", &url),
        };
        self.writer.close("}").close("}");
        Ok(())
    }

    fn file(&mut self, part: Id) -> Result<(), Unfit> {
        openai::FILE.check(self.tree, part)?;
        let file = member(self.tree, part, "file");
        let file = file.ok_or_else(|| Unfit::malformed("content[file].file", "it must be there"))?;
        openai::FILE_FILE.check(self.tree, file)?;
        let data = text(self.tree, member(self.tree, file, "file_data"), "content[file].file.file_data")?;
        let Some(("application/pdf", data)) = data_url(&data) else {
            return Err(Unfit::no_counterpart("content[file].file.file_data", "Messages takes PDF in base64"));
        };
        self.begin("user")?;
        self.writer.open("{").text("type", "document").name("source").open("{").text("type", "base64");
        self.writer.text("media_type", "application/pdf").text("data", data).close("}");
        self.writer.copy("title", self.tree, member(self.tree, file, "filename")).close("}");
        Ok(())
    }

    fn assistant_part(&mut self, part: Id) -> Result<(), Unfit> {
        if kind_of(self.tree, part)? != "refusal" {
            return self.text("assistant", text_part(self.tree, part)?);
        }
        openai::REFUSAL.check(self.tree, part)?;
        self.text("assistant", quoted(self.tree, member(self.tree, part, "refusal"), "content[refusal].refusal")?)
    }

    fn call(&mut self, call: Id) -> Result<(), Unfit> {
        openai::TOOL_CALL.check(self.tree, call)?;
        let function = member(self.tree, call, "function");
        let function = function.ok_or_else(|| Unfit::malformed("tool_calls[].function", "it must be there"))?;
        openai::TOOL_CALL_FUNCTION.check(self.tree, function)?;
        let id = text(self.tree, member(self.tree, call, "id"), "tool_calls[].id")?;
        let name = quoted(self.tree, member(self.tree, function, "name"), "tool_calls[].function.name")?;
        let arguments = match member(self.tree, function, "arguments") {
            Some(arguments) => text(self.tree, Some(arguments), "tool_calls[].function.arguments")?,
            None => "".into(),
        };
        let input = match arguments.trim() {
            "" => "{}",
            input if is_object(input) => input,
            _ => {
                let why = "the arguments are no JSON object";
                return Err(Unfit::no_counterpart("tool_calls[].function.arguments", why));
            }
        };
        self.begin("assistant")?;
        self.writer.open("{").text("type", "tool_use").text("id", &for_server(self.to.server, &id));
        self.writer.member("name", name).member("input", input).close("}");
        Ok(())
    }
}

fn is_at_url(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Whether a text is one JSON object.
fn is_object(text: &str) -> bool {
    Tree::read_up_to(text.as_bytes(), VALUES_MAX).is_ok_and(|tree| tree.kind(ROOT) == Some(Kind::Object))
}
