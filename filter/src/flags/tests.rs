use super::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn config(more: Value) -> Config {
    let mut config =
        json!({"version": 1, "identity": {"sources": [{"api_key": {"prefix": "sk_"}}]}, "plans": {"p": {}}});
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        config[name] = value;
    }
    weir_config::parse(config.to_string().as_bytes()).expect("a configuration")
}

fn policy(more: Value) -> Result<Option<FlagPolicy>, String> {
    FlagPolicy::compile(&config(more)).map_err(|error| error.to_string())
}

fn declared() -> Value {
    json!({"use-claude": {"type": "bool", "default": false}, "share": {"type": "number", "default": 2}})
}

fn served(shape: Value) -> Flags {
    serde_json::from_value(shape).expect("flags")
}

#[test]
fn rules_of_the_server_stand_in_the_place_of_those_of_the_configuration() {
    let served =
        served(json!({"use-claude": {"type": "bool", "default": true}, "share": {"type": "string", "default": "x"},
        "other": {"type": "bool", "default": true}}));
    let all = |policy: &FlagPolicy| {
        let all = policy.with_served(Some(&served));
        RequestFlags::decide(&Rc::new(all), &Subject::default()).dictionary().map(str::to_owned)
    };
    let told = policy(json!({"flags": declared(), "flags_header": true})).expect("good").expect("some");
    assert_eq!(all(&told).as_deref(), Some("other, share=2.0, use-claude"), "a flag of another type is not taken");
    let kept = policy(json!({"flags": declared(), "plans": {"p": {"flags": [{"flag": "use-claude", "n_max": 1}]}}}));
    let kept = kept.expect("good").expect("some");
    assert_eq!(all(&kept).as_deref(), Some("share=2.0, use-claude"), "nothing here asks for others");
}

#[test]
fn a_condition_is_a_flag_that_is_true_or_flags_with_values() {
    let flags =
        Rc::new(policy(json!({"flags": declared(), "flags_header": true})).expect("good").expect("some").declared);
    let flags = RequestFlags::decide(&flags, &Subject::default());
    let holds = |is: Value| Condition::new(serde_json::from_value(is).expect("a condition")).holds(Some(&flags));
    assert!(!holds(json!("use-claude")) && holds(json!({"use-claude": false})));
    assert!(holds(json!({"share": 2, "use-claude": false})) && !holds(json!({"share": 2.5})));
    assert!(!Condition::new(serde_json::from_value(json!({"share": 2})).expect("one")).holds(None));
}

#[test]
fn a_route_says_for_itself_whether_its_upstream_is_told() {
    let route = |flags: Value| json!([{"name": "r", "match": {"path_prefix": "/"}, "flags": flags}]);
    let policy = |header: bool, flags: Value| {
        policy(json!({"flags": declared(), "flags_header": header, "routes": route(flags)}))
            .expect("good")
            .expect("some")
    };
    let only_there = policy(false, json!(true));
    assert!(only_there.concerns(Some(true)) && !only_there.concerns(None), "other requests pay nothing");
    let all_but_there = policy(true, json!(false));
    assert!(all_but_there.tells(None) && !all_but_there.tells(Some(false)));
}

#[test]
fn what_is_not_declared_and_what_nothing_asks_for_is_refused() {
    let of_plan = |flag: Value| json!({"flags": declared(), "plans": {"p": {"flags": [{"flag": flag}]}}});
    let rule = json!({"rules": [{"model": "auto", "match": {"flag": "nobody"}, "candidates": ["m"]}]});
    let cases = [
        (
            of_plan(json!("use-claud")),
            "plans.p.flags[0].flag: no flag is named \"use-claud\"; declared are: share, use-claude",
        ),
        (of_plan(json!("share")), "true is no value of share, a flag of type number"),
        (of_plan(json!({})), "name a flag"),
        (json!({"routing": rule}), "routing.rules[0].match.flag: no flag is named \"nobody\"; `flags` declares none"),
        (json!({"flags": declared()}), "flags: nothing asks for them"),
        (json!({"flags_header": true}), "flags_header: there are no flags"),
        (json!({"flags": {"F": {"type": "bool", "default": true}}, "flags_header": true}), "flags.F: a name"),
    ];
    for (more, needle) in cases {
        let error = policy(more).map(|policy| policy.is_some()).expect_err(needle);
        assert!(error.contains(needle), "{error}");
    }
    assert!(policy(json!({})).expect("good").is_none());
}
