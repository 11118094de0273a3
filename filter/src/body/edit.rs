//! Edits of a body: replaces or inserts bytes and leaves the rest as it is.
use std::ops::Range;

use super::members::Scope;
use super::{Container, Document, Opening};

/// Changes to a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splices(Vec<(Range<usize>, String)>);

/// The name that an API gives to the cap of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapField {
    /// The object that holds it, by name; None for the root.
    pub container: Option<(Scope, &'static str)>,
    /// Its name.
    pub name: &'static str,
}

impl Splices {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Replaces the model; inserts it if the body names none.
    pub fn replace_model(&mut self, document: &Document, model: &str) {
        match (&document.model, document.root) {
            (Some(found), _) => self.0.push((found.at.clone(), quoted(model))),
            (None, Some(root)) => self.insert(root, "model", &quoted(model)),
            (None, None) => {}
        }
    }

    /// Lowers every cap that is higher than `max`, or no count, to `max`; inserts one if there is none.
    pub fn cap_output(&mut self, document: &Document, max: u64, field: CapField) {
        let mut capped = false;
        for cap in &document.caps {
            capped |= !cap.null;
            if !cap.null && cap.value.is_none_or(|value| value > max) {
                self.0.push((cap.at.clone(), max.to_string()));
            }
        }
        if capped {
            return;
        }
        if let Some(null) = document.caps.first() {
            return self.0.push((null.at.clone(), max.to_string()));
        }
        let Some(root) = document.root else { return };
        let Some((scope, container)) = field.container else {
            return self.insert(root, field.name, &max.to_string());
        };
        let object = || format!("{{{}:{max}}}", quoted(field.name));
        match document.containers.iter().find(|(known, _)| *known == scope) {
            Some((_, Container { opening: Some(opening), .. })) => {
                self.insert(*opening, field.name, &max.to_string());
            }
            // Usually `null`. A second member of that name beside it would be ambiguous to upstreams.
            Some((_, Container { at, opening: None })) => self.0.push((at.clone(), object())),
            None => self.insert(root, container, &object()),
        }
    }

    /// Lowers every count of answers that is higher than `max`, or no count, to `max`.
    pub fn bound_answers(&mut self, document: &Document, max: u64) {
        for count in &document.counts {
            if !count.null && count.value.is_none_or(|value| value > max) {
                self.0.push((count.at.clone(), max.to_string()));
            }
        }
    }

    /// Asks for usage at the end of a stream. False if the client has asked already.
    pub fn include_usage(&mut self, document: &Document) -> bool {
        let Some(root) = document.root else { return false };
        let Some(options) = &document.stream_options else {
            self.insert(root, "stream_options", r#"{"include_usage":true}"#);
            return true;
        };
        match (&options.include_usage, options.opening) {
            (Some((_, true)), _) => return false,
            (Some((at, false)), _) => self.0.push((at.clone(), "true".to_owned())),
            (None, Some(opening)) => self.insert(opening, "include_usage", "true"),
            (None, None) => self.0.push((options.at.clone(), r#"{"include_usage":true}"#.to_owned())),
        }
        true
    }

    /// The body with the changes.
    pub fn apply(mut self, body: &[u8]) -> Vec<u8> {
        // Stable: insertions at one position stay in order.
        self.0.sort_by_key(|(at, _)| at.start);
        let grown: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        let mut edited = Vec::with_capacity(body.len().saturating_add(grown));
        let mut from = 0;
        for (at, text) in &self.0 {
            edited.extend_from_slice(body.get(from..at.start).unwrap_or_default());
            edited.extend_from_slice(text.as_bytes());
            from = at.end;
        }
        edited.extend_from_slice(body.get(from..).unwrap_or_default());
        edited
    }

    /// Inserts a member as the first of an object.
    fn insert(&mut self, opening: Opening, name: &str, value: &str) {
        let emptied = self.0.iter().any(|(at, _)| at.is_empty() && at.start == opening.at);
        let comma = if opening.empty && !emptied { "" } else { "," };
        let text = format!("{}:{value}{comma}", quoted(name));
        // Earlier insertions go behind this one: they know whether a comma must follow them.
        self.0.insert(0, (opening.at..opening.at, text));
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
