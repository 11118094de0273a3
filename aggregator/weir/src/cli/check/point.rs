//! Finds line and column in the file for an error in a configuration.
use std::path::Path;

use crate::config::ConfigError;
use weir_money::prices::file::PricesError;
use weir_settings::secret::masked;
use weir_settings::yaml::YamlError;
use weir_settings::yaml::located::{Location, Node};

/// A problem with its location and field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The location; zeros if unknown.
    pub(super) location: Location,
    /// The field and its problem.
    pub(super) message: String,
}

impl Problem {
    /// A problem at a path of a document: at the key if the key is wrong, else at the value.
    pub(super) fn at(document: &Node, path: &str, message: String) -> Self {
        let (node, name) = document.find(path);
        let of_name = message.contains("unknown field") || message.contains("missing field");
        let location = name.filter(|_| of_name || !node.is_scalar()).unwrap_or(node.location);
        Problem { location, message }
    }

    /// A problem that has no place in the file.
    pub(super) fn without_place(message: String) -> Self {
        Problem { location: Location::default(), message }
    }

    /// An error in the YAML itself.
    pub(super) fn of_yaml(error: &YamlError) -> Self {
        match error {
            YamlError::Content { line, column, message, .. } => {
                Problem { location: Location { line: *line, column: *column }, message: message.clone() }
            }
            YamlError::Read { .. } | YamlError::TooLarge { .. } => {
                Problem { location: Location::default(), message: error.to_string() }
            }
        }
    }

    /// An error in the server's configuration.
    pub(super) fn of_server(document: &Node, error: &ConfigError) -> Self {
        let (field, message) = match error {
            ConfigError::Yaml(error) => return Self::of_yaml(error),
            ConfigError::Meter { source, .. } => ("meters", source.to_string()),
            ConfigError::Finances { line, column, source, .. } => {
                let location = Location { line: *line, column: *column };
                return Problem { location, message: source.to_string() };
            }
            ConfigError::Budgets { line, column, source, .. } => {
                let location = Location { line: *line, column: *column };
                return Problem { location, message: source.to_string() };
            }
            ConfigError::Token { source, .. } => ("tokens", source.to_string()),
            ConfigError::Catalogue { source, .. } => (source.path.as_str(), source.problem.clone()),
            ConfigError::Field { field, problem, .. } => (*field, problem.clone()),
            ConfigError::Prices(PricesError::Yaml(error)) => return Self::of_yaml(error),
            ConfigError::Prices(PricesError::Entry { field, problem, .. }) => (field.as_str(), problem.clone()),
            ConfigError::Prices(PricesError::Book(error)) => ("prices", error.to_string()),
            ConfigError::Secret { field, source } => (*field, source.to_string()),
        };
        Self::at(document, field, format!("{field}: {message}"))
    }

    /// Formats the problem as compilers do: file, line, column and message, then the line with a caret below.
    pub(super) fn show(&self, file: &Path, text: &str) -> String {
        let Location { line, column } = self.location;
        let Some(source) = usize::try_from(line).ok().and_then(|line| text.lines().nth(line.checked_sub(1)?)) else {
            return format!("{}: {}", file.display(), self.message);
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret lines up.
        let before = source.chars().take(usize::try_from(column).unwrap_or(1).saturating_sub(1));
        let before: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let (source, message) = (without_secret(source), masked(&self.message));
        format!("{}:{line}:{column}: {message}\n {number} | {source}\n {margin} | {before}^", file.display())
    }
}

/// Fields whose value is a secret, in the server's configuration or the filter's.
const SECRET_FIELDS: [&str; 7] =
    ["secret", "secret_key", "signing_key", "token", "user_key", "user_keys", "webhook_secrets"];

/// A line as it is shown: without the values of fields that hold a secret.
fn without_secret(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(colon) = rest.find(':') {
        let (head, value) = rest.split_at(colon + 1);
        let name = head[..colon].trim_end_matches(['"', '\'', ' ']);
        let name = name.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        out.push_str(head);
        rest = value;
        let written = value.trim_start();
        let says_where = written.is_empty() || written.starts_with("{env:") || written.starts_with("{file:");
        if SECRET_FIELDS.contains(&name) && !says_where {
            out.push_str(" …");
            // Of a list or a map nothing is shown: where it ends, only YAML knows.
            let end = if written.starts_with(['{', '[']) { None } else { value.find([',', '}', ']']) };
            rest = end.map_or("", |end| &value[end..]);
        }
    }
    out.push_str(rest);
    masked(&out)
}

/// Where a place in a text stands in the file, if the text is the scalar `node` of it: a block, or on one line without
/// escapes. Else where the scalar starts.
pub(super) fn in_file(file: &str, node: &Node, inner: Location) -> Location {
    shift(file, node, inner).unwrap_or(node.location)
}

fn shift(file: &str, node: &Node, inner: Location) -> Option<Location> {
    let index = |number: u64| usize::try_from(number).ok()?.checked_sub(1);
    let text = node.text()?;
    let wanted = text.lines().nth(index(inner.line)?)?;
    // The block's text starts on the scalar's own line, or on the next line that is not empty.
    let first = text.lines().position(|line| !line.trim().is_empty())?;
    let opening = text.lines().nth(first)?;
    let start = index(node.location.line)?;
    let lines: Vec<&str> = file.lines().collect();
    let at =
        (start..lines.len().min(start + 3)).find(|at| lines.get(*at).is_some_and(|line| line.contains(opening)))?;
    let at = at + index(inner.line)?.checked_sub(first)?;
    let line = lines.get(at)?;
    let before = line.get(..line.find(wanted)?)?.chars().count();
    Some(Location { line: at as u64 + 1, column: before as u64 + inner.column })
}

/// Splits off the location that serde_json appends to its messages: ` at line 3 column 7`.
pub(super) fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((rest, location)) = message.rsplit_once(" at line ") else { return (message, None) };
    let Some((line, column)) = location.split_once(" column ") else { return (message, None) };
    match (line.parse(), column.parse()) {
        (Ok(line), Ok(column)) => (rest, Some(Location { line, column })),
        _ => (message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, path: &str, line: u64, column: u64) -> (u64, u64) {
        let document = Node::parse(Path::new("a.yaml"), file).expect("YAML");
        let (node, _) = document.find(path);
        let location = in_file(file, node, Location { line, column });
        (location.line, location.column)
    }

    #[test]
    fn a_place_in_a_block_is_a_place_in_the_file() {
        let file = "a:\n  value: |\n    {\n      \"version\": 2\n    }\nb: 1\n";
        assert_eq!(found(file, "a.value", 2, 3), (4, 7));
    }

    #[test]
    fn a_place_in_a_quoted_text_is_a_place_in_the_file() {
        assert_eq!(found("a: '{\"version\": 2}'\n", "a", 1, 2), (1, 6));
        assert_eq!(found("a: \"{\\\"version\\\": 2}\"\n", "a", 1, 2), (1, 4), "escaped: where the text starts");
    }

    #[test]
    fn a_caret_stands_below_the_place() {
        let problem = Problem { location: Location { line: 2, column: 3 }, message: "b: wrong".to_owned() };
        assert_eq!(problem.show(Path::new("a.yaml"), "a: 1\n  b: 2\n"), "a.yaml:2:3: b: wrong\n 2 |   b: 2\n   |   ^");
    }
}
