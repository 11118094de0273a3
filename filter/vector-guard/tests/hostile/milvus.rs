//! A Milvus that parses and evaluates boolean expressions, over rows of three owners.
use serde_json::{Value, json};
use weir_seeded::SplitMix64;
use weir_vector_guard::{By, Store, Verdict};

#[path = "keyed.rs"]
mod keyed;

use super::generate::{pick, spell, value};
use super::{FIELD, Fate, OTHER, OWN, guard, pass};

fn rows() -> Vec<Value> {
    let row = |number: usize| {
        let owner = match number % 3 {
            0 => json!(OWN),
            1 => json!(OTHER),
            _ => json!(""),
        };
        json!({"id": number, "n": number % 3, "color": if number.is_multiple_of(2) { "red" } else { "blue" }, FIELD: owner})
    };
    (0..30).map(row).collect()
}

/// Reads an expression as it evaluates it, by the precedence of the documentation: `not`, `and`, `or`.
struct Parser<'e> {
    rest: &'e [u8],
    row: &'e Value,
}

impl Parser<'_> {
    fn whole(expression: &str, row: &Value) -> Option<bool> {
        let mut parser = Parser { rest: expression.as_bytes(), row };
        let holds = parser.or()?;
        parser.space();
        parser.rest.is_empty().then_some(holds)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.space();
        let is_word = word.as_bytes()[0].is_ascii_alphabetic();
        match self.rest.strip_prefix(word.as_bytes()) {
            Some(rest)
                if !is_word || rest.first().is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_') =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn or(&mut self) -> Option<bool> {
        let mut holds = self.and()?;
        while self.take("or") || self.take("||") {
            holds |= self.and()?;
        }
        Some(holds)
    }

    fn and(&mut self) -> Option<bool> {
        let mut holds = self.not()?;
        while self.take("and") || self.take("&&") {
            holds &= self.not()?;
        }
        Some(holds)
    }

    fn not(&mut self) -> Option<bool> {
        if self.take("not") || self.take("!") {
            return Some(!self.not()?);
        }
        if self.take("(") {
            let holds = self.or()?;
            return self.take(")").then_some(holds);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Option<bool> {
        let left = self.operand()?;
        if self.take("in") {
            let found = self.list()?.contains(&left);
            return Some(found);
        }
        let operator = ["==", "!="].into_iter().find(|operator| self.take(operator))?;
        let right = self.operand()?;
        Some((left == right) == (operator == "=="))
    }

    fn list(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        if !self.take("[") {
            return None;
        }
        while !self.take("]") {
            values.push(self.operand()?);
            let _comma = self.take(",");
        }
        Some(values)
    }

    fn operand(&mut self) -> Option<Value> {
        self.space();
        match self.rest.first()? {
            quote @ (b'"' | b'\'') => {
                let mut text = Vec::new();
                let mut rest = &self.rest[1..];
                loop {
                    match rest {
                        [end, tail @ ..] if end == quote => {
                            self.rest = tail;
                            return Some(json!(String::from_utf8_lossy(&text)));
                        }
                        [b'\\', escaped, tail @ ..] => {
                            text.push(*escaped);
                            rest = tail;
                        }
                        [byte, tail @ ..] => {
                            text.push(*byte);
                            rest = tail;
                        }
                        [] => return None,
                    }
                }
            }
            byte if byte.is_ascii_digit() => {
                let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, rest) = self.rest.split_at(digits);
                self.rest = rest;
                std::str::from_utf8(number).ok()?.parse::<u64>().ok().map(Value::from)
            }
            _ => {
                let letters =
                    self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                let (name, rest) = self.rest.split_at(letters);
                self.rest = rest;
                self.row.get(std::str::from_utf8(name).ok()?).cloned()
            }
        }
    }
}

fn expression(random: &mut SplitMix64, depth: u64) -> String {
    let text = |random: &mut SplitMix64| {
        let texts = ["\"red\"", "'blue'", "\"globex\"", "'acme'", "\"\\\"\"", "'it\\'s'", "\") or (n == 1\"", "1", "2"];
        (*pick(random, &texts)).to_owned()
    };
    let field = |random: &mut SplitMix64| *pick(random, &["n", "color", FIELD, "id"]);
    match random.below(12) {
        0 if depth > 0 => format!("({})", expression(random, depth - 1)),
        1 if depth > 0 => format!("{} or {}", expression(random, depth - 1), expression(random, depth - 1)),
        2 if depth > 0 => format!("{} and {}", expression(random, depth - 1), expression(random, depth - 1)),
        3 if depth > 0 => format!("not ({})", expression(random, depth - 1)),
        4 => format!("{} in [{}, {}]", field(random), text(random), text(random)),
        5 => format!("{} != {}", field(random), text(random)),
        _ => format!("{} == {}", field(random), text(random)),
    }
}

/// An expression that tries to leave its brackets.
fn hostile(random: &mut SplitMix64) -> String {
    let one = expression(random, 2);
    match random.below(16) {
        0 => format!("{one}) or (n == 1"),
        1 => format!("{one} or tenant_id == \"globex"),
        2 => format!("{one} // "),
        3 => format!("{one} # "),
        4 => format!("{one})) or ((tenant_id != \"\""),
        5 => format!("{one} or tenant_id == '\\"),
        6 => "  ".to_owned(),
        7 => String::new(),
        _ => one,
    }
}

pub(crate) fn one(random: &mut SplitMix64) -> Fate {
    if random.percent(20) { keyed::one(random) } else { read_or_delete(random) }
}

fn read_or_delete(random: &mut SplitMix64) -> Fate {
    let rows = rows();
    let expression = hostile(random);
    let deletes = random.percent(30);
    let mut body = json!({"collectionName": "docs", "filter": expression});
    if !deletes && random.percent(60) {
        let columns = [json!(["n"]), json!([]), json!(["*"]), json!([FIELD, "n"]), json!([1])];
        body["outputFields"] = pick(random, &columns).clone();
    }
    if !deletes && random.percent(10) {
        body.as_object_mut().expect("an object").remove("filter");
    }
    if random.percent(3) {
        body["dbName"] = if random.percent(50) { json!("default") } else { value(random) };
    }
    let tricks = random.percent(30);
    let text = spell(random, &body, tricks);
    // What the client asked for is what it wrote: a trick may have changed a name.
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let path = if deletes { "/v2/vectordb/entities/delete" } else { "/v2/vectordb/entities/query" };
    let Ok((call, sent)) = pass(&guard(Store::Milvus, By::Filter), "POST", path, &text) else { return Fate::Refused };
    assert!(sent["dbName"].is_null() || sent["dbName"] == "default", "another database: {text}");
    let filter = sent["filter"].as_str().expect("an expression");
    let forgets = !deletes && random.percent(40);
    let holds = |row: &&Value| if forgets { Some(true) } else { Parser::whole(filter, row) };
    let Some(found) = rows.iter().map(|row| Some((row, holds(&row)?))).collect::<Option<Vec<_>>>() else {
        return Fate::Judged;
    };
    let found: Vec<&Value> = found.into_iter().filter(|(_, holds)| *holds).map(|(row, _)| row).collect();
    assert!(forgets || found.iter().all(|row| row[FIELD] == OWN), "{text}");
    if deletes {
        return Fate::Judged;
    }
    let columns = sent["outputFields"].as_array().expect("columns");
    let shown = |row: &Value, columns: &[Value]| {
        let is_shown = |name: &String| name == "id" || columns.contains(&json!("*")) || columns.contains(&json!(name));
        let members = row.as_object().expect("a row").iter().filter(|(name, _)| is_shown(name));
        Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    let data: Vec<Value> = found.iter().map(|row| shown(row, columns)).collect();
    let told = json!({"code": 0, "data": data}).to_string();
    let seen = match super::seen(&call, told.as_bytes()) {
        Verdict::Same => told,
        Verdict::Changed(body) => String::from_utf8(body).expect("text"),
        other => panic!("{other:?}: {text}"),
    };
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let seen = seen["data"].as_array().expect("rows").clone();
    let own = |row: &Value| row[FIELD] == OWN;
    for row in &seen {
        let id = usize::try_from(row["id"].as_u64().expect("an id")).expect("small");
        assert!(own(&rows[id]), "row {id} is another's: {text}");
    }
    if !forgets {
        let asked = body.get("filter").and_then(Value::as_str).filter(|asked| !asked.trim().is_empty());
        let wanted = body.get("outputFields").and_then(Value::as_array).cloned().unwrap_or_default();
        let holds = |row: &&Value| asked.is_none_or(|asked| Parser::whole(asked, row) == Some(true));
        let expected: Vec<Value> =
            rows.iter().filter(|row| own(row)).filter(holds).map(|row| shown(row, &wanted)).collect();
        assert_eq!(seen, expected, "{text}");
    }
    Fate::Judged
}
