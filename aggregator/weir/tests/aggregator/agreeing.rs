//! The replay of a price plan against Stripe: the same units, and the same money to the smallest unit.
use serde_json::{Value, json};
use weir::config::Config;
use weir_contract::Timestamp;
use weir_ledger::periods::Anchor;
use weir_money::amount::{Currency, Pico};
use weir_money::exact::Exact;
use weir_money::plans::file::{ChargeFile, PricePlanFile, TierFile};
use weir_money::plans::{PricePlans, Pricing, Tier};
use weir_money::revenue::{self, Used};
use weir_rig::stripe::{Price, PriceTier, Scheme};

use super::answering::{Billed, run};
use super::commands::json as printed;
use super::events::Worker;

const PLAN: &str = "\
price_plans:
- name: pro
  currency: EUR
  plans: [p]
  base_fee: 49
  minimum: 60
  charges:
  - {meter: requests, graduated: [{up_to: 5, per_unit: 0.333333}, {up_to: 20, per_unit: 0.25, flat: 1}, {per_unit: 0.1}]}
  - {meter: credits, included: 3, per_unit: 0.0725}
";

/// A decimal of cents.
fn cents(amount: Pico) -> String {
    Pico(amount.0 * 100).to_string()
}

fn tier(tier: &Tier) -> PriceTier {
    let flat_amount_decimal = (tier.flat != Pico::ZERO).then(|| cents(tier.flat));
    PriceTier { up_to: tier.up_to, unit_amount_decimal: cents(tier.per_unit), flat_amount_decimal }
}

/// A charge as a price at Stripe.
fn price(pricing: &Pricing, event_name: Option<&str>) -> Price {
    let tiers: Vec<PriceTier> = pricing.as_tiers().iter().map(tier).collect();
    let scheme = match pricing {
        Pricing::PerUnit { included: 0, price } => Scheme::PerUnit(cents(*price)),
        Pricing::PerUnit { .. } | Pricing::Graduated(_) => Scheme::Graduated(tiers),
        Pricing::Volume(_) => Scheme::Volume(tiers),
    };
    Price {
        currency: "eur",
        event_name: event_name.map(str::to_owned),
        lookup_key: Some("pro".to_owned()),
        scheme,
        active: true,
    }
}

fn plan() -> PricePlans {
    let meters = "meters: [{name: requests, sum: requests}, {name: credits, sum: input_tokens}]\n";
    let config = Config::parse(std::path::Path::new("weir.yaml"), &format!("{meters}{PLAN}"));
    config.expect("a good plan").finances.plans
}

/// A server with the plan, and an account with its prices.
async fn shop() -> (Billed, Vec<(String, Price)>) {
    let billed = Billed::start_configured(&["ai_requests", "ai_credits"], 1_000, PLAN).await;
    let plans = plan();
    let of = |charge: &weir_money::plans::Charge| {
        let name = format!("ai_{}", charge.meter);
        (charge.meter.clone(), price(&charge.pricing, Some(&name)))
    };
    let prices: Vec<(String, Price)> = plans.versions()[0].charges.iter().map(of).collect();
    let fee = Pricing::PerUnit { included: 0, price: plans.versions()[0].base_fee };
    for price in prices.iter().map(|(_, price)| price.clone()).chain([price(&fee, None)]) {
        billed.stripe.stripe().add_price(price);
    }
    (billed, prices)
}

/// The lines of a meter in weir's replay, in cents, and their units.
fn replayed(view: &Value, meter: &str) -> (Vec<i128>, i64) {
    let euro = Currency::parse("EUR").expect("a currency");
    let lines = view["bills"][0]["lines"].as_array().expect("lines");
    let of_meter = || lines.iter().filter(|line| line["meter"] == meter);
    let amount =
        |line: &Value| Pico::parse(line["amount"].as_str().expect("an amount")).expect("a decimal").minor_units(euro);
    let units =
        of_meter().filter(|line| line["kind"] != "flat").map(|line| line["quantity"].as_i64().expect("units")).sum();
    (of_meter().map(amount).collect(), units)
}

/// Compares every meter of the replay with what Stripe has, times Stripe's price.
async fn agrees(billed: &Billed, prices: &[(String, Price)]) {
    let view = billed.server.json("/v1/bill?tenant=acme").await;
    for (meter, price) in prices {
        let reported = billed.stripe.stripe().total("cus_acme", &format!("ai_{meter}"));
        let (lines, units) = replayed(&view, meter);
        assert_eq!(units, reported, "{meter}: {view}");
        let theirs: Vec<i128> = price.lines(reported.unsigned_abs()).into_iter().map(i128::from).collect();
        assert_eq!(lines, theirs, "{meter}: {view}");
    }
}

