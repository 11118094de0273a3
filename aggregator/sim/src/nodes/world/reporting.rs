//! The owner reports to a billing provider: the real outbox, and a provider that counts each identifier once.
use std::collections::{BTreeMap, HashMap};

use weir_billing::outbox::policy::{BillingPolicy, Late};
use weir_billing::outbox::rows::Claimed;
use weir_billing::outbox::{BillingError, close, rows, sender};
use weir_billing::{Account, Answer, MeterEvent, ProviderMessage};
use weir_contract::Timestamp;
use weir_database::Connection;

use super::{Caller, Server, Way, World};
use crate::machine::{LEDGER, Machine};

/// The meters that are billed, and their names at the provider.
const METERS: [(&str, &str); 2] = [("requests", "weir_requests"), ("input_tokens", "weir_input_tokens")];
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Hours are closed before they end, so that rows come early and are corrected.
const AHEAD_MS: u64 = 2 * 3_600_000;
/// Calls at once.
const CALLS: usize = 3;

/// What the provider has taken, by identifier.
#[derive(Debug, Default)]
pub(in crate::nodes) struct Provider(BTreeMap<String, MeterEvent>);

impl Provider {
    /// Takes an amount; an error if its identifier was another amount's.
    pub(super) fn take(&mut self, event: &MeterEvent) -> Result<Answer, String> {
        let known = self.0.entry(event.identifier.clone()).or_insert_with(|| event.clone());
        if (known.value, &known.customer, &known.event_name) != (event.value, &event.customer, &event.event_name) {
            return Err(format!("the identifier {} comes again with another amount", event.identifier));
        }
        if known.idempotency_key == event.idempotency_key {
            return Ok(Answer::Taken { request_id: None });
        }
        Ok(Answer::Duplicate(message("an event already exists")))
    }

    fn sum(&self, customer: &str, event_name: &str) -> i64 {
        let own = |event: &&MeterEvent| event.customer == customer && event.event_name == event_name;
        self.0.values().filter(own).map(|event| event.value).sum()
    }
}

fn message(words: &str) -> ProviderMessage {
    ProviderMessage { detail: words.to_owned(), request_id: None }
}

fn unsure() -> Answer {
    Answer::Unsure { message: message("no answer"), after: None, key_used_up: false }
}

fn customer(tenant: &str) -> String {
    format!("cus_{tenant}")
}

/// The reporting of an owner.
pub(in crate::nodes) struct Reporting {
    policy: BillingPolicy,
    heard: Vec<(Claimed, Answer)>,
    /// A claim failed: rows may be marked as under way that nobody sends. As `Reporter::run` does, it begins anew then.
    is_lost: bool,
}

impl Reporting {
    /// Becomes the sender; None if that fails.
    pub(super) fn start(world: &World, machine: &mut Machine) -> Option<Self> {
        let now = Timestamp::from_millis(world.now());
        let customers: HashMap<String, String> =
            TENANTS.map(|tenant| (tenant.to_owned(), customer(tenant))).into_iter().collect();
        let begun = machine.ask(move |ledger| {
            close::note_tenants(ledger, &customers, &HashMap::new(), now)?;
            let epoch = ledger.durably(|db| sender::take_over(db, "the ledger", now))?;
            Ok::<_, BillingError>((epoch, ledger.id().to_owned()))
        });
        let Some(Ok((epoch, ledger))) = begun else { return None };
        let policy = BillingPolicy {
            ledger,
            account: Account { id: "acct_sim".to_owned(), livemode: true },
            event_names: METERS.map(|(meter, name)| (meter.to_owned(), name.to_owned())).into(),
            grace_ms: 0,
            invoice_delay_ms: 3_600_000,
            late: Late::Hold,
            epoch,
        };
        Some(Reporting { policy, heard: Vec::new(), is_lost: false })
    }

    /// Closes hours, settles what was heard, and calls the provider.
    pub(super) fn turn(&mut self, world: &World, machine: &mut Machine, me: Caller) {
        if self.is_lost {
            if let Some(anew) = Reporting::start(world, machine) {
                *self = anew;
            }
            return;
        }
        let (policy, now) = (self.policy.clone(), Timestamp::from_millis(world.now()));
        if world.draw(3) == 0 {
            let closed = machine
                .ask(move |ledger| ledger.durably(|db| close::step(db, &policy, now.plus_millis(AHEAD_MS), now)));
            match closed {
                Some(Ok((made, _))) => world.summary.borrow_mut().add_to("rows made", made),
                Some(Err(error)) => world.say(|| format!("cannot close: {error}")),
                None => {}
            }
            return;
        }
        let heard = self.heard.clone();
        let claimed =
            machine.ask(move |ledger| ledger.durably(|db| rows::settle_and_claim(db, &policy, &heard, CALLS, now)));
        let claimed = match claimed {
            Some(Ok(claimed)) => claimed,
            Some(Err(error)) => {
                world.say(|| format!("cannot report: {error}"));
                self.is_lost = true;
                return;
            }
            None => return,
        };
        self.heard.clear();
        for claimed in claimed {
            let answer = call(world, me, &claimed.event);
            world.say(|| format!("reports {} as {}: {answer:?}", claimed.event.value, claimed.event.identifier));
            if !world.lives(me) {
                return;
            }
            self.heard.push((claimed, answer));
        }
    }
}

/// Calls the provider.
fn call(world: &World, me: Caller, event: &MeterEvent) -> Answer {
    match world.way(me, Server::Provider) {
        Way::There => world.provide(event),
        Way::LostBefore => unsure(),
        Way::LostAfter => {
            world.provide(event);
            // An error of the provider is its answer to every attempt under the same key.
            let key_used_up = world.draw(2) == 0;
            Answer::Unsure { message: message("no answer"), after: None, key_used_up }
        }
        Way::Late(after) => {
            world.later_provided(event.clone(), after);
            unsure()
        }
    }
}

impl World {
    /// The provider takes an amount.
    pub(super) fn provide(&self, event: &MeterEvent) -> Answer {
        self.met("reported");
        let taken = self.provider.borrow_mut().take(event);
        taken.unwrap_or_else(|wrong| {
            self.breaks(wrong);
            unsure()
        })
    }

    /// How many rows are not reported yet.
    pub(super) fn unreported(&self) -> Result<u64, String> {
        let sql = "SELECT (SELECT count(*) FROM outbox WHERE state <> 'reported')
                     + (SELECT count(*) FROM usage WHERE outboxed <> billable AND meter IN ('requests', 'input_tokens'))";
        let db = Connection::open_read_only(LEDGER).map_err(|error| error.to_string())?;
        db.query_row(sql, [], |row| row.get(0)).map_err(|error| error.to_string())
    }

    /// Compares what the provider has taken with the sums.
    pub(super) fn check_reported(&self) -> Result<(), String> {
        let db = Connection::open_read_only(LEDGER).map_err(|error| error.to_string())?;
        let sql = "SELECT coalesce(sum(billable), 0) FROM usage WHERE tenant = ?1 AND meter = ?2";
        for (tenant, (meter, name)) in TENANTS.into_iter().flat_map(|tenant| METERS.map(|meter| (tenant, meter))) {
            let summed: i64 =
                db.query_row(sql, [tenant, meter], |row| row.get(0)).map_err(|error| error.to_string())?;
            let reported = self.provider.borrow().sum(&customer(tenant), name);
            if reported != summed {
                return Err(format!("{tenant} {meter}: {summed} is summed, and {reported} is reported"));
            }
        }
        Ok(())
    }
}
