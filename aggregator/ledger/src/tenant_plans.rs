//! Plans of tenants over time. Bills of periods that are over go by the plan of then, whatever the tenants file says now.
//!
//! A row is written when the server sees that the tenants file says something else of a tenant. What it says of a tenant that was
//! never seen before counts from the tenant's beginning. A billing period has one plan: the last one that was in force in it. So a
//! tenant that changes its plan pays the whole period by the new one, and one that leaves pays its last period to the end.
use std::collections::HashMap;

use weir_contract::Timestamp;
use weir_database::{Connection, Row, params};

use super::LedgerError;
use crate::periods::{Anchor, Interval, Period};
use crate::query::LedgerReader;

/// The most changes that are kept of a tenant: one a day for nearly three years. From then on a change takes the place of the last one.
const CHANGES_MAX: usize = 1_000;

/// What the tenants file says of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanEntry {
    /// Its plan; None for a tenant that is gone.
    pub plan: Option<String>,
    /// Its `created_at`.
    pub created_at: Option<Timestamp>,
    /// Where its billing periods begin.
    pub anchor: Option<Anchor>,
}

/// The plans of a tenant, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanHistory(Vec<(Timestamp, PlanEntry)>);

/// The plans of tenants.
pub type PlanHistories = HashMap<String, PlanHistory>;

impl PlanHistory {
    /// The history of a tenant of which only the present is known.
    pub fn always(entry: PlanEntry) -> Self {
        PlanHistory(vec![(Timestamp::default(), entry)])
    }

    /// Adds what is known at a later moment.
    pub fn push(&mut self, since: Timestamp, entry: PlanEntry) {
        if self.last() != Some(&entry) {
            self.0.push((since, entry));
        }
    }

    /// The tenant is gone.
    pub fn leave(&mut self, since: Timestamp) {
        let last = self.last().cloned().unwrap_or_default();
        self.push(since, PlanEntry { plan: None, ..last });
    }

    /// What was said last.
    pub fn last(&self) -> Option<&PlanEntry> {
        self.0.last().map(|(_, entry)| entry)
    }

    /// The last plan that was in force in a billing period.
    pub fn in_period(&self, period: &Period) -> Option<&str> {
        let mut end = period.end;
        for (since, entry) in self.0.iter().rev().filter(|(since, _)| *since < period.end) {
            if end <= period.start {
                return None;
            }
            if let Some(plan) = &entry.plan {
                return Some(plan);
            }
            end = *since;
        }
        None
    }
}

/// What is known of all tenants at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlansNow {
    /// Tenants that are there.
    pub present: HashMap<String, PlanEntry>,
    /// Tenants that have left, as they were.
    pub left: HashMap<String, PlanEntry>,
}

impl PlansNow {
    /// Completes what was noted of tenants by what is known at `now`.
    pub fn complete(&self, noted: &mut PlanHistories, now: Timestamp) {
        for (tenant, history) in noted.iter_mut() {
            match self.present.get(tenant) {
                Some(entry) => history.push(now, entry.clone()),
                None => history.leave(now),
            }
        }
        for (tenant, entry) in self.present.iter().chain(&self.left) {
            noted.entry(tenant.clone()).or_insert_with(|| PlanHistory::always(entry.clone()));
        }
    }
}

/// Notes what differs at `now` from what was noted before. Returns how many tenants changed.
pub fn note(db: &mut Connection, plans: &PlansNow, now: Timestamp) -> Result<usize, LedgerError> {
    let tx = db.transaction()?;
    let known = read(&tx, None)?;
    let mut changed = 0;
    for (tenant, entry) in &plans.present {
        changed += usize::from(note_one(&tx, tenant, known.get(tenant), entry, now)?);
    }
    for (tenant, entry) in plans.left.iter().filter(|(tenant, _)| !known.contains_key(*tenant)) {
        changed += usize::from(note_one(&tx, tenant, None, entry, now)?);
    }
    for (tenant, history) in known.iter().filter(|(tenant, _)| !plans.present.contains_key(*tenant)) {
        let gone = PlanEntry { plan: None, ..history.last().cloned().unwrap_or_default() };
        changed += usize::from(note_one(&tx, tenant, Some(history), &gone, now)?);
    }
    tx.commit()?;
    Ok(changed)
}

