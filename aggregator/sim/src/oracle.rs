//! The oracle: compares the known results of every attempt with the tables.
//!
//! It reads the tables by SQL and shares no code with the aggregator. An attempt without an answer may or may not have
//! reached the log. So a sum has a lower bound, everything acknowledged, and an upper bound, everything sent. Once
//! everything is answered, both are equal.
use std::collections::BTreeMap;

use serde_json::Value;
use weir_database::{Connection, OptionalExtension};

use super::gateways::{Amount, Gateways, Item};
use super::machine::LEDGER;

type Key = (u64, &'static str, &'static str, &'static str);
type Result<T> = std::result::Result<T, String>;

/// The lower and upper bound of every sum.
type Bounds = BTreeMap<Key, (u64, u64)>;

fn sql(error: weir_database::Error) -> String {
    format!("the tables cannot be read: {error}")
}

fn key(amount: &Amount) -> Key {
    (amount.0, amount.1, amount.2, amount.3)
}

fn bounds(items: &[Item], certain: impl Fn(&Item) -> bool) -> Bounds {
    let mut bounds = Bounds::new();
    for item in items {
        for amount in &item.amounts {
            let bound = bounds.entry(key(amount)).or_default();
            bound.0 += if certain(item) { amount.4 } else { 0 };
            bound.1 += if item.accepted + item.unknown > 0 { amount.4 } else { 0 };
        }
    }
    bounds
}

/// Every sum of the ledger, keyed as the items are.
fn sums(db: &Connection) -> Result<BTreeMap<(u64, String, String, String), u64>> {
    let union = "SELECT window_start, tenant, meter, '', billable FROM usage
                 UNION ALL SELECT window_start, tenant, meter, reason, amount FROM excluded
                 UNION ALL SELECT window_start, tenant, '', reason, count FROM refused
                 UNION ALL SELECT window_start, tenant, 'cost', currency, cost_units * 1000000000000 + cost_pico FROM cost";
    let mut select = db.prepare(union).map_err(sql)?;
    let rows = select.query_map([], |row| {
        Ok(((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?, row.get(3)?), row.get::<_, i64>(4)?))
    });
    rows.map_err(sql)?.map(|row| row.map(|(key, sum)| (key, sum.unsigned_abs())).map_err(sql)).collect()
}

fn check_sums(db: &Connection, items: &[Item], certain: impl Fn(&Item) -> bool) -> Result<()> {
    let (sums, bounds) = (sums(db)?, bounds(items, certain));
    for ((window, tenant, meter, reason), (low, high)) in &bounds {
        let key = (*window, (*tenant).to_owned(), (*meter).to_owned(), (*reason).to_owned());
        let sum = sums.get(&key).copied().unwrap_or(0);
        if sum < *low || sum > *high {
            let parts = parts(items, (*window, tenant, meter, reason));
            return Err(format!(
                "{tenant} {meter} {reason} in {window}: {sum} is not between {low} and {high}: {parts}"
            ));
        }
    }
    let known = |key: &(u64, String, String, String)| {
        bounds.keys().any(|k| (k.0, k.1, k.2, k.3) == (key.0, &key.1, &key.2, &key.3))
    };
    match sums.iter().find(|(key, sum)| **sum > 0 && !known(key)) {
        Some((key, sum)) => Err(format!("nobody sent what is summed as {key:?}: {sum}")),
        None => Ok(()),
    }
}

/// The items of a sum, for diagnosis.
fn parts(items: &[Item], key: Key) -> String {
    let part = |(number, item): (usize, &Item)| {
        let amount = item.amounts.iter().find(|amount| self::key(amount) == key)?.4;
        let Item { accepted, refused, unknown, time_ms, .. } = item;
        Some(format!(
            "item {number} of {amount} at {time_ms} ({accepted} accepted, {refused} refused, {unknown} unknown)"
        ))
    };
    items.iter().enumerate().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// Checks that hold at any time: nothing is counted that was not sent, and nothing twice.
pub(super) fn check_upper(gateways: &Gateways) -> Result<()> {
    let db = Connection::open(LEDGER).map_err(sql)?;
    check_sums(&db, &gateways.items, |_| false)?;
    check_ranges(&db, gateways, |_| false)
}

/// Checks that hold once everything is answered and counted: acknowledged items are counted once, and the others are
/// kept.
pub(super) fn check_all(gateways: &Gateways) -> Result<()> {
    let db = Connection::open(LEDGER).map_err(sql)?;
    check_sums(&db, &gateways.items, |item| item.accepted > 0)?;
    check_ranges(&db, gateways, |certain| certain)?;
    check_duplicates(&db, gateways)?;
    gateways.items.iter().try_for_each(|item| check_kept(&db, item))
}

/// Checks that each source's sent numbers are seen, and no others.
fn check_ranges(db: &Connection, gateways: &Gateways, must_be: impl Fn(bool) -> bool) -> Result<()> {
    let mut seen: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for (source, name) in gateways.sources.iter().enumerate() {
        let found = "SELECT ranges, accepted + quarantined FROM source WHERE name = ?1";
        let row: Option<(String, i64)> =
            db.query_row(found, [name], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(sql)?;
        let Some((text, booked)) = row else { continue };
        let json: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let pairs = json.as_array().into_iter().flatten();
        let ranges: Vec<(u64, u64)> = pairs.filter_map(|pair| Some((pair[0].as_u64()?, pair[1].as_u64()?))).collect();
        let numbers: u64 = ranges.iter().map(|(from, to)| to - from + 1).sum();
        if numbers != booked.unsigned_abs() {
            return Err(format!("{name}: {numbers} numbers seen, {booked} booked"));
        }
        seen.insert(source, ranges);
    }
    let sent = gateways.numbers();
    for ((source, number), certain) in &sent {
        let there = seen.get(source).is_some_and(|ranges| ranges.iter().any(|(a, b)| (a..=b).contains(&number)));
        if must_be(*certain) && !there {
            return Err(format!("number {number} of {} was answered and is missing", gateways.sources[*source]));
        }
    }
    for (source, ranges) in &seen {
        for number in ranges.iter().flat_map(|(from, to)| *from..=*to) {
            if !sent.contains_key(&(*source, number)) {
                return Err(format!("number {number} of {} was never sent and is seen", gateways.sources[*source]));
            }
        }
    }
    Ok(())
}

/// Checks that repeats are counted as repeats, at most as often as they were sent.
fn check_duplicates(db: &Connection, gateways: &Gateways) -> Result<()> {
    let counted: i64 =
        db.query_row("SELECT coalesce(sum(duplicates), 0) FROM source", [], |row| row.get(0)).map_err(sql)?;
    let placed = gateways.items.iter().filter(|item| item.place.is_some());
    let most: u64 = placed.map(|item| item.attempts().saturating_sub(1)).sum();
    if counted.unsigned_abs() > most {
        return Err(format!("{counted} repeats are counted, at most {most} were sent"));
    }
    Ok(())
}

/// Checks that an uncounted item is kept whole, with a fitting reason.
fn check_kept(db: &Connection, item: &Item) -> Result<()> {
    let refused = item.refused > 0 && item.accepted + item.unknown == 0;
    let conflicts = item.kind.is_conflict() && item.accepted > 0;
    if !refused && !conflicts {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&item.body);
    let sql_text = "SELECT reason FROM quarantine WHERE body = ?1";
    let reason: Option<String> = db.query_row(sql_text, [&item.body], |row| row.get(0)).optional().map_err(sql)?;
    match reason {
        None => Err(format!("refused or conflicting, and not kept: {text}")),
        Some(reason) if conflicts && item.unknown + item.refused == 0 && !reason.ends_with("_conflict") => {
            Err(format!("a conflict is kept as {reason}: {text}"))
        }
        _ => Ok(()),
    }
}
