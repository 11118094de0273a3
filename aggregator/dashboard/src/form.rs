//! Forms. Each carries the session's token, without which the server acts on none.
use maud::{Markup, html};

use crate::href::Href;
use crate::viewer::Viewer;

/// The field with the session's token.
pub(crate) const CSRF_FIELD: &str = "csrf";

/// What a field takes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A value that people do not see.
    Hidden(String),
    /// A line of text, and what it says already.
    Text(String),
    /// A line of text that nobody else should see.
    Secret,
    /// A moment, written in UTC.
    Time,
    /// One of these: the value, and its words.
    Choice(Vec<(String, String)>),
}

/// A field.
#[derive(Clone, Debug)]
pub struct Field {
    name: &'static str,
    label: String,
    kind: Kind,
    is_required: bool,
    hint: String,
    /// What a person has filled in before.
    filled: Option<String>,
}

impl Field {
    /// A field that must be filled in.
    pub fn required(name: &'static str, label: &str, kind: Kind) -> Self {
        Field { name, label: label.to_owned(), kind, is_required: true, hint: String::new(), filled: None }
    }

    /// A field that may stay empty.
    pub fn optional(name: &'static str, label: &str, kind: Kind) -> Self {
        Field { is_required: false, ..Field::required(name, label, kind) }
    }

    /// A value that people do not see.
    pub fn hidden(name: &'static str, value: impl Into<String>) -> Self {
        Field::required(name, "", Kind::Hidden(value.into()))
    }

    /// The same with a sentence below it.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.hint);
        self
    }

    fn render(&self) -> Markup {
        let Field { name, label, kind, is_required, hint, filled } = self;
        let filled = filled.as_deref();
        if let Kind::Hidden(value) = kind {
            return html! { input type="hidden" name=(name) value=(filled.unwrap_or(value)); };
        }
        html! {
            label {
                span.label { (label) @if !is_required { " " span.unit { "(optional)" } } }
                @match kind {
                    Kind::Choice(choices) => select name=(name) required[*is_required] {
                        @for (value, words) in choices { option value=(value) selected[filled == Some(value)] { (words) } }
                    },
                    Kind::Secret => input type="password" name=(name) required[*is_required] autocomplete="off";,
                    Kind::Time => input type="datetime-local" name=(name) value=[filled] required[*is_required];,
                    Kind::Text(value) => input type="text" name=(name) value=(filled.unwrap_or(value)) required[*is_required] autocomplete="off";,
                    Kind::Hidden(_) => {}
                }
                @if !hint.is_empty() { span.hint { (hint) } }
            }
        }
    }
}

/// A form.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its heading; empty for none.
    pub title: String,
    /// Where it goes.
    pub action: Href,
    /// The fields.
    pub fields: Vec<Field>,
    /// The button.
    pub submit: String,
    /// Whether it only asks for another page: it changes nothing, and goes into the address.
    pub asks: bool,
}

impl Form {
    /// A form that changes something.
    pub fn act(title: &str, action: Href, fields: Vec<Field>, submit: &str) -> Self {
        Form { title: title.to_owned(), action, fields, submit: submit.to_owned(), asks: false }
    }

    /// A form that asks for another page.
    pub fn ask(action: Href, fields: Vec<Field>, submit: &str) -> Self {
        Form { title: String::new(), action, fields, submit: submit.to_owned(), asks: true }
    }

    /// The same with what a person has filled in before, by the names of fields. Secrets are not shown again.
    #[must_use]
    pub fn filled(mut self, with: impl Fn(&str) -> Option<String>) -> Self {
        for field in self.fields.iter_mut().filter(|field| !matches!(field.kind, Kind::Secret)) {
            field.filled = with(field.name);
        }
        self
    }

    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        let class = if self.asks { "asks" } else { "act" };
        html! {
            @if !self.title.is_empty() { h2 { (self.title) } }
            form class=(class) method=(if self.asks { "get" } else { "post" }) action=(self.action.as_str()) {
                @if !self.asks {
                    input type="hidden" name=(CSRF_FIELD) value=(viewer.csrf);
                    input type="hidden" name="once" value=(viewer.once);
                }
                @for field in &self.fields { (field.render()) }
                button { (self.submit) }
            }
        }
    }
}

/// A form that opens in place, in a row of a table.
#[derive(Clone, Debug)]
pub struct Act {
    label: String,
    of: String,
    form: Form,
}

impl Act {
    /// A form behind `label`; `of` names the row to those who do not see it.
    pub fn new(label: &str, of: impl Into<String>, form: Form) -> Self {
        Act { label: label.to_owned(), of: of.into(), form }
    }

    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        html! { details.act { summary aria-label={ (self.label) ": " (self.of) } { (self.label) } (self.form.render(viewer)) } }
    }
}