fn note_one(
    db: &Connection,
    tenant: &str,
    history: Option<&PlanHistory>,
    entry: &PlanEntry,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let Some((since, last)) = history.and_then(|history| history.0.last()) else {
        write(db, tenant, Timestamp::default(), entry)?;
        return Ok(true);
    };
    if last == entry {
        return Ok(false);
    }
    let is_full = history.is_some_and(|history| history.0.len() >= CHANGES_MAX);
    // Another created_at or anchor is a correction: it takes the place of the one before. A clock that was set back makes no new row.
    let corrects = last.plan == entry.plan || is_full || now <= *since;
    write(db, tenant, if corrects { *since } else { now }, entry)?;
    Ok(true)
}

fn write(db: &Connection, tenant: &str, since: Timestamp, entry: &PlanEntry) -> Result<(), LedgerError> {
    let sql = "INSERT INTO tenant_plan(tenant, since, plan, created_at, anchor_at, anchor_interval)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (tenant, since) DO UPDATE SET plan = excluded.plan, created_at = excluded.created_at,
                 anchor_at = excluded.anchor_at, anchor_interval = excluded.anchor_interval";
    db.prepare_cached(sql)?.execute(params![
        tenant,
        since.as_millis(),
        entry.plan,
        entry.created_at.map(Timestamp::as_millis),
        entry.anchor.map(|anchor| anchor.at.as_secs()),
        entry.anchor.map(|anchor| anchor.interval.as_str()),
    ])?;
    Ok(())
}

fn read(db: &Connection, tenant: Option<&str>) -> Result<PlanHistories, LedgerError> {
    let chosen = if tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL OR tenant = ?1" };
    let sql = format!(
        "SELECT tenant, since, plan, created_at, anchor_at, anchor_interval FROM tenant_plan
         WHERE {chosen} ORDER BY tenant, since"
    );
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query([tenant])?;
    let mut histories = PlanHistories::new();
    while let Some(row) = rows.next()? {
        let history: &mut PlanHistory = histories.entry(row.get(0)?).or_default();
        history.0.push((Timestamp::from_millis(row.get(1)?), entry(&row)?));
    }
    Ok(histories)
}

fn entry(row: &Row<'_>) -> Result<PlanEntry, weir_database::Error> {
    let interval: Option<String> = row.get(5)?;
    let anchor = |at| Anchor {
        at: Timestamp::from_secs(at),
        interval: Interval::parse(interval.as_deref().unwrap_or_default()),
    };
    Ok(PlanEntry {
        plan: row.get(2)?,
        created_at: row.get::<_, Option<u64>>(3)?.map(Timestamp::from_millis),
        anchor: row.get::<_, Option<u64>>(4)?.map(anchor),
    })
}

