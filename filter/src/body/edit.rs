//! Edits of a body: replaces or inserts bytes and leaves the rest as it is.
use std::ops::Range;

use super::members::{MemberName, Scope};
use super::{Amount, Container, Document, Opening};

/// Changes to a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splices {
    /// What takes the place of what.
    edits: Vec<(Range<usize>, String)>,
    /// New members, and the objects that they come first in.
    inserts: Vec<(Opening, String)>,
    /// Objects out of which a member was taken, by where they open; once for each member.
    thinned: Vec<usize>,
}

/// The member under which an API takes the cap of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapField {
    /// The object that holds it, by name; None for the root.
    pub container: Option<(Scope, &'static str)>,
    /// Its name.
    pub name: &'static str,
    /// Other members that the API takes for the same.
    pub aliases: &'static [MemberName],
}

impl CapField {
    /// Whether the API takes that member for this cap.
    pub fn takes(&self, member: MemberName) -> bool {
        self.is(member) || self.aliases.contains(&member)
    }

    fn is(&self, member: MemberName) -> bool {
        member == (self.container.map_or(Scope::Root, |(scope, _)| scope), self.name)
    }
}

/// How to treat caps that the API does not know, but that another server behind it might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherCaps {
    /// They are taken out: the API is known.
    Remove,
    /// They are lowered as its own: whose API it is, is not known.
    Lower,
}

impl Splices {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.edits.len().saturating_add(self.inserts.len())
    }

    /// Replaces the model; inserts it if the body names none.
    pub fn replace_model(&mut self, document: &Document, model: &str) {
        match (&document.model, document.root) {
            (Some(found), _) if document.is_form => self.edits.push((found.at.clone(), model.to_owned())),
            (Some(found), _) => self.edits.push((found.at.clone(), quoted(model))),
            (None, Some(root)) => self.insert(root, "model", &quoted(model)),
            (None, None) => {}
        }
    }

    /// Every cap of the API's own that is higher than `max`, or is no count, becomes `max`; where one of its `fields` is
    /// missing, it is put in. Caps under other names do not count.
    pub fn cap_output(&mut self, document: &Document, max: u64, fields: &[CapField], others: OtherCaps) {
        let is_own = |cap: &Amount| fields.iter().any(|field| field.takes(cap.name));
        for cap in document.caps.iter().filter(|cap| others == OtherCaps::Lower || is_own(cap)) {
            if !cap.null && cap.value.is_none_or(|value| value > max) {
                self.edits.push((cap.at.clone(), max.to_string()));
            }
        }
        if others == OtherCaps::Remove {
            self.remove(document.caps.iter().filter(|cap| !is_own(cap)));
        }
        for field in fields {
            if !document.caps.iter().any(|cap| !cap.null && field.takes(cap.name)) {
                self.put_cap(document, max, field);
            }
        }
    }

    fn put_cap(&mut self, document: &Document, max: u64, field: &CapField) {
        if let Some(null) = document.caps.iter().find(|cap| field.is(cap.name)) {
            return self.edits.push((null.at.clone(), max.to_string()));
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
            // `null`, most likely. Beside it a second member of that name would stand, and upstreams take either.
            Some((_, Container { at, opening: None })) => self.edits.push((at.clone(), object())),
            None => self.insert(root, container, &object()),
        }
    }

    /// Takes members out, each with one of the commas beside it. They come in the order in which they stand.
    fn remove<'a>(&mut self, members: impl Iterator<Item = &'a Amount>) {
        // The comma behind the last one of those that open their object: the next one has none before it any more.
        let mut opened = None;
        for Amount { at, member, .. } in members {
            let opens = member.comma_before.is_none() || member.comma_before == opened;
            let range = match member.comma_before {
                Some(comma) if !opens => comma..at.end,
                _ => member.at..member.comma_behind.map_or(at.end, |comma| comma.saturating_add(1)),
            };
            if opens {
                opened = member.comma_behind;
            }
            self.thinned.push(member.object);
            self.edits.push((range, String::new()));
        }
    }

    /// Every count of answers that is higher than `max`, or is no count, becomes `max`.
    pub fn bound_answers(&mut self, document: &Document, max: u64) {
        for count in &document.counts {
            if !count.null && count.value.is_none_or(|value| value > max) {
                self.edits.push((count.at.clone(), max.to_string()));
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
            (Some((at, false)), _) => self.edits.push((at.clone(), "true".to_owned())),
            (None, Some(opening)) => self.insert(opening, "include_usage", "true"),
            (None, None) => self.edits.push((options.at.clone(), r#"{"include_usage":true}"#.to_owned())),
        }
        true
    }

    /// The body with the changes.
    pub fn apply(mut self, body: &[u8]) -> Vec<u8> {
        self.write_inserts();
        // What is put in at one place stands before what is taken out there.
        self.edits.sort_by_key(|(at, _)| (at.start, at.end));
        let grown: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut edited = Vec::with_capacity(body.len().saturating_add(grown));
        let mut from = 0;
        for (at, text) in &self.edits {
            edited.extend_from_slice(body.get(from..at.start).unwrap_or_default());
            edited.extend_from_slice(text.as_bytes());
            from = at.end;
        }
        edited.extend_from_slice(body.get(from..).unwrap_or_default());
        edited
    }

    /// Inserts a member as the first of an object.
    fn insert(&mut self, opening: Opening, name: &str, value: &str) {
        self.inserts.push((opening, format!("{}:{value}", quoted(name))));
    }

    /// Makes one edit for each object that gets members: the last one put in stands first, and commas part them from each
    /// other and from what is left in the object.
    fn write_inserts(&mut self) {
        while let Some((opening, mut text)) = self.inserts.pop() {
            while let Some(at) = self.inserts.iter().rposition(|(other, _)| other.at == opening.at) {
                let (_, next) = self.inserts.remove(at);
                text.push(',');
                text.push_str(&next);
            }
            let gone = self.thinned.iter().filter(|at| **at == opening.at).count();
            if opening.members > gone {
                text.push(',');
            }
            self.edits.push((opening.at..opening.at, text));
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
