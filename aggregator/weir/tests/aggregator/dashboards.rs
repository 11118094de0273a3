//! The dashboards that are shipped show series that exist, by labels that they have.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const BOARDS: [(&str, &str); 2] = [
    ("operators", include_str!("../../../../examples/grafana/operators.json")),
    ("finance", include_str!("../../../../examples/grafana/finance.json")),
];
const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// The type and the labels of each series, as the page of metrics says.
fn known() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut known = BTreeMap::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `weir_")) {
        let cells: Vec<&str> = row.trim_start_matches("| ").split(" | ").collect();
        let labels = cells[2].split("; ").map(|label| label.split(':').next().unwrap_or_default().trim().to_owned());
        let labels: BTreeSet<String> = labels.filter(|label| !label.is_empty()).collect();
        let (name, kind) = (cells[0].trim_matches('`'), cells[1]);
        if kind == "histogram" {
            let buckets = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{name}_bucket"), ("counter".to_owned(), buckets));
        }
        known.insert(name.to_owned(), (kind.to_owned(), labels));
    }
    known
}

/// Every query of a dashboard with its legend.
fn queries(board: &Value) -> Vec<(String, String)> {
    let panels = board["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

/// The words of an expression that may be names.
fn words(expr: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in expr.char_indices().chain([(expr.len(), ' ')]) {
        match (c.is_ascii_alphanumeric() || c == '_', start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push((from, &expr[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// The labels by which an expression sums: `by (a, b)`.
fn summed_by(expr: &str) -> BTreeSet<String> {
    let lists = expr.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(|label| label.trim().to_owned()).collect::<Vec<_>>()).collect()
}

#[test]
fn every_panel_asks_for_series_and_labels_that_exist() {
    let known = known();
    for (name, text) in BOARDS {
        let board: Value = serde_json::from_str(text).expect("JSON");
        let queries = queries(&board);
        assert!(queries.len() > 15, "{name}: {}", queries.len());
        for (expr, legend) in queries {
            let named: Vec<&str> =
                words(&expr).into_iter().map(|(_, word)| word).filter(|word| word.starts_with("weir_")).collect();
            assert!(!named.is_empty(), "{name}: {expr} asks for nothing of weir's");
            for series in &named {
                let (kind, labels) = known.get(*series).unwrap_or_else(|| panic!("{name}: nothing is named {series}"));
                let grows = ["rate(", "increase("].iter().any(|call| expr.contains(&format!("{call}{series}")));
                assert!(kind == "counter" || !grows, "{name}: {series} is a {kind}, in {expr}");
                assert!(kind != "counter" || grows, "{name}: {series} only grows: ask for its rate, in {expr}");
                for label in summed_by(&expr) {
                    assert!(labels.contains(&label), "{name}: {series} has no label {label}");
                }
            }
            let shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            let summed = summed_by(&expr);
            shown.for_each(|label| assert!(summed.contains(label), "{name}: the legend of {expr} shows {label}"));
        }
    }
}

#[test]
fn every_panel_has_a_place_a_meaning_and_the_data_source_that_was_chosen() {
    for (name, text) in BOARDS {
        let board: Value = serde_json::from_str(text).expect("JSON");
        let panels = board["panels"].as_array().expect("panels");
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: ids are unique");
        let mut taken = BTreeSet::new();
        for panel in panels {
            let at = &panel["gridPos"];
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|field| at[field].as_u64().expect("a number"));
            assert!(x + w <= 24, "{name}: {panel}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} covers another panel", panel["title"]);
            }
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {panel}");
                assert!(panel["description"].as_str().is_some_and(|words| words.ends_with('.')), "{name}: {panel}");
            }
        }
        assert_eq!(board["templating"]["list"][0]["type"], "datasource");
    }
}

#[test]
fn prometheus_reads_every_query() {
    let promtool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/promtool/promtool");
    assert!(promtool.is_file(), "promtool is missing: run `make setup`");
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in BOARDS {
        let board: Value = serde_json::from_str(text).expect("JSON");
        let rule = |(at, (expr, _)): (usize, (String, String))| {
            let expr = expr.replace("$__rate_interval", "5m");
            serde_json::json!({"record": format!("panel:{at}"), "expr": expr})
        };
        let rules: Vec<Value> = queries(&board).into_iter().enumerate().map(rule).collect();
        let file = dir.path().join(format!("{name}.json"));
        let group = serde_json::json!({"groups": [{"name": name, "rules": rules}]});
        std::fs::write(&file, group.to_string()).expect("written");
        let output = Command::new(&promtool).args(["check", "rules"]).arg(&file).output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
    }
}
