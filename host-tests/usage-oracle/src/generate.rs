//! Draws provider traffic from seeds.
//!
//! A dialect's file drafts an exchange: a request, the documents of its answer, and the counts that they render. What
//! follows is common to all: [`mod@write`] turns documents into JSON text with the noise that JSON allows, [`frame`] puts them
//! into SSE, lines or binary frames, [`ending`] compresses, cuts and breaks them.

mod anthropic;
mod bedrock;
mod build;
mod chat;
mod cohere;
mod dice;
mod ending;
mod foreign;
mod frame;
mod google;
mod media;
mod ollama;
mod responses;
mod runs;
mod write;

use crate::exchange::{Declared, Dialect, Exchange};
use crate::expected::{Count, Counts};
use crate::json::Json;
use dice::{Dice, Numbers};
use frame::Framed;

/// An exchange, and what the generator knows of it.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The exchange.
    pub exchange: Exchange,
    /// The numbers rendered into it.
    pub truth: Truth,
}

/// The generator's knowledge of its own exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// These are the provider's final numbers, and they are in the answer.
    Final(Counts),
    /// Nothing is to be billed.
    Nothing,
    /// The work was done, but its numbers are not in the answer.
    NotFinal,
    /// The exchange was cut or broken by chance: only a judge can tell.
    Unknown,
}

/// Draws one exchange. The same seed gives the same exchange.
pub fn generate(seed: u64) -> Exchange {
    draw(seed).exchange
}

/// Draws one exchange, with what the generator knows of it.
pub fn draw(seed: u64) -> Generated {
    let mut dice = Dice::new(seed);
    let draft = match dice.below(20) {
        0..=4 => chat::draft(&mut dice),
        5 | 6 => responses::draft(&mut dice),
        7 => runs::draft(&mut dice),
        8 | 9 => anthropic::draft(&mut dice),
        10 | 11 => google::draft(&mut dice),
        12 | 13 => bedrock::draft(&mut dice),
        14 => cohere::draft(&mut dice),
        15 => ollama::draft(&mut dice),
        16 | 17 => media::draft(&mut dice),
        _ => foreign::draft(&mut dice),
    };
    ending::finish(draft, &mut dice)
}

/// An exchange before it is put on the wire.
#[derive(Clone, Debug)]
struct Draft {
    dialect: Option<Dialect>,
    declared: Declared,
    method: &'static str,
    host: &'static str,
    path: String,
    request: Sent,
    status: u16,
    answer: Framed,
    truth: Truth,
}

/// A request's body.
#[derive(Clone, Debug)]
enum Sent {
    Nothing,
    Json(Json),
    Bytes { content_type: &'static str, bytes: Vec<u8> },
}

impl Draft {
    /// An inference that is answered with 200.
    fn inference(
        dialect: Dialect,
        host: &'static str,
        path: &str,
        request: Json,
        answer: Framed,
        truth: Truth,
    ) -> Self {
        Draft {
            dialect: Some(dialect),
            declared: Declared::Nothing,
            method: "POST",
            host,
            path: path.to_owned(),
            request: Sent::Json(request),
            status: 200,
            answer,
            truth,
        }
    }
}

impl Truth {
    /// The drawn numbers in the event's terms.
    fn of(numbers: &Numbers) -> Self {
        Truth::Final(Counts {
            input_tokens: Count::Exactly(numbers.input()),
            output_tokens: Count::Exactly(numbers.output()),
            cache_read_tokens: Count::Exactly(numbers.cache_read),
            cache_write_tokens: Count::Exactly(numbers.cache_write),
            reasoning_tokens: Count::Exactly(numbers.reasoning),
        })
    }
}
