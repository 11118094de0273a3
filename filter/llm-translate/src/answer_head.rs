//! The head of an answer, as a provider sends it.

/// An answer's head as the provider sent it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'h> {
    /// Its status.
    pub status: u16,
    /// Its headers. Names in any case.
    pub headers: &'h [(&'h str, &'h str)],
}

impl AnswerHead<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// Whether it says that something went wrong.
    pub(crate) fn is_error(&self) -> bool {
        self.status >= 400
    }

    /// The name that a service of [AWS](https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html) gives its error, without
    /// the address that some put behind it.
    pub(crate) fn error_type(&self) -> Option<&str> {
        self.header("x-amzn-errortype").and_then(|name| name.split(':').next())
    }

    /// Whether the body is compressed, and so cannot be translated.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.header("content-encoding").is_some_and(|encoding| !encoding.is_empty() && encoding != "identity")
    }

    /// Whether the body is a stream of events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        let kind = self.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        self.status < 400 && kind.trim().eq_ignore_ascii_case("text/event-stream")
    }
}
