//! Judge and generator against each other: one renders counts, the other finds them.

use std::collections::BTreeMap;

use weir_contract::event::{Usage, UsageStatus};
use weir_usage_oracle::{Count, Counts, Dialect, End, Expected, Generated, Status, Truth, draw, expected, generate};

/// How many exchanges the tests draw; a few seconds' worth.
const SEEDS: u64 = 20_000;

#[test]
fn the_judge_finds_the_counts_that_the_generator_rendered() {
    for seed in 0..SEEDS {
        let Generated { exchange, truth } = draw(seed);
        let judged = expected(&exchange);
        let right = match (&judged, truth) {
            (Expected::Usage { status, one_of }, Truth::Final(counts)) => {
                matches!(status, Status::Complete | Status::CompleteOnce | Status::Counted) && one_of.contains(&counts)
            }
            (Expected::Usage { status, .. }, Truth::Nothing) => *status == Status::None,
            (Expected::Usage { status, .. }, Truth::NotFinal) => {
                matches!(status, Status::Estimated | Status::NotComplete)
            }
            (_, Truth::Unknown) => true,
            (Expected::Unspecified(_), _) => false,
        };
        assert!(right, "seed {seed}: {truth:?} but {judged:?}\n{exchange}");
    }
}

#[test]
fn an_event_with_the_rendered_counts_passes_and_one_that_is_off_by_one_does_not() {
    for seed in 0..5_000 {
        let Generated { exchange, truth: Truth::Final(counts) } = draw(seed) else {
            continue;
        };
        let judged = expected(&exchange);
        let right = event(&counts);
        judged.check(&right).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let more = |count: Option<u64>| count.map(|count| count + 1);
        let wrong = [
            Usage { input_tokens: more(right.input_tokens), ..right.clone() },
            Usage { output_tokens: more(right.output_tokens), ..right.clone() },
            Usage { cache_read_tokens: more(right.cache_read_tokens), ..right.clone() },
            Usage { cache_write_tokens: more(right.cache_write_tokens), ..right.clone() },
            Usage { reasoning_tokens: more(right.reasoning_tokens), ..right.clone() },
        ];
        let single = matches!(&judged, Expected::Usage { one_of, .. } if one_of.len() == 1);
        for usage in wrong.iter().filter(|_| single) {
            assert!(judged.check(usage).is_err(), "seed {seed}: {usage:?} passes {judged:?}");
        }
    }
}

/// A complete event with these counts.
fn event(counts: &Counts) -> Usage {
    let number = |count| match count {
        Count::Exactly(number) => Some(number),
        other => panic!("the generator renders exact counts, not {other:?}"),
    };
    Usage {
        status: UsageStatus::Complete,
        input_tokens: number(counts.input_tokens),
        output_tokens: number(counts.output_tokens),
        cache_read_tokens: number(counts.cache_read_tokens),
        cache_write_tokens: number(counts.cache_write_tokens),
        reasoning_tokens: number(counts.reasoning_tokens),
        ..Usage::default()
    }
}

#[test]
fn the_same_seed_gives_the_same_exchange() {
    for seed in 0..200 {
        assert_eq!(generate(seed), generate(seed));
    }
}

#[test]
fn how_an_answer_is_cut_into_pieces_changes_nothing() {
    for seed in 0..2_000 {
        let mut exchange = generate(seed);
        let judged = expected(&exchange);
        if let Some(response) = &mut exchange.response {
            response.chunks = vec![response.body()];
        }
        assert_eq!(expected(&exchange), judged, "seed {seed}");
    }
}

#[test]
fn an_answer_that_ends_sooner_never_counts_for_more_than_the_whole_one() {
    for seed in 0..2_000 {
        let Generated { mut exchange, truth } = draw(seed);
        let (Truth::Final(counts), Some(response)) = (truth, &mut exchange.response) else {
            continue;
        };
        let body = response.body();
        let seed_byte = usize::try_from(seed).unwrap();
        response.chunks = vec![body[..seed_byte % (body.len() + 1)].to_vec()];
        exchange.end = End::UpstreamReset;
        if let Expected::Usage { status: Status::Complete, one_of } = expected(&exchange) {
            assert!(one_of.contains(&counts), "seed {seed}: {one_of:?}\n{exchange}");
        }
    }
}

#[test]
fn no_changed_byte_makes_the_judge_panic() {
    for seed in 0..5_000_u64 {
        let mut exchange = generate(seed);
        let Some(response) = &mut exchange.response else {
            continue;
        };
        let mut body = response.body();
        let Some(place) = usize::try_from(seed * 7_919).unwrap().checked_rem(body.len()) else {
            continue;
        };
        body[place] = b"\0\n\"{}[]9e-x\xff"[usize::try_from(seed % 12).unwrap()];
        response.chunks = vec![body];
        assert_eq!(expected(&exchange), expected(&exchange), "seed {seed}");
    }
}

#[test]
fn every_dialect_and_every_outcome_is_drawn_often() {
    let mut dialects: BTreeMap<Option<Dialect>, u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let exchange = generate(seed);
        *dialects.entry(exchange.dialect).or_default() += 1;
        let outcome = match expected(&exchange) {
            Expected::Usage { status, .. } => format!("{status:?}"),
            Expected::Unspecified(why) => format!("Unspecified: {why}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{dialects:#?}\n{outcomes:#?}");
    for dialect in Dialect::ALL.into_iter().map(Some).chain([None]) {
        assert!(dialects.get(&dialect).is_some_and(|drawn| *drawn > SEEDS / 100), "{dialect:?} is rare: {dialects:?}");
    }
    for status in ["Complete", "Estimated", "None", "NotComplete", "Counted", "CompleteOnce"] {
        assert!(outcomes.get(status).is_some_and(|drawn| *drawn > SEEDS / 500), "{status} is rare: {outcomes:?}");
    }
    let open: u64 = outcomes.iter().filter(|(name, _)| name.starts_with("Unspecified")).map(|(_, drawn)| drawn).sum();
    assert!(open < SEEDS / 20, "too much is left open: {outcomes:?}");
}
