//! The line of an invoice breaks down into parts that add up, whatever happened to its rows: in the table, as CSV and as
//! JSON.
use std::time::Duration;

use serde_json::{Value, json};
use weir_contract::Timestamp;

use super::answering::{run, sum};
use super::commands::json as printed;
use super::events::{Worker, batch};
use super::holding::World;

const HOUR: Duration = Duration::from_secs(3_600);
const HOURS_MS: u64 = 3_600_000;

/// The amount billed in a period, after all three formats have added up to it.
struct Explained {
    view: Value,
    csv: String,
}

impl Explained {
    /// Explains acme's requests between two hours, counted from the start of the world.
    async fn of(world: &World, from_h: i64, to_h: i64) -> Self {
        let at = |hours: i64| {
            Timestamp::from_millis(world.now.as_millis().saturating_add_signed(hours * HOURS_MS.cast_signed()))
        };
        let period = format!("{}/{}", at(from_h), at(to_h));
        let explain = ["explain", "cus_acme", "weir_requests", &period];
        let shown = |more: &'static str| [&explain[..], &[more]].concat();
        let dir = world.server.dir.path();
        let view = printed(&run(dir, &shown("--json")).await);
        let csv = run(dir, &shown("--csv")).await;
        let table = run(dir, &explain).await;
        assert_eq!((csv.status.code(), table.status.code()), (Some(0), Some(0)), "{csv:?} {table:?}");
        let (csv, table) = [csv, table].map(|output| String::from_utf8(output.stdout).expect("text")).into();
        let explained = Explained { view, csv };
        explained.adds_up(&table);
        let stripe = world.stripe.stripe();
        let (from, to) = (at(from_h).as_secs().cast_signed(), at(to_h).as_secs().cast_signed());
        assert_eq!(explained.billed(), stripe.total_between("cus_acme", "weir_requests", from, to), "Stripe's number");
        explained
    }

    fn billed(&self) -> i64 {
        self.view["billed"].as_i64().expect("a number")
    }

    fn adds_up(&self, table: &str) {
        let billed = self.billed();
        assert_eq!(self.view["invoice"]["cus_acme"]["weir_requests"], billed, "{}", self.view);
        assert_eq!(sum(&self.csv), i128::from(billed) * 1_000_000_000, "{}", self.csv);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines[0].starts_with(&["cus_acme,", "weir_requests,"]), "{table}");
        assert_eq!(lines[0].last(), Some(&billed.to_string().as_str()), "{table}");
        let number = |word: &str| word.parse::<i64>().expect("a number");
        // row, kind, window, tenant, revision, value, state.
        let rows = lines.iter().filter(|words| words.get(6) == Some(&"reported"));
        let adjusted = rows.clone().filter(|words| words[1] == "adjustment").map(|words| number(words[5])).sum::<i64>();
        assert_eq!(rows.map(|words| number(words[5])).sum::<i64>(), billed, "{table}");
        let windows = lines.iter().filter(|words| words.first().is_some_and(|word| Timestamp::parse(word).is_some()));
        let windows: i64 = windows.filter_map(|words| words.last()).map(|word| number(word)).sum();
        assert_eq!(windows + adjusted, billed, "{table}");
    }

    /// The windows, each as counted, billed elsewhere, waiting, and billed here.
    fn windows(&self) -> Vec<[i64; 4]> {
        let of = |window: &Value| {
            ["counted", "billed_elsewhere", "waiting", "billed"].map(|part| window[part].as_i64().expect("a number"))
        };
        self.view["windows"].as_array().expect("windows").iter().map(of).collect()
    }
}

#[tokio::test]
async fn corrections_by_hand_are_lines_with_a_name_and_held_ones_bill_nothing() {
    let world = World::start("month").await;
    let worker = Worker::new(1, world.now);
    world.server.post(batch(&(1..=5).map(|n| worker.usage(n)).collect::<Vec<_>>())).await;
    world.clock.advance(2 * HOUR);
    world.report().await;
    for (value, why) in [(-2, "outage"), (1, "=1+1"), (-9, "too much")] {
        let by = json!({"tenant": "acme", "meter": "requests", "window": world.now, "value": value, "why": why});
        world.server.ask("/v1/adjust", &by).await;
    }
    assert_eq!(world.report().await["held"], json!({"below_zero": 1}));
    let explained = Explained::of(&world, -1, 2).await;
    assert_eq!((explained.billed(), explained.windows()), (4, vec![[5, 0, 0, 5]]));
    let adjusted: Vec<&str> = explained.csv.lines().filter(|line| line.starts_with("adjustment,")).collect();
    assert_eq!(adjusted.len(), 2, "{}", explained.csv);
    assert!(adjusted[0].ends_with(",all: outage,-2") && adjusted[1].ends_with(",all: =1+1,1"), "{adjusted:?}");
}

#[tokio::test]
async fn a_correction_moved_to_the_next_period_is_found_in_both_and_billed_in_one() {
    let world = World::start("day").await;
    let worker = Worker::new(1, world.now);
    world.server.post(batch(&[worker.usage(1), worker.usage(2)])).await;
    world.clock.advance(2 * HOUR);
    world.report().await;
    let late = Worker::new(2, world.now);
    world.server.post(batch(&[late.usage(1), late.usage(2), late.usage(3)])).await;
    world.clock.advance(24 * HOUR);
    assert_eq!(world.report().await["held"], json!({"invoiced": 1}));
    let first = Explained::of(&world, 0, 24).await;
    assert_eq!((first.billed(), first.windows()), (2, vec![[5, 0, 3, 2]]), "it waits");
    let world = world.restart("next_period", |_| ()).await;
    world.server.ask("/v1/report", &json!({"retry_held": true})).await;
    let (first, next) = (Explained::of(&world, 0, 24).await, Explained::of(&world, 24, 48).await);
    assert_eq!((first.billed(), first.windows()), (2, vec![[5, 3, 0, 2]]));
    assert_eq!((next.billed(), next.windows()), (3, vec![[5, 2, 0, 3]]));
    for explained in [&first, &next] {
        assert!(explained.csv.contains("billed elsewhere,"), "{}", explained.csv);
        assert_eq!(explained.csv.lines().filter(|line| line.starts_with("event,")).count(), 5, "{}", explained.csv);
    }
    assert_eq!(world.total(), 5);
}

#[tokio::test]
async fn an_hour_split_at_a_billing_anchor_is_explained_on_each_invoice_by_its_own_events() {
    let world = World::start("month").await;
    let before = Worker::new(1, Timestamp::from_millis(world.now.as_millis() - 1));
    let after = Worker::new(2, world.now);
    world.server.post(batch(&[before.usage(1), after.usage(1), after.usage(2), after.usage(3)])).await;
    for wait in [HOUR / 4, 2 * HOUR] {
        world.clock.advance(wait);
        world.report().await;
    }
    world.server.post(batch(&[before.usage(2)])).await;
    world.report().await;
    let (ended, begun) = (Explained::of(&world, -2, 0).await, Explained::of(&world, 0, 2).await);
    // The period that ended two hours ago is already invoiced, so its later usage waits.
    assert_eq!((ended.billed(), ended.windows()), (1, vec![[2, 0, 1, 1]]));
    assert_eq!((begun.billed(), begun.windows()), (3, vec![[3, 0, 0, 3]]));
    let events = |explained: &Explained| explained.csv.lines().filter(|line| line.starts_with("event,")).count();
    assert_eq!((events(&ended), events(&begun)), (2, 3));
}
