//! Models behind clouds: their paths name the model, and Bedrock reads in the body what a client of Anthropic's says in a header.
use weir_llm_translate::{Server, Unfit};

use super::{Attempt, RequestChanges, Upstream};
use crate::routing::{MODEL_IN_PATH, Model};

impl Upstream {
    /// The path of requests for a model.
    pub(super) fn path(&self, model: &Model, streams: bool) -> String {
        let [whole, stream] = &self.paths;
        let path = if streams { stream } else { whole };
        if !path.contains(MODEL_IN_PATH) {
            return path.to_string();
        }
        path.replace(MODEL_IN_PATH, &in_path(model.upstream()))
    }
}

impl Attempt {
    /// Asks for the features that the client asks for in a header, as the cloud reads it: Bedrock in the body, Vertex AI in the header. A
    /// later attempt finds the header as it is then: without names that change no answer.
    ///
    /// # Errors
    /// If the cloud does not know one of them.
    pub(super) fn with_betas(
        &self,
        upstream: &Upstream,
        body: Vec<u8>,
        changes: &mut RequestChanges,
    ) -> Result<Vec<u8>, Unfit> {
        let asked = weir_llm_translate::betas(upstream.server, &upstream.betas, &self.betas)?;
        if upstream.server == Server::VertexAnthropic {
            match asked.is_empty() {
                true => changes.remove.extend((!self.betas.is_empty()).then_some(BETA)),
                false => changes.set.push((BETA, asked.join(","))),
            }
        }
        let is_in_body = upstream.server == Server::BedrockAnthropic && !asked.is_empty();
        let Some(rest) = body.strip_prefix(b"{").filter(|_| is_in_body) else { return Ok(body) };
        let mut with = format!("{{\"anthropic_beta\":[\"{}\"],", asked.join("\",\"")).into_bytes();
        with.extend_from_slice(rest);
        Ok(with)
    }
}

/// The header in which clients of Messages ask for features by name.
pub(super) const BETA: &str = "anthropic-beta";

/// The values of that header as one, with commas. One that is no text is kept as a name that no cloud knows.
pub(crate) fn betas<'h>(values: impl Iterator<Item = &'h [u8]>) -> String {
    let mut all = String::new();
    for value in values {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&String::from_utf8_lossy(value));
    }
    all
}

/// A model's name as one part of a path.
pub(super) fn in_path(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
