//! A ledger with budgets over a log in memory, and a naive count beside it.
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::TestCaseError;
use weir_contract::Timestamp;
use weir_contract::stage::{BudgetStage, Scope, Stage};
use weir_database::Connection;
use weir_database::testing::place;
use weir_event_log::Record;
use weir_ledger::SqliteLedger;
use weir_ledger::amount::Pico;
use weir_ledger::meters::{self, Meters};
use weir_ledger::periods::{self, Anchor, Interval};
use weir_ledger::reprice::Request;
use weir_ledger::steering::MeasuredUse;
use weir_steer::acts;
use weir_steer::budget::{self, Budget};
use weir_steer::engine::{Engine, Rules, Signal};
use weir_steer::file::Measure;
use weir_steer::notice::held;
use weir_steer::raise::{self, NewRaise};
use weir_steer::view::{self, Transition};

use super::event::{self, ALL_LISTED, UNLISTED, prices};

const HOUR: u64 = 3_600_000;
pub(crate) const DAY_HOURS: u64 = 24;
/// 2026-11-16T12:00:00Z, a Monday: the first hour of events.
const START: Timestamp = Timestamp::from_millis(1_794_830_400_000);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) tenant: &'static str,
    pub(crate) model: &'static str,
    pub(crate) feature: &'static str,
    pub(crate) user: &'static str,
    pub(crate) key: &'static str,
    /// Hours after the first one.
    pub(crate) hour: u64,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

pub(crate) fn pico(text: &str) -> Pico {
    Pico::parse(text).expect("an amount")
}

pub(crate) struct World {
    _dir: tempfile::TempDir,
    path: PathBuf,
    ledger: SqliteLedger,
    budgets: Vec<Budget>,
    plans: HashMap<String, String>,
    signal: Arc<Signal>,
    /// Every counted event, with its price when it was counted, and its price today.
    events: Vec<(Used, u64, u64)>,
    price: u64,
    records: u64,
    hour: u64,
    anchors: BTreeMap<&'static str, Anchor>,
}

fn open(path: &std::path::Path, price: u64) -> SqliteLedger {
    let meters = Meters::new(meters::defaults(), Vec::new()).expect("good meters");
    let mut ledger = SqliteLedger::open(place(path), "a log", meters).expect("a ledger");
    ledger.set_prices(prices(price), START).expect("set");
    ledger
}

fn at(hour: u64) -> Timestamp {
    START.plus_millis(hour * HOUR)
}

impl World {
    pub(crate) fn new(budgets: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.sqlite");
        let ledger = open(&path, 2);
        let plans = [("acme", "paid"), ("globex", "free"), ("initech", "free")];
        let plans = plans.map(|(tenant, plan)| (tenant.to_owned(), plan.to_owned())).into();
        let (budgets, signal, anchors) = (compile(budgets), Arc::default(), BTreeMap::new());
        let (events, price, records, hour) = (Vec::new(), 2, 0, 0);
        let mut world =
            World { _dir: dir, path, ledger, budgets, plans, signal, events, price, records, hour, anchors };
        world.steer();
        world
    }

    fn rules(&self) -> Rules {
        Rules { budgets: self.budgets.clone().into(), plans: Arc::new(self.plans.clone()) }
    }

    fn steer(&mut self) {
        let engine = Engine::new(self.rules(), Arc::clone(&self.signal));
        self.ledger.set_steering(Some(Box::new(engine)), at(self.hour)).expect("reviewed");
    }

    /// Puts other budgets in use.
    pub(crate) fn set(&mut self, budgets: &str) {
        self.budgets = compile(budgets);
        self.steer();
    }

    /// Takes away what a version before did not note of budgets.
    pub(crate) fn as_before(&mut self, line: &str, before: &str) {
        let db = self.ledger.db();
        db.execute("DELETE FROM budget_known", []).expect("deleted");
        let sql = "UPDATE budget_use SET used = replace(used, ?1, ?2)";
        assert_eq!(db.execute(sql, [line, before]).expect("updated"), 1);
    }

    /// Puts other budgets in use, with a server that is restarted or that reads its file again.
    pub(crate) fn configure(&mut self, budgets: &str, restarts: bool) {
        self.budgets = compile(budgets);
        if restarts { self.restart() } else { self.steer() }
    }

    pub(crate) fn plan(&mut self, tenant: &str, plan: &str) {
        self.plans.insert(tenant.to_owned(), plan.to_owned());
        self.steer();
    }

    pub(crate) fn restart(&mut self) {
        self.ledger = open(&self.path, self.price);
        self.steer();
    }

