//! The parts of a page.
use maud::{Markup, html};
use weir_contract::Timestamp;

use crate::cell::{Cell, Tone, time};
use crate::chart::Chart;
use crate::form::Form;
use crate::href::Href;
use crate::number::grouped;
use crate::prose::prose;
use crate::table::Table;
use crate::viewer::Viewer;

/// A figure with its name.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Its name.
    pub label: String,
    /// The figure.
    pub value: Cell,
    /// A sentence below it: what it means, or what to do.
    pub note: String,
    /// Where more about it is.
    pub href: Option<Href>,
}

impl Tile {
    /// A figure.
    pub fn new(label: &str, value: impl Into<Cell>) -> Self {
        Tile { label: label.to_owned(), value: value.into(), note: String::new(), href: None }
    }

    /// The same with a sentence below it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The same with a link.
    #[must_use]
    pub fn link(mut self, href: Href) -> Self {
        self.href = Some(href);
        self
    }
}

/// A line of a list of facts.
pub type Fact = (&'static str, Cell);

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Block {
    /// Figures beside each other.
    Tiles(Vec<Tile>),
    /// A table.
    Table(Table),
    /// A chart.
    Chart(Chart),
    /// A form.
    Form(Form),
    /// A list of facts under a heading.
    Facts(String, Vec<Fact>),
    /// A sentence that stands out.
    Notice(Tone, String),
    /// What went wrong, in the server's own words: what they say to ask is taken as it is written.
    Wrong(String),
    /// The heading of what follows.
    Heading(String),
    /// A sentence.
    Paragraph(String),
    /// Links beside each other; the one to the page itself is marked.
    Tabs(String, Vec<(String, Href, bool)>),
    /// A secret that is shown this once.
    Secret {
        /// What it is.
        label: String,
        /// The secret.
        value: String,
    },
    /// Text as it is, such as JSON, under a heading.
    Text(String, String),
    /// The moment that figures are of, and the record of the event log up to which they have everything, where that is the viewer's to know.
    AsOf(Timestamp, Option<u64>),
    /// Stands in the place of figures that the server is still reading, and says which. The page loads again by itself.
    BeingRead(String),
    /// Parts that the script keeps up to date, from a stream of [`fragment`]s at this address.
    Followed(Href, Vec<Block>),
    /// A drawing that the server makes, and what it shows, in words.
    Picture(Href, String),
}

impl Block {
    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        match self {
            Block::Tiles(tiles) => html! { dl.tiles { @for tile in tiles { (figure(tile, viewer)) } } },
            Block::Table(table) => table.render(viewer),
            Block::Chart(chart) => chart.render(viewer),
            Block::Form(form) => form.render(viewer),
            Block::Facts(heading, facts) => html! {
                section {
                    h2 { (heading) }
                    dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value.render(viewer)) } } } }
                }
            },
            Block::Wrong(text) => html! { p.notice.bad role="status" { (text) } },
            Block::Notice(tone, text) => html! { p class={ "notice " (tone.class()) } role="status" { (prose(text)) } },
            Block::Heading(text) => html! { h2 { (text) } },
            Block::Paragraph(text) => html! { p { (prose(text)) } },
            Block::Tabs(label, tabs) => html! {
                nav.tabs aria-label=(label) {
                    @for (text, href, is_here) in tabs {
                        a href=(href.as_str()) aria-current=[is_here.then_some("page")] { (text) }
                    }
                }
            },
            Block::Secret { label, value } => html! {
                div.secret role="status" {
                    p { (label) ". It is shown this once: copy it now." }
                    code #secret data-copy { (value) }
                }
            },
            Block::Text(heading, text) => html! {
                section { h2 { (heading) } pre tabindex="0" aria-label=(heading) { (text) } }
            },
            Block::AsOf(at, through) => html! {
                p.as-of {
                    "Figures as of " (time(*at))
                    @if let Some(through) = through { ": all events up to record " (grouped(&through.to_string())) " of the event log" }
                    "."
                }
            },
            Block::BeingRead(what) => html! {
                p.notice.plain role="status" {
                    (what) " are being read. This page loads again by itself and shows them once they are there, or "
                    a href="" { "load it now" } "."
                }
            },
            Block::Followed(href, blocks) => html! {
                div data-follow=(href.as_str()) { @for block in blocks { (block.render(viewer)) } }
            },
            Block::Picture(href, words) => html! { figure.chart { img src=(href.as_str()) alt=(words); } },
        }
    }
}

/// Parts of a page by themselves, for those who follow them. They hold no forms: these belong to one viewer.
pub fn fragment(blocks: &[Block]) -> String {
    let viewer = Viewer::default();
    html! { @for block in blocks { (block.render(&viewer)) } }.into_string()
}

fn figure(tile: &Tile, viewer: &Viewer) -> Markup {
    html! {
        div.tile {
            dt { (tile.label) }
            dd {
                span.value { (tile.value.render(viewer)) }
                @if !tile.note.is_empty() { span.note { (tile.note) } }
                @if let Some(href) = &tile.href { a href=(href.as_str()) aria-label={ "More about: " (tile.label) } { "More" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_stands_in_the_page_as_the_stream_brings_it() {
        let table = || Table::new("Levels", &["Limit"], "").rows([vec![Cell::text("<b>")]]);
        let now = fragment(&[Block::Table(table())]);
        assert!(now.contains("&lt;b&gt;") && !now.contains("<b>"), "{now}");
        let href = Href::to(&["limits", "live"]).with("tenant", "a&b");
        let page = Block::Followed(href, vec![Block::Table(table())]).render(&Viewer::default()).into_string();
        assert_eq!(page, format!("<div data-follow=\"/ui/limits/live?tenant=a%26b\">{now}</div>"));
    }
}
