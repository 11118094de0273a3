//! One value on a page: in a table, a figure or a list of facts.
use maud::{Markup, html};
use weir_contract::Timestamp;

use crate::form::Act;
use crate::href::Href;
use crate::number::{grouped, short_decimal, utc};
use crate::viewer::Viewer;

/// How good something is. The text says it as well: colour alone says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Neither.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// It needs a person.
    Bad,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Tone::Plain => "plain",
            Tone::Good => "good",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
        }
    }
}

/// A value.
#[derive(Clone, Debug)]
pub enum Cell {
    /// There is none.
    Missing,
    /// Text.
    Text(String),
    /// Text that people copy: an id.
    Code(String),
    /// A value as JSON.
    Json(String),
    /// A count.
    Number(i128),
    /// An exact decimal and its currency or unit.
    Amount {
        /// The exact decimal.
        exact: String,
        /// The currency or unit; empty for none.
        unit: String,
    },
    /// A word with a tone.
    Status {
        /// The word.
        text: String,
        /// Its tone.
        tone: Tone,
        /// Its place among the words of its kind, the mildest first; None sorts by the word.
        rank: Option<u8>,
    },
    /// A share, as a bar and as text.
    Meter {
        /// In thousandths.
        permille: u32,
        /// Its tone.
        tone: Tone,
    },
    /// A moment.
    Time(Timestamp),
    /// A link to another page.
    Link {
        /// Its text.
        text: String,
        /// The page.
        href: Href,
        /// What it is of, for those who do not see the row; empty where the text says it.
        of: String,
    },
    /// A figure that the script keeps up to date, by its name in the stream.
    Live {
        /// Its name.
        name: &'static str,
        /// What it is now.
        text: String,
    },
    /// Forms that open in place.
    Acts(Vec<Act>),
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Cell::Text(text.into())
    }

    /// A word with a tone.
    pub fn status(text: impl Into<String>, tone: Tone) -> Self {
        Cell::Status { text: text.into(), tone, rank: None }
    }

    /// A word with a tone, sorted by its place among the words of its kind.
    pub fn ranked(text: impl Into<String>, tone: Tone, rank: u8) -> Self {
        Cell::Status { text: text.into(), tone, rank: Some(rank) }
    }

    /// An exact decimal and its unit.
    pub fn amount(exact: impl ToString, unit: impl ToString) -> Self {
        Cell::Amount { exact: exact.to_string(), unit: unit.to_string() }
    }

    /// A link.
    pub fn link(text: impl Into<String>, href: Href) -> Self {
        Cell::Link { text: text.into(), href, of: String::new() }
    }

    /// A link whose text stands in every row: `of` names the row to those who do not see it.
    pub fn link_of(text: &str, href: Href, of: impl Into<String>) -> Self {
        Cell::Link { text: text.to_owned(), href, of: of.into() }
    }

    /// A value that may be missing.
    pub fn maybe<T: Into<Cell>>(value: Option<T>) -> Self {
        value.map_or(Cell::Missing, Into::into)
    }

    /// What the script sorts by, where it is not the text.
    pub(crate) fn sort_key(&self) -> Option<String> {
        match self {
            Cell::Number(number) => Some(number.to_string()),
            Cell::Amount { exact, .. } => Some(exact.clone()),
            Cell::Meter { permille, .. } => Some(permille.to_string()),
            Cell::Time(at) => Some(at.as_millis().to_string()),
            Cell::Status { rank, .. } => rank.map(|rank| rank.to_string()),
            _ => None,
        }
    }

    /// How a table shows it.
    pub(crate) fn class(&self) -> Option<&'static str> {
        match self {
            Cell::Number(_) | Cell::Amount { .. } => Some("number"),
            Cell::Acts(_) => Some("acts"),
            _ => None,
        }
    }

    pub(crate) fn is_numeric(&self) -> bool {
        self.class() == Some("number")
    }

    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        match self {
            Cell::Missing => html! { span.missing { "–" } },
            Cell::Text(text) => html! { (text) },
            Cell::Code(text) => html! { code { (text) } },
            Cell::Json(text) => html! { code.json { (text) } },
            Cell::Number(number) => {
                let exact = number.to_string();
                html! { data value=(exact) { (grouped(&exact)) } }
            }
            Cell::Amount { exact, unit } => amount(exact, unit),
            Cell::Status { text, tone, .. } => html! { span class={ "status " (tone.class()) } { (text) } },
            Cell::Meter { permille, tone } => meter(*permille, *tone),
            Cell::Time(at) => time(*at),
            Cell::Link { text, href, of } => {
                let label = (!of.is_empty()).then(|| format!("{text}: {of}"));
                html! { a href=(href.as_str()) aria-label=[label] { (text) } }
            }
            Cell::Live { name, text } => html! { span data-live=(name) { (text) } },
            Cell::Acts(acts) => html! { @for act in acts { (act.render(viewer)) } },
        }
    }
}

/// An amount. One that is too long to show opens and shows itself whole, by a click, a tap or a key.
fn amount(exact: &str, unit: &str) -> Markup {
    let short = short_decimal(exact);
    let is_cut = short.ends_with('…');
    let shown = html! {
        data value=(exact) { (short) @if !unit.is_empty() { " " span.unit { (unit) } } }
    };
    if !is_cut {
        return shown;
    }
    let whole = format!("{exact} {unit}");
    html! { details.exact { summary title=(whole.trim_end()) { (shown) } (whole.trim_end()) } }
}

fn meter(permille: u32, tone: Tone) -> Markup {
    let text = format!("{}.{} %", permille / 10, permille % 10);
    html! {
        span.share {
            progress class=(tone.class()) max="1000" value=(permille.min(1000)) aria-hidden="true" {}
            " " span class={ "status " (tone.class()) } { (text) }
        }
    }
}

/// A moment in UTC; the script shows it in the viewer's zone, with UTC beside it.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (utc(at)) } }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Number(number.into())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Cell::Number(number.into())
    }
}

impl From<Timestamp> for Cell {
    fn from(at: Timestamp) -> Self {
        Cell::Time(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_that_is_cut_opens_without_a_mouse_and_one_that_is_whole_does_not() {
        let shown = |exact| Cell::amount(exact, "USD").render(&Viewer::default()).into_string();
        let cut = shown("0.18282265");
        assert!(cut.starts_with("<details class=\"exact\"><summary title=\"0.18282265 USD\">"), "{cut}");
        assert!(cut.contains("0.1828…") && cut.ends_with("</summary>0.18282265 USD</details>"), "{cut}");
        assert!(!shown("12.5").contains("details"));
    }
}
