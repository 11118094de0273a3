//! Readers of foreign texts: whatever they are given, they answer, and never panic.
use proptest::prelude::*;
use weir_money::charged;
use weir_money::prices::{Book, Layer, file, import};

const LITELLM: &str = r#"{"gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token_above_200k_tokens_flex": 1e-05, "search_context_cost_per_query": {"search_context_size_medium": 0.01}}}"#;
const MODELS_DEV: &str = r#"{"google": {"id": "google", "models": {"gemini": {"cost": {"input": 1.25, "output": 10, "context_over_200k": {"input": 2.5}}}}}}"#;
const OPENROUTER: &str =
    r#"{"data": [{"id": "a/b", "pricing": {"prompt": "0.0000025", "completion": "0.00001", "web_search": "0.01"}}]}"#;
const OPEN_AI: &str = r#"{"data": [{"start_time": 1795219200, "results": [{"amount": {"value": 0.057, "currency": "usd"}, "line_item": "gpt-4o, input"}]}]}"#;
const ANTHROPIC: &str = r#"{"data": [{"starting_at": "2026-11-21T00:00:00Z", "results": [{"currency": "USD", "amount": "123.45", "model": "m"}]}]}"#;
const CSV: &str = "date,model,cost,currency\n2026-11-21,\"m, x\",\"1.5\",USD\n";
const YAML: &str = "entries:\n- {model: m*, per_million: {input: 1}, batch: 0.5, above: [{input_tokens_over: 1, per_million: {output: 2}}]}\n";

/// A sample with some bytes replaced, removed or repeated.
fn mutated() -> impl Strategy<Value = String> {
    let samples = prop::sample::select(vec![LITELLM, MODELS_DEV, OPENROUTER, OPEN_AI, ANTHROPIC, CSV, YAML]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..6);
    (samples, edits).prop_map(|(sample, edits)| {
        let mut bytes = sample.as_bytes().to_vec();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"0123456789.eE-\"{}[],:"[usize::from(byte) % 21]),
                _ => bytes.truncate(at + 1),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_read_or_refused_with_a_reason(text in mutated()) {
        match import::read(&text) {
            Ok(imported) => {
                let book = Book::new(vec![Layer { name: "list".to_owned(), entries: imported.entries }]);
                prop_assert!(book.is_ok(), "what an import yields is a good book: {book:?}");
            }
            Err(why) => prop_assert!(!why.is_empty()),
        }
    }

    #[test]
    fn a_report_is_read_or_refused_with_a_reason(text in mutated()) {
        match charged::read(&text) {
            Ok(report) => prop_assert!(!charged::compare(&report, &[], None).is_empty()),
            Err(why) => prop_assert!(!why.is_empty()),
        }
    }

    #[test]
    fn a_file_of_entries_is_read_back_as_it_was_kept(text in mutated()) {
        let Ok(read) = file::parse(std::path::Path::new("prices.yaml"), &text) else { return Ok(()) };
        let Ok(book) = Book::new(vec![Layer { name: "file".to_owned(), entries: read.entries }]) else { return Ok(()) };
        let again = Book::read(book.text());
        prop_assert_eq!(again.map(|again| again.text().to_owned()), Ok(book.text().to_owned()));
    }
}

#[test]
fn every_known_list_and_report_is_read() {
    for (text, source) in [(LITELLM, "LiteLLM"), (MODELS_DEV, "models.dev"), (OPENROUTER, "OpenRouter")] {
        let imported = import::read(text).expect(source);
        assert_eq!((imported.source, imported.entries.len()), (source, 1));
    }
    for (text, source) in [(OPEN_AI, "OpenAI"), (ANTHROPIC, "Anthropic"), (CSV, "CSV")] {
        let report = charged::read(text).expect(source);
        assert_eq!((report.source, report.charges.len()), (source, 1));
    }
}
