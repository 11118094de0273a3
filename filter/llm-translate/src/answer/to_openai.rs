//! A stream of Messages as chunks of Chat Completions.
use weir_contract::time::Timestamp;
use weir_llm_usage::json::tree::{Id, ROOT, Tree};

use super::error;
use super::say::{kind, name, say, say_text, text_at};
use super::step::Step;
use super::usage::Usage;
use super::whole::finish_reason;
use crate::expected::{Expected, JSON_TOOL};
use crate::table::member;
use crate::write::Writer;

/// The block whose deltas come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Text,
    Thoughts,
    /// A call, with its number among the calls, and whether it has arguments so far.
    Call(u64, bool),
    /// A call whose input is the answer's text.
    Json,
    /// One that the client is not told of.
    Other,
}

#[derive(Debug)]
pub(super) struct ToOpenAi {
    expected: Expected,
    now: Timestamp,
    /// The beginning of every chunk, up to the choice's delta. Empty before the answer begins.
    head: Vec<u8>,
    /// The same, up to the choices.
    head_bare: Vec<u8>,
    block: Option<(Vec<u8>, Block)>,
    calls: u64,
    usage: Usage,
    has_finished: bool,
}

/// The end of a chunk behind its delta.
const TAIL: &[u8] = b",\"logprobs\":null,\"finish_reason\":null}]}\n\n";

impl ToOpenAi {
    pub(super) fn new(expected: Expected, now: Timestamp) -> Self {
        ToOpenAi {
            expected,
            now,
            head: Vec::new(),
            head_bare: Vec::new(),
            block: None,
            calls: 0,
            usage: Usage::default(),
            has_finished: false,
        }
    }

    pub(super) fn event(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        let event = kind(tree, ROOT);
        if &*event == "message_start" {
            return self.begin(tree, out);
        }
        if self.head.is_empty() && &*event != "ping" {
            return Step::Failed(error::unreadable());
        }
        match &*event {
            "content_block_start" => self.begin_block(tree, out),
            "content_block_delta" => self.delta(tree, out),
            "content_block_stop" => self.end_block(out),
            "message_delta" => self.finish(tree, out),
            "message_stop" => self.end(out),
            "ping" => {
                out.extend_from_slice(b": ping\n\n");
                Step::On(None)
            }
            _ => Step::On(None),
        }
    }

