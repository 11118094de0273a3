//! Embeddings in OpenAI's shape (OpenAI, Azure OpenAI, Mistral, Voyage, Jina), and rerankers in Voyage's.
//!
//! Sources: OpenAI API reference, Embeddings: `usage.prompt_tokens` and `usage.total_tokens`, which are equal; Voyage AI,
//! Text embeddings and Rerankers: `usage.total_tokens` alone; Mistral, Embeddings: `completion_tokens` is 0.
//!
//! Rule: **one answer, one usage**. All tokens are input: neither generates any. A bare total is therefore input.
//! Without usage only the input can be estimated; vectors are no output.

use super::{Answer, Reading, TokenCounts};

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    let mut reading = Reading { speechless: true, ..Reading::default() };
    for value in answer.values() {
        reading.failed |= value.get("error").is_some();
        reading.words |= !value.items(&["data"]).is_empty();
        let Some(usage) = value.get("usage").filter(|_| value.get("data").or_else(|| value.get("results")).is_some())
        else {
            continue;
        };
        let (prompt, total) = (usage.count(&["prompt_tokens"]), usage.count(&["total_tokens"]));
        if usage.count(&["completion_tokens"]).unwrap_or(0) > 0
            || prompt.is_some_and(|prompt| total.unwrap_or(prompt) != prompt)
        {
            reading.open = Some("an embedding whose total is not its prompt");
        }
        reading.finals = vec![TokenCounts { input: prompt.or(total), output: Some(0), ..TokenCounts::default() }];
    }
    reading
}
