//! Looks for names of what all tenants share at a provider in a body that passes by because it is too large to hold.
//!
//! It goes by the tables that [`super::reader`] goes by ([`super::members`], [`super::references`]), so a name that is refused in a
//! small body is refused in a large one. The scanner leaves out what nests too deep or stands under an endless name: then nobody can
//! tell what the body names, and it counts as unreadable.
use weir_config::shared::Shared;
use weir_llm_usage::json::{Container, Scalar};

use super::members::{self, Content, Role, Scope};
use super::references::{self, ADDRESS_LOOKED_AT_BYTES, Meaning};

/// What surrounds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// An object with governed members.
    Governed(Scope),
    /// Below `input`: an object may be the name of an item that the provider keeps.
    Input,
    /// Whatever stands in it names something of that kind.
    Names(Shared),
    /// Users make up everything in it.
    MadeUp,
    /// Anything else.
    Free,
}

/// What the next value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// A value in such a context.
    In(Context),
    /// A string or a list names something of that kind.
    Names(Shared),
    /// Whatever is not empty names something of that kind.
    Refers(Shared),
    /// A prompt, which the account keeps where it is an object.
    Prompt,
    /// An address, which may be one of a file at the provider.
    Address,
    /// The type of whatever surrounds it.
    Type,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    context: Context,
    /// An item has an `id`.
    has_id: bool,
    /// An item has a `type` or a `content`.
    has_content: bool,
}

/// A body under watch.
#[derive(Debug)]
pub(super) struct Watch {
    frames: Vec<Frame>,
    value: Value,
    /// The next value is the `type` or the `content` of an item.
    is_content: bool,
    /// The beginning of an address.
    address: Vec<u8>,
    named: Vec<Shared>,
    is_lost: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Watch {
            frames: Vec::new(),
            value: Value::In(Context::Governed(Scope::Root)),
            is_content: false,
            address: Vec::new(),
            named: Vec::new(),
            is_lost: false,
        }
    }

    /// What the body names so far.
    pub(super) fn named(&self) -> &[Shared] {
        &self.named
    }

    /// Whether a part of the body was left out.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// A part of the body is left out.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }

    pub(super) fn key(&mut self, name: &[u8]) {
        let Some(frame) = self.frames.last_mut() else { return };
        self.is_content = false;
        if frame.context == Context::Input {
            frame.has_id |= name == b"id";
            self.is_content = matches!(name, b"type" | b"content");
        }
        let context = frame.context;
        self.value = match context {
            Context::Names(shared) => return self.name(shared),
            Context::MadeUp => Value::In(Context::MadeUp),
            Context::Governed(scope) => governed(scope, name),
            Context::Input | Context::Free => free(name),
        };
        if self.value == Value::Address {
            self.address.clear();
        }
    }

    pub(super) fn element(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        self.is_content = false;
        self.value = match frame.context {
            Context::Names(shared) => return self.name(shared),
            context @ (Context::Input | Context::MadeUp) => Value::In(context),
            Context::Governed(_) | Context::Free => Value::In(Context::Free),
        };
    }

    pub(super) fn begin(&mut self, container: Container) {
        self.begins_value();
        let is_object = container == Container::Object;
        let context = match std::mem::replace(&mut self.value, Value::In(Context::Free)) {
            Value::In(Context::Governed(_)) if !is_object => Context::Free,
            Value::In(context) => context,
            Value::Names(shared) if !is_object => Context::Names(shared),
            Value::Refers(shared) => Context::Names(shared),
            Value::Prompt if is_object => {
                self.name(Shared::Assistants);
                Context::Free
            }
            Value::Names(_) | Value::Prompt | Value::Address | Value::Type => Context::Free,
        };
        self.frames.push(Frame { context, has_id: false, has_content: false });
    }

    pub(super) fn end(&mut self) {
        if let Some(frame) = self.frames.pop()
            && frame.has_id
            && !frame.has_content
        {
            self.name(Shared::StoredResponses);
        }
    }

    pub(super) fn scalar(&mut self, scalar: Scalar<'_>) {
        if scalar == Scalar::Null {
            return;
        }
        self.begins_value();
        match (self.value, scalar) {
            (Value::Refers(shared), Scalar::Number(_) | Scalar::Bool(_)) => self.name(shared),
            (Value::Type, Scalar::String(Some(b"item_reference"))) => self.name(Shared::StoredResponses),
            _ => {}
        }
    }

    /// A piece of a string, never an empty one.
    pub(super) fn piece(&mut self, piece: &[u8]) {
        self.begins_value();
        match self.value {
            Value::Names(shared) | Value::Refers(shared) => self.name(shared),
            Value::Address => {
                let room = ADDRESS_LOOKED_AT_BYTES.saturating_sub(self.address.len());
                self.address.extend_from_slice(piece.get(..room).unwrap_or(piece));
                if room > 0 && references::begins_at_account(&self.address) {
                    self.name(Shared::Files);
                }
            }
            Value::In(_) | Value::Prompt | Value::Type => {}
        }
    }

    /// A value that is not null begins.
    fn begins_value(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.has_content |= std::mem::take(&mut self.is_content);
        }
    }

    fn name(&mut self, shared: Shared) {
        if !self.named.contains(&shared) {
            self.named.push(shared);
        }
    }
}