    fn begin(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        let Some(message) = member(tree, ROOT, "message") else { return Step::Failed(error::unreadable()) };
        self.usage.update(tree, member(tree, message, "usage"));
        // Some send it twice.
        if !self.head.is_empty() {
            return Step::On(None);
        }
        let mut writer = Writer::default();
        writer.open("{").member("id", name(tree, message, "id", "\"chatcmpl-translated\""));
        writer.text("object", "chat.completion.chunk").count("created", self.now.as_secs());
        writer.member("model", name(tree, message, "model", "\"unknown\""));
        self.head_bare = [b"data: ", writer.as_bytes()].concat();
        self.head = [&self.head_bare[..], b",\"choices\":[{\"index\":0,\"delta\":"].concat();
        self.say(out, b"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
        Step::On(None)
    }

    /// Says a chunk with that delta.
    fn say(&self, out: &mut Vec<u8>, delta: &[u8]) {
        for part in [&self.head[..], delta, TAIL] {
            out.extend_from_slice(part);
        }
    }

    /// Says a chunk that has a text in the middle of its delta.
    fn say_text(&self, text: (std::ops::Range<usize>, &[u8]), delta: [&[u8]; 2], out: &mut Vec<u8>) -> Step {
        let [before, after] = delta;
        let (before, after) = ([&self.head[..], before].concat(), [after, TAIL].concat());
        let start = out.len();
        Step::On(Some(say_text(text, start, (&before, &after), out)))
    }

    fn begin_block(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        let index = member(tree, ROOT, "index").map(|index| tree.raw(index).to_vec()).unwrap_or_default();
        let Some(content) = member(tree, ROOT, "content_block") else { return Step::Failed(error::unreadable()) };
        self.end_block(out);
        let block = match &*kind(tree, content) {
            "text" => Block::Text,
            "thinking" => Block::Thoughts,
            "tool_use" if self.is_json_tool(tree, content) => Block::Json,
            "tool_use" => {
                let call = self.calls;
                self.calls = call.saturating_add(1);
                Block::Call(call, false)
            }
            _ => Block::Other,
        };
        self.block = Some((index, block));
        let first = |name| text_at(tree, member(tree, content, name));
        match block {
            Block::Text => first("text").map(|text| self.say_text(text, CONTENT, out)),
            Block::Thoughts => first("thinking").map(|text| self.say_text(text, THOUGHTS, out)),
            Block::Call(call, _) => return self.begin_call(tree, content, call, out),
            Block::Json | Block::Other => None,
        };
        Step::On(None)
    }

    fn is_json_tool(&self, tree: &Tree<'_>, block: Id) -> bool {
        let name = member(tree, block, "name").and_then(|name| tree.text(name));
        self.expected.json_tool && name.is_some_and(|name| name == JSON_TOOL)
    }

    fn begin_call(&mut self, tree: &Tree<'_>, block: Id, call: u64, out: &mut Vec<u8>) -> Step {
        let Some(tool) = member(tree, block, "name").filter(|name| tree.text(*name).is_some()) else {
            return Step::Failed(error::unreadable());
        };
        // Some servers give the whole input at once.
        let input = member(tree, block, "input").filter(|input| !tree.is_nothing(*input));
        let input = input.and_then(|input| std::str::from_utf8(tree.raw(input)).ok()).unwrap_or_default();
        let mut delta = Writer::default();
        delta.open("{").name("tool_calls").open("[").open("{").count("index", call);
        delta.member("id", name(tree, block, "id", "\"call_unnamed\"")).text("type", "function");
        delta.name("function").open("{").member("name", tree.raw(tool)).text("arguments", input);
        delta.close("}").close("}").close("]").close("}");
        self.say(out, delta.as_bytes());
        if let (false, Some((_, block))) = (input.is_empty(), &mut self.block) {
            *block = Block::Call(call, true);
        }
        Step::On(None)
    }

    fn delta(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        let Some(delta) = member(tree, ROOT, "delta") else { return Step::Failed(error::unreadable()) };
        let index = member(tree, ROOT, "index").map(|index| tree.raw(index)).unwrap_or_default();
        let Some((_, block)) = self.block.as_mut().filter(|(open, _)| open == index) else {
            return Step::Failed(error::unreadable());
        };
        let block = *block;
        let text = |name| text_at(tree, member(tree, delta, name));
        let said = match (&*kind(tree, delta), block) {
            ("text_delta", Block::Text) => text("text").map(|text| self.say_text(text, CONTENT, out)),
            ("thinking_delta", Block::Thoughts) => text("thinking").map(|text| self.say_text(text, THOUGHTS, out)),
            ("input_json_delta", Block::Json) => text("partial_json").map(|text| self.say_text(text, CONTENT, out)),
            ("input_json_delta", Block::Call(call, _)) => {
                let found = text("partial_json");
                if let (true, Some((_, block))) = (found.is_some(), &mut self.block) {
                    *block = Block::Call(call, true);
                }
                let before = format!("{{\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":\"");
                found.map(|text| self.say_text(text, [before.as_bytes(), b"\"}}]}"], out))
            }
            _ => None,
        };
        said.unwrap_or(Step::On(None))
    }

    /// Ends the open block. A call without arguments gets an empty object: clients parse them.
    fn end_block(&mut self, out: &mut Vec<u8>) -> Step {
        if let Some((_, Block::Call(call, false))) = self.block.take() {
            let delta = format!("{{\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":\"{{}}\"}}}}]}}");
            self.say(out, delta.as_bytes());
        }
        Step::On(None)
    }

    /// Says why the answer ends, as soon as it is known.
    fn finish(&mut self, tree: &Tree<'_>, out: &mut Vec<u8>) -> Step {
        self.usage.update(tree, member(tree, ROOT, "usage"));
        let delta = member(tree, ROOT, "delta");
        let reason = delta.and_then(|delta| member(tree, delta, "stop_reason")).and_then(|reason| tree.text(reason));
        let (Some(reason), false) = (reason, self.has_finished) else { return Step::On(None) };
        self.has_finished = true;
        self.end_block(out);
        let details = delta.and_then(|delta| member(tree, delta, "stop_details"));
        let explanation = details.and_then(|details| text_at(tree, member(tree, details, "explanation")));
        if let Some(text) = explanation.filter(|_| reason == "refusal") {
            self.say_text(text, [b"{\"refusal\":\"", b"\"}"], out);
        }
        let reason = finish_reason(&reason, self.calls > 0);
        let parts = [&self.head[..], b"{},\"logprobs\":null,\"finish_reason\":\"", reason.as_bytes(), b"\"}]}\n\n"];
        parts.iter().for_each(|part| out.extend_from_slice(part));
        Step::On(None)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Step {
        if !self.has_finished {
            return Step::Failed(error::cut());
        }
        if self.expected.with_usage {
            let head = String::from_utf8_lossy(&self.head_bare).into_owned();
            say(out, "", |writer| {
                writer.glue(head).member("choices", "[]");
                self.usage.write_openai(writer);
                writer.close("}");
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        Step::Complete
    }
}

const CONTENT: [&[u8]; 2] = [b"{\"content\":\"", b"\"}"];
const THOUGHTS: [&[u8]; 2] = [b"{\"reasoning_content\":\"", b"\"}"];
