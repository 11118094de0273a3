//! Answers whole and streamed, cut anywhere, against a replacement that sees the whole text.
use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_redaction::words::{Role, is_border, role};
use weir_redaction::{Added, Form, Identifiers, Redactor, SharedIdentifiers, TooLong};

const MAX: usize = 1 << 20;

fn identifiers(all: &[(&str, &str)]) -> SharedIdentifiers {
    let mut identifiers = Identifiers::new(2);
    for (owner, text) in all {
        assert_eq!(identifiers.add(owner, text), Added::Taken, "{text}");
    }
    Rc::new(RefCell::new(identifiers))
}

fn three() -> SharedIdentifiers {
    identifiers(&[
        ("acme", "Acme"),
        ("acme", "Acme Corp"),
        ("acme", "acme.com"),
        ("globex", "Globex"),
        ("globex", "corp globex"),
        ("initech", "イニテック"),
        ("initech", "Ini-Tech é"),
    ])
}

/// Feeds `body` in pieces that end at `cuts`.
fn redact(identifiers: &SharedIdentifiers, own: &str, form: Form, body: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut redactor = Redactor::new(identifiers.clone(), own, form, MAX);
    let (mut out, mut at) = (Vec::new(), 0);
    for cut in cuts {
        let cut = (*cut).clamp(at, body.len());
        redactor.feed(&body[at..cut], &mut out).unwrap();
        at = cut;
    }
    redactor.feed(&body[at..], &mut out).unwrap();
    redactor.finish(&mut out).unwrap();
    out
}

fn text(own: &str, text: &str) -> String {
    String::from_utf8(redact(&three(), own, Form::Text, text.as_bytes(), &[])).unwrap()
}

/// What the whole text becomes: every occurrence at borders of words is marked, then each stretch of marks is replaced.
/// Two stretches that only touch are two.
fn naive(identifiers: &[(String, String)], own: &str, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_free = |at: usize| {
        let roles = |index: Option<usize>| index.and_then(|index| chars.get(index)).map(|one| role(*one));
        is_border(roles(at.checked_sub(1)), roles(Some(at)))
    };
    let is_behind_escape =
        |at: usize| at >= 2 && chars[at - 2] == '\\' && matches!(chars[at - 1], 'n' | 't' | 'r' | 'b' | 'f');
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (owner, identifier) in identifiers {
        let is_own = |other: &(String, String)| other.0 == own && other.1.eq_ignore_ascii_case(identifier);
        if owner == own || identifiers.iter().any(is_own) {
            continue;
        }
        let wanted: Vec<char> = identifier.chars().collect();
        for start in 0..chars.len() {
            let end = start + wanted.len();
            let is_there = chars
                .get(start..end)
                .is_some_and(|found| found.iter().zip(&wanted).all(|(a, b)| a.eq_ignore_ascii_case(b)));
            if is_there && (is_free(start) || is_behind_escape(start)) && is_free(end) {
                ranges.push((start, end));
            }
        }
    }
    ranges.sort_unstable();
    let (mut out, mut at) = (String::new(), 0);
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    for (start, end) in merged {
        out.extend(&chars[at..start]);
        out.push_str("[redacted]");
        at = end;
    }
    out.extend(&chars[at..]);
    out
}

#[test]
fn the_names_of_others_go_and_ones_own_stay() {
    assert_eq!(text("hooli", "Ask ACME Corp, or globex."), "Ask [redacted], or [redacted].");
    assert_eq!(text("acme", "Ask ACME Corp, or globex."), "Ask ACME Corp, or [redacted].");
    assert_eq!(text("hooli", "mail to x@acme.com!"), "mail to x@[redacted]!");
}

#[test]
fn a_part_of_a_word_stays() {
    for same in ["acmes", "pacme", "acme_2", "globexes", "Ini-Techés", "acm", ""] {
        assert_eq!(text("hooli", same), same);
    }
}

