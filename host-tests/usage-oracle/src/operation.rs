//! The operation of a request, by method and path.
//!
//! Paths are those of the providers' API references. Gateways and providers put a prefix before them (`/openai`, `/api`,
//! `/inference`, a deployment or a project), so the end of the path decides.

use crate::exchange::{Dialect, Request};

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A model is to work.
    Inference(Dialect),
    /// One stored answer is to be read again.
    StoredAnswer(Dialect),
    /// A model may work, but the oracle has no rule for it.
    Uncovered,
    /// Anything else: lists, polls of jobs, files, counting, other applications.
    Other,
}

/// Ends of inference paths. Longer ends stand before the shorter ones that they contain.
const INFERENCE: [(&str, Dialect); 25] = [
    ("/api/chat", Dialect::Ollama),
    ("/api/generate", Dialect::Ollama),
    ("/api/embed", Dialect::Ollama),
    ("/api/embeddings", Dialect::Ollama),
    ("/chat/completions", Dialect::Chat),
    ("/completions", Dialect::Chat),
    ("/responses", Dialect::Responses),
    ("/responses/compact", Dialect::Responses),
    ("/threads/runs", Dialect::Runs),
    ("/embeddings", Dialect::Embeddings),
    ("/rerank", Dialect::Embeddings),
    ("/images/generations", Dialect::Images),
    ("/images/edits", Dialect::Images),
    ("/images/variations", Dialect::Images),
    ("/audio/transcriptions", Dialect::Audio),
    ("/audio/translations", Dialect::Audio),
    ("/audio/speech", Dialect::Audio),
    ("/v1/messages", Dialect::Anthropic),
    ("/interactions", Dialect::Interactions),
    ("/converse", Dialect::Converse),
    ("/converse-stream", Dialect::Converse),
    ("/invoke", Dialect::Invoke),
    ("/invoke-with-response-stream", Dialect::Invoke),
    ("/v2/chat", Dialect::Cohere),
    ("/v2/embed", Dialect::Cohere),
];

/// Ends of paths behind which a model may work, and verbs of the same kind.
const UNCOVERED: [&str; 12] = [
    "/moderations",
    "/ocr",
    "/conversations",
    "/realtime",
    "/cancel",
    "/v1/chat",
    "/v1/complete",
    "/v1/generate",
    ":predict",
    ":embedContent",
    ":batchEmbedContents",
    ":generateAnswer",
];

impl Operation {
    /// Reads method and path.
    pub(crate) fn of(request: &Request) -> Operation {
        let route = request.route();
        if request.method == "POST" && UNCOVERED.iter().any(|end| route.ends_with(end)) {
            return Operation::Uncovered;
        }
        match request.method.as_str() {
            "POST" => Operation::of_post(route),
            "GET" => Operation::of_get(route),
            _ => Operation::Other,
        }
    }

    fn of_post(route: &str) -> Operation {
        // Bedrock's model names have colons, too, but with segments behind them.
        if let Some((_, verb)) = route.rsplit_once(':').filter(|(_, verb)| !verb.contains('/')) {
            return match verb {
                "generateContent" | "streamGenerateContent" => Operation::Inference(Dialect::Gemini),
                "rawPredict" | "streamRawPredict" if route.contains("/publishers/anthropic/") => {
                    Operation::Inference(Dialect::Anthropic)
                }
                _ => Operation::Other,
            };
        }
        let segments: Vec<_> = route.split('/').collect();
        match segments.as_slice() {
            [.., "threads", _, "runs"] | [.., "threads", _, "runs", _, "submit_tool_outputs"] => {
                return Operation::Inference(Dialect::Runs);
            }
            _ => {}
        }
        let known = INFERENCE.iter().find(|(end, _)| route.ends_with(end));
        known.map_or(Operation::Other, |(_, dialect)| Operation::Inference(*dialect))
    }

    fn of_get(route: &str) -> Operation {
        let segments: Vec<_> = route.split('/').collect();
        let dialect = match segments.as_slice() {
            [.., "chat", "completions", _] => Dialect::Chat,
            [.., "responses", _] => Dialect::Responses,
            [.., "threads", _, "runs", _] => Dialect::Runs,
            [.., "interactions", _] => Dialect::Interactions,
            _ => return Operation::Other,
        };
        Operation::StoredAnswer(dialect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str) -> Operation {
        Operation::of(&Request { method: method.to_owned(), path: path.to_owned(), headers: vec![], body: vec![] })
    }

    #[test]
    fn inference_is_known_by_the_end_of_the_path_whatever_stands_before_it() {
        let cases = [
            ("/openai/deployments/gpt/chat/completions?api-version=2025-01-01", Dialect::Chat),
            ("/api/v1/chat/completions", Dialect::Chat),
            ("/v1/fim/completions", Dialect::Chat),
            ("/openai/v1/responses", Dialect::Responses),
            ("/v1/threads/thread_1/runs", Dialect::Runs),
            ("/api/embeddings", Dialect::Ollama),
            ("/v1/embeddings", Dialect::Embeddings),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", Dialect::Gemini),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", Dialect::Anthropic),
            ("/model/arn%3Aaws%3Abedrock%3A%2Fabc/converse", Dialect::Converse),
            ("/model/meta.llama3-8b-instruct-v1:0/invoke", Dialect::Invoke),
        ];
        for (path, dialect) in cases {
            assert_eq!(of("POST", path), Operation::Inference(dialect), "{path}");
        }
    }

    #[test]
    fn lists_jobs_counting_and_other_applications_are_no_inference() {
        let posts = ["/v1/messages/count_tokens", "/v1/messages/batches", "/v1/batches", "/v1/threads/t/messages"];
        let others =
            ["/v1beta/models/g:countTokens", "/v1beta/models/g:batchGenerateContent", "/api/show", "/api/orders"];
        for path in posts.iter().chain(&others) {
            assert_eq!(of("POST", path), Operation::Other, "{path}");
        }
        for path in ["/v1/chat/completions", "/v1/batches/b", "/v1/messages/batches/b/results", "/api/quota"] {
            assert_eq!(of("GET", path), Operation::Other, "{path}");
        }
    }

    #[test]
    fn one_stored_answer_is_told_from_a_list_of_them() {
        assert_eq!(of("GET", "/v1/responses/resp_1"), Operation::StoredAnswer(Dialect::Responses));
        assert_eq!(of("GET", "/v1/chat/completions/c"), Operation::StoredAnswer(Dialect::Chat));
    }
}
