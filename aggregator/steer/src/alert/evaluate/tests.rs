use weir_contract::Timestamp;

use super::*;
use crate::alert::file::RuleFile;
use crate::alert::rule::compile;

fn rule(text: &str) -> Rule {
    let file: RuleFile = serde_saphyr::from_str(text).expect("the shape");
    compile(&[file], &[]).expect("valid").remove(0)
}

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

fn sums(revenue: &str, cost: &str, requests: u64) -> Sums {
    Sums { revenue: Some(pico(revenue)), cost: pico(cost), requests, ..Sums::default() }
}

fn span<const N: usize>(rows: [(&str, Sums); N]) -> Span {
    rows.map(|(key, sums)| ((key.to_owned(), Currency::USD), sums)).into()
}

/// Compares a rule with sums where no deploy is marked.
fn of_sums(rule: &Rule, window: &Span, earlier: &BTreeMap<Earlier, Span>) -> Findings {
    super::of_sums(rule, Spans { window, earlier, since: None }, &|_| true)
}

fn subjects(findings: &Findings) -> Vec<&str> {
    findings.found.iter().map(|finding| finding.subject.as_str()).collect()
}

#[test]
fn a_limit_itself_is_neither_above_nor_below() {
    let rule = rule("{name: a, by: tenant, when: [{measure: margin_percent, below: 50}]}");
    let window =
        span([("at", sums("100", "50", 1)), ("under", sums("100", "50.0001", 1)), ("over", sums("100", "10", 1))]);
    let findings = of_sums(&rule, &window, &BTreeMap::new());
    assert_eq!(subjects(&findings), ["under"]);
    let found = &findings.found[0];
    assert_eq!((found.value, found.tenant.as_deref()), (pico("49.9999"), Some("under")));
    assert_eq!(found.summary, "tenant under: the margin in percent of revenue is 50, below 50, over 24 hours");
}

#[test]
fn without_revenue_there_is_no_margin_to_compare() {
    let rule = rule("{name: a, by: tenant, when: [{measure: margin, below: 0}]}");
    let free = Sums { revenue: None, cost: pico("5"), requests: 9, ..Sums::default() };
    assert_eq!(of_sums(&rule, &span([("free", free)]), &BTreeMap::new()), Findings::default());
}

#[test]
fn what_grows_with_time_is_compared_per_hour_and_what_does_not_as_it_is() {
    let text = "{name: a, by: feature, window: 1d, when: [{measure: MEASURE, rises_by: 50, against: 7d}]}";
    let per_request = rule(&text.replace("MEASURE", "cost_per_request"));
    let requests = rule(&text.replace("MEASURE", "requests"));
    // Seven days with 700 requests at 0.01, then a day with 100 at 0.02.
    let now = span([("search", sums("0", "2", 100))]);
    let before: BTreeMap<_, _> = [(Earlier(7 * 24 * HOUR_MS), span([("search", sums("0", "7", 700))]))].into();
    let found = of_sums(&per_request, &now, &before);
    assert_eq!(
        found.found[0].summary,
        "feature search: the cost per request is 0.02 USD, 100 % more than 0.01 in the 7 days before, over 24 hours"
    );
    assert_eq!(of_sums(&requests, &now, &before), Findings::default(), "100 a day are 700 a week");
    assert_eq!(of_sums(&per_request, &now, &BTreeMap::new()), Findings::default(), "nothing to compare with");
}

