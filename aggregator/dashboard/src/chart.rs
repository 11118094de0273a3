//! Bar charts as SVG, each with the same numbers as a table.
//!
//! Positions are whole hundredths of the drawing's unit: exact, and the same on every machine.
use maud::{Markup, html};

use crate::cell::Cell;
use crate::href::Href;
use crate::table::Table;
use crate::viewer::Viewer;

/// The drawing's width and height; it grows with the page.
const WIDTH: i128 = 720;
const HEIGHT: i128 = 180;
/// Room for words below the bars.
const FOOT: i128 = 24;
/// Words below the bars, at most.
const WORDS_MAX: usize = 6;
/// The widest bar: a single one does not fill the drawing.
const BAR_MAX: i128 = 48;
/// The least room for a bar and its word, where there is room.
const STEP_MAX: i128 = 60;
/// The room of a letter.
const LETTER: i128 = 7;
/// The most bars; further ones stand in the table alone.
const BARS_MAX: usize = 400;

/// One bar.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it stands for: a day, a model.
    pub label: String,
    /// Its height, in any unit. Nothing is drawn for values below 0; the table has them.
    pub value: i128,
    /// The value as people read it, exact.
    pub exact: Cell,
}

/// A bar chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Its heading.
    pub caption: String,
    /// What the bars stand for: `Day`.
    pub of: String,
    /// What is measured: `Cost, USD`.
    pub unit: String,
    /// The bars, in order.
    pub points: Vec<Point>,
    /// Says, where there are none, why and what to do.
    pub empty: String,
    /// The numbers as a file.
    pub csv: Option<Href>,
}

impl Chart {
    pub(crate) fn render(&self, viewer: &Viewer) -> Markup {
        if self.points.is_empty() {
            return html! { section { h2 { (self.caption) } p.empty { (self.empty) } } };
        }
        let rows = self.points.iter().map(|point| vec![Cell::text(point.label.as_str()), point.exact.clone()]);
        let mut table = Table::new(&self.caption, &[&self.of, &self.unit], &self.empty).rows(rows);
        table.csv.clone_from(&self.csv);
        html! {
            figure.chart {
                figcaption { h2 { (self.caption) } p.unit { (self.unit) } }
                (self.drawing())
                details { summary { "As a table" } (table.render(viewer)) }
            }
        }
    }

    fn drawing(&self) -> Markup {
        let points = &self.points[..self.points.len().min(BARS_MAX)];
        let greatest = points.iter().map(|point| point.value).max().unwrap_or(0).max(1);
        let (step, every) = spacing(points);
        let bar = (step * 8 / 10).clamp(10, BAR_MAX * 100);
        let summary = format!("Bar chart: {}. The table below has the numbers.", self.caption);
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + FOOT) } role="img" aria-label=(summary) {
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                @for (at, point) in points.iter().enumerate() {
                    @let left = step * i128::try_from(at).unwrap_or(0);
                    @let height = scaled(point.value, greatest);
                    @if height > 0 {
                        rect.bar x=(units(left + step / 10)) width=(units(bar))
                            y=(units(HEIGHT * 100 - height)) height=(units(height)) {
                            title { (point.label) ": " (plain(&point.exact)) }
                        }
                    }
                    @if at % every == 0 {
                        text.word x=(units(left)) y=(HEIGHT + FOOT - 6) { (point.label) }
                    }
                }
            }
        }
    }
}

/// The room of a bar in hundredths, and how many bars have one word together, so that no word stands on the next one.
fn spacing(points: &[Point]) -> (i128, usize) {
    let letters = points.iter().map(|point| point.label.chars().count()).max().unwrap_or(0);
    let word = (i128::try_from(letters).unwrap_or(0) + 1) * LETTER;
    let room = WIDTH * 100 / i128::try_from(points.len()).unwrap_or(1).max(1);
    let step = room.min(word.max(STEP_MAX) * 100).max(1);
    let together = usize::try_from((word * 100 + step - 1) / step).unwrap_or(usize::MAX);
    (step, together.max(points.len().div_ceil(WORDS_MAX)).max(1))
}

/// A bar's height in hundredths; at least one unit for what is not nothing.
fn scaled(value: i128, greatest: i128) -> i128 {
    if value <= 0 {
        return 0;
    }
    // Shifted so that the product fits, however small the unit of the values is.
    let shift = (128 - greatest.leading_zeros()).saturating_sub(90);
    ((value >> shift) * HEIGHT * 100 / (greatest >> shift).max(1)).clamp(100, HEIGHT * 100)
}

/// Hundredths as a decimal.
fn units(hundredths: i128) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Number(number) => number.to_string(),
        Cell::Amount { exact, unit } => format!("{exact} {unit}"),
        Cell::Text(text) => text.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_every_value_above_nothing_is_seen() {
        assert_eq!(scaled(50, 100), HEIGHT * 50);
        assert_eq!(scaled(i128::MAX / 4, i128::MAX / 4), HEIGHT * 100);
        assert_eq!(scaled(1, 1_000_000), 100, "one unit of the drawing");
        assert_eq!((scaled(0, 5), scaled(-3, 5)), (0, 0));
        assert_eq!(units(12_345), "123.45");
    }

    #[test]
    fn no_word_below_the_bars_stands_on_the_next_one() {
        let of = |count: usize, letters: usize| {
            let point = Point { label: "m".repeat(letters), value: 1, exact: Cell::Number(1) };
            spacing(&vec![point; count])
        };
        for (count, letters) in [(1, 3), (2, 26), (20, 26), (30, 10), (400, 128)] {
            let (step, every) = of(count, letters);
            let room = step * i128::try_from(every).expect("few");
            assert!(
                room > i128::try_from(letters).expect("few") * LETTER * 100,
                "{count} of {letters}: {step} {every}"
            );
            assert!(step * i128::try_from(count).expect("few") <= WIDTH * 100, "{count} of {letters}: {step}");
        }
        assert_eq!(of(2, 26).1, 1, "both have their word");
    }

    #[test]
    fn a_chart_has_the_same_numbers_as_a_table() {
        let point = |label: &str, value| Point { label: label.to_owned(), value, exact: Cell::Number(value) };
        let chart = Chart {
            caption: "Requests".to_owned(),
            of: "Day".to_owned(),
            unit: "Requests".to_owned(),
            points: vec![point("Mon", 1_200), point("<b>", 3)],
            empty: String::new(),
            csv: None,
        };
        let html = chart.render(&Viewer::default()).into_string();
        assert!(html.contains("As a table") && html.contains("1,200") && html.contains("role=\"img\""), "{html}");
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"), "{html}");
    }
}
