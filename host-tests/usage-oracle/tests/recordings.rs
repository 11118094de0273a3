//! The judge against exchanges whose counts a person computed.

use weir_usage_oracle::{Expected, Recording, expected};

#[test]
fn the_judge_agrees_with_counts_computed_by_hand() {
    for recording in Recording::parse_list(include_str!("exchanges/by_hand.json")).unwrap() {
        let judged = expected(&recording.exchange);
        assert_eq!(judged, recording.expect, "{}: {}", recording.name, recording.why);
    }
}

#[test]
fn the_judge_returns_what_is_open_and_does_not_guess() {
    let recordings = Recording::parse_list(include_str!("exchanges/open.json")).unwrap();
    assert!(!recordings.is_empty());
    for recording in recordings {
        let judged = expected(&recording.exchange);
        let open = matches!(judged, Expected::Unspecified(_));
        assert!(open, "{}: {} but {judged:?}", recording.name, recording.why);
    }
}