    /// Uses another price from now on.
    pub(crate) fn price(&mut self, price: u64) {
        self.price = price;
        self.ledger.set_prices(prices(price), at(self.hour)).expect("set");
    }

    /// Prices everything since an hour again.
    pub(crate) fn reprice(&mut self, hour: u64) {
        let (who, why) = ("a test".to_owned(), "a slip".to_owned());
        let request = Request { from: at(hour), who, why, dry_run: false };
        self.ledger.reprice(at(self.hour), &request).expect("the ledger works").expect("repriced");
        let price = self.price;
        self.events.iter_mut().filter(|(used, ..)| used.hour >= hour).for_each(|(.., today)| *today = price);
    }

    /// Lets the billing periods of a tenant begin in the middle of an hour.
    pub(crate) fn anchor(&mut self, tenant: &'static str, hour: u64) {
        let anchor = Anchor { at: at(hour).plus_millis(HOUR / 2), interval: Interval::Day };
        self.anchors.insert(tenant, anchor);
        let anchors = HashMap::from([(tenant.to_owned(), anchor)]);
        periods::note_tenants_anchors(self.ledger.db(), &anchors).expect("noted");
        self.ledger.forget_splits();
    }

    fn record(&self, uses: &[Used], first: usize) -> Record {
        let request = |used: &Used| {
            let Used { tenant, model, feature, user, key, hour, input, output } = *used;
            event::Request { tenant, model, feature, user, key, time: at(hour), input, output }
        };
        let requests: Vec<_> = uses.iter().map(request).collect();
        event::record(self.records + 1, at(self.hour), first as u64, &requests)
    }

    /// Counts events of one record, which is received when the latest of all events ends.
    pub(crate) fn take(&mut self, uses: &[Used]) {
        self.hour = uses.iter().map(|used| used.hour).max().unwrap_or(0).max(self.hour);
        let record = self.record(uses, self.events.len());
        self.ledger.apply(std::slice::from_ref(&record)).expect("applied");
        self.records += 1;
        self.events.extend(uses.iter().map(|used| (*used, self.price, self.price)));
    }

    /// Counts events as a command does while no server runs.
    pub(crate) fn count_alone(&mut self, uses: &[Used]) {
        self.ledger.set_steering(None, at(self.hour)).expect("set");
        self.take(uses);
    }

    /// Fails to count events: a table of budgets cannot be written.
    pub(crate) fn fail(&mut self, uses: &[Used]) {
        let (fails, works) = match self.ledger.db().is_postgres() {
            true => ("FOR EACH ROW EXECUTE FUNCTION refuse_change('no')", "DROP TRIGGER fails ON budget_use"),
            false => ("BEGIN SELECT RAISE(ABORT, 'no'); END", "DROP TRIGGER fails"),
        };
        let fails = format!("CREATE TRIGGER fails BEFORE UPDATE ON budget_use {fails}");
        self.ledger.db().execute_batch(&fails).expect("set up");
        let record = self.record(uses, self.events.len());
        self.ledger.apply(std::slice::from_ref(&record)).expect_err("fails");
        self.ledger.db().execute_batch(works).expect("taken down");
    }

    pub(crate) fn raise(&mut self, budget: &str, subject: &str, amount: Option<&str>, until: u64) {
        let (who, why) = ("ann".to_owned(), "a campaign".to_owned());
        let (budget, subject) = (budget.to_owned(), subject.to_owned());
        let (amount, usual) = (amount.map(pico), weir_ledger::amount::Pico::ZERO);
        let new = NewRaise { subject, budget, amount, until: at(until), who, why, usual, is_whole: true, lowers: true };
        raise::add(self.ledger.db(), &new, at(self.hour)).expect("the ledger works").expect("raised");
        self.review(self.hour);
    }

    pub(crate) fn review(&mut self, hour: u64) {
        self.hour = hour;
        self.ledger.review_steering(at(hour), false).expect("reviewed");
    }

    /// Lets time pass without an event, as the server looks at what ends by itself.
    pub(crate) fn pass(&mut self, hour: u64) {
        self.hour = hour;
        while self.ledger.flush_steering(at(hour)).expect("flushed") {}
    }

    /// Lets time pass, and nobody look.
    pub(crate) fn move_to(&mut self, hour: u64) {
        self.hour = hour;
    }

