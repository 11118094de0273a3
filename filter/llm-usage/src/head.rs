//! What an answer's head says of its usage.
use super::counters::{Counters, Field};
use super::provider::Provider;
use crate::json::count;

/// The head of an answer, as far as its usage depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: u16,
    /// `content-type`
    pub content_type: Option<&'a [u8]>,
    /// `content-encoding`
    pub content_encoding: Option<&'a [u8]>,
    counters: Counters,
    provider: Option<Provider>,
}

impl<'a> ResponseHead<'a> {
    /// A head without headers.
    pub fn new(status: u16) -> Self {
        ResponseHead { status, ..ResponseHead::default() }
    }

    /// Takes what is of interest from all headers of an answer; names in lower case, as gateways hand them over.
    pub fn from_headers(status: u16, headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut head = ResponseHead::new(status);
        for (name, value) in headers {
            head.take(name, value);
        }
        head
    }

    /// Takes one header, if it is of interest.
    pub fn take(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"content-type" => self.content_type = Some(value),
            b"content-encoding" => self.content_encoding = Some(value),
            // InvokeModel, whatever the model's own body says.
            b"x-amzn-bedrock-input-token-count" => self.count(Provider::Bedrock, Field::Input, value),
            b"x-amzn-bedrock-output-token-count" => self.count(Provider::Bedrock, Field::Output, value),
            b"x-amzn-bedrock-cache-read-input-token-count" => {
                self.count(Provider::Bedrock, Field::CacheReadApart, value);
            }
            b"x-amzn-bedrock-cache-write-input-token-count" => {
                self.count(Provider::Bedrock, Field::CacheWriteApart, value);
            }
            // Text generation inference, whose body counts only what it generated.
            b"x-prompt-tokens" => self.count(Provider::HuggingFace, Field::Prompt, value),
            b"x-generated-tokens" => self.count(Provider::HuggingFace, Field::Completion, value),
            _ => {}
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn provider(&self) -> Option<Provider> {
        self.provider
    }

    fn count(&mut self, provider: Provider, field: Field, value: &[u8]) {
        if let Some(value) = count(value.trim_ascii()) {
            self.provider = Some(provider);
            self.counters.set(field, Some(value));
        }
    }
}
