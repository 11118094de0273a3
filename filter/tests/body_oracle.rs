//! Surgical edits against a full parse and a new serialisation, on JSON that `serde_json` cannot hold: members that stand
//! twice, numbers beyond any type, lone surrogates, escapes in names, deep nesting.
//!
//! A body is made up as a tree that keeps what stands in the text (names and strings with their escapes, numbers as
//! written, members in their order), is written with blanks anywhere, edited, and read back by a parser of its own.
use proptest::prelude::*;
use proptest::sample::select;
use weir_filter::body::edit::{CapField, OtherCaps, Splices};
use weir_filter::body::members::Scope;
use weir_filter::body::{DEPTH_MAX, Document};

const MAX: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Json {
    /// `null`, `true`, `false`, or a number as written.
    Word(String),
    /// What stands between the quotes.
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

use Json::{Array, Object, Text, Word};

fn word(text: impl ToString) -> Json {
    Word(text.to_string())
}

/// Numbers as written, and the counts that they are.
const NUMBERS: [(&str, Option<u64>); 10] = [
    ("0", Some(0)),
    ("5", Some(5)),
    ("7.0", Some(7)),
    ("1e2", Some(100)),
    ("900", Some(900)),
    ("1.5", None),
    ("-1", None),
    ("1E400", None),
    ("12e-1", None),
    ("99999999999999999999999999999999", None),
];

const STRINGS: [&str; 9] = [
    "",
    "gpt-4o",
    "gpt\\u002d4o",
    "\\ud800",
    "\\udc00\\uD800x",
    "\\\\\\\"",
    "\\/\\b\\u0000",
    "日本\u{7f}",
    "model\\\":1",
];

/// Governed names, other spellings of them, and names that are none.
const NAMES: [&str; 30] = [
    "model",
    "mod\\u0065l",
    "Model",
    "MODE\\u004c",
    "models",
    "stream",
    "\u{17f}tream",
    "n",
    "N",
    "best_of",
    "max_tokens",
    "max_to\\u212aens",
    "max_completion_tokens",
    "n_predict",
    "n_pr\\u0065dict",
    "maxTokens",
    "max_gen_len",
    "generationConfig",
    "generationConfig",
    "maxOutputTokens",
    "candidateCount",
    "stream_options",
    "stream_options",
    "include_usage",
    "messages",
    "x",
    "",
    "\\ud800",
    "a\\\"b\\\\",
    "日",
];

const AT_ROOT: [&str; 15] = [
    "model",
    "models",
    "stream",
    "n",
    "best_of",
    "candidateCount",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
    "maxTokens",
    "max_gen_len",
    "maxOutputTokens",
    "generationConfig",
    "stream_options",
    "messages",
];
const CAPS: [&str; 2] = ["max_tokens", "max_completion_tokens"];
/// Caps of other APIs.
const FOREIGN: [&str; 4] = ["n_predict", "maxTokens", "max_gen_len", "maxOutputTokens"];
const MAX_TOKENS: CapField =
    CapField { container: None, name: "max_tokens", aliases: &[(Scope::Root, "max_completion_tokens")] };
const GEMINI: CapField =
    CapField { container: Some((Scope::GenerationConfig, "generationConfig")), name: "maxOutputTokens", aliases: &[] };

fn value() -> impl Strategy<Value = Json> + Clone {
    let leaf = prop_oneof![
        select(&["null", "true", "false"][..]).prop_map(word),
        select(&NUMBERS[..]).prop_map(|(number, _)| word(number)),
        select(&STRINGS[..]).prop_map(|text| Text(text.to_owned())),
    ];
    let nested =
        (leaf.clone(), 0_usize..100).prop_map(|(leaf, depth)| (0..depth).fold(leaf, |inner, _| Array(vec![inner])));
    prop_oneof![9 => leaf, 1 => nested].prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Array),
            proptest::collection::vec((select(&NAMES[..]), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&str, Json)>) -> Json {
    Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn root() -> impl Strategy<Value = Json> + Clone {
    proptest::collection::vec((select(&NAMES[..]), value()), 0..8).prop_map(object)
}

/// Writes a tree; `blank` is asked for blanks wherever they may stand.
fn write(json: &Json, out: &mut String, blank: &mut impl FnMut() -> &'static str) {
    out.push_str(blank());
    match json {
        Word(text) => out.push_str(text),
        Text(text) => out.push_str(&format!("\"{text}\"")),
        Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(item, out, blank);
            }
            out.push_str(blank());
            out.push(']');
        }
        Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&format!("{}\"{name}\"{}:", blank(), blank()));
                write(value, out, blank);
            }
            out.push_str(blank());
            out.push('}');
        }
    }
    out.push_str(blank());
}

