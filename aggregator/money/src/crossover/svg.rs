//! The curve as SVG.
use std::fmt::Write;

use super::CrossoverView;
use crate::amount::Pico;

const WIDTH: i128 = 800;
const HEIGHT: i128 = 420;
const LEFT: i128 = 90;
const RIGHT: i128 = 770;
const TOP: i128 = 40;
const BOTTOM: i128 = 360;
/// Lines across the chart.
const GRID: i128 = 4;

/// Draws both curves, the break-even, and today's traffic.
pub fn draw(view: &CrossoverView) -> String {
    let end = view.curve.last().map_or(1, |point| i128::from(point.0)).max(1);
    let most = view.curve.iter().map(|(_, api, own)| (*api).max(*own)).max().unwrap_or_default().max(Pico(1));
    let x = |requests: u64| LEFT + (RIGHT - LEFT) * i128::from(requests) / end;
    let y = |cost: Pico| BOTTOM - scaled(cost.0, BOTTOM - TOP, most.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"16\">Cost per month ({})</text>\n",
        view.currency
    );
    for line in 0..=GRID {
        let (cost, requests) = (Pico(most.0 / GRID * line), end / GRID * line);
        let (at, across) = (y(cost), LEFT + (RIGHT - LEFT) * line / GRID);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at}H{RIGHT}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{across}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            LEFT - 8,
            at + 4,
            thousands(cost.0 / crate::amount::PICO),
            BOTTOM + 20,
            thousands(requests)
        );
    }
    curve(&mut svg, "#c0392b", view.curve.iter().map(|(requests, api, _)| (x(*requests), y(*api))));
    steps(&mut svg, "#2471a3", view.curve.iter().map(|(requests, _, own)| (x(*requests), y(*own))));
    if let Some(at) = view.break_even_requests.map(x) {
        let _ = writeln!(svg, "<path d=\"M{at} {TOP}V{BOTTOM}\" stroke=\"#555\" stroke-dasharray=\"4 4\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">break-even</text>", at + 6, TOP + 14);
    }
    if let Some(today) = view.months.first() {
        let _ = writeln!(
            svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"#c0392b\"/>",
            x(today.requests),
            y(today.api_cost)
        );
        let _ = writeln!(
            svg,
            "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"#2471a3\"/>",
            x(today.requests),
            y(today.own_cost)
        );
    }
    legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let at = HEIGHT - 16;
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{at}\"><tspan fill=\"#c0392b\">API</tspan>  <tspan fill=\"#2471a3\">own GPUs</tspan></text>\n\
         <text x=\"{RIGHT}\" y=\"{at}\" text-anchor=\"end\">requests per month; dots are the measured traffic</text>\n"
    );
}

fn curve(svg: &mut String, colour: &str, points: impl Iterator<Item = (i128, i128)>) {
    let points: Vec<String> = points.map(|(x, y)| format!("{x},{y}")).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        points.join(" ")
    );
}

/// Replicas are whole, so their cost rises in steps.
fn steps(svg: &mut String, colour: &str, points: impl Iterator<Item = (i128, i128)>) {
    let mut before = None;
    let corners = points.flat_map(|(x, y)| {
        let corner = before.replace(y).map(|level| (x, level));
        corner.into_iter().chain([(x, y)])
    });
    curve(svg, colour, corners);
}

fn scaled(value: i128, by: i128, of: i128) -> i128 {
    value.checked_mul(by).map_or_else(|| value / of * by, |product| product / of)
}

/// A whole number with its thousands apart.
fn thousands(number: i128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit.is_ascii_digit() && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(thousands), ["0", "999", "1,000", "12,345,678"]);
    }
}
