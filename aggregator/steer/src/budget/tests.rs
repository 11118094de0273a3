use super::*;

fn files(text: &str) -> Vec<BudgetFile> {
    serde_saphyr::from_str(text).expect("the shape of budgets")
}

fn budget(text: &str) -> Budget {
    compile(&files(text)).expect("good").remove(0)
}

fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

#[test]
fn a_short_budget_has_defaults_that_run() {
    let budget = budget("[{name: monthly, of: cost, amount: 500, period: month}]");
    assert_eq!((budget.unit(), budget.mode, budget.shared), ("USD", BudgetMode::Enforce, false));
    assert!(budget.applies("anybody", None));
    let stages = ["399.99", "400", "450", "475", "499.999999999999", "500", "9000"]
        .map(|used| budget.stage(pico(used), budget.amount("acme")).as_str());
    assert_eq!(stages, ["ok", "warn", "degrade", "contain", "contain", "exceeded", "exceeded"]);
}

#[test]
fn a_budget_belongs_to_plans_and_to_tenants_that_it_names() {
    let budget = budget(
        "[{name: b, of: requests, amount: 10, period: day, plans: [free], tenants: [acme], overrides: {big: 99}}]",
    );
    assert!(budget.applies("globex", Some("free")) && budget.applies("acme", Some("enterprise")));
    assert!(!budget.applies("globex", Some("enterprise")) && !budget.applies("globex", None));
    assert_eq!((budget.amount("acme"), budget.amount("big")), (pico("10"), pico("99")));
}

#[test]
fn a_shared_budget_is_counted_under_its_own_name() {
    let budget = budget("[{name: family, of: tokens, amount: 10, period: total, tenants: [a, b], shared: true}]");
    assert_eq!((budget.subject("a"), budget.subject("b")), ("#family".to_owned(), "#family".to_owned()));
    assert!(TenantId::new("#family").is_err());
}

#[test]
fn the_same_settings_have_the_same_text() {
    let text = "[{name: b, of: requests, amount: 10, period: day, tenants: [e, b, d, a, c, f, g, h], overrides: {y: 1, x: 2}}]";
    assert_eq!(format!("{:?}", budget(text)), format!("{:?}", budget(text)));
}

#[test]
fn shares_are_rounded_down() {
    assert_eq!(permille(pico("99.999"), pico("100")), 999);
    assert_eq!(permille(pico("250"), pico("100")), 2_500);
}

#[test]
fn what_cannot_be_a_budget_is_refused_with_its_place_and_a_remedy() {
    let with = |more: &str| format!("[{{name: b, of: tokens, amount: 10, period: day, {more}}}]");
    let cases = [
        ("[{name: B, of: cost, amount: 1, period: day}]".to_owned(), "budgets[0].name", "a-z"),
        (
            "[{name: b, of: input_tokens, amount: 1, period: day, hard: true}]".to_owned(),
            "budgets[0].hard",
            "of: tokens",
        ),
        (
            "[{name: b, of: cost, amount: 2000000000, currency: IDR, period: day, hard: true}]".to_owned(),
            "budgets[0].amount",
            "in millionths",
        ),
        (
            "[{name: b, of: cost, amount: 0.0000009, period: day, hard: true}]".to_owned(),
            "budgets[0].amount",
            "in millionths",
        ),
        ("[{name: b, of: tokens, amount: 1, period: total, hard: true}]".to_owned(), "budgets[0].hard", "a month"),
        (with("hard: true, mode: observe"), "budgets[0].hard", "observes"),
        (with("hard: true, shared: true, tenants: [a, b]"), "budgets[0].hard", "of its own"),
        (with("hard: true, only: {feature: chat}"), "budgets[0].hard", "a client can choose"),
        ("[{name: b, of: tokens, amount: 0, period: day}]".to_owned(), "budgets[0].amount", "above 0"),
        ("[{name: b, of: tokens, amount: 1.5, period: day}]".to_owned(), "budgets[0].amount", "whole"),
        (with("currency: EUR"), "budgets[0].currency", "cost"),
        (with("per: user, only: {feature: chat}"), "budgets[0].per", "leave out"),
        (with("per: user, hard: true"), "budgets[0].hard", "client's to name"),
        (with("only: {user: ann}"), "budgets[0].only", "per: user"),
        (with("only: {keys: [k1]}"), "budgets[0].only", "2 to 16"),
        (with("only: {keys: [k1, k1]}"), "budgets[0].only", "different"),
        (with("only: {keys: [k1, k2]}, hard: true"), "budgets[0].hard", "one route or key"),
        ("[{name: b, of: revenue, amount: 1, period: day, only: {key: k}}]".to_owned(), "budgets[0].of", "price plans"),
        ("[{name: b, of: credits, amount: 1, period: day, hard: true}]".to_owned(), "budgets[0].hard", "of: cost"),
        (with("shared: true"), "budgets[0].shared", "tenants"),
        (with("timezone: Mars/Olympus"), "budgets[0].timezone", "Europe/Berlin"),
        (with("stages: {warn: 95}"), "budgets[0].stages", "rise"),
        (with("stages: {warn: 95, degrade: 90}"), "budgets[0].stages", "rise"),
        (with("overrides: {acme: -1}"), "budgets[0].overrides.acme", "above 0"),
        (with("overrides: {acme: 1.5}"), "budgets[0].overrides.acme", "whole"),
        (with("overrides: {'a b': 1}"), "budgets[0].overrides", "no id"),
        (with("unpriced: warn"), "budgets[0].unpriced", "of: cost"),
        (with("stages: {warn: 0}"), "budgets[0].stages", "1 to"),
        (with("tenants: ['a b']"), "budgets[0].tenants", "no id"),
        (with("only: {feature: ''}"), "budgets[0].only", "1 to"),
        (
            "[{name: b, of: cost, amount: 1, period: day}, {name: b, of: cost, amount: 1, period: day}]".to_owned(),
            "budgets[1].name",
            "another budget",
        ),
    ];
    for (text, place, remedy) in cases {
        let error = compile(&files(&text)).expect_err(&text).to_string();
        assert!(error.starts_with(&format!("{place} of ")) && error.contains(remedy), "{error}");
    }
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    let text = "[{name: b, of: cost, amount: 1, period: day, colour: red}]";
    assert!(serde_saphyr::from_str::<Vec<BudgetFile>>(text).is_err());
}

#[test]
fn an_empty_list_is_refused_since_it_would_mean_everybody() {
    for field in ["plans", "tenants"] {
        let text = format!("[{{name: b, of: cost, amount: 1, period: day, {field}: []}}]");
        let error = serde_saphyr::from_str::<Vec<BudgetFile>>(&text).expect_err("refused").to_string();
        assert!(error.contains("names nobody"), "{error}");
    }
}
