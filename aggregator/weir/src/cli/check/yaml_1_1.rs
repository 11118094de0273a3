//! What Kong reads in a file otherwise than everybody else.
//!
//! Kong reads YAML 1.1, where `on`, `off`, `yes` and `no` are truth values, `1_000` and `010` are numbers and `10:30` is one,
//! too; all of them are text in quotes. As a name, a truth value makes Kong refuse the whole file, and a number makes a list.
use super::point::Problem;
use weir_settings::yaml::located::{Location, Node};

/// Words that are truth values in YAML 1.1 only.
const TRUTH_VALUES: [&str; 12] = ["on", "On", "ON", "off", "Off", "OFF", "yes", "Yes", "YES", "no", "No", "NO"];

/// What should stand in quotes in a file of Kong's. None for files of others.
pub(super) fn warnings(document: &Node, text: &str) -> Vec<Problem> {
    if document.value().get("_format_version").is_none() {
        return Vec::new();
    }
    let plain = document.words().into_iter().filter(|(location, _)| !is_quoted(text, *location));
    let odd = plain.filter_map(|(location, word)| Some((location, word, meaning(word)?)));
    odd.map(|(location, word, meaning)| Problem {
        location,
        message: format!("Kong reads `{word}` as {meaning}: write \"{word}\""),
    })
    .collect()
}

fn is_quoted(text: &str, location: Location) -> bool {
    let index = |number: u64| usize::try_from(number).ok()?.checked_sub(1);
    let line = index(location.line).and_then(|line| text.lines().nth(line));
    let first = line.zip(index(location.column)).and_then(|(line, column)| line.chars().nth(column));
    !first.is_some_and(char::is_alphanumeric)
}

/// The type that YAML 1.1 gives to a plain word, if that is not text.
fn meaning(word: &str) -> Option<&'static str> {
    if TRUTH_VALUES.contains(&word) {
        return Some("a truth value");
    }
    let is_number = word.starts_with(|first: char| first.is_ascii_digit())
        && word.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '_' | ':'));
    is_number.then_some("a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn of(text: &str) -> Vec<String> {
        let document = Node::parse(Path::new("kong.yml"), text).expect("YAML");
        warnings(&document, text).iter().map(|problem| problem.show(Path::new("kong.yml"), text)).collect()
    }

    #[test]
    fn words_that_kong_takes_for_truth_values_or_numbers_are_shown_where_they_stand() {
        let found = of(
            "_format_version: \"3.0\"\nconfig:\n  limit_headers: {on: all}\n  plans: {1_0: {}, no: {}}\n  at: 10:30\n",
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("kong.yml:3:19: Kong reads `on` as a truth value"), "{}", found[0]);
        assert!(
            found.iter().any(|warning| warning.contains("`1_0` as a number"))
                && found[3].contains("`10:30` as a number"),
            "{found:?}"
        );
    }

    #[test]
    fn words_in_quotes_other_words_and_other_files_are_left_alone() {
        let good = "_format_version: \"3.0\"\nconfig: {\"on\": 'no', x: it is on, n: y, t: true, one: 1}\n";
        assert_eq!(of(good), [""; 0]);
        assert_eq!(of("limit_headers: {on: all}\n"), [""; 0], "the filter's own file: read as YAML 1.2 everywhere");
    }
}
