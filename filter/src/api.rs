//! The API that a client speaks. Refusals and limit headers have its shape.

/// The API that a client speaks, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI, and everything that is compatible with it.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini and Vertex.
    Gemini,
    /// Anything else: RFC 9457 problem details.
    Other,
}

impl Api {
    /// By the path, without its query.
    pub fn of(path: &[u8]) -> Self {
        if path.starts_with(b"/v1/messages") || path.starts_with(b"/anthropic/") {
            Api::Anthropic
        } else if path.starts_with(b"/v1beta/") || memchr::memchr(b':', path).is_some() {
            Api::Gemini
        } else if path.starts_with(b"/v1/") || path.starts_with(b"/openai/") {
            Api::OpenAi
        } else {
            Api::Other
        }
    }
}