impl LedgerReader {
    /// The plans that were noted, of one tenant or of all.
    pub fn plan_histories(&mut self, tenant: Option<&str>) -> Result<PlanHistories, LedgerError> {
        read(self.connection(), tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn month(day: &str) -> Period {
        Anchor::default().period(time(&format!("{day}T12:00:00Z")))
    }

    fn ledger() -> Connection {
        let db = Connection::open_in_memory().expect("opened");
        db.execute_batch(include_str!("migrations/18_tenant_plans.sql")).expect("made");
        db
    }

    fn says(tenants: &[(&str, &str)]) -> PlansNow {
        let entry = |plan: &str| PlanEntry { plan: Some(plan.to_owned()), ..PlanEntry::default() };
        let present = tenants.iter().map(|(tenant, plan)| ((*tenant).to_owned(), entry(plan))).collect();
        PlansNow { present, ..PlansNow::default() }
    }

    fn plan(db: &Connection, day: &str) -> Option<String> {
        read(db, Some("t"))
            .expect("read")
            .get("t")
            .and_then(|history| history.in_period(&month(day)).map(str::to_owned))
    }

    #[test]
    fn a_period_that_is_over_keeps_its_plan() {
        let mut db = ledger();
        note(&mut db, &says(&[("t", "basic")]), time("2026-10-20T00:00:00Z")).expect("noted");
        assert_eq!(note(&mut db, &says(&[("t", "basic")]), time("2026-10-21T00:00:00Z")).expect("noted"), 0);
        note(&mut db, &says(&[("t", "pro")]), time("2026-11-28T09:00:00Z")).expect("noted");
        assert_eq!(plan(&db, "2026-09-01").as_deref(), Some("basic"), "the first plan counts from the beginning");
        assert_eq!(plan(&db, "2026-10-01").as_deref(), Some("basic"));
        assert_eq!(plan(&db, "2026-11-01").as_deref(), Some("pro"), "a whole period goes by its last plan");
    }

    #[test]
    fn a_tenant_that_leaves_keeps_its_plan_to_the_end_of_the_period() {
        let mut db = ledger();
        note(&mut db, &says(&[("t", "basic")]), time("2026-10-20T00:00:00Z")).expect("noted");
        note(&mut db, &says(&[]), time("2026-11-05T00:00:00Z")).expect("noted");
        let of = |day| plan(&db, day);
        assert_eq!((of("2026-11-28").as_deref(), of("2026-12-01")), (Some("basic"), None));
        note(&mut db, &says(&[("t", "pro")]), time("2027-02-05T00:00:00Z")).expect("noted");
        let of = |day| plan(&db, day);
        assert_eq!(
            (of("2026-11-28").as_deref(), of("2027-01-31"), of("2027-02-01").as_deref()),
            (Some("basic"), None, Some("pro"))
        );
    }

    #[test]
    fn another_created_at_corrects_the_one_before_and_stays_when_the_tenant_leaves() {
        let mut db = ledger();
        let anchor = Anchor { at: time("2026-01-31T10:37:22Z"), interval: Interval::Week };
        let entry = |created: &str| PlanEntry {
            plan: Some("basic".to_owned()),
            created_at: Some(time(created)),
            anchor: Some(anchor),
        };
        for created in ["2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z"] {
            let present = HashMap::from([("t".to_owned(), entry(created))]);
            note(&mut db, &PlansNow { present, ..PlansNow::default() }, time("2026-10-20T00:00:00Z")).expect("noted");
        }
        note(&mut db, &PlansNow::default(), time("2026-11-05T00:00:00Z")).expect("noted");
        let history = read(&db, None).expect("read").remove("t").expect("known");
        assert_eq!(history.0.len(), 2);
        assert_eq!(history.last(), Some(&PlanEntry { plan: None, ..entry("2026-10-02T00:00:00Z") }));
    }

    #[test]
    fn the_present_completes_what_was_noted() {
        let mut db = ledger();
        note(&mut db, &says(&[("t", "basic"), ("gone", "basic")]), time("2026-10-20T00:00:00Z")).expect("noted");
        let mut histories = read(&db, None).expect("read");
        says(&[("t", "pro"), ("new", "pro")]).complete(&mut histories, time("2026-11-28T00:00:00Z"));
        let of = |tenant: &str, day| histories[tenant].in_period(&month(day)).map(str::to_owned);
        assert_eq!((of("t", "2026-10-31").as_deref(), of("t", "2026-11-01").as_deref()), (Some("basic"), Some("pro")));
        assert_eq!((of("gone", "2026-11-30").as_deref(), of("gone", "2026-12-01")), (Some("basic"), None));
        assert_eq!(of("new", "2026-10-31").as_deref(), Some("pro"));
    }

    #[test]
    fn changes_beyond_the_bound_take_the_place_of_the_last_one() {
        let mut db = ledger();
        for number in 0..CHANGES_MAX as u64 + 5 {
            let plan = format!("p{number}");
            note(&mut db, &says(&[("t", &plan)]), Timestamp::from_millis(1_000 + number)).expect("noted");
        }
        let history = read(&db, None).expect("read").remove("t").expect("known");
        assert_eq!(history.0.len(), CHANGES_MAX);
        assert_eq!(history.last().and_then(|entry| entry.plan.as_deref()), Some("p1004"));
    }
}
