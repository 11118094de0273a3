//! `price_plans`: what is refused, where, and which plan a tenant has.
use weir_contract::Timestamp;
use weir_money::plans::file::PricePlanFile;
use weir_money::plans::{PlansError, PricePlans};

fn read(yaml: &str) -> Result<PricePlans, PlansError> {
    let meters = ["input_tokens", "output_tokens", "requests"].map(str::to_owned);
    let files: Vec<PricePlanFile> = serde_saphyr::from_str(yaml).expect("the shape is good");
    PricePlans::new(files, &meters)
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("a time")
}

/// The path and the words of the error that `yaml` causes.
fn refused(yaml: &str) -> (String, String) {
    let error = read(yaml).expect_err("it is refused");
    (error.path, error.problem.to_string())
}

#[test]
fn every_refusal_names_its_place_and_a_remedy() {
    let tiers = "- {name: a, currency: EUR, charges: [{meter: requests, graduated: ";
    let cases = [
        ("- {name: A b, currency: EUR}", "[0].name", "a-z"),
        ("- {name: a, currency: EUR, base_fee: -1}", "[0].base_fee", "write 0 or more"),
        ("- {name: a, currency: EUR, effective_from: 2026-11-01T00:30:00Z}", "[0].effective_from", "full hour"),
        (
            "- {name: a, currency: EUR, charges: [{meter: pages, per_unit: 1}]}",
            "[0].charges[0].meter",
            "there are input_tokens",
        ),
        ("- {name: a, currency: EUR, charges: [{meter: requests}]}", "[0].charges[0]", "exactly one of"),
        (
            "- {name: a, currency: EUR, charges: [{meter: requests, per_unit: 1, currency: USD}]}",
            "[0].charges[0].currency",
            "a plan of its own for USD",
        ),
        (
            "- {name: a, currency: EUR, per_request: 1, charges: [{meter: requests, per_unit: 1}]}",
            "[0].per_request",
            "into one charge",
        ),
        ("- {name: a, currency: EUR, cost_plus: 0.0000001}", "[0].cost_plus", "at most six digits"),
        (
            "- {name: a, currency: EUR, credits: {grant: 1, burn: {pages: 1}}}",
            "[0].credits.burn.pages",
            "there is no meter",
        ),
        (
            "- {name: a, currency: EUR, credits: {grant: 1, burn: {}, expires_after: 37}}",
            "[0].credits.expires_after",
            "from 1 to 36",
        ),
        ("- {name: a, currency: EUR}\n- {name: a, currency: EUR}", "[1]", "effective_from of its own"),
        (
            "- {name: a, currency: EUR}\n- {name: a, currency: USD, effective_from: 2026-11-01T00:00:00Z}",
            "[1].currency",
            "one currency",
        ),
        (
            "- {name: a, currency: EUR, tenants: [t]}\n- {name: b, currency: EUR, tenants: [t]}",
            "[1].tenants",
            "one plan at a time",
        ),
        (
            "- {name: a, currency: EUR, plans: [p]}\n- {name: b, currency: EUR, plans: [p]}",
            "[1].plans",
            "one plan at a time",
        ),
    ];
    let tier_cases = [
        ("[]", "graduated", "at least one"),
        ("[{up_to: 5}, {up_to: 5}, {}]", "graduated[1].up_to", "increasing order"),
        ("[{}, {up_to: 5}]", "graduated[0].up_to", "number of its last unit"),
        ("[{up_to: 5}]", "graduated[0].up_to", "have no price"),
    ];
    for (yaml, path, remedy) in cases {
        let (found, words) = refused(yaml);
        assert_eq!(found, format!("price_plans{path}"), "{yaml}");
        assert!(words.contains(remedy), "{yaml}: {words}");
    }
    for (written, path, remedy) in tier_cases {
        let (found, words) = refused(&format!("{tiers}{written}}}]}}"));
        assert_eq!(found, format!("price_plans[0].charges[0].{path}"), "{written}");
        assert!(words.contains(remedy), "{written}: {words}");
    }
}

#[test]
fn an_amount_with_too_many_digits_is_refused_with_its_line() {
    let yaml = "- name: a\n  currency: EUR\n  base_fee: 0.0000000000001\n";
    let error = serde_saphyr::from_str::<Vec<PricePlanFile>>(yaml).expect_err("thirteen digits");
    assert_eq!(error.location().map(|at| at.line()), Some(3));
}

#[test]
fn a_later_version_follows_at_its_hour_and_a_tenant_may_move() {
    let plans = read(
        "- {name: old, currency: EUR, base_fee: 1, plans: [pro], tenants: [acme]}
- {name: old, currency: EUR, base_fee: 2, plans: [pro], effective_from: 2026-11-01T00:00:00Z}
- {name: new, currency: USD, tenants: [acme], effective_from: 2026-11-01T00:00:00Z}",
    )
    .expect("good plans");
    let of = |tenant, at| {
        plans.of(tenant, Some("pro"), time(at)).map(|plan| (plan.name.as_str(), plan.base_fee.to_string()))
    };
    assert_eq!(of("acme", "2026-10-31T23:59:59Z"), Some(("old", "1".to_owned())));
    assert_eq!(of("acme", "2026-11-01T00:00:00Z"), Some(("new", "0".to_owned())));
    assert_eq!(of("other", "2026-11-01T00:00:00Z"), Some(("old", "2".to_owned())));
    assert_eq!(plans.of("other", None, time("2026-11-01T00:00:00Z")), None);
}

#[test]
fn the_closest_pattern_of_a_plan_s_name_wins() {
    let plans = read(
        "- {name: all, currency: EUR, plans: ['*']}
- {name: pro, currency: EUR, plans: ['pro-*']}
- {name: exact, currency: EUR, plans: [pro-2]}",
    )
    .expect("good plans");
    let of = |plan| plans.of("t", Some(plan), Timestamp::default()).map(|plan| plan.name.as_str());
    assert_eq!(of("free"), Some("all"));
    assert_eq!(of("pro-1"), Some("pro"));
    assert_eq!(of("pro-2"), Some("exact"));
}

#[test]
fn equally_long_patterns_of_two_plans_that_fit_the_same_plan_are_refused() {
    let both = |first: &str, second: &str| {
        read(&format!(
            "- {{name: a, currency: EUR, plans: ['{first}']}}\n- {{name: b, currency: EUR, plans: ['{second}']}}"
        ))
    };
    let error = both("q*", "*q").expect_err("the plan qq fits both");
    assert_eq!(error.path, "price_plans[1].plans");
    assert!(error.to_string().contains("make one longer"), "{error}");
    assert!(both("q*", "p*").is_ok(), "no plan fits both");
    assert!(both("q*", "*qq").is_ok(), "the longer one goes first");
}
