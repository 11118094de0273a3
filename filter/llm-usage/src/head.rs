//! What an answer's head says about its usage.
use super::counters::{Counters, Field};
use super::provider::Provider;
use crate::bytes::is_name;
use crate::json::count;

/// The parts of an answer's head that its usage depends on.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: u16,
    /// `content-type`
    pub content_type: Option<&'a [u8]>,
    /// `content-encoding`
    pub content_encoding: Option<&'a [u8]>,
    /// Hardly any head has counts, and a box that is absent is copied at no cost.
    counters: Option<Box<Counters>>,
    provider: Option<Provider>,
}

/// Headers that count tokens, in lower case: those of Bedrock's InvokeModel, whatever the model's own body says, and those
/// of text generation inference, whose body counts only what it generated.
const COUNTS: [(&[u8], Provider, Field); 6] = [
    (b"x-prompt-tokens", Provider::HuggingFace, Field::Prompt),
    (b"x-generated-tokens", Provider::HuggingFace, Field::Completion),
    (b"x-amzn-bedrock-input-token-count", Provider::Bedrock, Field::Input),
    (b"x-amzn-bedrock-output-token-count", Provider::Bedrock, Field::Output),
    (b"x-amzn-bedrock-cache-read-input-token-count", Provider::Bedrock, Field::CacheReadApart),
    (b"x-amzn-bedrock-cache-write-input-token-count", Provider::Bedrock, Field::CacheWriteApart),
];

impl<'a> ResponseHead<'a> {
    /// A head without headers.
    pub fn new(status: u16) -> Self {
        ResponseHead { status, ..ResponseHead::default() }
    }

    /// Takes the relevant headers of an answer; names in any case.
    pub fn from_headers(status: u16, headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut head = ResponseHead::new(status);
        for (name, value) in headers {
            head.take(name, value);
        }
        head
    }

    /// Takes one header, if it is relevant.
    pub fn take(&mut self, name: &[u8], value: &'a [u8]) {
        // By length first: names of most headers differ in it, and their case is the peer's.
        match name.len() {
            12 if is_name(name, b"content-type") => self.content_type = Some(value),
            16 if is_name(name, b"content-encoding") => self.content_encoding = Some(value),
            15 | 18 | 32 | 33 | 43 | 44 => {
                if let Some((_, provider, field)) = COUNTS.iter().find(|(known, _, _)| is_name(name, known)) {
                    self.count(*provider, *field, value);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn counters(&self) -> Option<Box<Counters>> {
        self.counters.clone()
    }

    pub(crate) fn provider(&self) -> Option<Provider> {
        self.provider
    }

    fn count(&mut self, provider: Provider, field: Field, value: &[u8]) {
        if let Some(value) = count(value.trim_ascii()) {
            self.provider = Some(provider);
            self.counters.get_or_insert_default().set(field, Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_read_in_the_case_of_the_peer() {
        let headers: [(&[u8], &[u8]); 4] = [
            (b"Content-Type", b"application/json"),
            (b"CONTENT-ENCODING", b"gzip"),
            (b"X-Amzn-Bedrock-Input-Token-Count", b"12"),
            (b"X-Amzn-Bedrock-Output-Token-Count", b"30"),
        ];
        let head = ResponseHead::from_headers(200, headers);
        assert_eq!((head.content_type, head.content_encoding), (Some(&b"application/json"[..]), Some(&b"gzip"[..])));
        let lower = headers.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let same = ResponseHead::from_headers(200, lower.iter().map(|(name, value)| (name.as_slice(), *value)));
        assert_eq!(format!("{head:?}"), format!("{same:?}"));
        assert_eq!(head.provider(), Some(Provider::Bedrock));
    }
}