fn text_of(json: &Json, blanks: &[&'static str]) -> String {
    let mut blanks = blanks.iter().copied().cycle();
    let mut out = String::new();
    write(json, &mut out, &mut || blanks.next().unwrap_or_default());
    out
}

/// Reads what [`write`] writes, and panics at anything else.
struct Parser<'t>(&'t str);

impl Parser<'_> {
    fn whole(text: &str) -> Json {
        let mut parser = Parser(text);
        let json = parser.value();
        assert_eq!(parser.0.trim_start(), "", "something stands behind {text}");
        json
    }

    fn skip(&mut self, mark: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn text(&mut self) -> String {
        assert!(self.skip('"'), "a string at {}", self.0);
        let mut escaped = false;
        let end = self.0.find(|byte| {
            let ends = byte == '"' && !escaped;
            escaped = byte == '\\' && !escaped;
            ends
        });
        let (text, rest) = self.0.split_at(end.expect("an end of the string"));
        self.0 = &rest[1..];
        text.to_owned()
    }

    fn value(&mut self) -> Json {
        if self.skip('[') {
            return Array(self.list(']', Self::value));
        }
        if self.skip('{') {
            return Object(self.list('}', |parser| {
                let name = parser.text();
                assert!(parser.skip(':'), "a colon at {}", parser.0);
                (name, parser.value())
            }));
        }
        if self.0.trim_start().starts_with('"') {
            return Text(self.text());
        }
        let rest = self.0.trim_start();
        let end = rest.find(|byte: char| ",]} \r\n\t".contains(byte)).unwrap_or(rest.len());
        self.0 = &rest[end..];
        word(&rest[..end])
    }

    fn list<T>(&mut self, close: char, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        if self.skip(close) {
            return items;
        }
        loop {
            items.push(item(self));
            if self.skip(close) {
                return items;
            }
            assert!(self.skip(','), "a comma at {}", self.0);
        }
    }
}

/// A name as a careless reader takes it; None if it is not a text.
fn folded(name: &str) -> Option<String> {
    let name: String = serde_json::from_str(&format!("\"{name}\"")).ok()?;
    Some(name.to_lowercase().replace('\u{17f}', "s"))
}

fn exact(name: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{name}\"")).ok()
}

/// Whether upstreams could read governed members differently: one stands twice, or in another spelling.
fn is_ambiguous(members: &[(String, Json)]) -> bool {
    let places = [(&AT_ROOT[..], members.to_vec())].into_iter();
    let within = |name: &str| {
        let values = members.iter().filter(|(found, _)| exact(found).as_deref() == Some(name));
        values.flat_map(|(_, value)| if let Object(members) = value { members.clone() } else { Vec::new() }).collect()
    };
    let inner: [(&[&str], Vec<_>); 2] = [
        (&["maxOutputTokens", "candidateCount"], within("generationConfig")),
        (&["include_usage"], within("stream_options")),
    ];
    places.chain(inner).any(|(governed, members)| {
        governed.iter().any(|name| {
            let same: Vec<_> = members.iter().filter(|(found, _)| folded(found) == Some(name.to_lowercase())).collect();
            same.len() > 1 || same.iter().any(|(found, _)| exact(found).as_deref() != Some(name))
        })
    })
}

fn member<'m>(members: &'m mut [(String, Json)], name: &str) -> Option<&'m mut Json> {
    members.iter_mut().find(|(found, _)| exact(found).as_deref() == Some(name)).map(|(_, value)| value)
}

fn count(json: &Json) -> Option<u64> {
    NUMBERS.iter().find(|(number, _)| *json == word(number)).and_then(|(_, count)| *count)
}

fn too_much(json: &Json) -> bool {
    *json != word("null") && count(json).is_none_or(|count| count > MAX)
}

fn take_out(members: &mut Vec<(String, Json)>, goes: impl Fn(&str) -> bool) {
    members.retain(|(name, _)| !exact(name).is_some_and(|name| goes(&name)));
}

/// Lowers the caps of those names; where none is there, or only `null`, the one of the name `put` is.
fn cap(members: &mut Vec<(String, Json)>, names: &[&str], put: &str) {
    let is_cap = |name: &str| exact(name).is_some_and(|name| names.contains(&&*name));
    let caps = || members.iter().filter(|(name, _)| is_cap(name));
    if caps().any(|(_, cap)| *cap != word("null")) {
        let caps = members.iter_mut().filter(|(name, _)| is_cap(name));
        return caps.filter(|(_, cap)| too_much(cap)).for_each(|(_, cap)| *cap = word(MAX));
    }
    match member(members, put) {
        Some(null) => *null = word(MAX),
        None => members.push((put.to_owned(), word(MAX))),
    }
}