#[test]
fn a_tenants_name_in_a_vector_store_names_it() {
    let shared = identifiers(&[("globex", "Globex"), ("a_b", "Initech"), ("hooli", "Hooli")]);
    let redacted = |text: &str, cuts: &[usize]| {
        String::from_utf8(redact(&shared, "hooli", Form::Text, text.as_bytes(), cuts)).unwrap()
    };
    for (text, expected) in [
        ("see tenant_globex_docs.", "see [redacted]_docs."),
        ("tenant_globex_", "[redacted]_"),
        ("tenant_az5fb_x and tenant_hooli_x", "[redacted]_x and tenant_hooli_x"),
        (
            "tenant_globe_x tenant_globexes_x tenant_globex tenant xtenant_globex_x",
            "tenant_globe_x tenant_globexes_x tenant_globex tenant xtenant_globex_x",
        ),
    ] {
        for cut in 0..text.len() {
            assert_eq!(redacted(text, &[cut]), expected, "cut at {cut}");
        }
    }
}

#[test]
fn overlapping_names_are_replaced_once() {
    assert_eq!(text("hooli", "acme corp globex"), "[redacted]");
    assert_eq!(text("hooli", "acme globex"), "[redacted] [redacted]");
    assert_eq!(text("acme", "acme corp globex"), "acme [redacted]");
}

#[test]
fn a_name_is_found_in_a_sentence_without_spaces() {
    assert_eq!(text("hooli", "株式会社イニテックです"), "株式会社[redacted]です");
}

#[test]
fn what_two_tenants_own_stays_for_both() {
    let shared = identifiers(&[("a", "example.org"), ("b", "Example.org")]);
    for (own, expected) in [("a", "example.org"), ("b", "example.org"), ("c", "[redacted]")] {
        assert_eq!(redact(&shared, own, Form::Text, b"example.org", &[]), expected.as_bytes(), "{own}");
    }
}

#[test]
fn a_tenant_that_is_gone_is_no_longer_looked_for() {
    let shared = identifiers(&[("a", "Acme"), ("b", "acme"), ("b", "Globex")]);
    let now = |text: &str| String::from_utf8(redact(&shared, "x", Form::Text, text.as_bytes(), &[])).unwrap();
    shared.borrow_mut().remove("b");
    assert_eq!(now("acme globex"), "[redacted] globex");
    shared.borrow_mut().add("b", "Initech");
    assert_eq!(now("initech globex"), "[redacted] globex");
    shared.borrow_mut().remove("a");
    assert_eq!(now("acme"), "acme");
    shared.borrow_mut().remove("nobody");
}

#[test]
fn ten_thousand_identifiers_take_less_than_two_and_a_half_mebibytes() {
    let mut many = Identifiers::new(5);
    for number in 0..5_000 {
        let name = format!("tenant{number}");
        many.add(&name, &format!("Company {number:05} International Ltd"));
        many.add(&name, &format!("customer-{number:05}.example.com"));
    }
    assert_eq!(many.len(), 10_000);
    assert!(many.bytes() < 5 << 19, "{}", many.bytes());
}

#[test]
fn short_and_long_identifiers_are_not_taken() {
    let mut identifiers = Identifiers::new(4);
    assert_eq!(identifiers.add("a", "abc"), Added::TooShort);
    assert_eq!(identifiers.add("a", " (ab) "), Added::TooShort);
    assert_eq!(identifiers.add("a", &"x".repeat(129)), Added::TooLong);
    assert_eq!(identifiers.add("a", &"x".repeat(128)), Added::Taken);
    assert_eq!((identifiers.len(), identifiers.left_out()), (1, 3));
    identifiers.remove("a");
    assert_eq!(identifiers.left_out(), 0, "what a tenant that is gone had is left out no longer");
}