#[tokio::test]
async fn the_replay_equals_what_is_reported_times_stripe_s_price() {
    let (billed, prices) = shop().await;
    let worker = Worker::new(1, billed.now);
    for round in 0..4_u64 {
        billed.post(&(1..=9).map(|n| worker.usage(round * 9 + n)).collect::<Vec<_>>()).await;
        billed.report().await;
        agrees(&billed, &prices).await;
    }
}

#[tokio::test]
async fn corrections_by_hand_and_late_events_change_replay_and_stripe_alike() {
    let (billed, prices) = shop().await;
    let (worker, late) = (Worker::new(1, billed.now), Timestamp::from_millis(billed.now.as_millis() - 3 * 3_600_000));
    billed.post(&(1..=30).map(|n| worker.usage(n)).collect::<Vec<_>>()).await;
    billed.report().await;
    billed.post(&(1..=7).map(|n| Worker::new(2, late).usage(n)).collect::<Vec<_>>()).await;
    billed.report().await;
    agrees(&billed, &prices).await;
    let adjust = |value: i64| json!({"tenant": "acme", "meter": "requests", "window": billed.now, "value": value, "why": "outage"});
    for value in [-12, 5] {
        billed.server.ask("/v1/adjust", &adjust(value)).await;
        billed.report().await;
        agrees(&billed, &prices).await;
    }
}

#[tokio::test]
async fn prices_at_stripe_that_say_something_else_are_found() {
    let (billed, _) = shop().await;
    let dir = billed.server.dir.path();
    let same = run(dir, &["stripe", "prices", "--json"]).await;
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let view = printed(&same);
    let states: Vec<(&str, &str)> = view["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["of"].as_str().expect("of"), row["state"].as_str().expect("state")))
        .collect();
    assert_eq!(
        states,
        [("base_fee", "same"), ("credits", "same"), ("requests", "same"), ("minimum", "not_reported")],
        "{view}"
    );
    let path = dir.join("weir.yaml");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replace("per_unit: 0.25", "per_unit: 0.26").replace("included: 3", "included: 4"))
        .expect("written");
    let found = async {
        loop {
            let differs = run(dir, &["stripe", "prices"]).await;
            if differs.status.code() == Some(3) {
                return String::from_utf8(differs.stdout).expect("text");
            }
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(60), found).await.expect("the difference");
    assert!(text.contains("tier 2: a unit costs 0.25 EUR at Stripe, 0.26 in the plan"), "{text}");
    assert!(text.contains("tier 1: up to 3 at Stripe, 4 in the plan"), "{text}");
}

/// A random charge: prices of up to ten decimals, tiers of all kinds.
fn any_charge(random: &mut fastrand::Rng) -> ChargeFile {
    let mut charge = ChargeFile {
        meter: "tokens".to_owned(),
        included: None,
        per_unit: None,
        graduated: None,
        volume: None,
        currency: None,
    };
    // Stripe's prices have twelve decimals of a cent, so amounts with up to ten can be told to it.
    let mut amount = |most: u64| Some(Pico(i128::from(random.u64(0..most)) * 100));
    let (unit, mut tiers, mut end) = (amount(20_000_000_000), Vec::new(), 0);
    for number in 0..4 {
        end += 1 + u64::try_from(amount(40).map_or(0, |amount| amount.0 / 100)).unwrap_or(0);
        let up_to = (number < 3).then_some(end);
        tiers.push(TierFile { up_to, per_unit: amount(20_000_000_000), flat: amount(20_000_000_000) });
    }
    match random.u8(0..3) {
        0 => (charge.per_unit, charge.included) = (unit, Some(random.u64(0..50))),
        1 => charge.graduated = Some(tiers),
        _ => charge.volume = Some(tiers),
    }
    charge
}

#[test]
fn ten_thousand_random_charges_cost_the_same_at_stripe() {
    let (mut random, euro) = (fastrand::Rng::with_seed(17), Currency::parse("EUR").expect("a currency"));
    let period = Anchor::default().period(Timestamp::parse("2028-02-10T00:00:00Z").expect("a time"));
    for _ in 0..10_000 {
        let plan = PricePlanFile {
            name: "p".to_owned(),
            currency: euro,
            effective_from: None,
            plans: Vec::new(),
            tenants: Vec::new(),
            base_fee: None,
            minimum: None,
            per_request: None,
            charges: vec![any_charge(&mut random)],
            credits: None,
            cost_plus: None,
            prorate: None,
        };
        let plans = PricePlans::new(vec![plan], &["tokens".to_owned()]).expect("a good plan");
        let (plan, units) = (&plans.versions()[0], random.u64(0..200));
        let used = Used { units: [("tokens".to_owned(), units)].into_iter().collect(), cost: Pico::ZERO };
        let bill = revenue::bill(&[(revenue::whole(plan, period), used)], &[], period.end);
        let theirs: i64 = price(&plan.charges[0].pricing, None).lines(units).iter().sum();
        assert_eq!(bill.minor_units(euro), i128::from(theirs), "{units} units of {:?}", plan.charges[0]);
    }
}
