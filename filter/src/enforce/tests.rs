use super::*;
use crate::classify::ClassSet;
use serde_json::{Value, json};

fn plan(rules: Value) -> Plan {
    Plan::compile("p", serde_json::from_value(rules).expect("a shape")).expect("a plan")
}

fn body(json: &str) -> Body {
    Body::Read(Box::new(Document::read(json.as_bytes()).expect("readable")))
}

/// Judges a body of a chat and returns it as it goes on.
fn chat(rules: Value, json: &str) -> Result<String, Refusal> {
    at("/v1/chat/completions", rules, json)
}

fn at(path: &str, rules: Value, json: &str) -> Result<String, Refusal> {
    let (plan, body) = (plan(rules), body(json));
    let model = crate::classify::model_in_path(path.as_bytes());
    let class = crate::classify::by_path(path.as_bytes());
    let (path, path_model) = (path.as_bytes(), model.as_ref());
    let asked = RequestView {
        plan: &plan,
        classes: ClassSet::of(class),
        path_counts: false,
        path,
        body: &body,
        bytes: json.len() as u64,
        path_model,
        path_changes: false,
        draws_tokens: false,
    };
    let model = judge(&asked)?;
    Ok(String::from_utf8(changes(&asked, model).0.apply(json.as_bytes())).expect("text"))
}

fn cost(rules: Value, json: &str) -> u64 {
    let (plan, body) = (plan(rules), body(json));
    let (class, path) = (Class::Chat, &b"/v1/chat/completions"[..]);
    let (bytes, path_model) = (json.len() as u64, None);
    tokens(
        &RequestView {
            plan: &plan,
            classes: ClassSet::of(class),
            path_counts: false,
            path,
            body: &body,
            bytes,
            path_model,
            path_changes: false,
            draws_tokens: false,
        },
        None,
    )
}