#[test]
fn a_document_changes_only_where_a_name_stands() {
    let body = br#" { "a" : "x \u0041CME y",  "acme":[1.50, "globex\n", "acm\u0065s"] , "n":null}"#;
    let expected = br#" { "a" : "x [redacted] y",  "acme":[1.50, "[redacted]\n", "acm\u0065s"] , "n":null}"#;
    assert_eq!(redact(&three(), "hooli", Form::Document, body, &[7, 20]), expected);
}

#[test]
fn what_is_no_document_is_read_as_text() {
    for (body, expected) in [
        (r#"{"a":"acme","#, r#"{"a":"[redacted]","#),
        (r#"{"a":"acme"#, r#"{"a":"[redacted]"#),
        ("acme says no", "[redacted] says no"),
        (r#"{"a":"acme"}}"#, r#"{"a":"[redacted]"}}"#),
    ] {
        assert_eq!(redact(&three(), "hooli", Form::Document, body.as_bytes(), &[]), expected.as_bytes());
    }
}

fn openai(choice: u64, content: &str) -> String {
    let event = json!({"id":"globex","choices":[{"index":choice,"delta":{"content":content}}]});
    format!("data: {event}\n\n")
}

fn contents(stream: &[u8], choice: u64) -> String {
    let stream = std::str::from_utf8(stream).unwrap();
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let documents = events.map(|event| serde_json::from_str::<Value>(event).unwrap());
    documents
        .flat_map(|event| event["choices"].as_array().cloned().unwrap_or_default())
        .filter(|one| one["index"] == choice)
        .filter_map(|one| one["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_name_over_several_events_is_found() {
    let stream =
        ["Dear ", "Glo", "bex", " and ac", "m", "e", "!"].map(|piece| openai(0, piece)).concat() + "data: [DONE]\n\n";
    let out = redact(&three(), "hooli", Form::Events, stream.as_bytes(), &[]);
    assert_eq!(contents(&out, 0), "Dear [redacted] and [redacted]!");
    assert!(!String::from_utf8(out).unwrap().contains("globex"), "a string that stands alone is looked at, too");
}

#[test]
fn choices_side_by_side_are_texts_of_their_own() {
    let stream = [openai(0, "Glo"), openai(1, "bex Ac"), openai(0, "bex"), openai(1, "me")].concat();
    let out = redact(&three(), "hooli", Form::Events, stream.as_bytes(), &[]);
    assert_eq!((contents(&out, 0).as_str(), contents(&out, 1).as_str()), ("[redacted]", "bex [redacted]"));
}

#[test]
fn an_event_waits_only_while_its_text_may_become_a_name() {
    let (identifiers, mut out) = (three(), Vec::new());
    let mut redactor = Redactor::new(identifiers, "hooli", Form::Events, MAX);
    let mut feed = |event: String| {
        out.clear();
        redactor.feed(event.as_bytes(), &mut out).unwrap();
        out.len()
    };
    assert_ne!(feed(openai(0, "Hello")), 0);
    assert_eq!(feed(openai(0, " Glo")), 0);
    assert_ne!(feed(openai(0, "w")), 0);
    assert_eq!(feed(openai(0, " Glo")), 0);
    let end = json!({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]});
    assert_ne!(feed(format!("data: {end}\n\n")), 0, "a choice that ends settles its text");
}

#[test]
fn anthropics_blocks_end_their_texts() {
    let delta = |text: &str| {
        let event = json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":text}});
        format!("event: content_block_delta\r\ndata: {event}\r\n\r\n")
    };
    let stop = "event: content_block_stop\r\ndata: {\"type\":\"content_block_stop\",\"index\":0}\r\n\r\n";
    let mut redactor = Redactor::new(three(), "hooli", Form::Events, MAX);
    let mut out = Vec::new();
    redactor.feed(delta("of Acme").as_bytes(), &mut out).unwrap();
    assert!(out.is_empty());
    redactor.feed(stop.as_bytes(), &mut out).unwrap();
    redactor.finish(&mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), delta("of [redacted]") + stop);
    assert_eq!((redactor.replaced(), redactor.owners()), (1, vec!["acme".to_owned()]));
}

#[test]
fn what_is_held_back_is_bounded_and_the_rest_of_a_name_still_goes() {
    let mut redactor = Redactor::new(three(), "hooli", Form::Events, MAX);
    let mut out = Vec::new();
    redactor.feed(openai(0, "Glo").as_bytes(), &mut out).unwrap();
    for _ in 0..weir_redaction::HELD_EVENTS_MAX {
        redactor.feed(b": ping\n\n", &mut out).unwrap();
    }
    assert_eq!(contents(&out, 0), "Glo", "the event has waited long enough");
    redactor.feed(openai(0, "bex").as_bytes(), &mut out).unwrap();
    redactor.finish(&mut out).unwrap();
    assert_eq!(contents(&out, 0), "Glo[redacted]");
}

/// The pieces of OpenAI's stream after a text: a tool call with long arguments.
fn call(arguments: &str) -> String {
    let event =
        json!({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":arguments}}]}}]});
    format!("data: {event}\n\n")
}

#[test]
fn a_whole_name_at_the_end_of_a_text_goes_although_what_follows_is_more_than_is_held() {
    let pieces = [vec!["ab "; 200], vec!["x"; 64], vec![&*"y ".repeat(40_000)]]
        .map(|pieces| pieces.into_iter().map(call).collect::<String>());
    for name in ["Globex", "ask Acme Corp", "acme.com", "イニテック", "Globex "] {
        for pieces in &pieces {
            let stream = openai(0, name) + pieces + "data: [DONE]\n\n";
            let mut redactor = Redactor::new(three(), "hooli", Form::Events, MAX);
            let mut out = Vec::new();
            redactor.feed(stream.as_bytes(), &mut out).unwrap();
            redactor.finish(&mut out).unwrap();
            let left = contents(&out, 0);
            assert!(left.trim_end().ends_with("[redacted]"), "{name}: {left}");
            assert!(redactor.replaced() >= 1 && redactor.replaced() <= 2, "{name}: {}", redactor.replaced());
        }
    }
}

#[test]
fn events_behind_a_text_that_waited_long_enough_wait_no_more() {
    let mut redactor = Redactor::new(three(), "hooli", Form::Events, MAX);
    let mut out = Vec::new();
    redactor.feed(openai(0, "Glo").as_bytes(), &mut out).unwrap();
    redactor.feed(call("ab ").repeat(weir_redaction::HELD_EVENTS_MAX).as_bytes(), &mut out).unwrap();
    out.clear();
    redactor.feed(call("ab ").as_bytes(), &mut out).unwrap();
    assert_eq!(String::from_utf8(out.clone()).unwrap(), call("ab "));
    redactor.feed(openai(0, "bex").as_bytes(), &mut out).unwrap();
    redactor.finish(&mut out).unwrap();
    assert_eq!(
        (contents(&out, 0).as_str(), redactor.replaced()),
        ("[redacted]", 3),
        "two ids, and the rest of the name"
    );
}

#[test]
fn a_name_behind_an_escape_of_a_tools_arguments_is_found() {
    for escape in [r"\n", r"\t", r"\r", r"\b", r"\f", r#"\""#] {
        let whole = json!({"arguments": format!(r#"{{"q":"x{escape}globex"}}"#)}).to_string();
        let out = redact(&three(), "hooli", Form::Document, whole.as_bytes(), &[]);
        assert_eq!(String::from_utf8(out).unwrap(), whole.replace("globex", "[redacted]"));
    }
    let partial = |piece: &str| {
        let delta = json!({"type":"input_json_delta","partial_json":piece});
        format!("data: {}\n\n", json!({"type":"content_block_delta","index":0,"delta":delta}))
    };
    for cut in 1..9 {
        let (one, other) = r"x\nglobex y".split_at(cut);
        let stream = partial(one) + &partial(other);
        let out = String::from_utf8(redact(&three(), "hooli", Form::Events, stream.as_bytes(), &[])).unwrap();
        assert!(out.contains("[redacted]") && !out.contains("bex"), "{cut}: {out}");
    }
    assert_eq!(text("hooli", r"C:\globex"), r"C:\[redacted]");
    for same in [r"x\globexes", r"nglobex", r"\nnglobex"] {
        assert_eq!(text("hooli", same), same, "no escape ends there");
    }
}

#[test]
fn probabilities_of_tokens_which_spell_the_text_again_go_out_empty() {
    let token = json!({"token":"glo","bytes":[103,108,111],"top_logprobs":[{"token":"glo"}]});
    let streamed = json!({"choices":[{"index":0,"delta":{"content":"glo"},"logprobs":{"content":[token]}}]});
    let out = redact(&three(), "hooli", Form::Events, format!("data: {streamed}\n\n").as_bytes(), &[]);
    let expected = json!({"choices":[{"index":0,"delta":{"content":"glo"},"logprobs":null}]});
    assert_eq!(String::from_utf8(out).unwrap(), format!("data: {expected}\n\n"));
    for (whole, expected) in [
        (json!({"output":[{"text":"x","logprobs":[token, token]}]}), json!({"output":[{"text":"x","logprobs":[]}]})),
        (
            json!({"a":{"logprobsResult":{"chosenCandidates":[token]}},"b":"Acme"}),
            json!({"a":{"logprobsResult":null},"b":"[redacted]"}),
        ),
        (json!({"logprobs":{"tokens":["glo","bex"],"logprobs":{}}}), json!({"logprobs":null})),
        (
            json!({"logprobs":[],"prompt_logprobs":{},"x":{"logprobs":null}}),
            json!({"logprobs":[],"prompt_logprobs":{},"x":{"logprobs":null}}),
        ),
    ] {
        let mut redactor = Redactor::new(three(), "hooli", Form::Document, MAX);
        let mut out = Vec::new();
        redactor.feed(whole.to_string().as_bytes(), &mut out).unwrap();
        redactor.finish(&mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        assert_eq!(redactor.has_changed(), whole != expected);
    }
}

#[test]
fn pieces_of_an_array_of_geminis_events_are_read_as_one() {
    let event = |piece: &str| json!({"candidates":[{"content":{"parts":[{"text":piece}],"role":"model"},"index":0}]});
    let whole = json!([event("see glo"), event("bex now, A"), event("cme")]).to_string();
    let out = redact(&three(), "hooli", Form::Document, whole.as_bytes(), &[9, 40]);
    let expected = json!([event("see [redacted]"), event(" now, [redacted]"), event("")]);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    // Elements of another array are texts of their own.
    let apart = json!([{"text": "Globex"}, {"text": "es"}, {"text": "glo"}, {"text": "bex"}]).to_string();
    let out = redact(&three(), "hooli", Form::Document, apart.as_bytes(), &[]);
    assert_eq!(String::from_utf8(out).unwrap(), apart.replace("Globex", "[redacted]"));
    let two = format!("{whole}[\"Acme\"]");
    let out = redact(&three(), "hooli", Form::Document, two.as_bytes(), &[]);
    assert!(!String::from_utf8(out).unwrap().contains("Acme"), "what follows the array is read, too");
}

#[test]
fn names_that_overlap_without_an_end_do_not_grow_what_is_held() {
    let endless = identifiers(&[("a", "corp globex"), ("a", "globex corp")]);
    let mut redactor = Redactor::new(endless, "hooli", Form::Text, MAX);
    let (mut out, mut fed) = (Vec::new(), 0);
    for _ in 0..1000 {
        redactor.feed(b"corp globex ", &mut out).unwrap();
        fed += 12;
        assert!(fed < 2048 || !out.is_empty());
    }
    redactor.finish(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(!out.contains("corp") && !out.contains("globex"), "{out}");
}

#[test]
fn an_event_that_is_too_long_ends_the_answer() {
    let mut redactor = Redactor::new(three(), "hooli", Form::Events, 100);
    let mut out = Vec::new();
    assert_eq!(redactor.feed(&[b'x'; 101], &mut out), Err(TooLong));
    assert_eq!(redactor.feed(b"\n\n", &mut out), Err(TooLong));
    assert_eq!(redactor.finish(&mut out), Err(TooLong));
    assert!(out.is_empty());
}

#[test]
fn more_texts_than_are_kept_end_the_answer() {
    let mut redactor = Redactor::new(three(), "hooli", Form::Events, MAX);
    let mut out = Vec::new();
    let fed: Vec<_> = (0..=weir_redaction::TEXTS_MAX as u64)
        .map(|choice| redactor.feed(openai(choice, "Glo").as_bytes(), &mut out))
        .collect();
    assert!(fed.iter().rev().skip(1).all(Result::is_ok));
    assert_eq!(fed.last(), Some(&Err(TooLong)));
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[abAB_1]{1,2}", "[ab]{1,2}", "[é\u{0308}日]", "[ .,-]", "[ab] [ab]", "[ab]\\.[ab]", r"\\[nb]"]
}

fn owned() -> impl Strategy<Value = Vec<(String, String)>> {
    let identifier = prop::collection::vec(word(), 1..4).prop_map(|words| words.concat());
    prop::collection::vec(("[xyz]", identifier), 1..6)
}

fn index(owned: &[(String, String)]) -> (SharedIdentifiers, Vec<(String, String)>) {
    let mut identifiers = Identifiers::new(1);
    let trim = |text: &str| text.trim_matches(|one| role(one) == Role::Gap).to_owned();
    let taken = owned.iter().filter(|(owner, text)| identifiers.add(owner, text) == Added::Taken);
    let taken = taken.map(|(owner, text)| (owner.clone(), trim(text))).collect();
    (Rc::new(RefCell::new(identifiers)), taken)
}

/// An event of one of three frames: a number that counts, a string that stands alone, a piece of one of two texts for each `type`.
fn frame((frame, text, id, delta, number): &(usize, u64, String, String, u64)) -> String {
    let (id, delta) = (json!(id), json!(delta));
    let event = match frame {
        0 => format!(r#"{{"frame":0,"sequence_number":{number},"id":{id},"type":"a","index":{text},"delta":{delta}}}"#),
        1 => format!(r#"{{"frame":1,"type":"b","index":{text},"delta":{delta},"id":{id},"n":-{number}.5e1}}"#),
        _ => format!(r#"{{"frame":2,"delta":{delta},"index":{text},"n":[{number}, null],"id":{id},"type":"c"}}"#),
    };
    format!("data: {event}\n\n")
}

#[test]
fn a_name_that_becomes_known_is_found_in_a_frame_that_was_searched() {
    let shared = identifiers(&[("a", "Acme")]);
    let mut redactor = Redactor::new(shared.clone(), "x", Form::Events, MAX);
    let event = openai(0, "hello ");
    for _ in 0..3 {
        let mut out = Vec::new();
        redactor.feed(event.as_bytes(), &mut out).unwrap();
        assert_eq!(out, event.as_bytes());
    }
    assert_eq!(redactor.pass(event.as_bytes()), event.len());
    shared.borrow_mut().add("b", "globex");
    assert_eq!(redactor.pass(event.as_bytes()), 0);
    let mut out = Vec::new();
    redactor.feed(event.as_bytes(), &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("[redacted]"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn text_cut_anywhere_equals_the_whole_replaced(
        owned in owned(),
        words in prop::collection::vec(word(), 0..30),
        cuts in prop::collection::vec(0_usize..80, 0..12),
    ) {
        let (identifiers, taken) = index(&owned);
        let (text, mut cuts) = (words.concat(), cuts);
        cuts.sort_unstable();
        let out = redact(&identifiers, "x", Form::Text, text.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8(out).unwrap(), naive(&taken, "x", &text));
    }

    #[test]
    fn streams_equal_the_whole_replaced(
        owned in owned(),
        pieces in prop::collection::vec((0_u64..2, prop::collection::vec(word(), 0..4)), 0..20),
        cuts in prop::collection::vec(0_usize..2000, 0..12),
    ) {
        let (identifiers, taken) = index(&owned);
        let pieces: Vec<(u64, String)> = pieces.into_iter().map(|(choice, words)| (choice, words.concat())).collect();
        let stream: String = pieces.iter().map(|(choice, piece)| {
            let event = json!({"choices":[{"delta":{"content":piece},"index":choice}]}).to_string();
            format!("data: {}\n\n", if piece.len() % 2 == 0 { event.replace('é', "\\u00e9") } else { event })
        }).collect();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let out = redact(&identifiers, "x", Form::Events, stream.as_bytes(), &cuts);
        for choice in 0..2 {
            let whole: String = pieces.iter().filter(|piece| piece.0 == choice).map(|piece| piece.1.as_str()).collect();
            prop_assert_eq!(contents(&out, choice), naive(&taken, "x", &whole));
        }
        let uncut = redact(&identifiers, "x", Form::Events, stream.as_bytes(), &[]);
        prop_assert_eq!(out, uncut);
    }

    #[test]
    fn frames_that_repeat_equal_the_whole_replaced(
        owned in owned(),
        events in prop::collection::vec((0_usize..3, 0_u64..2, word(), word(), 0_u64..2000), 0..30),
        cuts in prop::collection::vec(0_usize..4000, 0..12),
    ) {
        let (identifiers, taken) = index(&owned);
        let stream: String = events.iter().map(frame).collect();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let out = redact(&identifiers, "x", Form::Events, stream.as_bytes(), &cuts);
        let whole = |stream: &[u8], frame: usize, text: u64| -> String {
            let all = std::str::from_utf8(stream).unwrap().lines().filter_map(|line| line.strip_prefix("data: "));
            let all = all.map(|event| serde_json::from_str::<Value>(event).unwrap());
            let of = all.filter(|event| event["frame"] == frame && event["index"] == text);
            of.filter_map(|event| event["delta"].as_str().map(str::to_owned)).collect()
        };
        for (frame, text) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
            prop_assert_eq!(whole(&out, frame, text), naive(&taken, "x", &whole(stream.as_bytes(), frame, text)));
        }
        let alone = |stream: &[u8]| -> Vec<String> {
            let all = std::str::from_utf8(stream).unwrap().lines().filter_map(|line| line.strip_prefix("data: "));
            all.map(|event| serde_json::from_str::<Value>(event).unwrap()["id"].as_str().unwrap().to_owned()).collect()
        };
        let expected: Vec<String> = alone(stream.as_bytes()).iter().map(|id| naive(&taken, "x", id)).collect();
        prop_assert_eq!(alone(&out), expected);
        let (mut passing, mut redactor) = (Vec::new(), Redactor::new(identifiers.clone(), "x", Form::Events, MAX));
        for event in stream.split_inclusive("\n\n") {
            let passed = redactor.pass(event.as_bytes());
            passing.extend_from_slice(&event.as_bytes()[..passed]);
            redactor.feed(&event.as_bytes()[passed..], &mut passing).unwrap();
        }
        redactor.finish(&mut passing).unwrap();
        prop_assert_eq!(String::from_utf8(passing).unwrap(), String::from_utf8(out).unwrap());
    }

    #[test]
    fn no_answer_is_changed_where_nobody_is_named(body in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
        let nobody = Rc::new(RefCell::new(Identifiers::new(1)));
        for form in [Form::Document, Form::Events, Form::Lines, Form::Text] {
            prop_assert_eq!(&redact(&nobody, "x", form, &body, &[cut]), &body);
        }
    }
}
