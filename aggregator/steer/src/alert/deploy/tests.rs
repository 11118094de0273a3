use super::*;
use crate::alert::rule::compile;

const DAY_MS: u64 = 24 * HOUR_MS;

/// 2026-11-28, so many minutes after noon.
fn noon(minutes: u64) -> Timestamp {
    Timestamp::from_millis(1_795_867_200_000 + minutes * 60_000)
}

fn rule(text: &str) -> Rule {
    compile(&[serde_saphyr::from_str(text).expect("the shape")], &[]).expect("valid").remove(0)
}

fn drift() -> Rule {
    rule("{name: a, by: feature, when: [{measure: cost_per_request, rises_by: 50, against: 7d}]}")
}

fn deploy(at: Timestamp, feature: Option<&str>, prompt_version: Option<&str>) -> Deploy {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Deploy {
        id: 1,
        at,
        name: "v2".to_owned(),
        feature: owned(feature),
        prompt_version: owned(prompt_version),
        who: "ann".to_owned(),
        marked_at: at,
    }
}

#[test]
fn the_hour_of_a_deploy_belongs_to_neither_side() {
    let now = noon(5 * 60 + 30);
    let boundary = deploy(noon(3), None, None).boundary(&drift(), now).expect("a boundary");
    assert_eq!(boundary, Boundary { window_start: noon(60), earlier_end: noon(0) });
    let on_the_hour = deploy(noon(0), None, None).boundary(&drift(), now).expect("a boundary");
    assert_eq!(on_the_hour, Boundary { window_start: noon(0), earlier_end: noon(0) });
}

#[test]
fn a_deploy_is_the_boundary_from_the_next_full_hour_until_both_spans_lie_behind_it() {
    let deployed = deploy(noon(3), None, None);
    assert_eq!(deployed.boundary(&drift(), noon(60)), None, "no full hour after it has begun");
    let after = |millis: u64| deployed.boundary(&drift(), noon(60).plus_millis(millis));
    assert!(after(1).is_some());
    let three_days = after(3 * DAY_MS).expect("a boundary");
    assert_eq!(
        three_days.window_start,
        noon(60).plus_millis(2 * DAY_MS),
        "the window is a day, all of it after the deploy"
    );
    assert_eq!(three_days.earlier_end, noon(0), "and is compared with what was before it");
    assert!(after(8 * DAY_MS - 2 * HOUR_MS).is_some() && after(8 * DAY_MS).is_none());
}

#[test]
fn the_last_deploy_of_what_changed_counts_and_only_for_rules_that_compare_ratios_by_it() {
    let now = noon(10 * 60);
    let deploys = [
        deploy(noon(590), Some("search"), None),
        deploy(noon(125), None, Some("search-v*")),
        deploy(noon(65), Some("sea*"), None),
        deploy(noon(5), None, None),
    ];
    let start = |rule: &Rule, value: &str| last(&deploys, rule, value, now).map(|(_, boundary)| boundary.window_start);
    assert_eq!(start(&drift(), "search"), Some(noon(120)), "the very last one has no full hour yet");
    assert_eq!(start(&drift(), "chat"), Some(noon(60)), "a deploy that names nothing may have changed anything");
    let by_prompt = rule("{name: a, by: prompt_version, when: [{measure: cost_per_request, falls_by: 5}]}");
    assert_eq!(start(&by_prompt, "search-v7"), Some(noon(180)));
    for other in [
        "{name: a, by: tenant, when: [{measure: cost_per_request, rises_by: 50}]}",
        "{name: a, by: feature, when: [{measure: cost, rises_by: 50}]}",
        "{name: a, by: feature, when: [{measure: cost_per_request, above: 1}]}",
    ] {
        assert_eq!(start(&rule(other), "search"), None, "{other}");
    }
}