#[test]
fn a_model_that_the_plan_has_not_is_refused_or_replaced() {
    let allow = json!({"models": {"allow": ["gpt-4o-mini", "claude-haiku-*"]}});
    assert_eq!(chat(allow.clone(), r#"{"model":"claude-haiku-4"}"#), Ok(r#"{"model":"claude-haiku-4"}"#.into()));
    assert_eq!(chat(allow, r#"{"model":"gpt-4o"}"#), Err(Refusal::ModelNotAllowed));
    let replace = json!({"models": {"allow": ["gpt-4o-mini"], "otherwise": {"replace": "gpt-4o-mini"}}});
    assert_eq!(chat(replace.clone(), r#"{ "model" : "gpt-4o" }"#), Ok(r#"{ "model" : "gpt-4o-mini" }"#.into()));
    assert_eq!(chat(replace, r#"{"messages":[]}"#), Ok(r#"{"model":"gpt-4o-mini","messages":[]}"#.into()));
}

#[test]
fn no_way_to_name_another_model_is_open() {
    let allow = || json!({"models": {"allow": ["mini"]}});
    for json in [
        r#"{"model":"mini","models":["gpt-4o"]}"#,
        r#"{"model":"mini","fallbacks":[{"mini":["gpt-4o"]}]}"#,
        r#"{"model":["mini"]}"#,
        r#"{"model":null}"#,
        r#"{"model":"mini "}"#,
        r#"{"model":"min\ud800"}"#,
        r#"{"messages":[]}"#,
        "[]",
    ] {
        assert_eq!(chat(allow(), json), Err(Refusal::ModelNotAllowed), "{json}");
    }
    for json in [r#"{"model":"mini","model":"gpt-4o"}"#, r#"{"model":"mini","MODEL":"gpt-4o"}"#] {
        assert_eq!(chat(allow(), json), Err(Refusal::AmbiguousBody), "{json}");
    }
    assert_eq!(at("/unknown", allow(), r#"{"model":"gpt-4o","messages":[]}"#), Err(Refusal::ModelNotAllowed));
}

#[test]
fn a_model_in_the_path_is_held_to_the_plan_too() {
    let allow = || json!({"models": {"allow": ["gemini-flash*"]}});
    assert!(at("/v1beta/models/gemini-flash-2:generateContent", allow(), r#"{"contents":[]}"#).is_ok());
    let refused = at("/v1beta/models/gemini-pro:generateContent", allow(), r#"{"contents":[]}"#);
    assert_eq!(refused, Err(Refusal::ModelNotAllowed));
    let both = at("/openai/deployments/gemini-flash/chat/completions", allow(), r#"{"model":"gpt-4o"}"#);
    assert_eq!(both, Err(Refusal::ModelNotAllowed));
}

/// What body and path of a chat become under a plan that replaces by `mini`, where the path can be changed.
fn replaced(path: &str, json: &str) -> Result<(String, String), Refusal> {
    let plan = plan(json!({"models": {"allow": ["mini", "small-*"], "otherwise": {"replace": "mini"}}}));
    let (body, class) = (body(json), crate::classify::by_path(path.as_bytes()));
    let model = crate::classify::model_in_path(path.as_bytes());
    let path_model = model.as_ref();
    let asked = RequestView {
        plan: &plan,
        classes: ClassSet::of(class),
        path_counts: false,
        path: path.as_bytes(),
        body: &body,
        bytes: 0,
        path_model,
        path_changes: true,
        draws_tokens: false,
    };
    let new = judge(&asked)?;
    let body = String::from_utf8(changes(&asked, new).0.apply(json.as_bytes())).expect("text");
    let change = |(new, model): (&str, &PathModel)| crate::classify::with_model(path.as_bytes(), &model.at, new);
    Ok((new.zip(path_model).and_then(change).unwrap_or_else(|| path.to_owned()), body))
}

#[test]
fn a_model_in_the_path_is_replaced_there_and_in_a_body_that_names_one_too() {
    let case = |path: &str, json: &str, new_path: &str, new_json: &str| {
        assert_eq!(replaced(path, json), Ok((new_path.to_owned(), new_json.to_owned())), "{path} {json}");
    };
    let azure = |model: &str| format!("/openai/deployments/{model}/chat/completions");
    case(
        "/v1beta/models/pro:generateContent",
        r#"{"contents":[]}"#,
        "/v1beta/models/mini:generateContent",
        r#"{"contents":[]}"#,
    );
    case("/model/large.v1:0/converse", "{}", "/model/mini/converse", "{}");
    case(&azure("gpt-4o"), r#"{"model":"x","n":1}"#, &azure("mini"), r#"{"model":"mini","n":1}"#);
    case(&azure("small-1"), r#"{"model":"x"}"#, &azure("mini"), r#"{"model":"mini"}"#);
    case(&azure("small-1"), r#"{"model":"small-2"}"#, &azure("small-1"), r#"{"model":"small-2"}"#);
}

#[test]
fn a_path_that_servers_read_differently_names_no_model() {
    let hidden = "/v1beta/%6Dodels/gemini-pro:generateContent";
    for rules in
        [json!({"models": {"allow": ["mini"]}}), json!({"models": {"allow": ["*"], "otherwise": {"replace": "mini"}}})]
    {
        assert_eq!(at(hidden, rules, r#"{"model":"mini","contents":[]}"#), Err(Refusal::AmbiguousPath));
    }
    assert!(at(hidden, json!({"output_tokens_max": 5}), r#"{"contents":[]}"#).is_ok(), "no rule about models");
}

#[test]
fn a_body_that_cannot_be_read_is_refused_only_where_a_rule_needs_it() {
    let judged = |rules: Value, class| {
        let plan = plan(rules);
        let body = Body::Unread(Unread::Encoded);
        let (path, path_model) = (b"/v1/x", None);
        judge(&RequestView {
            plan: &plan,
            classes: ClassSet::of(class),
            path_counts: false,
            path,
            body: &body,
            bytes: 9,
            path_model,
            path_changes: false,
            draws_tokens: false,
        })
        .map(|_| ())
    };
    let refused = Err(Refusal::UnreadableBody(Unread::Encoded));
    let (free, capped) = (json!({"requests": {"rate": "1/s"}}), json!({"output_tokens_max": 5}));
    assert_eq!(judged(free, Class::Chat), Ok(()));
    assert_eq!(judged(capped.clone(), Class::Chat), refused);
    assert_eq!(judged(capped.clone(), Class::Audio), Ok(()), "nothing in a plan without models depends on an upload");
    assert_eq!(judged(json!({"models": {"allow": ["m"]}}), Class::Audio), refused);
    assert_eq!(judged(json!({"tokens": {"rate": "1/s"}}), Class::Chat), refused);
    assert_eq!(judged(capped, Class::Other), Ok(()));
}

#[test]
fn classes_and_sizes_are_held() {
    assert_eq!(chat(json!({"classes": ["embedding"]}), "{}"), Err(Refusal::ClassNotAllowed));
    assert_eq!(chat(json!({"request_max_bytes": 5}), r#"{"a":1}"#), Err(Refusal::RequestTooLarge));
    assert!(chat(json!({"request_max_bytes": 7, "classes": ["chat"]}), r#"{"a":1}"#).is_ok());
}

#[test]
fn what_needs_no_change_is_not_touched() {
    let rules = json!({"output_tokens_max": 100, "n_max": 2, "models": {"allow": ["m"]}});
    let body = "{ \"model\":\"m\",\r\n\t\"max_tokens\":1e2, \"n\" : 2.0 ,\"x\":[1.50]}";
    assert_eq!(chat(rules, body), Ok(body.to_owned()));
}

#[test]
fn a_reservation_is_input_and_the_cap_times_the_answers() {
    let body = r#"{"model":"m","messages":[{"content":"hello"}],"max_tokens":100,"n":3}"#;
    let input = cost(json!({}), r#"{"model":"m","messages":[{"content":"hello"}],"max_tokens":0,"n":3}"#);
    assert!((8..20).contains(&input), "{input}");
    assert_eq!(cost(json!({}), body), input + 300);
    assert_eq!(cost(json!({"output_tokens_max": 10}), body), input + 30);
    assert_eq!(cost(json!({"n_max": 2}), body), input + 200);
    assert_eq!(cost(json!({}), r#"{"messages":[{"content":"hello"}]}"#), input + OUTPUT_TOKENS_ASSUMED);
}

#[test]
fn what_cannot_be_counted_reserves_all_there_is() {
    for json in [r#"{"max_tokens":-1}"#, r#"{"n":"90"}"#, r#"{"max_tokens":1e300}"#, r#"{"best_of":1e99}"#] {
        assert_eq!(cost(json!({}), json), u64::MAX, "{json}");
    }
    assert!(cost(json!({"output_tokens_max": 10}), r#"{"max_tokens":-1}"#) < 40);
}

#[test]
fn a_model_in_the_body_chooses_no_other_cap_at_bedrock() {
    let capped = at(
        "/model/meta.llama3/invoke",
        json!({"output_tokens_max": 5}),
        r#"{"model":"m","prompt":"x","max_tokens":1}"#,
    );
    assert_eq!(capped, Ok(r#"{"max_gen_len":5,"model":"m","prompt":"x"}"#.to_owned()));
}
