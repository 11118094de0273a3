//! Tables and bars of what was measured. Figures are nanoseconds, shown in microseconds.

use std::fmt::Write;

/// One bar: its name, the median, and the quartiles around it, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// The name of the measured variant.
    pub name: String,
    /// Median, first and third quartile.
    pub nanos: [i64; 3],
}

/// Microseconds with one decimal.
#[must_use]
pub fn micros(nanos: i64) -> String {
    let tenths = (nanos + 50 * nanos.signum()) / 100;
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
}

/// Horizontal bars with the spread as a line.
#[must_use]
pub(crate) fn svg(title: &str, bars: &[Bar]) -> String {
    const LEFT: i64 = 250;
    const WIDTH: i64 = 420;
    const ROW: i64 = 24;
    let most = bars.iter().flat_map(|bar| bar.nanos).max().unwrap_or(1).max(1);
    let x = |nanos: i64| LEFT + nanos.max(0) * WIDTH / most;
    let height = 40 + ROW * i64::try_from(bars.len()).unwrap_or(0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"10\" y=\"20\" font-weight=\"bold\">{title}</text>\n"
    );
    for (bar, top) in bars.iter().zip((36..).step_by(24)) {
        let [median, low, high] = bar.nanos;
        let (name, value, middle) = (&bar.name, micros(median), top + 8);
        let color = if name.starts_with("weir") { "#2a6fb0" } else { "#9aa5b1" };
        let _infallible = writeln!(
            out,
            "<text x=\"240\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"16\" fill=\"{color}\"/>\
             <line x1=\"{}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#111\"/>\
             <text x=\"{}\" y=\"{}\">{value}</text>",
            top + 13,
            x(median) - LEFT,
            x(low),
            x(high),
            x(high.max(median)) + 6,
            top + 13
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_rounded_to_tenths() {
        assert_eq!([micros(1_249), micros(1_250), micros(-50), micros(0)], ["1.2", "1.3", "-0.1", "0.0"]);
    }

    #[test]
    fn a_chart_has_a_bar_for_each_figure() {
        let bar = |name: &str| Bar { name: name.to_owned(), nanos: [2_000, 1_000, 3_000] };
        let chart = svg("CPU", &[bar("weir"), bar("none")]);
        assert_eq!(chart.matches("<line").count(), 2);
        assert!(chart.contains(">2.0</text>"), "{chart}");
    }
}
