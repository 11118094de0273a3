//! Chat Completions and Completions, as their many providers write them.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Truth};
use crate::exchange::{Declared, Dialect};
use crate::json::Json;

/// Whose habits an answer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    OpenAi,
    Legacy,
    Azure,
    Groq,
    Mistral,
    Voxtral,
    DeepSeek,
    Xai,
    OpenRouter,
    Perplexity,
    Vercel,
    GeminiCompatible,
    CachesBeside,
    Guarded,
    Declared,
}

const PROVIDERS: [Provider; 15] = [
    Provider::OpenAi,
    Provider::Legacy,
    Provider::Azure,
    Provider::Groq,
    Provider::Mistral,
    Provider::Voxtral,
    Provider::DeepSeek,
    Provider::Xai,
    Provider::OpenRouter,
    Provider::Perplexity,
    Provider::Vercel,
    Provider::GeminiCompatible,
    Provider::CachesBeside,
    Provider::Guarded,
    Provider::Declared,
];

impl Provider {
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Provider::OpenAi => ("api.openai.com", "/v1/chat/completions"),
            Provider::Legacy => ("api.openai.com", "/v1/completions"),
            Provider::Azure => {
                ("r.openai.azure.com", "/openai/deployments/gpt/chat/completions?api-version=2025-04-01")
            }
            Provider::Groq => ("api.groq.com", "/openai/v1/chat/completions"),
            Provider::Mistral | Provider::Voxtral => ("api.mistral.ai", "/v1/chat/completions"),
            Provider::DeepSeek => ("api.deepseek.com", "/chat/completions"),
            Provider::Xai => ("api.x.ai", "/v1/chat/completions"),
            Provider::OpenRouter => ("openrouter.ai", "/api/v1/chat/completions"),
            Provider::Perplexity => ("api.perplexity.ai", "/chat/completions"),
            Provider::Vercel => ("ai-gateway.vercel.sh", "/v1/chat/completions"),
            Provider::GeminiCompatible => ("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions"),
            Provider::CachesBeside => ("llm.example", "/v1/chat/completions"),
            Provider::Guarded => ("a.snowflakecomputing.com", "/api/v2/cortex/v1/chat/completions"),
            Provider::Declared => ("models.example", "/answers"),
        }
    }

    /// Drops the parts that the provider does not tell.
    fn limit(self, numbers: Numbers) -> Numbers {
        match self {
            Provider::OpenRouter | Provider::CachesBeside => numbers,
            Provider::Voxtral | Provider::GeminiCompatible | Provider::Guarded => {
                numbers.without_caches().without_reasoning()
            }
            Provider::Mistral => numbers.without_cache_write().without_reasoning(),
            _ => numbers.without_cache_write(),
        }
    }
}

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let provider = dice.pick(&PROVIDERS);
    let numbers = provider.limit(Numbers::draw(dice));
    let (usage, truth) = usage(provider, numbers, dice);
    let stream = dice.one_in(2);
    let (answer, truth) = match (stream, dice.one_in(10)) {
        (false, false) => (Framed::Json(whole(provider, &usage, dice)), truth),
        (false, true) => (Framed::Json(whole(provider, &Json::Null, dice)), Truth::NotFinal),
        (true, false) => (Framed::Sse(events(provider, Some(&usage), numbers, dice)), truth),
        (true, true) => (Framed::Sse(events(provider, None, numbers, dice)), Truth::NotFinal),
    };
    let (host, path) = provider.place();
    let mut request = obj! { "model": dice.pick(&["gpt-4o", "m", "vendor/m"]), "messages": dice.messages() };
    if stream {
        request = request.with("stream", true).with("stream_options", obj! { "include_usage": true });
    }
    let mut draft = Draft::inference(Dialect::Chat, host, path, request, answer, truth);
    if provider == Provider::Declared {
        draft.declared = Declared::Usage;
    }
    draft
}

