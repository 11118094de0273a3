//! Embeddings, images and audio in OpenAI's shape, and rerankers in Voyage's.

use super::build::obj;
use super::dice::{Dice, Numbers};
use super::frame::{Event, Framed};
use super::{Draft, Sent, Truth};
use crate::exchange::Dialect;
use crate::json::Json;

/// Drafts an exchange.
pub(super) fn draft(dice: &mut Dice) -> Draft {
    let numbers = Numbers::draw(dice).without_caches().without_reasoning();
    match dice.below(6) {
        0 => rerank(numbers.fresh, dice),
        1 | 2 => embeddings(numbers.fresh, dice),
        3 | 4 => images(&numbers, dice),
        _ => audio(&numbers, dice),
    }
}

fn embeddings(input: u64, dice: &mut Dice) -> Draft {
    let vector = match dice.one_in(3) {
        true => Json::from(dice.base64()),
        false => Json::List(vec![Json::Number("0.0057".to_owned()), Json::Number("-1.2e-2".to_owned())]),
    };
    let data = vec![obj! { "object": "embedding", "index": 0, "embedding": vector }];
    let answer = obj! { "object": "list", "data": data, "model": "m" };
    let numbers = Numbers { fresh: input, cache_read: 0, cache_write: 0, visible: 0, reasoning: 0 };
    let (host, usage) = match dice.below(4) {
        0 => ("api.voyageai.com", Some(obj! { "total_tokens": input })),
        1 => {
            let usage = obj! { "prompt_tokens": input, "total_tokens": input, "completion_tokens": 0 };
            ("api.mistral.ai", Some(usage))
        }
        2 if dice.one_in(3) => ("llm.example", None),
        _ => ("api.openai.com", Some(obj! { "prompt_tokens": input, "total_tokens": input })),
    };
    let truth = if usage.is_some() { Truth::of(&numbers) } else { Truth::NotFinal };
    let answer = Framed::Json(usage.into_iter().fold(answer, |answer, usage| answer.with("usage", usage)));
    let request = obj! { "model": "m", "input": vec![Json::from(dice.words()), Json::from(dice.words())] };
    Draft::inference(Dialect::Embeddings, host, "/v1/embeddings", request, answer, truth)
}

fn rerank(input: u64, dice: &mut Dice) -> Draft {
    let result = obj! { "index": 0, "relevance_score": Json::Number("0.93".to_owned()) };
    let name = dice.pick(&["data", "results"]);
    let answer = Json::Object(vec![(name.to_owned(), Json::from(vec![result]))]);
    let answer = answer.with("model", "rerank-2").with("usage", obj! { "total_tokens": input });
    let request = obj! { "model": "rerank-2", "query": dice.words(), "documents": vec![Json::from(dice.words())] };
    let numbers = Numbers { fresh: input, cache_read: 0, cache_write: 0, visible: 0, reasoning: 0 };
    let answer = Framed::Json(answer);
    Draft::inference(Dialect::Embeddings, "api.voyageai.com", "/v1/rerank", request, answer, Truth::of(&numbers))
}

/// Usage of the models that are billed by tokens.
fn tokens(numbers: &Numbers) -> Json {
    obj! {
        "input_tokens": numbers.input(),
        "input_tokens_details": obj! { "text_tokens": numbers.input(), "image_tokens": 0 },
        "output_tokens": numbers.output(),
        "total_tokens": numbers.total(),
    }
}

fn images(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let request = obj! { "model": "gpt-image-1", "prompt": dice.words() };
    let path = "/v1/images/generations";
    let host = "api.openai.com";
    let truth = Truth::of(numbers);
    match dice.below(3) {
        0 => {
            let data = vec![obj! { "b64_json": dice.base64() }];
            let answer = Framed::Json(obj! { "created": 1_713_833_628, "data": data, "usage": tokens(numbers) });
            Draft::inference(Dialect::Images, host, path, request, answer, truth)
        }
        1 => {
            let data = vec![obj! { "b64_json": dice.base64() }, obj! { "url": "https://images.example/1.png" }];
            let answer = Framed::Json(obj! { "created": 1_713_833_628, "data": data });
            Draft::inference(Dialect::Images, host, path, request, answer, Truth::NotFinal)
        }
        _ => {
            let partial = obj! { "type": "image_generation.partial_image", "b64_json": dice.base64() };
            let done = obj! {
                "type": "image_generation.completed", "b64_json": dice.base64(), "usage": tokens(numbers),
            };
            let events = Framed::Sse(vec![Event::typed(partial), Event::typed(done)]);
            Draft::inference(Dialect::Images, host, path, request.with("stream", true), events, truth)
        }
    }
}

fn audio(numbers: &Numbers, dice: &mut Dice) -> Draft {
    let text = dice.words();
    let (answer, truth) = match dice.below(5) {
        0 => {
            let usage = tokens(numbers).with("type", "tokens");
            (Framed::Json(obj! { "text": text, "usage": usage }), Truth::of(numbers))
        }
        1 => {
            let usage = obj! { "type": "duration", "seconds": 27 };
            (Framed::Json(obj! { "text": text, "usage": usage }), Truth::NotFinal)
        }
        2 => (Framed::Json(obj! { "text": text, "x_groq": obj! { "id": "req_1" } }), Truth::NotFinal),
        3 => {
            // The total includes the sound's tokens, of which the provider reports seconds only.
            let sound = dice.count();
            let usage = obj! {
                "prompt_audio_seconds": 1 + sound / 12,
                "prompt_tokens": numbers.fresh,
                "completion_tokens": numbers.output(),
                "total_tokens": numbers.total() + sound,
            };
            let meant = Numbers { fresh: numbers.fresh + sound, ..*numbers };
            (Framed::Json(obj! { "text": text, "segments": vec![], "usage": usage }), Truth::of(&meant))
        }
        _ => {
            let delta = obj! { "type": "transcript.text.delta", "delta": text.as_str() };
            let usage = tokens(numbers).with("type", "tokens");
            let done = obj! { "type": "transcript.text.done", "text": text, "usage": usage };
            (Framed::Sse(vec![Event::typed(delta), Event::typed(done)]), Truth::of(numbers))
        }
    };
    let host = dice.pick(&["api.openai.com", "api.groq.com", "api.mistral.ai"]);
    let mut draft = Draft::inference(Dialect::Audio, host, "/v1/audio/transcriptions", Json::Null, answer, truth);
    draft.request = sound_file(dice);
    draft
}

/// A form with a file of noise and the model's name.
fn sound_file(dice: &mut Dice) -> Sent {
    let mut bytes = b"--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n".to_vec();
    bytes.extend(b"--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n");
    bytes.extend((0..dice.below(20_000)).map(|place| (place * 37 % 251) as u8));
    bytes.extend(b"\r\n--B--\r\n");
    Sent::Bytes { content_type: "multipart/form-data; boundary=B", bytes }
}
