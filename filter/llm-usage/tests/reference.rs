//! On generated traffic the reader agrees with a plain reading of whole documents, however the traffic is cut.
#[path = "fixtures/usage/harness.rs"]
mod harness;
#[path = "fixtures/usage/oracle.rs"]
mod oracle;
#[path = "fixtures/usage/traffic.rs"]
mod traffic;

use harness::{head, read, read_pieces};
use proptest::prelude::*;
use weir_contract::UsageStatus;
use weir_llm_usage::Reading;

fn numbers(reading: &Reading) -> oracle::Numbers {
    let usage = &reading.usage;
    [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens]
}

/// Cuts `body` at the places, whatever their order.
fn cut<'b>(body: &'b [u8], places: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(body.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places.into_iter().chain([body.len()]) {
        pieces.push(&body[from..place]);
        from = place;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_reader_agrees_with_a_plain_reading_of_whole_documents(answer in traffic::answer()) {
        let body = answer.body();
        let reading = read(&body);
        prop_assert_eq!(numbers(&reading), oracle::numbers(&answer.documents), "{}", String::from_utf8_lossy(&body));
        prop_assert_eq!(reading.usage.status, UsageStatus::Complete, "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn an_answer_reads_the_same_however_often_it_is_cut(
        answer in traffic::answer(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let body = answer.body();
        prop_assert_eq!(read_pieces(&head(), cut(&body, &places)), read(&body), "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn any_bytes_read_the_same_however_often_they_are_cut(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(data: |: |event|\\{|\\}|\\[|\\]|\"usage\"|\"prompt_tokens\"|:|,|[0-9.eE-]{1,5}|\"|\\\\|\n|\r| |null|true){0,60}"
                .prop_map(String::into_bytes),
        ],
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        prop_assert_eq!(read_pieces(&head(), cut(&body, &places)), read(&body));
    }
}
