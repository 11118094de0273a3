//! The budgets by which stages were evaluated last: the table `budget_known`. Another configuration is compared with them, after a restart as
//! well, so that history and audit say what it was and what it is now.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use weir_contract::Timestamp;
use weir_database::{Transaction, params};
use weir_ledger::{LedgerError, audit};

use crate::budget::Budget;
use crate::file::BudgetMode;
use crate::raise::AUTOMATIC;

/// The longest text about the change of one budget, in characters: its history and the audit show it.
const WORDS_MAX_CHARS: usize = 250;

/// How the configuration differs from the one before.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// What differs, by budget.
    words: HashMap<String, String>,
    /// The mode before, of budgets whose mode is another.
    modes: HashMap<String, BudgetMode>,
}

impl Differences {
    /// What differs of a budget; None if nothing does.
    pub(crate) fn of(&self, budget: &str) -> Option<&str> {
        self.words.get(budget).map(String::as_str)
    }

    /// The mode that a budget had before, if it is another.
    pub(crate) fn mode_before(&self, budget: &str) -> Option<BudgetMode> {
        self.modes.get(budget).copied()
    }
}

/// Compares the budgets with those known, notes in the audit what differs, and knows these from now on.
pub(crate) fn note(tx: &Transaction<'_>, budgets: &[Budget], now: Timestamp) -> Result<Differences, LedgerError> {
    let before = read(tx)?;
    let after: BTreeMap<&str, &str> = budgets.iter().map(|budget| (&*budget.name, &*budget.says)).collect();
    let mut found = Differences::default();
    for name in before.keys().map(String::as_str).chain(after.keys().copied()).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(name).map(String::as_str), after.get(name).copied());
        if was == is {
            continue;
        }
        let words = cut(&compared(was.map(fields), is.map(fields)));
        audit::note(tx, now, AUTOMATIC, "budgets.configuration", &format!("{name}: {words}"))?;
        let mode = was.and_then(|was| fields(was).get("mode").map(String::as_str).and_then(BudgetMode::from_name));
        let is_other = |mode: &BudgetMode| budgets.iter().any(|budget| *budget.name == *name && budget.mode != *mode);
        found.modes.extend(mode.filter(is_other).map(|mode| (name.to_owned(), mode)));
        found.words.insert(name.to_owned(), format!("the configuration changed: {words}"));
        match is {
            Some(says) => tx.execute(
                "INSERT INTO budget_known(budget, says) VALUES (?1, ?2)
                 ON CONFLICT (budget) DO UPDATE SET says = excluded.says",
                params![name, says],
            )?,
            None => tx.execute("DELETE FROM budget_known WHERE budget = ?1", [name])?,
        };
    }
    Ok(found)
}

/// Whether no budgets are known: there were none, or a version before counted by them, which noted less.
pub(crate) fn is_empty(tx: &Transaction<'_>) -> Result<bool, LedgerError> {
    Ok(tx.query_row("SELECT NOT EXISTS (SELECT 1 FROM budget_known)", [], |row| row.get(0))?)
}

fn read(tx: &Transaction<'_>) -> Result<BTreeMap<String, String>, LedgerError> {
    let mut select = tx.prepare("SELECT budget, says FROM budget_known")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The fields of a budget but for its name, each with its path: `stages.warn`.
fn fields(says: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(Value::Object(fields)) = serde_json::from_str(says) {
        fields
            .into_iter()
            .filter(|(name, _)| name != "name")
            .for_each(|(name, value)| flatten(name, value, &mut found));
    }
    found
}

fn flatten(path: String, value: Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            fields.into_iter().for_each(|(name, value)| flatten(format!("{path}.{name}"), value, into));
        }
        Value::String(text) => drop(into.insert(path, text)),
        other => drop(into.insert(path, other.to_string())),
    }
}

type Fields = BTreeMap<String, String>;

/// What differs, for people.
fn compared(was: Option<Fields>, is: Option<Fields>) -> String {
    let listed = |fields: Fields| fields.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>();
    let (was, is) = match (was, is) {
        (Some(was), Some(is)) => (was, is),
        (Some(was), None) => return format!("removed; it was: {}", listed(was).join(", ")),
        (None, is) => return format!("new: {}", listed(is.unwrap_or_default()).join(", ")),
    };
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let shown = |value: Option<&String>| value.map_or_else(|| "none".to_owned(), Clone::clone);
    let differing = names.into_iter().filter(|name| was.get(*name) != is.get(*name));
    differing
        .map(|name| format!("{name} {} (was {})", shown(is.get(name)), shown(was.get(name))))
        .collect::<Vec<_>>()
        .join(", ")
}

fn cut(words: &str) -> String {
    match words.char_indices().nth(WORDS_MAX_CHARS) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said_with_what_it_was() {
        let of = |was: &str, is: &str| compared(Some(fields(was)), Some(fields(is)));
        let was = r#"{"name": "b", "amount": "10", "stages": {"warn": 80, "degrade": 90}}"#;
        let is = r#"{"name": "b", "amount": "20", "stages": {"warn": 70, "degrade": 90}, "timezone": "UTC"}"#;
        assert_eq!(of(was, is), "amount 20 (was 10), stages.warn 70 (was 80), timezone UTC (was none)");
        assert_eq!(compared(Some(fields(was)), None), "removed; it was: amount 10, stages.degrade 90, stages.warn 80");
        assert_eq!(compared(None, Some(fields(r#"{"name": "b", "of": "cost"}"#))), "new: of cost");
        assert_eq!(cut(&"ä".repeat(300)).chars().count(), WORDS_MAX_CHARS + 1);
    }
}
