//! What recorded answers of providers cost, from the body to the amount: the reader of answers takes the numbers out of the body, and the
//! price book prices them. Each case writes its arithmetic out: a price of one dollar a million tokens is a million trillionths of a
//! dollar for a token.
use std::path::Path;

use weir_contract::{Outcome, Text, Timestamp, UsageData};
use weir_ledger::amount::{PICO, Pico};
use weir_ledger::cost::{KindSet, Pricing};
use weir_llm_usage::{BodyEnd, Provider, Reader, ResponseHead};
use weir_money::prices::{Book, Layer, file};

/// The fixture of the reader of answers.
macro_rules! body {
    ($name:literal) => {
        include_str!(concat!("../../../filter/llm-usage/tests/fixtures/usage/", $name))
    };
}

/// An answer, and what it costs.
struct Answer {
    say: &'static str,
    body: String,
    /// The model of the request, for answers that name none.
    asked: Option<&'static str>,
    /// The provider of the route, for answers whose shape is that of another.
    served: Option<&'static str>,
    /// In trillionths.
    cost: i128,
}

fn answer(say: &'static str, body: &str, cost: i128) -> Answer {
    Answer { say, body: body.to_owned(), asked: None, served: None, cost }
}

/// Server-sent events whose data are the lines.
fn events(lines: &str) -> String {
    lines.lines().filter(|line| !line.is_empty()).map(|line| format!("data: {line}\n\n")).collect()
}

fn book() -> Book {
    let text = include_str!("recorded/bodies.yaml");
    let entries = file::parse(Path::new("bodies.yaml"), text).expect("prices").entries;
    Book::new(vec![Layer { name: "bodies.yaml".to_owned(), entries }]).expect("a book")
}

fn openai() -> Vec<Answer> {
    vec![
        // 812 in, 512 of them cached; 143 out, reasoning (64) and audio (3) among them, which have no price of their own.
        answer("GPT-4.1 mini", body!("openai_chat.json"), (812 - 512) * 400_000 + 512 * 100_000 + 143 * 1_600_000),
        // Flex halves 1.75, 0.175 and 14: 328 in, 64 of them cached; 52 out, 33 of them reasoning.
        answer("GPT-5.2, flex", body!("openai_responses.json"), (328 - 64) * 875_000 + 64 * 87_500 + 52 * 7_000_000),
        answer(
            "GPT-4o of Azure",
            &events(body!("azure_chat_stream.lines")),
            7 * 2_500_000 + 4 * 1_250_000 + 31 * 10_000_000,
        ),
        // 14 tokens of audio in, 45 of text out.
        Answer {
            asked: Some("gpt-4o-transcribe"),
            served: Some("openai"),
            ..answer("a transcription", body!("openai_transcription.json"), 14 * 6_000_000 + 45 * 10_000_000)
        },
        Answer {
            asked: Some("whisper-1"),
            served: Some("openai"),
            ..answer("seconds of audio", body!("openai_transcription_seconds.json"), 27 * PICO / 10_000)
        },
        // 10 tokens of text and 40 of an image in; 4,160 out.
        Answer {
            asked: Some("gpt-image-1"),
            served: Some("openai"),
            ..answer("an image", body!("openai_image.json"), 10 * 5_000_000 + 40 * 10_000_000 + 4_160 * 40_000_000)
        },
    ]
}

fn anthropic() -> Vec<Answer> {
    let searches = |count: i128| count * PICO / 100;
    // The recorded conversation, with a prompt that is longer by 200,000 tokens: above 200,000 every price is the higher one.
    let long = body!("anthropic_compaction.json").replace("\"input_tokens\": 18000", "\"input_tokens\": 218000");
    vec![
        // 40 fresh, 1,000 read, 150 written for five minutes and 50 for an hour, 77 out, two searches.
        answer(
            "Claude Sonnet 4.5",
            body!("anthropic_message.json"),
            40 * 3_000_000 + 1_000 * 300_000 + 150 * 3_750_000 + 50 * 6_000_000 + 77 * 15_000_000 + searches(2),
        ),
        // The end of the stream says 35 in.
        answer(
            "Claude Haiku 4.5, a stream",
            &events(body!("anthropic_stream.lines")),
            35 * 1_000_000 + 500 * 100_000 + 100 * 1_250_000 + 18 * 5_000_000 + searches(1),
        ),
        // The compaction's 18,000 in and 350 out stand beside the message's 2,300 and 100.
        answer(
            "Claude Opus 4.6 with a compaction",
            body!("anthropic_compaction.json"),
            20_300 * 5_000_000 + 40 * 500_000 + 7 * 6_250_000 + 450 * 25_000_000,
        ),
        answer(
            "Claude Opus 4.6, a long context",
            &long,
            220_300 * 10_000_000 + 40 * 1_000_000 + 7 * 12_500_000 + 450 * 37_500_000,
        ),
        Answer {
            asked: Some("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            ..answer(
                "Claude Sonnet 4.5 of Bedrock",
                body!("bedrock_converse.json"),
                20 * 3_300_000 + 300 * 330_000 + 100 * 4_125_000 + 30 * 16_500_000,
            )
        },
    ]
}

