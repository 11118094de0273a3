//! Estimates are whole numbers, the same however text is cut, and near enough to plan by.
use proptest::prelude::*;
use weir_llm_usage::TextWeight;
use weir_llm_usage::estimate::{OVERHEAD_TOKENS, TEXT_MAX_BYTES, input_tokens, input_tokens_of_bytes};

fn tokens(text: &str) -> u64 {
    let mut weight = TextWeight::default();
    weight.add(text.as_bytes());
    weight.tokens()
}

#[test]
fn characters_weigh_by_their_script() {
    assert_eq!(tokens(""), 0);
    assert_eq!(tokens("a"), 1);
    assert_eq!(tokens(&"a".repeat(45)), 10);
    assert_eq!(tokens(&"я".repeat(45)), 20);
    assert_eq!(tokens(&"水".repeat(40)), 30);
    assert_eq!(tokens(&"🌊".repeat(10)), 20);
    assert_eq!((tokens(&"7".repeat(36)), tokens(&"{".repeat(36)), tokens(&"ब".repeat(36))), (16, 22, 14));
}

#[test]
fn ordinary_prose_is_estimated_at_about_five_characters_to_a_token() {
    let english = "A weir is a low barrier built across the width of a river that alters the flow of water and usually \
                   changes the height of the level.";
    let estimate = tokens(english);
    assert!((21..=35).contains(&estimate), "{estimate}");
}

#[test]
fn a_request_is_estimated_from_its_text_or_from_its_size() {
    let mut weight = TextWeight::default();
    weight.add(&[b'a'; 450]);
    assert_eq!(input_tokens(weight), 100 + OVERHEAD_TOKENS);
    assert_eq!(input_tokens_of_bytes(0), 0);
    assert_eq!(input_tokens_of_bytes(500), 100 + OVERHEAD_TOKENS);
    assert_eq!(input_tokens_of_bytes(u64::MAX), input_tokens_of_bytes(TEXT_MAX_BYTES));
}

proptest! {
    #[test]
    fn an_estimate_does_not_depend_on_how_text_is_cut(text in ".{0,80}", at in any::<prop::sample::Index>()) {
        let (first, second) = text.as_bytes().split_at(at.index(text.len() + 1));
        let mut weight = TextWeight::default();
        weight.add(first);
        weight.add(second);
        prop_assert_eq!(weight.tokens(), tokens(&text));
    }
}