/// All edits at once, to a tree.
fn edit(members: &mut Vec<(String, Json)>, field: CapField) {
    let mut put = Vec::new();
    match member(members, "model") {
        Some(model) => *model = Text("mini".to_owned()),
        None => put.push(("model".to_owned(), Text("mini".to_owned()))),
    }
    for name in ["n", "best_of", "candidateCount"] {
        if let Some(count) = member(members, name).filter(|count| too_much(count)) {
            *count = word(MAX);
        }
    }
    let gemini = ["maxOutputTokens"];
    let at_root: &[&str] = if field.container.is_none() { &CAPS } else { &[] };
    take_out(members, |name| (CAPS.contains(&name) || FOREIGN.contains(&name)) && !at_root.contains(&name));
    if let Some(Object(inner)) = member(members, "generationConfig") {
        take_out(inner, |name| gemini.contains(&name) && field.container.is_none());
        if let Some(count) = member(inner, "candidateCount").filter(|count| too_much(count)) {
            *count = word(MAX);
        }
    }
    match (field.container, member(members, "generationConfig")) {
        (None, _) => cap(members, &CAPS, field.name),
        (Some(_), Some(Object(inner))) => cap(inner, &gemini, field.name),
        (Some(_), Some(other)) => *other = Object(vec![(field.name.to_owned(), word(MAX))]),
        (Some((_, name)), None) => {
            put.push((name.to_owned(), Object(vec![(field.name.to_owned(), word(MAX))])));
        }
    }
    let usage = ("include_usage".to_owned(), word("true"));
    match member(members, "stream_options") {
        None => put.push(("stream_options".to_owned(), Object(vec![usage]))),
        Some(Object(inner)) => match member(inner, "include_usage") {
            Some(asked) => *asked = word("true"),
            None => inner.push(usage),
        },
        Some(other) => *other = Object(vec![usage]),
    }
    members.extend(put);
}

/// With members sorted: where a new one is put in does not matter.
fn sorted(json: Json) -> Json {
    match json {
        Array(items) => Array(items.into_iter().map(sorted).collect()),
        Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort();
            Object(members)
        }
        other => other,
    }
}

fn splices(document: &Document, field: CapField) -> Splices {
    let mut splices = Splices::default();
    splices.replace_model(document, "mini");
    splices.cap_output(document, MAX, &[field], OtherCaps::Remove);
    splices.bound_answers(document, MAX);
    splices.include_usage(document);
    splices
}

fn blanks() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(select(&["", "", "", " ", "\r\n", "\t \n"][..]), 1..9)
}

proptest! {
    #[test]
    fn hostile_bodies_are_edited_as_a_full_parse_and_a_new_serialisation_would(
        root in root(), blanks in blanks(), field in select(&[MAX_TOKENS, GEMINI][..]),
    ) {
        let body = text_of(&root, &blanks);
        let Object(mut members) = root else { return Ok(()) };
        let document = Document::read(body.as_bytes()).expect("readable");
        prop_assert_eq!(document.ambiguous, is_ambiguous(&members), "{}", body);
        let edited = String::from_utf8(splices(&document, field).apply(body.as_bytes())).expect("text");
        let parsed = Parser::whole(&edited);
        if !document.ambiguous {
            edit(&mut members, field);
            prop_assert_eq!(sorted(parsed), sorted(Object(members)), "{}\n{}", body, edited);
        }
    }

    #[test]
    fn what_stands_behind_the_json_makes_it_unreadable(root in root(), blanks in blanks(), tail in select(&["x", "{}", ",", "\0", "\"", "]"][..])) {
        let body = format!("{}{tail}", text_of(&root, &blanks));
        prop_assert!(Document::read(body.as_bytes()).is_err(), "{}", body);
    }

    #[test]
    fn what_nests_too_deep_is_unreadable_and_what_does_not_is_edited(depth in 1_usize..400, braces: bool) {
        let (open, close) = if braces { (r#"{"a":"#, "}") } else { ("[", "]") };
        let body = format!(r#"{{"a":{}1{},"model":"x"}}"#, open.repeat(depth), close.repeat(depth));
        let read = Document::read(body.as_bytes());
        prop_assert_eq!(read.is_ok(), depth < usize::from(DEPTH_MAX));
        if let Ok(document) = read {
            let edited = splices(&document, MAX_TOKENS).apply(body.as_bytes());
            let ending = br#","model":"mini"}"#;
            prop_assert!(edited.ends_with(ending));
        }
    }
}