fn google() -> Vec<Answer> {
    let at = |prompt: &str| {
        body!("gemini_array.json").replace("\"promptTokenCount\": 9", &format!("\"promptTokenCount\": {prompt}"))
    };
    vec![
        // 120 of the prompt and 15 of a tool, 80 of them cached; 40 of audio out, and 25 of thoughts.
        answer(
            "Gemini 2.5 Flash, audio out",
            body!("gemini.json"),
            (120 + 15 - 80) * 300_000 + 80 * 30_000 + 40 * 12_000_000 + 25 * 2_500_000,
        ),
        // 4 of the answer and 7 of thoughts.
        answer("Gemini 2.5 Pro", body!("gemini_array.json"), 9 * 1_250_000 + 11 * 10_000_000),
        answer("Gemini 2.5 Pro at the edge of its context tier", &at("200000"), 200_000 * 1_250_000 + 11 * 10_000_000),
        answer("Gemini 2.5 Pro beyond the edge", &at("200001"), 200_001 * 2_500_000 + 11 * 15_000_000),
    ]
}

fn others() -> Vec<Answer> {
    vec![
        // 64 hits and 36 misses; 50 out, 40 of them reasoning.
        answer("DeepSeek", body!("deepseek_chat.json"), 36 * 280_000 + 64 * 28_000 + 50 * 420_000),
        answer("Llama of Groq", &events(body!("groq_chat_stream.lines")), 45 * 590_000 + 60 * 790_000),
        // The shape is OpenAI's; only Mistral has a price for the name.
        answer("Mistral", body!("mistral_chat.json"), 13 * 100_000 + 34 * 300_000),
        // The total of 182 shows that 150 tokens of reasoning stand beside the 2 of the completion.
        answer("Grok 4", body!("xai_chat.json"), (30 - 8) * 3_000_000 + 8 * 750_000 + 152 * 15_000_000),
        // 448 of 507 are cached, which costs as the input where no price of its own is known.
        Answer {
            asked: Some("command-a-03-2025"),
            ..answer("Cohere", body!("cohere_v2_chat.json"), 507 * 2_500_000 + 10 * 10_000_000)
        },
        Answer {
            asked: Some("rerank-v3.5"),
            ..answer("a ranking of Cohere", body!("cohere_rerank.json"), 3 * PICO / 500)
        },
        answer("embeddings of Voyage", body!("voyage_embeddings.json"), 31 * 60_000),
    ]
}

#[test]
fn recorded_answers_cost_what_they_cost_by_hand() {
    let (book, now) = (book(), Timestamp::from_secs(1_800_000_000));
    for Answer { say, body, asked, served, cost } in [openai(), anthropic(), google(), others()].into_iter().flatten() {
        let mut reader = Reader::new(&ResponseHead::new(200), None);
        reader.feed(body.as_bytes());
        let reading = reader.finish(BodyEnd::Whole);
        let provider = served.or_else(|| reading.provider.map(Provider::as_str));
        let data = UsageData {
            provider: provider.map(Text::from),
            request_model: asked.map(Text::from),
            response_model: reading.response_model.as_deref().map(Text::from),
            service_tier: reading.service_tier.as_deref().map(Text::from),
            status: 200,
            outcome: Outcome::Ok,
            usage: reading.usage.clone(),
            ..UsageData::default()
        };
        let got = book.cost(now, &data);
        assert_eq!(got.cost, Pico(cost), "{say}: {:?}", got.quantities);
        assert_eq!(got.unpriced, KindSet::default(), "{say}: everything has a price");
    }
}
