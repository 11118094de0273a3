//! What translating one chunk of a stream costs, beside reading its usage: `make translate-cost`.
use std::hint::black_box;
use std::time::Instant;

use weir_contract::time::Timestamp;
use weir_llm_translate::{AnswerHead, AnswerTranslator, Dialect, Server, Target, Thinking, translate};
use weir_llm_usage::{Reader, ResponseHead};

/// Chunks of a stream.
const CHUNKS: usize = 2000;
/// The best of so many runs counts.
const RUNS: usize = 15;

const EVENTS: AnswerHead<'static> = AnswerHead { status: 200, headers: &[("content-type", "text/event-stream")] };
const WORDS: [&str; 4] = [" weir", " and", " the \\\"gate\\\"", " of water"];

fn of_anthropic(text: &str) -> String {
    let delta =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#);
    format!("event: content_block_delta\ndata: {delta}\n\n")
}

fn of_openai(text: &str) -> String {
    let choice = format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":null}}"#);
    let head = r#""id":"chatcmpl-D8Z5f52zQqikDBEKQMQoYcWMcWPeU","object":"chat.completion.chunk","created":1770933883"#;
    format!(
        "data: {{{head},\"model\":\"gpt-4.1-nano-2025-04-14\",\"service_tier\":\"default\",\"choices\":[{choice}],\"usage\":null}}\n\n"
    )
}

/// What comes before the chunks that are measured.
fn start(client: Dialect) -> String {
    match client {
        Dialect::OpenAi => [
            r#"{"type":"message_start","message":{"id":"msg_01","model":"claude","usage":{"input_tokens":9}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ]
        .map(|data| format!("data: {data}\n\n"))
        .concat(),
        Dialect::Anthropic => of_openai(""),
    }
}

/// Nanoseconds for each chunk, the best of all runs.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn time<T>(chunks: &[String], mut begin: impl FnMut() -> T, mut take: impl FnMut(&mut T, &[u8])) -> u128 {
    let mut run = || {
        let mut state = begin();
        let before = Instant::now();
        chunks.iter().for_each(|chunk| take(&mut state, black_box(chunk.as_bytes())));
        let spent = before.elapsed().as_nanos();
        black_box(state);
        spent / chunks.len() as u128
    };
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

/// What is measured: its name, the dialects of client and server, and how a chunk is written.
type Case = (&'static str, Dialect, Server, fn(&str) -> String);

fn main() {
    let cases: [Case; 2] = [
        ("Messages to Chat Completions", Dialect::OpenAi, Server::Anthropic, of_anthropic),
        ("Chat Completions to Messages", Dialect::Anthropic, Server::OpenAi, of_openai),
    ];
    for (name, client, server, chunk) in cases {
        let to = Target { server, model: "m", output_tokens_max: 9, thinking: Thinking::Never, samples: true };
        let body = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
        let Ok(translated) = translate(client, &to, body) else { return };
        let alike: Vec<String> = WORDS.iter().cycle().take(CHUNKS).map(|word| chunk(word)).collect();
        // A member between them that is another one each time: no two neighbours have one shape.
        let other = |(at, chunk): (usize, &String)| chunk.replacen("{\"", &format!("{{\"n{at}\":0,\""), 1);
        let different: Vec<String> = alike.iter().enumerate().map(other).collect();
        for (kind, chunks) in [("alike", &alike), ("each of its own shape", &different)] {
            let bytes = chunks.iter().map(String::len).sum::<usize>() / CHUNKS;
            let reading = time(
                chunks,
                || Reader::new(&ResponseHead::new(200), None),
                |reader, chunk| {
                    black_box(reader.feed(chunk));
                },
            );
            let translator = || {
                let mut translator = AnswerTranslator::new(translated.answer, &EVENTS, Timestamp::from_secs(1));
                translator.chunk(start(client).as_bytes(), &mut Vec::new());
                (translator, Vec::with_capacity(1024))
            };
            let translating = time(chunks, translator, |(translator, out), chunk| {
                out.clear();
                translator.chunk(chunk, out);
                black_box(&out);
            });
            println!("{name}, chunks of {bytes} bytes, {kind}: reading {reading} ns, translating {translating} ns");
        }
    }
}