    /// What the audit says of acts of this name, the first one first.
    pub(crate) fn audited(&mut self, act: &str) -> Vec<String> {
        let mut select =
            self.ledger.db().prepare("SELECT detail FROM audit WHERE act = ?1 ORDER BY id").expect("a statement");
        let rows = select.query_map([act], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("read")
    }

    /// The changes that people are still to be told of.
    pub(crate) fn untold(&self) -> Vec<Transition> {
        held::plan(&self.reader(), at(self.hour)).expect("read").told
    }

    /// Who did what, by the audit.
    pub(crate) fn audit(&mut self) -> Vec<(String, String)> {
        let mut select = self.ledger.db().prepare("SELECT who, act FROM audit ORDER BY id").expect("a statement");
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.collect::<Result<_, _>>().expect("read")
    }

    /// The changes that no person made, the latest first.
    pub(crate) fn automatic(&self) -> Vec<String> {
        acts::automatic(&self.reader(), 100).expect("read").into_iter().map(|entry| entry.detail).collect()
    }

    fn reader(&self) -> Connection {
        Connection::open(place(&self.path)).expect("a reader")
    }

    pub(crate) fn used(&self, budget: &str, tenant: &str, hour: u64) -> Pico {
        let views = view::of_tenant(&self.reader(), &self.rules(), tenant, at(hour)).expect("read");
        views.into_iter().find(|view| view.budget == budget).expect("it has the budget").used
    }

    /// The requests that the used amount of a budget lacks.
    pub(crate) fn lacking(&self, budget: &str, tenant: &str) -> u64 {
        let views = view::of_tenant(&self.reader(), &self.rules(), tenant, at(self.hour)).expect("read");
        views.into_iter().find(|view| view.budget == budget).expect("it has the budget").unpriced_requests
    }

    /// How many requests the amounts of budgets lack, since the start.
    pub(crate) fn unpriced(&self) -> u64 {
        self.signal.unpriced()
    }

    pub(crate) fn stage(&self, budget: &str, tenant: &str) -> Stage {
        let views = view::of_tenant(&self.reader(), &self.rules(), tenant, at(self.hour)).expect("read");
        views.into_iter().find(|view| view.budget == budget).expect("it has the budget").stage
    }

    pub(crate) fn history(&self, subject: &str, budget: &str) -> Vec<Transition> {
        view::history(&self.reader(), Some(subject), Some(budget), None, 100).expect("read")
    }

    /// What gateways are told of a tenant.
    pub(crate) fn told(&self, tenant: &str, hour: u64) -> Vec<BudgetStage> {
        view::in_force(&self.reader(), &self.rules(), at(hour)).expect("read").stages.remove(tenant).unwrap_or_default()
    }

    /// What gateways are told of groups of keys and of end users of a tenant.
    pub(crate) fn told_further(&self, tenant: &str, hour: u64) -> Vec<BudgetStage> {
        view::in_force(&self.reader(), &self.rules(), at(hour))
            .expect("read")
            .further
            .remove(tenant)
            .unwrap_or_default()
    }

    /// Hands over what was measured of a budget in its period at this hour.
    pub(crate) fn measure(&mut self, budget: &str, tenant: &str, used: &str, hour: u64) {
        self.hour = hour;
        let known = self.budgets.iter().find(|known| *known.name == *budget).expect("a budget");
        let period = known.period(Anchor::default, at(hour));
        let (subject, budget, used) = (tenant.to_owned(), budget.to_owned(), pico(used));
        let measured = MeasuredUse { subject, budget, start: period.start, end: period.end, used };
        self.ledger.note_measured(at(hour), &[measured]).expect("noted");
    }

    /// How often an end user was not counted.
    pub(crate) fn left_out(&self) -> u64 {
        self.signal.left_out()
    }

    pub(crate) fn evaluated_through(&self) -> u64 {
        self.signal.evaluated_through()
    }

    /// Compares every budget of every tenant, in every period that has an event, with all events.
    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        let reader = self.reader();
        for tenant in ["acme", "globex", "initech"] {
            for budget in &self.budgets {
                let applies = budget.applies(tenant, self.plans.get(tenant).map(String::as_str));
                if applies && budget.per_user {
                    self.check_users(&reader, tenant, budget)?;
                } else if applies {
                    self.check_budget(&reader, tenant, budget)?;
                }
            }
        }
        Ok(())
    }

