//! Models behind clouds: their paths name the model, and Bedrock reads in the body what a client of Anthropic's says in a header.
use super::{Attempt, Upstream};
use crate::head::{Pair, is};
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
    /// Adds the features that the client asks for in a header: Bedrock reads them in the body.
    pub(super) fn with_betas(&self, body: Vec<u8>) -> Vec<u8> {
        let Some(rest) = body.strip_prefix(b"{").filter(|_| !self.betas.is_empty()) else { return body };
        let mut with = format!("{{\"anthropic_beta\":[\"{}\"],", self.betas.replace(',', "\",\"")).into_bytes();
        with.extend_from_slice(rest);
        with
    }
}

/// The features that a client of Anthropic's asks for by name, with commas. What is no name is left out.
pub(super) fn betas(pairs: &[Pair<'_>]) -> String {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let values = pairs.iter().filter(|(name, _)| is(name, "anthropic-beta"));
    let texts = values.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    texts.flat_map(|text| text.split(',').map(str::trim)).filter(is_name).collect::<Vec<_>>().join(",")
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