/// The usage object, and what it means.
fn usage(provider: Provider, numbers: Numbers, dice: &mut Dice) -> (Json, Truth) {
    let truth = Truth::of(&numbers);
    let Numbers { cache_read, cache_write, reasoning, .. } = numbers;
    let sums = |prompt: u64, completion: u64, total: u64| {
        obj! { "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total }
    };
    let plain = sums(numbers.input(), numbers.output(), numbers.total());
    let reasoned = obj! { "reasoning_tokens": reasoning, "audio_tokens": 0 };
    let json = match provider {
        Provider::Xai => sums(numbers.input(), numbers.visible, numbers.total())
            .with("prompt_tokens_details", obj! { "text_tokens": numbers.input(), "cached_tokens": cache_read })
            .with("completion_tokens_details", reasoned),
        Provider::Mistral => plain.with_count("num_cached_tokens", cache_read),
        Provider::Voxtral => return voxtral(numbers, dice),
        Provider::DeepSeek => plain
            .with("prompt_cache_hit_tokens", cache_read)
            .with("prompt_cache_miss_tokens", numbers.fresh)
            .with("completion_tokens_details", obj! { "reasoning_tokens": reasoning }),
        Provider::OpenRouter => plain
            .with("cost", Json::Number("0.00014".to_owned()))
            .with("prompt_tokens_details", obj! { "cached_tokens": cache_read, "cache_write_tokens": cache_write })
            .with("completion_tokens_details", reasoned),
        Provider::Perplexity => plain
            .with_count("reasoning_tokens", reasoning)
            .with("prompt_tokens_details", obj! { "cached_tokens": cache_read })
            .with_count("citation_tokens", dice.part()),
        Provider::CachesBeside => sums(numbers.fresh, numbers.output(), numbers.total())
            .with("cache_read_input_tokens", cache_read)
            .with("cache_creation_input_tokens", cache_write)
            .with("completion_tokens_details", reasoned),
        Provider::GeminiCompatible => {
            // Thoughts are in the total and nowhere else.
            let thoughts = dice.part();
            let truth = Truth::of(&Numbers { visible: numbers.visible + thoughts, ..numbers });
            return (sums(numbers.input(), numbers.visible, numbers.total() + thoughts), truth);
        }
        Provider::Guarded => {
            // No documentation says whether a guard's tokens are input; the truth is the reading without them.
            let guard = dice.count();
            let total = numbers.total() + guard;
            return (sums(numbers.input(), numbers.output(), total).with("guardrails_tokens", guard), truth);
        }
        _ => plain
            .with("prompt_tokens_details", obj! { "cached_tokens": cache_read, "audio_tokens": 0 })
            .with("completion_tokens_details", reasoned),
    };
    (json, truth)
}

/// Audio beside the prompt's text, reported in tokens or in seconds only.
fn voxtral(numbers: Numbers, dice: &mut Dice) -> (Json, Truth) {
    let audio = dice.count();
    let usage = obj! {
        "prompt_tokens": numbers.fresh,
        "completion_tokens": numbers.visible,
        "total_tokens": numbers.total() + audio,
        "prompt_audio_seconds": 1 + audio / 12,
    };
    let details = obj! { "cached_tokens": 0, "audio_tokens": audio };
    let usage = if dice.one_in(2) { usage.with("prompt_tokens_details", details) } else { usage };
    (usage, Truth::of(&Numbers { fresh: numbers.fresh + audio, ..numbers }))
}

fn whole(provider: Provider, usage: &Json, dice: &mut Dice) -> Json {
    let words = dice.words();
    let choice = match provider {
        Provider::Legacy => obj! { "index": 0, "text": words, "finish_reason": "stop" },
        _ if dice.one_in(8) => {
            let call = obj! { "id": "call_1", "type": "function", "function": obj! { "name": "f", "arguments": "{}" } };
            let message = obj! { "role": "assistant", "content": Json::Null, "tool_calls": vec![call] };
            obj! { "index": 0, "message": message, "finish_reason": "tool_calls" }
        }
        _ => {
            let message = obj! { "role": "assistant", "content": words };
            obj! { "index": 0, "message": message, "finish_reason": dice.pick(&["stop", "length"]) }
        }
    };
    let object = if provider == Provider::Legacy { "text_completion" } else { "chat.completion" };
    obj! { "id": dice.id("chatcmpl-"), "object": object, "model": "m", "choices": vec![choice], "usage": usage.clone() }
}

fn events(provider: Provider, usage: Option<&Json>, numbers: Numbers, dice: &mut Dice) -> Vec<Event> {
    let id = dice.id("chatcmpl-");
    let chunk = |choices: Vec<Json>| obj! { "id": id.as_str(), "object": "chat.completion.chunk", "choices": choices };
    let mut events = Vec::new();
    if provider == Provider::Azure {
        events.push(chunk(vec![]).with("prompt_filter_results", vec![]));
    }
    let running = usage.is_some() && (provider == Provider::Perplexity || dice.one_in(12));
    let placeholders = !running && dice.one_in(10);
    for (place, piece) in dice.pieces().into_iter().enumerate() {
        let mut event = chunk(vec![said(provider, &piece, dice)]);
        if running {
            // Some tell after every piece how many there were.
            let so_far = (place as u64 + 1).min(numbers.output());
            let total = numbers.input() + so_far;
            let usage = obj! { "prompt_tokens": numbers.input(), "completion_tokens": so_far, "total_tokens": total };
            event = event.with("usage", usage);
        } else if placeholders {
            event = event.with("usage", obj! { "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 });
        } else if dice.one_in(3) {
            event = event.with("usage", Json::Null);
        }
        events.push(event);
    }
    let last = if provider == Provider::Legacy {
        obj! { "index": 0, "text": "", "finish_reason": "stop" }
    } else {
        obj! { "index": 0, "delta": obj! {}, "finish_reason": "stop" }
    };
    let last = chunk(vec![last]);
    match (usage, provider) {
        (None, _) => events.push(last),
        (Some(usage), Provider::Groq) => {
            events.push(last.with("x_groq", obj! { "id": "req_1", "usage": usage.clone() }));
        }
        (Some(usage), Provider::Mistral | Provider::Voxtral | Provider::DeepSeek | Provider::Perplexity) => {
            events.push(last.with("usage", usage.clone()));
        }
        (Some(usage), _) => {
            events.push(last);
            let alone = match dice.below(10) {
                0 => obj! { "id": id.as_str(), "object": "chat.completion.chunk" },
                1 => chunk(vec![]).with("choices", Json::Null),
                _ => chunk(vec![]),
            };
            events.push(alone.with("usage", usage.clone()));
        }
    }
    let mut events: Vec<_> = events.into_iter().map(Event::json).collect();
    if !dice.one_in(12) {
        events.push(Event::done());
    }
    events
}

fn said(provider: Provider, piece: &str, dice: &mut Dice) -> Json {
    if provider == Provider::Legacy {
        return obj! { "index": 0, "text": piece, "finish_reason": Json::Null };
    }
    let name = if dice.one_in(5) { "reasoning_content" } else { "content" };
    let delta = Json::Object(vec![(name.to_owned(), Json::from(piece))]);
    obj! { "index": 0, "delta": delta, "finish_reason": Json::Null }
}
