//! Patterns of names: `gpt-4o*`. One rule for the gateway's plans and routes and for the aggregator's meters.

/// Returns true if `name` matches `pattern`, in which `*` stands for any text, even an empty one. Case-sensitive. Takes at most
/// time proportional to the length of the name times that of the pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some((_, tail)) = name.split_once(part) else { return false };
        name = tail;
    }
    true
}

/// A pattern; see [`matches()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// From its text.
    pub fn new(pattern: &str) -> Self {
        Glob(pattern.into())
    }

    /// Whether a name is of that pattern.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_star_is_any_text_and_nothing_else_is() {
        let cases = [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("claude-*-haiku-*", "claude-3-5-haiku-latest", true),
            ("claude-*-haiku", "claude-haiku", false),
            ("*", "", true),
            ("*mini", "gpt-mini-max", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("gpt-4o", "GPT-4o", false),
            ("gpt.4o", "gpt-4o", false),
        ];
        for (pattern, name, matches) in cases {
            assert_eq!(Glob::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }
}
