//! Every provider's numbers, exactly, whatever the shape they come in.
#[path = "fixtures/usage/cases.rs"]
mod cases;
#[path = "fixtures/usage/harness.rs"]
mod harness;

use cases::Case;
use harness::{assert_cuts_agree, read_until, summary};
use weir_llm_usage::{BodyEnd, ResponseHead};

fn head(case: &Case) -> ResponseHead<'static> {
    ResponseHead::from_headers(200, case.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn every_provider_is_read_to_the_token() {
    for case in cases::all() {
        let reading = read_until(&head(&case), [&case.body[..]], BodyEnd::Whole);
        assert_eq!(summary(&reading), case.numbers, "{}", case.name);
        assert_eq!(reading.provider, case.provider, "{}", case.name);
        for (name, value) in case.details {
            assert_eq!(reading.usage.details.get(*name), Some(value), "{}: {name}", case.name);
        }
    }
}

#[test]
fn every_answer_reads_the_same_however_it_is_cut_in_two_or_into_bytes() {
    for case in cases::all() {
        assert_cuts_agree(&head(&case), &case.body);
    }
}

#[test]
fn the_last_numbers_are_final_even_if_nobody_knows_whether_the_body_came_whole() {
    for case in cases::all() {
        let reading = read_until(&head(&case), [&case.body[..]], BodyEnd::Cut);
        assert_eq!(summary(&reading), case.numbers, "{}", case.name);
    }
}

#[test]
fn the_text_of_an_answer_weighs_something_wherever_a_model_spoke() {
    let silent = ["embed", "rerank", "image", "in the head"];
    for case in cases::all() {
        let reading = read_until(&head(&case), [&case.body[..]], BodyEnd::Whole);
        let spoke = !silent.iter().any(|word| case.name.contains(word));
        assert_eq!(!reading.text.is_empty(), spoke, "{}", case.name);
    }
}
