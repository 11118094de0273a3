//! All metrics with what they mean, for the page of metrics: read from the very text that `GET /metrics` answers.
use std::collections::{BTreeMap, BTreeSet};

use weir_ledger::view::{LedgerView, MeterView};
use weir_stripe::status::StatusView;

use super::{Metrics, TextFormat};
use crate::export::ExportStatus;
use crate::leases::LeaseTotals;

/// The value of a label whose values an operator chooses.
const CHOSEN: &str = "NAME";

/// What is known of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The name of its series; a histogram's without `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it counts or shows.
    pub help: String,
    /// The values of each label; none where an operator chooses them.
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// Every metric of the server.
///
/// # Errors
/// If a metric cannot be written.
pub fn described() -> Result<Vec<Described>, std::fmt::Error> {
    let metrics = Metrics::default();
    let named = |name: &str| ExportStatus { name: name.to_owned(), ..ExportStatus::default() };
    let meter = MeterView { meter: CHOSEN.to_owned(), ..MeterView::default() };
    metrics.show_ledger(&LedgerView { meters: vec![meter], ..LedgerView::default() });
    metrics.show_billing(&StatusView::default());
    metrics.show_exports(&[named(CHOSEN)]);
    metrics.show_leases(&LeaseTotals::default());
    Ok(parse(&metrics.encode(TextFormat::Plain)?))
}

/// Reads a text of metrics.
fn parse(text: &str) -> Vec<Described> {
    let mut all: Vec<Described> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>()).as_deref() {
            Some(["HELP", name, help]) => all.push(Described {
                name: (*name).to_owned(),
                help: help.trim_end_matches('.').to_owned(),
                ..Described::default()
            }),
            Some(["TYPE", _, kind]) => {
                if let Some(last) = all.last_mut() {
                    (*kind).clone_into(&mut last.kind);
                }
            }
            Some(_) => {}
            None => {
                if let Some(last) = all.last_mut() {
                    add_labels(last, line);
                }
            }
        }
    }
    all
}

/// Adds the labels of a series.
fn add_labels(described: &mut Described, series: &str) {
    let Some((_, rest)) = series.split_once('{') else { return };
    let Some((labels, _)) = rest.rsplit_once('}') else { return };
    for (label, value) in labels.split(',').filter_map(|pair| pair.split_once('=')).filter(|(label, _)| *label != "le")
    {
        let values = described.labels.entry(label.to_owned()).or_default();
        let value = value.trim_matches('"');
        if value != CHOSEN {
            values.insert(value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units in which a metric may be measured, at the end of its name; Prometheus's own conventions want base units.
    const UNITS: [&str; 4] = ["seconds", "bytes", "ratio", "records"];
    /// Ends of names that say a unit other than a base unit.
    const OTHER_UNITS: [&str; 8] = ["ms", "millis", "milliseconds", "minutes", "hours", "days", "kb", "percent"];

    fn is_snake(name: &str) -> bool {
        name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            && !name.starts_with(|letter: char| letter.is_ascii_digit())
            && !name.contains("__")
    }

    #[test]
    fn names_units_and_descriptions_keep_the_conventions() {
        let all = described().expect("a text");
        assert!(all.len() > 50, "{}", all.len());
        for Described { name, kind, help, labels } in &all {
            let bare = name.strip_suffix("_total").unwrap_or(name);
            assert!(name.starts_with("weir_") && is_snake(name), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            let end = bare.rsplit('_').next().unwrap_or_default();
            assert!(!OTHER_UNITS.contains(&end), "{name}: measure in one of {UNITS:?}");
            assert!(kind != "histogram" || UNITS.contains(&end), "{name}: a histogram says its unit");
            assert!(
                help.len() > 10 && help.len() <= 140 && help.starts_with(|c: char| c.is_uppercase() || c == '1'),
                "{name}: {help:?}"
            );
            assert!(labels.keys().all(|label| is_snake(label)), "{name}: {labels:?}");
            assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name}: {kind}");
        }
        let names: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "each name once");
    }

    #[test]
    fn labels_are_read_from_the_series() {
        let text = "# HELP weir_a_total Things.\n# TYPE weir_a_total counter\nweir_a_total{why=\"x\",meter=\"NAME\"} 1\nweir_a_total{why=\"y\",meter=\"NAME\"} 0\n";
        let labels = BTreeMap::from([
            ("meter".to_owned(), BTreeSet::new()),
            ("why".to_owned(), BTreeSet::from(["x".to_owned(), "y".to_owned()])),
        ]);
        let name = "weir_a_total".to_owned();
        assert_eq!(parse(text), [Described { name, kind: "counter".to_owned(), help: "Things".to_owned(), labels }]);
    }
}
