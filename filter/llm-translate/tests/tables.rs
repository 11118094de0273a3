//! The tables say what the translation does, and the documentation says what the tables say.
#[path = "fixtures/full.rs"]
mod full;
#[path = "fixtures/page.rs"]
mod page;
#[path = "fixtures/targets.rs"]
mod targets;

use full::Full;
use serde_json::{Value, json};
use targets::target;
use weir_llm_translate::{
    Dialect, Expected, Fate, Field, Only, Reason, Section, Server, Unfit, betas, tables, translate,
};

/// What a request becomes: the body, and what its answer is expected to be.
fn becomes(from: Dialect, full: &Full, body: &Value) -> Result<(Value, Expected), Unfit> {
    let translated = translate(from, &target(full.server), body.to_string().as_bytes())?;
    Ok((serde_json::from_slice(&translated.body).expect("JSON"), translated.answer))
}

/// The request with a member of the object at `pointer` set, or taken out.
fn with(body: &Value, pointer: &str, name: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let object = body.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("{pointer}"));
    match value {
        Some(value) => drop(object.insert(name.to_owned(), value)),
        None => drop(object.remove(name)),
    }
    body
}

/// Whether taking the field out changes what a full request becomes.
fn matters(from: Dialect, full: &Full, pointer: &str, name: &str) -> Option<bool> {
    full.body.pointer(pointer)?.get(name)?;
    let whole = becomes(from, full, &full.body).unwrap_or_else(|unfit| panic!("{unfit}: {}", full.body));
    Some(becomes(from, full, &with(&full.body, pointer, name, None)) != Ok(whole))
}

fn check(from: Dialect, fulls: &[(&Full, &str)], section: &Section, field: &Field) {
    let place = format!("{}.{}", section.name, field.name);
    let found: Vec<bool> = fulls.iter().filter_map(|(full, at)| matters(from, full, at, field.name)).collect();
    match field.fate {
        Fate::Carried | Fate::Changed(_) => assert!(found.contains(&true), "{place} is to matter: {found:?}"),
        Fate::Dropped(_) => assert!(!found.is_empty() && !found.contains(&true), "{place} is to be dropped: {found:?}"),
        Fate::Unfit(_) => {}
    }
    if matches!(field.fate, Fate::Unfit(_)) || matches!(field.only, Only::Of(..)) {
        let (full, at) = fulls.first().expect("a request with such an object");
        let unfit = becomes(from, full, &with(&full.body, at, field.name, Some(json!({"odd": 1}))));
        assert_eq!(unfit.expect_err(&place).reason, Reason::NoCounterpart, "{place}");
    }
}

fn check_table(heading: &str, from: Dialect, fulls: &[Full]) {
    let (_, sections) = tables().into_iter().find(|(found, _)| *found == heading).expect("a table");
    for section in sections.iter().filter(|section| section.name != "anthropic-beta") {
        let places = fulls.iter().flat_map(|full| full.places.iter().map(move |(name, at)| (full, *name, *at)));
        let places: Vec<(&Full, &str)> =
            places.filter(|(_, name, _)| *name == section.name).map(|(full, _, at)| (full, at)).collect();
        assert!(!places.is_empty(), "no full request has {}", section.name);
        section.fields.iter().for_each(|field| check(from, &places, section, field));
        if heading.contains(" to Messages") || heading.contains(" to Chat") {
            let (full, at) = places[0];
            let unfit = becomes(from, full, &with(&full.body, at, "a_field_of_the_future", Some(json!(1))));
            assert_eq!(unfit.map_err(|unfit| unfit.reason), Err(Reason::Unknown), "{}", section.name);
        }
    }
}

#[test]
fn every_field_of_chat_completions_becomes_what_its_table_says() {
    check_table(
        "From Chat Completions to Messages",
        Dialect::OpenAi,
        &full::chats(weir_llm_translate::Server::Anthropic),
    );
}

#[test]
fn every_field_of_messages_becomes_what_its_table_says() {
    check_table("From Messages to Chat Completions", Dialect::Anthropic, &full::messages());
}

#[test]
fn every_field_that_a_server_refuses_becomes_what_its_table_says() {
    use weir_llm_translate::Server::{Mistral, Ollama, Vllm};
    for (heading, server) in [("vLLM", Vllm), ("Mistral", Mistral), ("Ollama", Ollama)] {
        check_table(&format!("From Chat Completions to {heading}"), Dialect::OpenAi, &full::plain_chats(server));
    }
}

#[test]
fn every_field_that_a_cloud_takes_otherwise_becomes_what_its_table_says() {
    for (heading, server) in [("Vertex AI", Server::VertexAnthropic), ("Bedrock", Server::BedrockAnthropic)] {
        check_table(&format!("From Messages to {heading}"), Dialect::Anthropic, &full::plain_messages(server));
    }
}

#[test]
fn every_name_of_a_feature_reaches_its_cloud_as_the_table_says_and_no_other_does() {
    for (heading, server) in [("Vertex AI", Server::VertexAnthropic), ("Bedrock", Server::BedrockAnthropic)] {
        let heading = format!("From Messages to {heading}");
        let (_, sections) = tables().into_iter().find(|(found, _)| *found == heading).expect("a table");
        let names = sections.iter().find(|section| section.name == "anthropic-beta").expect("a section");
        for field in names.fields {
            let header = format!(" {0}, {0}", field.name);
            let asked = betas(server, &[], &header).unwrap_or_else(|unfit| panic!("{unfit}"));
            let expected = if matches!(field.fate, Fate::Dropped(_)) { vec![] } else { vec![field.name] };
            assert_eq!(asked, expected, "{}", field.name);
        }
        let unfit = betas(server, &[], "of-the-future-2099").expect_err("unknown");
        assert_eq!((unfit.reason, &*unfit.field), (Reason::NoCounterpart, "anthropic-beta.of-the-future-2099"));
        assert_eq!(betas(server, &["of-the-future-2099".into()], "of-the-future-2099"), Ok(vec!["of-the-future-2099"]));
    }
    assert_eq!(betas(Server::Anthropic, &[], "any,other"), Ok(vec!["any", "other"]), "it reads the header itself");
}

#[test]
fn the_documentation_is_written_from_the_tables() {
    let written = std::fs::read_to_string("../../docs/translation.md").expect("docs/translation.md");
    assert!(written == page::page(), "run `make docs`");
}
