use super::*;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn flags(shape: serde_json::Value) -> Result<Flags, String> {
    let mut flags: Flags = serde_json::from_value(shape).map_err(|error| error.to_string())?;
    check(&mut flags).map_err(|error| error.to_string())?;
    Ok(flags)
}

fn flag(shape: serde_json::Value) -> Flag {
    flags(json!({"f": shape})).expect("a flag").remove("f").expect("it is there")
}

fn of<'a>(tenant: &'a str, plan: &'a str) -> Subject<'a> {
    Subject { tenant, plan, ..Subject::default() }
}

#[test]
fn a_place_is_that_of_the_documented_hash() {
    // Computed with Python: int.from_bytes(sha256(b"use-claude\0acme").digest()[:8], "big") % 10000
    let vectors = [
        ("use-claude", "acme", None, 9_042),
        ("use-claude", "globex", None, 9_561),
        ("tone", "acme", None, 9_535),
        ("use-claude", "acme", Some("ann"), 5_206),
    ];
    for (name, tenant, user, expected) in vectors {
        assert_eq!(place(name, tenant, user), expected, "{name} {tenant} {user:?}");
    }
}

#[test]
fn the_first_rule_that_holds_decides_and_else_the_default() {
    let flag = flag(json!({"type": "string", "default": "long", "rules": [
        {"tenants": ["acme"], "environments": ["test"], "value": "trial"},
        {"plans": ["pro"], "value": "short"},
    ]}));
    let decide = |subject: Subject<'_>| {
        let (value, reason) = flag.decide("f", &subject);
        (value.to_string(), reason)
    };
    assert_eq!(
        decide(Subject { environment: Some("test"), ..of("acme", "pro") }),
        ("trial".into(), Reason::TargetingMatch)
    );
    assert_eq!(decide(of("acme", "pro")), ("short".into(), Reason::TargetingMatch));
    assert_eq!(decide(of("acme", "starter")), ("long".into(), Reason::Default));
}

#[test]
fn a_larger_percentage_keeps_those_of_a_smaller_one_and_has_about_its_part() {
    let at =
        |percent: &str| flag(json!({"type": "bool", "default": false, "rules": [{"percent": percent, "value": true}]}));
    let (few, many) = (at("10%"), at("25%"));
    let holds = |flag: &Flag, tenant: &str| flag.rule_for("use-claude", &of(tenant, "p")).is_some();
    let tenants: Vec<String> = (0..10_000).map(|at| format!("tenant-{at}")).collect();
    assert!(tenants.iter().all(|tenant| !holds(&few, tenant) || holds(&many, tenant)));
    let part = tenants.iter().filter(|tenant| holds(&many, tenant)).count();
    assert!((2_350..2_650).contains(&part), "{part}");
    assert!(tenants.iter().all(|tenant| holds(&at("100%"), tenant) && !holds(&at("0%"), tenant)));
}

#[test]
fn users_of_a_tenant_may_differ_and_requests_without_one_go_with_the_tenant() {
    let by =
        |by: &str| flag(json!({"type": "bool", "default": false, "rules": [{"percent": 50, "by": by, "value": true}]}));
    let holds = |flag: &Flag, user: Option<&str>| flag.rule_for("f", &Subject { user, ..of("acme", "p") }).is_some();
    let users: Vec<String> = (0..100).map(|at| format!("user-{at}")).collect();
    let different = |flag: &Flag| users.iter().any(|user| holds(flag, Some(user)) != holds(flag, None));
    assert!(different(&by("user")) && !different(&by("tenant")));
    assert_eq!(holds(&by("user"), None), holds(&by("tenant"), None));
}

#[test]
fn values_are_written_as_a_structured_dictionary() {
    let value = |value: serde_json::Value| serde_json::from_value::<FlagValue>(value).expect("a value");
    let values = [json!(true), json!(false), json!("a \"b\" \\"), json!(-3), json!(0.25), json!(2.5)].map(value);
    let names = ["a", "b", "c", "d", "e", "f"];
    let text = write_dictionary(names.into_iter().zip(&values));
    assert_eq!(text, r#"a, b=?0, c="a \"b\" \\", d=-3, e=0.25, f=2.5"#);
}

#[test]
fn a_dictionary_ends_before_the_member_that_does_not_fit() {
    let long = FlagValue::Text("x".repeat(500).into());
    let text = write_dictionary([("a", &long), ("b", &long), ("c", &long)].into_iter());
    assert!(text.len() <= DICTIONARY_MAX_BYTES && text.contains("b=") && !text.contains("c="));
}

#[test]
fn flags_are_read_back_as_they_are_written() {
    let shape = json!({"n": {"type": "number", "default": 2, "rules": [{"percent": "0.5%", "by": "user", "value": 0.125}]},
        "i": {"type": "integer", "default": 5.0}, "s": {"type": "string", "default": "x", "description": "d"}});
    let flags = flags(shape).expect("flags");
    let text = serde_json::to_string(&flags).expect("JSON");
    assert_eq!(serde_json::from_str::<Flags>(&text).expect("flags"), flags);
    assert!(
        text.contains(r#""percent":"0.5%""#) && text.contains(r#""default":2.0"#) && text.contains(r#""default":5}"#),
        "{text}"
    );
}

#[test]
fn what_is_no_flag_is_refused_with_its_place() {
    let bool = |rules: serde_json::Value| json!({"f": {"type": "bool", "default": false, "rules": rules}});
    let cases = [
        (json!({"Use": {"type": "bool", "default": true}}), "flags.Use: a name"),
        (json!({"f": {"type": "bool", "default": "yes"}}), "flags.f.default: yes is no value of a flag of type bool"),
        (json!({"f": {"type": "integer", "default": 1.5}}), "flags.f.default"),
        (json!({"f": {"type": "number", "default": 0.0001}}), "three digits"),
        (json!({"f": {"type": "string", "default": "ä"}}), "printable ASCII"),
        (bool(json!([{"value": 1}])), "flags.f.rules[0].value"),
        (bool(json!([{"percent": 101, "value": true}])), "0% to 100%"),
        (bool(json!([{"percent": "1.234%", "value": true}])), "two digits"),
        (bool(json!([{"by": "user", "value": true}])), "flags.f.rules[0].by"),
        (bool(json!([{"tenant": "acme", "value": true}])), "tenant"),
        (bool(json!(vec![json!({"value": true}); 17])), "at most 16 rules"),
    ];
    for (shape, needle) in cases {
        let error = flags(shape).expect_err(needle);
        assert!(error.contains(needle), "{error}");
    }
    let many: serde_json::Map<_, _> =
        (0..33).map(|at| (format!("f{at}"), json!({"type": "bool", "default": true}))).collect();
    assert!(flags(many.into()).expect_err("many").contains("at most 32"));
    let long = |at| (format!("f{at}"), json!({"type": "string", "default": "x".repeat(120)}));
    let long: serde_json::Map<_, _> = (0..10).map(long).collect();
    assert!(flags(long.into()).expect_err("long").contains("1024 bytes"));
}