    fn check_budget(&self, reader: &Connection, tenant: &str, budget: &Budget) -> Result<(), TestCaseError> {
        // A budget of some requests counts from when the tenant has it, and no price changes what it has counted.
        let anchor = self.anchors.get(tenant).copied().unwrap_or_default();
        let current = budget.period(|| anchor, at(self.hour));
        let mut sums: BTreeMap<_, i128> = BTreeMap::from([(current, 0)]);
        let mut lacking = 0;
        for (used, first, today) in &self.events {
            let paid = if budget.scope.is_whole() { today } else { first };
            let is_its = if budget.shared {
                budget.named_tenants().any(|one| one == used.tenant)
            } else {
                used.tenant == tenant
            };
            if is_its && covers(budget, used) {
                let period = budget.period(|| anchor, at(used.hour));
                *sums.entry(period).or_default() += measure(budget, used, *paid);
                lacking += u64::from(period == current && lacks(budget, used, *paid));
            }
        }
        let subject = budget.subject(tenant);
        for (period, sum) in sums {
            let rules = self.rules();
            let found = view::used_in_period(reader, &rules, (&subject, &budget.name), period.start).expect("read");
            if budget.scope.is_whole() || period != current {
                // A past period that nothing was added to since the budget came is not kept.
                let known = found.unwrap_or(Pico(if period == current { 0 } else { sum }));
                proptest::prop_assert_eq!(known, Pico(sum), "{} of {} from {}", budget.name, tenant, period.start);
            }
            if period == current {
                self.check_told(reader, tenant, budget, (Pico(sum), lacking))?;
            }
        }
        Ok(())
    }

    /// Compares what each end user has used in the current period.
    fn check_users(&self, reader: &Connection, tenant: &str, budget: &Budget) -> Result<(), TestCaseError> {
        let period = budget.period(Anchor::default, at(self.hour));
        let mut sums: BTreeMap<&str, (i128, u64)> = BTreeMap::new();
        let its = self.events.iter().filter(|(used, ..)| used.tenant == tenant && !used.user.is_empty());
        for (used, first, _) in its.filter(|(used, ..)| period.holds(at(used.hour))) {
            let (sum, lacking) = sums.entry(used.user).or_default();
            *sum += measure(budget, used, *first);
            *lacking += u64::from(lacks(budget, used, *first));
        }
        let told = view::in_force(reader, &self.rules(), at(self.hour)).expect("read");
        for (user, (sum, lacking)) in sums {
            let subject = format!("{tenant}#{user}");
            let key = (&*subject, &*budget.name);
            let found = view::used_in_period(reader, &self.rules(), key, period.start).expect("read");
            proptest::prop_assert_eq!(found, Some(Pico(sum)), "{} of {}", budget.name, subject);
            let is = |stage: &&BudgetStage| stage.scope == Scope::User(user.into()) && stage.budget == budget.name;
            let found = told.further.get(tenant).and_then(|all| all.iter().find(is)).map(|told| told.stage);
            let stage = budget.stage_lacking(Pico(sum), budget.amount(&subject), lacking);
            proptest::prop_assert_eq!(found.unwrap_or_default(), stage, "{} of {}", budget.name, subject);
        }
        Ok(())
    }

    fn check_told(
        &self,
        reader: &Connection,
        tenant: &str,
        budget: &Budget,
        (used, lacking): (Pico, u64),
    ) -> Result<(), TestCaseError> {
        let told = view::in_force(reader, &self.rules(), at(self.hour)).expect("read");
        let all = if budget.scope.is_further() { &told.further } else { &told.stages };
        let told = all.get(tenant).and_then(|all| all.iter().find(|stage| stage.budget == budget.name));
        let stage = budget.stage_lacking(used, budget.amount(&budget.subject(tenant)), lacking);
        let told = told.map_or(Stage::Ok, |told| told.stage);
        proptest::prop_assert_eq!(told, stage, "{} of {}", budget.name, tenant);
        Ok(())
    }
}

fn compile(budgets: &str) -> Vec<Budget> {
    budget::compile(&serde_saphyr::from_str::<Vec<_>>(budgets).expect("the shape")).expect("good budgets")
}

fn covers(budget: &Budget, used: &Used) -> bool {
    match &*budget.name {
        "search" => used.feature == "search",
        "large" => used.model.starts_with("large"),
        "team" => ["k1", "k2"].contains(&used.key),
        _ => true,
    }
}

fn lacks(budget: &Budget, used: &Used, price: u64) -> bool {
    budget.of == Measure::Cost && used.model == UNLISTED && price < ALL_LISTED
}

fn measure(budget: &Budget, used: &Used, price: u64) -> i128 {
    let one = 1_000_000_000_000;
    match budget.of {
        Measure::Cost if lacks(budget, used, price) => 0,
        Measure::Cost => i128::from(price * used.input) * 1_000_000,
        Measure::Requests => one,
        Measure::Tokens => i128::from(used.input + used.output) * one,
        Measure::InputTokens => i128::from(used.input) * one,
        Measure::OutputTokens => i128::from(used.output) * one,
        Measure::Revenue | Measure::Credits => panic!("they are not counted"),
    }
}
