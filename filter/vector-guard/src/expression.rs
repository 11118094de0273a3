//! Milvus's boolean expressions: whether one stays one when it stands in brackets.
//!
//! `(THEIRS) and tenant_id == "acme"` is only as good as its first bracket. So strings, brackets and letters are read as Milvus's
//! grammar does, and what would close the bracket early, or might begin a comment, is refused.

/// How deep brackets may nest.
const DEPTH_MAX: usize = 64;

/// Words of the grammar that no field is called, in lower case.
const WORDS: [&str; 12] =
    ["and", "or", "not", "in", "like", "is", "null", "exists", "true", "false", "count", "between"];

/// Whether a name is a word of the grammar, in any case.
pub(crate) fn is_word(name: &str) -> bool {
    WORDS.contains(&&*name.to_ascii_lowercase())
}

/// Whether an expression can stand in brackets and ends with them.
pub(crate) fn is_closed(expression: &str) -> bool {
    let mut open: Vec<u8> = Vec::new();
    let mut rest = expression.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'"' | b'\'' => match behind_string(*first, rest) {
                Some(behind) => rest = behind,
                None => return false,
            },
            b'(' | b'[' | b'{' if open.len() < DEPTH_MAX => open.push(*first),
            b')' if open.pop() == Some(b'(') => {}
            b']' if open.pop() == Some(b'[') => {}
            b'}' if open.pop() == Some(b'{') => {}
            b'/' if matches!(tail, [b'/' | b'*', ..]) => return false,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ if first.is_ascii_alphanumeric() || b"_.,=<>!&|+-*/%^~$".contains(first) => {}
            _ => return false,
        }
    }
    open.is_empty()
}

/// What comes behind a string whose first quote was passed.
fn behind_string(quote: u8, mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [first, tail @ ..] if *first == quote => return Some(tail),
            [b'\\', escaped, tail @ ..] if !escaped.is_ascii_control() => tail,
            [first, tail @ ..] if !first.is_ascii_control() && *first != b'\\' => tail,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn expressions_of_the_documentation_are_closed() {
        for expression in [
            "",
            "color in [\"red\", \"blue\"] and likes > 5",
            "json_contains(tags, 'x') or not (a == 1)",
            "name like \"a\\\"b)%\"",
            "age > {age} && city in {cities}",
            "$meta[\"a\"] == 1.5e3 || x % 2 == 0",
        ] {
            assert!(is_closed(expression), "{expression}");
        }
    }

    #[test]
    fn whatever_leaves_its_brackets_is_told() {
        for expression in [
            "a == 1) or (b == 2",
            "a == \"",
            "a == 'x\" or y",
            "a == 1 # and",
            "a == 1 // and",
            "a /* and",
            "(a == 1]",
            "((a)",
            "a == \"\\\"",
            "a == 1;",
            "ä == 1",
            "a == \"\n\"",
        ] {
            assert!(!is_closed(expression), "{expression}");
        }
        assert!(!is_closed(&"(".repeat(65)));
    }
}