fn governed(scope: Scope, name: &[u8]) -> Value {
    let Some(found) = members::find(scope, name, false) else { return free(name) };
    match found.role {
        // Names of shared things count in every spelling.
        Role::Refers(shared) => Value::Refers(shared),
        Role::Enter(scope) if found.exact => Value::In(Context::Governed(scope)),
        Role::Content(Content::Prompt) if found.exact => Value::Prompt,
        Role::Content(Content::Input) if found.exact => Value::In(Context::Input),
        _ => Value::In(Context::Free),
    }
}

fn free(name: &[u8]) -> Value {
    match references::meaning(name, false) {
        Some(Meaning::Names(shared)) => Value::Names(shared),
        Some(Meaning::Address) => Value::Address,
        Some(Meaning::MadeUp) => Value::In(Context::MadeUp),
        None if name == b"type" => Value::Type,
        None => Value::In(Context::Free),
    }
}

#[cfg(test)]
mod tests {
    use weir_config::shared::Shared;

    use super::super::Document;
    use super::super::weigh::Weigher;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// What a body names, and whether it could be read.
    fn watched(body: &str, chunk: usize) -> (Vec<Shared>, bool) {
        let mut weigher = Weigher::watching();
        body.as_bytes().chunks(chunk).for_each(|chunk| weigher.feed(chunk));
        let mut named = weigher.named().to_vec();
        named.sort_unstable();
        (named, weigher.is_readable())
    }

    /// Bodies that name something, in every place and spelling that the tables know, and bodies that do not.
    const BODIES: [&str; 35] = [
        r#"{"model":"m","messages":[{"role":"user","content":"file_id"}]}"#,
        r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"file","file":{"FILE_ID":"file-1"}}]}]}"#,
        r#"{"messages":[{"content":[{"file":{"file\u005fid":"file-1"}}]}]}"#,
        r#"{"messages":[{"file":{"file_id":""}}]}"#,
        r#"{"messages":[{"file":{"file_id":null}}]}"#,
        r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#,
        r#"{"tools":[{"type":"file_search","vector_store_ids":[]}]}"#,
        r#"{"tools":[{"container":{"type":"auto","file_ids":["file-1"]}}]}"#,
        r#"{"previous_response_id":"resp_1"}"#,
        r#"{"PREVIOUS_response_id":"resp_1"}"#,
        r#"{"previous_response_id":""}"#,
        r#"{"previous_response_id":null}"#,
        r#"{"nested":{"previous_response_id":"resp_1"}}"#,
        r#"{"conversation":{"id":"conv_1"}}"#,
        r#"{"conversation":{}}"#,
        r#"{"container":"cntr_1"}"#,
        r#"{"data_sources":[{"type":"azure_search"}]}"#,
        r#"{"prompt":{"id":"pmpt_1"}}"#,
        r#"{"prompt":["a","b"]}"#,
        r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
        r#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#,
        r#"{"input":[{"t\u0079pe":"item_reference","id":"msg_1"}]}"#,
        r#"{"input":[{"id":"msg_1"}]}"#,
        r#"{"input":[{"\u0069d":"msg_1"}]}"#,
        r#"{"input":[{"id":"msg_1","content":null}]}"#,
        r#"{"input":[{"id":"msg_1","type":"message","content":"x"}]}"#,
        r#"{"input":[{"role":"user","content":[{"id":"x"}]}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://bucket/x"}}]}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https:\/\/generativelanguage.googleapis.com/v1beta/files/a"}}]}]}"#,
        r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://www.example.com/files/a"}}]}]}"#,
        r#"{"tools":[{"function":{"parameters":{"properties":{"file_id":{"type":"string"}}}}}]}"#,
        r#"{"messages":[{"tool_calls":[{"function":{"arguments":{"file_id":"mine"}}}]}],"metadata":{"file_id":"x"}}"#,
        r#"{"extra_body":{"cached_content":"cachedContents/1"}}"#,
        r#"{"additionalModelRequestFields":{"container":{"id":"c"}}}"#,
    ];

    #[test]
    fn a_large_body_names_what_a_small_one_does_however_it_is_cut() {
        for body in BODIES {
            let mut expected = Document::read(body.as_bytes()).expect("JSON").refers;
            expected.sort_unstable();
            for chunk in [1, 2, 7, body.len()] {
                assert_eq!(watched(body, chunk), (expected.clone(), true), "{body} in pieces of {chunk}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(40), "1") + &"}".repeat(40);
        let long = format!(r#"{{"{}":{{"file_id":"file-1"}}}}"#, "x".repeat(300));
        for body in ["{'a':1}", "\u{1f}\u{8b}gzip", r#"{"a":1}{"b":1}"#, &deep, &long] {
            assert!(!watched(body, 5).1, "{body}");
        }
    }
}