#[test]
fn a_deploy_between_the_spans_is_named_and_other_subjects_are_left_to_other_sums() {
    let rule = rule("{name: a, by: feature, when: [{measure: cost_per_request, rises_by: 50, against: 7d}]}");
    let now = span([("search", sums("0", "2", 100)), ("chat", sums("0", "2", 100))]);
    let before: BTreeMap<_, _> =
        [(Earlier(7 * 24 * HOUR_MS), span([("search", sums("0", "7", 700)), ("chat", sums("0", "7", 700))]))].into();
    let deploy = Deploy {
        id: 1,
        at: Timestamp::from_secs(1_795_867_380),
        name: "search v2".to_owned(),
        feature: Some("search".to_owned()),
        prompt_version: None,
        who: "ann".to_owned(),
        marked_at: Timestamp::from_secs(1_795_867_380),
    };
    for (is_cut, over) in [(true, "since then"), (false, "over 24 hours")] {
        let spans = Spans { window: &now, earlier: &before, since: Some((&deploy, is_cut)) };
        let found = super::of_sums(&rule, spans, &|subject| subject == "search");
        assert_eq!(subjects(&found), ["search"]);
        let base = "feature search: the cost per request is 0.02 USD, 100 % more than 0.01 in the 7 days before";
        let mark = "the deploy search v2 at 2026-11-28T12:03:00.000Z, marked by ann";
        assert_eq!(found.found[0].summary, format!("{base} {mark}, {over}"));
    }
}

#[test]
fn all_conditions_hold_together() {
    let text = "{name: a, by: tenant, window: 1h, when: [{measure: requests, rises_by: 100, against: 1d}, {measure: success_percent, below: 90}]}";
    let rule = rule(text);
    let with = |requests, failed_requests| Sums { requests, failed_requests, ..Sums::default() };
    let before: BTreeMap<_, _> =
        [(Earlier(24 * HOUR_MS), span([("calm", with(240, 0)), ("storm", with(240, 0)), ("busy", with(240, 0))]))]
            .into();
    let now = span([("calm", with(10, 9)), ("storm", with(100, 60)), ("busy", with(100, 0))]);
    assert_eq!(subjects(&of_sums(&rule, &now, &before)), ["storm"]);
}

#[test]
fn a_share_is_of_all_and_needs_so_many_values() {
    let text =
        "{name: a, by: tenant, at_least_values: 3, only: 'b*', when: [{measure: cost_share_percent, above: 40}]}";
    let rule = rule(text);
    let three = span([("a", sums("0", "45", 1)), ("b", sums("0", "45", 1)), ("c", sums("0", "10", 1))]);
    assert_eq!(subjects(&of_sums(&rule, &three, &BTreeMap::new())), ["b"]);
    let two = span([("a", sums("0", "1", 1)), ("b", sums("0", "9", 1))]);
    assert_eq!(of_sums(&rule, &two, &BTreeMap::new()), Findings::default());
}

#[test]
fn currencies_are_apart_where_money_is_compared_and_together_where_requests_are() {
    let eur = Currency::parse("EUR").expect("a currency");
    let mut window = span([("acme", sums("0", "60", 60))]);
    window.insert(("acme".to_owned(), eur), sums("0", "60", 60));
    let cost = rule("{name: a, when: [{measure: cost, above: 100}]}");
    assert_eq!(of_sums(&cost, &window, &BTreeMap::new()), Findings::default(), "60 USD and 60 EUR are no 120");
    let requests = rule("{name: a, when: [{measure: requests, above: 100}]}");
    assert_eq!(of_sums(&requests, &window, &BTreeMap::new()).found.len(), 1);
}

#[test]
fn beyond_the_bound_subjects_are_counted() {
    let rule = rule("{name: a, by: tenant, when: [{measure: cost, above: 0}]}");
    let window: Span = (0..SUBJECTS_MAX + 7).map(|n| ((format!("t{n}"), Currency::USD), sums("0", "1", 1))).collect();
    let findings = of_sums(&rule, &window, &BTreeMap::new());
    assert_eq!((findings.found.len(), findings.left_out), (SUBJECTS_MAX, 7));
}

#[test]
fn a_reading_is_compared_for_its_own_subject() {
    let rule = rule("{name: a, tenant: acme, when: [{measure: budget_forecast_percent, above: 100}]}");
    let reading = |tenant: &str, value: &str| Reading {
        quantity: Quantity::BudgetForecastPercent,
        subject: format!("monthly of {tenant}"),
        tenant: Some(tenant.to_owned()),
        value: pico(value),
    };
    let findings = of_readings(&rule, &[reading("acme", "120"), reading("globex", "300")]);
    assert_eq!(
        findings.found[0].summary,
        "budget monthly of acme: the forecast use of the budget in percent is 120, above 100"
    );
    assert_eq!(findings.found.len(), 1);
}
