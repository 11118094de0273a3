//! Chunks of Chat Completions as a stream of Messages.
use weir_llm_usage::json::tree::{Id, Kind, ROOT, Tree};

use super::error;
use super::say::{name, say, say_text, text_at};
use super::step::Step;
use super::usage::Usage;
use super::whole::stop_reason;
use crate::expected::{Expected, FOREIGN_SIGNATURE};
use crate::table::member;

/// The block that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Text,
    Thoughts,
    /// A call, by its index among the calls, as it is written.
    Call(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct ToAnthropic {
    expected: Expected,
    has_begun: bool,
    block: Option<Block>,
    /// The index of the next block.
    next: u64,
    /// Indices of calls are compared with the latest: all in front of it are closed.
    has_calls: bool,
    has_refused: bool,
    /// Why it ends, once that is known.
    reason: Option<String>,
    usage: Usage,
    has_ended: bool,
}

const DELTA: &str = "event: content_block_delta\ndata: ";

impl ToAnthropic {
    pub(super) fn new(expected: Expected) -> Self {
        ToAnthropic {
            expected,
            has_begun: false,
            block: None,
            next: 0,
            has_calls: false,
            has_refused: false,
            reason: None,
            usage: Usage::default(),
            has_ended: false,
        }
    }

    pub(super) fn event(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        if tree.kind(ROOT) != Some(Kind::Object) {
            return Step::Failed(error::unreadable());
        }
        if let Some(usage) = member(tree, ROOT, "usage") {
            self.usage = Usage::of_openai(tree, usage);
        }
        let choices = member(tree, ROOT, "choices");
        // Azure says first how it has judged the prompt, without a choice. Only the first of several counts.
        let Some(choice) = choices.and_then(|choices| tree.children(choices).next()) else { return Step::On(None) };
        self.begin(tree, out);
        let step = member(tree, choice, "delta").map_or(Step::On(None), |delta| self.delta(tree, delta, out));
        if let (Step::On(_), Some(reason)) = (&step, member(tree, choice, "finish_reason")) {
            self.reason = tree.text(reason).map(std::borrow::Cow::into_owned);
            self.end_block(out);
            return Step::On(None);
        }
        step
    }

    /// Ends the answer; false if it is not complete.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(reason) = self.reason.as_deref().filter(|_| self.has_begun) else { return false };
        if self.has_ended {
            return true;
        }
        self.has_ended = true;
        let reason = stop_reason(reason, self.has_calls, self.has_refused);
        say(out, "event: message_delta\ndata: ", |writer| {
            writer.open("{").text("type", "message_delta").name("delta").open("{").text("stop_reason", reason);
            writer.member("stop_sequence", "null").close("}");
            self.usage.write_anthropic(writer);
            writer.close("}");
        });
        out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        true
    }

    fn begin(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        say(out, "event: message_start\ndata: ", |writer| {
            writer.open("{").text("type", "message_start").name("message").open("{");
            writer.member("id", name(tree, ROOT, "id", "\"msg_translated\"")).text("type", "message");
            writer.text("role", "assistant").member("model", name(tree, ROOT, "model", "\"unknown\""));
            writer.member("content", "[]").member("stop_reason", "null").member("stop_sequence", "null");
            // Chat Completions tell the input at the end only; `message_delta` has it.
            Usage::default().write_anthropic(writer);
            writer.close("}").close("}");
        });
    }

    fn delta(&mut self, tree: &Tree<'_>, delta: Id, out: &mut Vec<u8>) -> Step {
        let start = out.len();
        let mut said = Vec::new();
        for member_name in ["reasoning_content", "reasoning"] {
            let text = text_at(tree, member(tree, delta, member_name));
            if let Some(text) = text.filter(|_| self.expected.with_thoughts && said.is_empty()) {
                self.open(Block::Thoughts, out);
                said.push(self.say_text(text, start, ["thinking_delta", "thinking"], out));
            }
        }
        for member_name in ["content", "refusal"] {
            if let Some(text) = text_at(tree, member(tree, delta, member_name)) {
                self.has_refused |= member_name == "refusal";
                self.open(Block::Text, out);
                said.push(self.say_text(text, start, ["text_delta", "text"], out));
            }
        }
        let calls: Vec<Id> =
            member(tree, delta, "tool_calls").map(|calls| tree.children(calls).collect()).unwrap_or_default();
        for call in calls {
            match self.call(tree, call, start, out) {
                Ok(text) => said.extend(text),
                Err(step) => return step,
            }
        }
        // The next event may say another text in the same way if this one has said nothing else.
        let is_plain = said.len() == 1 && !self.has_refused;
        Step::On(said.pop().filter(|text| is_plain && is_alone(text, out.get(start..).unwrap_or_default())))
    }

    fn call(
        &mut self,
        tree: &Tree<'_>,
        call: Id,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<super::shape::OneText>, Step> {
        let function = member(tree, call, "function").ok_or_else(|| Step::Failed(error::unreadable()))?;
        let index = member(tree, call, "index").map(|index| tree.raw(index)).unwrap_or_default();
        let tool = member(tree, function, "name").filter(|name| tree.text(*name).is_some_and(|name| !name.is_empty()));
        let is_open = matches!(&self.block, Some(Block::Call(open)) if open == index);
        match tool {
            // A name again, under an index of its own or none, is another call.
            Some(tool) if !is_open || member(tree, call, "id").is_some() => self.begin_call(tree, call, tool, out),
            None if !is_open => return Err(Step::Failed(error::unreadable())),
            _ => {}
        }
        let arguments = text_at(tree, member(tree, function, "arguments"));
        Ok(arguments.map(|text| self.say_text(text, start, ["input_json_delta", "partial_json"], out)))
    }

    fn begin_call(&mut self, tree: &Tree<'_>, call: Id, tool: Id, out: &mut Vec<u8>) {
        self.end_block(out);
        self.has_calls = true;
        let index = member(tree, call, "index").map(|index| tree.raw(index).to_vec()).unwrap_or_default();
        self.block = Some(Block::Call(index));
        let unnamed = format!("\"call_{}\"", self.next);
        let id = match name(tree, call, "id", "") {
            b"" => unnamed.as_bytes(),
            id => id,
        };
        self.start_block(out, |writer| {
            writer.text("type", "tool_use").member("id", id).member("name", tree.raw(tool)).member("input", "{}");
        });
    }

    /// Opens a block of that kind, unless it is open.
    fn open(&mut self, block: Block, out: &mut Vec<u8>) {
        if self.block.as_ref() == Some(&block) {
            return;
        }
        self.end_block(out);
        self.start_block(out, |writer| match block {
            Block::Thoughts => {
                writer.text("type", "thinking").text("thinking", "").text("signature", "");
            }
            _ => {
                writer.text("type", "text").text("text", "");
            }
        });
        self.block = Some(block);
    }

    fn start_block(&self, out: &mut Vec<u8>, block: impl FnOnce(&mut crate::write::Writer)) {
        say(out, "event: content_block_start\ndata: ", |writer| {
            writer.open("{").text("type", "content_block_start").count("index", self.next).name("content_block");
            writer.open("{");
            block(writer);
            writer.close("}").close("}");
        });
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.block.take() else { return };
        let index = self.next;
        self.next = index.saturating_add(1);
        if block == Block::Thoughts {
            let signed = format!(
                "{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"signature_delta\",\
                 \"signature\":\"{FOREIGN_SIGNATURE}\"}}}}\n\n"
            );
            out.extend_from_slice(DELTA.as_bytes());
            out.extend_from_slice(signed.as_bytes());
        }
        let stop =
            format!("event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n");
        out.extend_from_slice(stop.as_bytes());
    }

    fn say_text(
        &self,
        text: (std::ops::Range<usize>, &[u8]),
        start: usize,
        [kind, member]: [&str; 2],
        out: &mut Vec<u8>,
    ) -> super::shape::OneText {
        let index = self.next;
        let before = format!(
            "{DELTA}{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{member}\":\""
        );
        say_text(text, start, (before.as_bytes(), b"\"}}\n\n"), out)
    }
}

/// Whether what was said is one event.
fn is_alone(text: &super::shape::OneText, said: &[u8]) -> bool {
    let before = said.get(..text.to.start).unwrap_or_default();
    let is_first = memchr::memmem::find(before, b"\n\n").is_none();
    is_first && said.get(text.to.end..).is_some_and(|after| after == b"\"}}\n\n")
}
