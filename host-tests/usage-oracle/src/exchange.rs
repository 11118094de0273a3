//! One request and its answer, as a gateway sees them.

use serde::Deserialize;

/// A request, its answer, and how the two ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Whose API the exchange speaks; none where it is no LLM traffic. On routes that the operator declared this is what
    /// the operator knows. Elsewhere it is a label for reports: the judge goes by method and path.
    pub dialect: Option<Dialect>,
    /// The operator's declaration of the route.
    pub declared: Declared,
    /// The client's request.
    pub request: Request,
    /// The provider's answer; none if the exchange ended before the answer's head.
    pub response: Option<Response>,
    /// How the exchange ended.
    pub end: End,
}

/// The client's request, which is always forwarded whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case. `host` names the provider.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// The part of the answer that the provider sent before the exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<Header>,
    /// The body as it arrived, piece by piece; a piece may end anywhere.
    pub chunks: Vec<Vec<u8>>,
}

/// A header's name and value.
pub type Header = (String, String);

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer arrived to its end.
    Whole,
    /// The client left before the answer's end.
    ClientLeft,
    /// The provider broke the connection.
    UpstreamReset,
    /// The provider fell silent for too long.
    Timeout,
}

/// The operator's declaration of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Nothing: only method and path tell what the request is.
    Nothing,
    /// An inference class, or that usage is to be read.
    Usage,
}

/// The families of APIs that the oracle knows. Several providers share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Chat Completions and the older Completions: OpenAI, Azure, Mistral, Groq, DeepSeek, xAI, OpenRouter, ….
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// OpenAI's Assistants: runs of a thread.
    Runs,
    /// Embeddings in OpenAI's shape: OpenAI, Azure, Mistral, Voyage, ….
    Embeddings,
    /// OpenAI's Images.
    Images,
    /// OpenAI's Audio, and Mistral's and Groq's after it.
    Audio,
    /// Anthropic's Messages, also on Vertex AI.
    Anthropic,
    /// Google's `generateContent`, on Gemini API and Vertex AI.
    Gemini,
    /// Google's Interactions.
    Interactions,
    /// Amazon Bedrock's Converse.
    Converse,
    /// Amazon Bedrock's InvokeModel.
    Invoke,
    /// Cohere's v2 API.
    Cohere,
    /// Ollama's own API.
    Ollama,
}

impl Dialect {
    /// Every dialect, in the order of their declaration.
    pub const ALL: [Dialect; 13] = [
        Dialect::Chat,
        Dialect::Responses,
        Dialect::Runs,
        Dialect::Embeddings,
        Dialect::Images,
        Dialect::Audio,
        Dialect::Anthropic,
        Dialect::Gemini,
        Dialect::Interactions,
        Dialect::Converse,
        Dialect::Invoke,
        Dialect::Cohere,
        Dialect::Ollama,
    ];
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The provider's host, or nothing.
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }
}

/// The exchange in a few lines, for the message of a failing test.
impl std::fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Exchange { request, response, end, .. } = self;
        writeln!(formatter, "{} {} {:?}", request.method, request.path, request.headers)?;
        writeln!(formatter, "{}", String::from_utf8_lossy(&request.body))?;
        match response {
            Some(response) => {
                writeln!(formatter, "{} {:?} in {} pieces", response.status, response.headers, response.chunks.len())?;
                writeln!(formatter, "{}", String::from_utf8_lossy(&response.body()))?;
            }
            None => writeln!(formatter, "no head")?,
        }
        write!(formatter, "{end:?}")
    }
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
