//! Amazon Bedrock's InvokeModel and InvokeModelWithResponseStream.
//!
//! Sources: Amazon Bedrock API reference, `ResponseStream`: `chunk` events whose `bytes` are the model's own payload in
//! base64; User guide, Inference request parameters and response fields: Anthropic Claude (Messages), Meta Llama
//! (`prompt_token_count`, `generation_token_count`), Amazon Titan (`inputTextTokenCount`, `totalOutputTextTokenCount`,
//! `results[].tokenCount`), Amazon Nova (`usage` as in Converse). The last chunk of a stream has
//! `amazon-bedrock-invocationMetrics` (`inputTokenCount`, `outputTokenCount`, and the caches' counts beside the input).
//!
//! Rule: **final beats all**. A message of Claude counts by its own final usage, as Anthropic's does; the metrics count
//! where that did not come. For every other model the metrics count, and unset what earlier chunks said. A whole answer
//! counts by its own members.

use super::{Answer, Reading, TokenCounts, anthropic, chat, converse};
use crate::json::{Json, unbase64};
use crate::wire::{Document, Media};

const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Reads an answer.
pub(crate) fn read(answer: &Answer) -> Reading {
    if answer.media == Media::Json {
        return whole(answer);
    }
    let failed = answer.documents.iter().any(|document| document.exception);
    let wrapped = answer.documents.iter().filter(|document| !document.exception);
    let payloads: Option<Vec<_>> =
        wrapped.map(|document| Some(Document::new(None, &unbase64(document.value().text(&["bytes"])?)?))).collect();
    let Some(payloads) = payloads else {
        return Reading { open: Some("a chunk without a payload"), ..Reading::default() };
    };
    let mut reading = stream(&payloads);
    reading.failed |= failed;
    reading
}

fn stream(payloads: &[Document]) -> Reading {
    let claude = payloads.iter().any(|payload| payload.value().text(&["type"]).is_some());
    let mut reading = if claude { anthropic::stream(payloads) } else { Reading::default() };
    for value in payloads.iter().map(Document::value) {
        let said = ["generation", "outputText", "outputs", "text"];
        reading.words |= said.iter().any(|name| value.get(name).is_some_and(Json::says_something))
            || value.get("contentBlockDelta").is_some_and(converse::has_words);
    }
    let metrics = payloads.iter().rev().find_map(|payload| payload.value().get(METRICS));
    let Some(metrics) = metrics.filter(|_| reading.finals.is_empty()) else {
        return reading;
    };
    let cached = |name: &str| metrics.count(&[name]).unwrap_or(0);
    let (cache_read, cache_write) = (cached("cacheReadInputTokenCount"), cached("cacheWriteInputTokenCount"));
    reading.finals = vec![TokenCounts {
        input: metrics.count(&["inputTokenCount"]).map(|input| input + cache_read + cache_write),
        output: metrics.count(&["outputTokenCount"]),
        cache_read,
        cache_write,
        reasoning: 0,
    }];
    reading
}

fn whole(answer: &Answer) -> Reading {
    let value = answer.documents.first().map_or(&Json::Null, Document::value);
    if value.text(&["type"]).is_some() {
        return anthropic::read(answer);
    }
    if value.get("choices").is_some() {
        return chat::read(answer);
    }
    if value.get("usage").is_some() {
        return converse::read(answer);
    }
    let mut reading = Reading::default();
    let said = ["generation", "results", "outputs", "text"];
    reading.words = said.iter().any(|name| value.get(name).is_some_and(Json::says_something));
    reading.failed = value.get("error").is_some();
    let tally = |input, output| TokenCounts { input, output, ..TokenCounts::default() };
    if let Some(prompt) = value.count(&["prompt_token_count"]) {
        reading.finals = vec![tally(Some(prompt), value.count(&["generation_token_count"]))];
    } else if let Some(input) = value.count(&["inputTextTokenCount"]) {
        let output = value.items(&["results"]).iter().filter_map(|result| result.count(&["tokenCount"])).sum();
        reading.finals = vec![tally(Some(input), Some(output))];
    } else if reading.words {
        reading.open = Some("a model whose counts stand in the head of the answer only");
    }
    reading
}
