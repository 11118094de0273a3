//! How far weir's estimates are from the counts of a real tokenizer, on texts of several kinds and languages.
//!
//! The texts lie under `filter/llm-usage/tests/fixtures/estimate`; `counts.json` beside them holds the counts (`make token-counts`
//! makes them anew). All arithmetic is in whole numbers: an error is in thousandths of the true count.

use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;
use weir_llm_usage::TextWeight;
use weir_rig::workspace;

/// The vocabulary that estimates are held against: OpenAI's current one.
const VOCABULARY: &str = "o200k_base";

/// One text, counted and estimated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The kind of text.
    pub kind: String,
    /// Its length.
    pub characters: u64,
    /// Its tokens by the tokenizer.
    pub counted: u64,
    /// Its tokens by weir's estimate.
    pub estimated: u64,
}

impl Measured {
    /// The error in thousandths of the true count; positive where too much is estimated.
    #[must_use]
    pub(crate) fn error_permille(&self) -> i64 {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        (signed(self.estimated) - signed(self.counted)) * 1000 / signed(self.counted.max(1))
    }
}

/// Measures every text.
///
/// # Errors
/// When a text or its count is missing.
pub fn measure() -> anyhow::Result<Vec<Measured>> {
    let folder: PathBuf = workspace::root().join("filter/llm-usage/tests/fixtures/estimate");
    let counts: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("counts.json"))?)?;
    let counts = counts.as_object().context("counts.json is no object")?;
    let measure = |(kind, by_vocabulary): (&String, &Value)| {
        let text = std::fs::read_to_string(folder.join(format!("{kind}.txt")))?;
        let counted = by_vocabulary[VOCABULARY].as_u64().with_context(|| format!("{kind}: no count"))?;
        let mut weight = TextWeight::default();
        weight.add(text.as_bytes());
        let characters = text.chars().count() as u64;
        Ok(Measured { kind: kind.clone(), characters, counted, estimated: weight.tokens() })
    };
    counts.iter().map(measure).collect()
}

/// The measurements as the table in `docs/usage.md`, with all texts together in its last row.
#[must_use]
pub fn table(measured: &[Measured]) -> String {
    let mut table = String::from("| text | characters | tokens | estimated | error |\n|---|---|---|---|---|\n");
    let sum = |of: fn(&Measured) -> u64| measured.iter().map(of).sum();
    let all = Measured {
        kind: "**all**".to_owned(),
        characters: sum(|m| m.characters),
        counted: sum(|m| m.counted),
        estimated: sum(|m| m.estimated),
    };
    for row in measured.iter().chain([&all]) {
        let Measured { kind, characters, counted, estimated } = row;
        let (error, sign) = (row.error_permille(), if row.error_permille() < 0 { "−" } else { "+" });
        let percent = (error.abs() + 5) / 10;
        table.push_str(&format!("| {kind} | {characters} | {counted} | {estimated} | {sign}{percent} % |\n"));
    }
    table
}
