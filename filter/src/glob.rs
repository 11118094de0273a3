//! Patterns of names: `gpt-4o*`.

/// A pattern in which `*` stands for any text, also none; everything else for itself. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// From its text.
    pub fn new(pattern: &str) -> Self {
        Glob(pattern.into())
    }

    /// Whether a name is of that pattern. Time grows with the name's length times the pattern's, never faster.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *name };
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
}

#[cfg(test)]
mod tests {
    use super::Glob;

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
