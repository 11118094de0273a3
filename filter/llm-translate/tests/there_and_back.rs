//! Random conversations, there and back: the meaning stays.
#[path = "fixtures/meaning.rs"]
mod meaning;
#[path = "fixtures/targets.rs"]
mod targets;

use meaning::{of_anthropic, of_openai};
use serde_json::{Value, json};
use targets::{from_anthropic, from_openai, target};
use weir_llm_translate::Server;
use weir_seeded::SplitMix64;

const CONVERSATIONS: u64 = 3000;

const TEXTS: [&str; 10] = [
    "Hello",
    "",
    " \n\t",
    "line\nline",
    "\"quoted\" \\ back",
    "é 😀 \u{2028}",
    "{\"model\":\"x\"}",
    "\u{0}\u{1f}",
    "null",
    "a/b",
];
const SCHEMAS: [&str; 2] = [
    r#"{"type":"object","properties":{"z":{"type":"number"},"a":{"enum":[1,2.50]}},"additionalProperties":false}"#,
    r#"{"type":"object"}"#,
];

struct Maker(SplitMix64);

impl Maker {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.index(of.len())]
    }

    fn text(&mut self) -> String {
        (0..=self.0.below(2)).map(|_| self.pick(&TEXTS)).collect()
    }

    fn text_part(&mut self) -> Value {
        json!({"type": "text", "text": self.text()})
    }

    fn user_content(&mut self) -> Value {
        if self.0.percent(40) {
            return json!(self.text());
        }
        let part = |maker: &mut Self| match maker.0.below(5) {
            0 => json!({"type": "image_url", "image_url": {"url": "https://a.example/b.png?c=\"d\""}}),
            1 => {
                json!({"type": "image_url", "image_url": {"url": "data:image/webp;base64,UklGRg==", "detail": "auto"}})
            }
            2 => {
                json!({"type": "file", "file": {"filename": maker.text(), "file_data": "data:application/pdf;base64,JVBERg=="}})
            }
            _ => maker.text_part(),
        };
        (0..self.0.below(4)).map(|_| part(self)).collect()
    }

    /// What an assistant says, with the results of what it calls.
    fn assistant(&mut self, number: u64, messages: &mut Vec<Value>) {
        let content = match self.0.below(3) {
            0 => Value::Null,
            1 => json!(self.text()),
            _ => json!([self.text_part(), self.text_part()]),
        };
        let calls: Vec<Value> = (0..self.0.below(3)).map(|at| {
            let input = json!({"n": self.0.below(9), "t": self.text(), "f": 1.5}).to_string();
            json!({"id": format!("call_{number}_{at}"), "type": "function", "function": {"name": "f", "arguments": input}})
        }).collect();
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        messages.push(message);
        for call in calls {
            let content = if self.0.percent(50) {
                json!(self.text())
            } else {
                json!([{"type": "text", "text": "r1"}, {"type": "text", "text": "r2"}])
            };
            messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": content}));
        }
    }

    fn messages(&mut self) -> Vec<Value> {
        let mut messages = vec![json!({"role": "user", "content": "first"})];
        if self.0.percent(60) {
            let role = self.pick(&["system", "developer"]);
            messages.insert(0, json!({"role": role, "content": self.text()}));
        }
        for number in 0..self.0.below(5) {
            match self.0.below(4) {
                0 => messages.push(json!({"role": "user", "content": self.user_content()})),
                1 => messages.push(json!({"role": "system", "content": [self.text_part()]})),
                _ => self.assistant(number, &mut messages),
            }
        }
        messages.push(json!({"role": "user", "content": "last"}));
        messages
    }

    fn chat(&mut self) -> Value {
        let mut chat =
            json!({"model": "m", "messages": self.messages(), "max_completion_tokens": 50 + self.0.below(9000)});
        let mut set = |chat: &mut Value, percent: u64, name: &str, value: Value| {
            if self.0.percent(percent) {
                chat[name] = value;
            }
        };
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "d\n", "parameters": serde_json::from_str::<Value>(SCHEMAS[0]).unwrap(), "strict": true}});
        set(&mut chat, 50, "tools", json!([tool("f"), tool("g")]));
        set(&mut chat, 50, "temperature", json!(0.25));
        set(&mut chat, 30, "top_p", json!(1));
        set(&mut chat, 30, "stop", json!("END\n"));
        set(&mut chat, 20, "stop", json!(["a", "b"]));
        set(&mut chat, 50, "stream", json!(true));
        set(&mut chat, 30, "user", json!("u \"1\""));
        set(&mut chat, 30, "reasoning_effort", json!("high"));
        let schema: Value = serde_json::from_str(SCHEMAS[1]).unwrap();
        set(
            &mut chat,
            30,
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}}),
        );
        if chat.get("tools").is_some() {
            set(&mut chat, 50, "tool_choice", json!("required"));
            set(&mut chat, 20, "tool_choice", json!({"type": "function", "function": {"name": "g"}}));
            set(&mut chat, 20, "tool_choice", json!("none"));
            set(&mut chat, 20, "tool_choice", json!("auto"));
            if chat["tool_choice"] != "none" {
                chat["parallel_tool_calls"] = json!(self.0.percent(50));
            }
        }
        chat
    }
}

#[test]
fn a_conversation_means_the_same_in_both_dialects_and_back() {
    for seed in 0..CONVERSATIONS {
        let chat = Maker(SplitMix64::new(seed)).chat();
        let there = from_openai(&target(Server::Anthropic), &chat).unwrap_or_else(|unfit| panic!("{seed}: {unfit}"));
        assert_eq!(of_anthropic(&there), of_openai(&chat), "{seed}: {chat}");
        let back = from_anthropic(&target(Server::OpenAi), &there).unwrap_or_else(|unfit| panic!("{seed}: {unfit}"));
        assert_eq!(of_openai(&back), of_openai(&chat), "{seed}: {there}");
        let again = from_openai(&target(Server::Anthropic), &back).unwrap_or_else(|unfit| panic!("{seed}: {unfit}"));
        assert_eq!(of_anthropic(&again), of_anthropic(&there), "{seed}: {back}");
    }
}

#[test]
fn a_conversation_for_a_server_of_its_dialect_means_the_same() {
    for seed in 0..CONVERSATIONS {
        let mut chat = Maker(SplitMix64::new(seed)).chat();
        chat["model"] = json!("served");
        for message in chat["messages"].as_array_mut().unwrap() {
            if let Some(parts) = message["content"].as_array_mut() {
                parts.retain(|part| part["type"] != "file");
            }
        }
        assert_eq!(from_openai(&target(Server::OpenAi), &chat).as_ref(), Ok(&chat), "{seed}");
        let vllm = from_openai(&target(Server::Vllm), &chat).unwrap_or_else(|unfit| panic!("{seed}: {unfit}"));
        assert_eq!(of_openai(&vllm), of_openai(&chat), "{seed}");
        let mistral = from_openai(&target(Server::Mistral), &chat).unwrap_or_else(|unfit| panic!("{seed}: {unfit}"));
        let turns = |body: &Value| of_openai(body)["turns"].as_array().unwrap().len();
        assert_eq!(turns(&mistral), turns(&chat), "{seed}");
    }
}
