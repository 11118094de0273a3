//! Writes JSON as providers and hostile peers write it: any order, any spacing, escapes in names, `1e3` for 1000, members
//! that nobody documents.

use super::build::obj;
use super::dice::Dice;
use crate::json::Json;

/// How one exchange's documents are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// Spaces after colons and commas.
    spaces: bool,
    /// Line feeds inside documents; an SSE event then has several data lines.
    lines: bool,
    /// Members in any order.
    shuffle: bool,
    /// Escapes in members' names.
    escapes: bool,
    /// Whole numbers with a fraction or an exponent.
    floats: bool,
    /// Undocumented members.
    extras: bool,
    /// Members that stand twice.
    pub(super) twice: bool,
}

impl Style {
    /// Mostly as a library writes.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let hostile = dice.one_in(4);
        Style {
            spaces: dice.one_in(3),
            lines: dice.one_in(8),
            shuffle: dice.one_in(4),
            escapes: hostile && dice.one_in(2),
            floats: hostile && dice.one_in(2),
            extras: dice.one_in(3),
            twice: hostile && dice.one_in(20),
        }
    }

    /// The same, for framings in which a line is a document.
    pub(super) fn on_one_line(self) -> Self {
        Style { lines: false, ..self }
    }

    /// The same, without what only a hostile peer does.
    pub(super) fn of_a_client(self) -> Self {
        Style { spaces: self.spaces, lines: self.lines, ..Style::default() }
    }
}

/// Writes a document.
pub(super) fn write(document: &Json, style: Style, dice: &mut Dice) -> String {
    let mut text = String::new();
    let decorated = if style.extras && document.is_object() { decorate(document, dice) } else { document.clone() };
    value(&decorated, style, dice, &mut text);
    text
}

/// Puts members beside the documented ones: nested usages that are not the request's, texts that look like usage.
fn decorate(document: &Json, dice: &mut Dice) -> Json {
    let decoy = obj! { "usage": obj! { "prompt_tokens": 999_999, "input_tokens": 999_999, "total_tokens": 1_999_998 } };
    match dice.below(4) {
        0 => document.clone().with("x_debug", decoy),
        1 => document.clone().with("x_note", r#"{"usage":{"prompt_tokens":1,"completion_tokens":1}}"#),
        2 => document.clone().with("x_numbers", vec![Json::Number("-1.5e-3".to_owned()), Json::Null, Json::from(true)]),
        _ => document.clone(),
    }
}

fn value(json: &Json, style: Style, dice: &mut Dice, text: &mut String) {
    match json {
        Json::Null => text.push_str("null"),
        Json::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Json::Number(digits) => text.push_str(&number(digits, style, dice)),
        Json::Text(words) => text.push_str(&quoted(words)),
        Json::List(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                separate(place, style, dice, text);
                value(item, style, dice, text);
            }
            text.push(']');
        }
        Json::Object(members) => object(members, style, dice, text),
    }
}

fn object(members: &[(String, Json)], style: Style, dice: &mut Dice, text: &mut String) {
    let mut members: Vec<_> = members.to_vec();
    let counts = members.iter().any(|(name, _)| name.to_ascii_lowercase().contains("token"));
    if style.extras && counts && dice.one_in(2) {
        members.push(("x_details".to_owned(), obj! { "input_tokens": 424_242, "cached_tokens": 31_337 }));
    }
    if style.twice && counts {
        let twin = (members[0].0.clone(), Json::from(dice.below(100)));
        members.push(twin);
    }
    if style.shuffle {
        dice.shuffle(&mut members);
    }
    text.push('{');
    for (place, (name, member)) in members.iter().enumerate() {
        separate(place, style, dice, text);
        let escape = style.escapes && dice.one_in(3);
        text.push_str(&if escape { escaped(name, dice) } else { quoted(name) });
        text.push_str(if style.spaces { ": " } else { ":" });
        value(member, style, dice, text);
    }
    text.push('}');
}

fn separate(place: usize, style: Style, dice: &mut Dice, text: &mut String) {
    if place > 0 {
        text.push(',');
    }
    if style.lines && dice.one_in(3) {
        text.push_str("\n  ");
    } else if style.spaces && place > 0 {
        text.push(' ');
    }
}

fn number(digits: &str, style: Style, dice: &mut Dice) -> String {
    if !style.floats || digits.contains(['.', 'e', 'E', '-']) || dice.one_in(2) {
        return digits.to_owned();
    }
    match digits.strip_suffix("000") {
        Some(thousands) => format!("{thousands}e3"),
        None => match digits.len() {
            1 => format!("{digits}.0"),
            _ => format!("{digits}.00e0"),
        },
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// A name with one of its letters as an escape.
fn escaped(name: &str, dice: &mut Dice) -> String {
    let length = name.chars().count() as u64;
    if length == 0 {
        return quoted(name);
    }
    let at = dice.below(length) as usize;
    let letter = |(place, letter): (usize, char)| {
        if place == at { format!("\\u{:04x}", u32::from(letter)) } else { letter.to_string() }
    };
    format!("\"{}\"", name.chars().enumerate().map(letter).collect::<String>())
}
