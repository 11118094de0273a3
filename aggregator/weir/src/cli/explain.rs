//! `weir explain`.
pub(super) mod as_csv;

use anyhow::Context;

use super::access::{self, Access};
use super::args::billing::ExplainArgs;
use super::render::{complain, json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;
use crate::store::DataDir;
use as_csv::Explained;
use weir_billing::explain::{EventLine, ExplainView, Question, explain};

/// The most events listed in a table or in JSON. CSV is unbounded, because it is written while the log is read.
const EVENTS_SHOWN: usize = 10_000;

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Rows and windows, as tables.
    Table {
        /// True to list single events as well.
        events: bool,
    },
    /// The whole explanation as JSON.
    Json,
    /// CSV for a customer.
    Csv,
}

impl Shown {
    fn of(args: &ExplainArgs, as_json: bool) -> Self {
        match (args.csv, as_json) {
            (true, _) => Shown::Csv,
            (false, true) => Shown::Json,
            (false, false) => Shown::Table { events: args.events },
        }
    }
}

pub(super) fn run(config: &Config, args: ExplainArgs, as_json: bool) -> anyhow::Result<u8> {
    let shown = Shown::of(&args, as_json);
    let ExplainArgs { customer, meter, period, .. } = args;
    let question = Question { customer, meter, period };
    // Reads the files directly, even beside a running server. Without a server the rest of the log is counted first.
    let _store = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(_) => None,
            Access::Here(store) => {
                store.catch_up().await?;
                Some(store)
            }
        })
    })?;
    let home = DataDir::of(config);
    let view =
        if shown == Shown::Csv { csv(config, &home, &question)? } else { listed(config, &home, &question, shown)? };
    if !view.complete {
        complain!("weir: not every unit is found in events or expired ones: see the lines `unexplained`");
    }
    Ok(if view.complete { EXIT_DONE } else { EXIT_ATTENTION })
}

fn csv(config: &Config, home: &DataDir, question: &Question) -> anyhow::Result<ExplainView> {
    let mut out = Explained::new(std::io::stdout().lock())?;
    let view = explain(home.ledger(), home.log_place(), &config.meters, question, &mut |event| out.event(&event))?;
    out.finish(&view).context("writing CSV")?;
    complain!("the column `amount` adds up to what is billed: {}", view.billed);
    Ok(view)
}

fn listed(config: &Config, home: &DataDir, question: &Question, shown: Shown) -> anyhow::Result<ExplainView> {
    let (mut events, mut left_out): (Vec<EventLine>, u64) = (Vec::new(), 0);
    let wanted = shown != Shown::Table { events: false };
    let mut view = explain(home.ledger(), home.log_place(), &config.meters, question, &mut |event| {
        if wanted && events.len() < EVENTS_SHOWN {
            events.push(event);
        } else {
            left_out += 1;
        }
        Ok(())
    })?;
    (view.events, view.events_left_out) = (events, left_out);
    if shown == Shown::Json {
        json(&view)?;
    } else {
        print(&view, wanted);
    }
    Ok(view)
}

fn print(view: &ExplainView, events: bool) {
    for (customer, meters) in &view.invoice {
        for (meter, billed) in meters {
            say!("{customer}, {meter}, {} to {}: {billed}", view.from, view.to);
        }
    }
    print_rows(view);
    print_windows(view);
    match view.events_kept_since {
        Some(since) => say!("single events are kept since {since}"),
        None => say!("no single events are kept"),
    }
    if events {
        print_events(view);
    }
}

fn print_rows(view: &ExplainView) {
    let mut rows = table(&["row", "kind", "window", "tenant", "#rev", "#value", "state", "taken", "identifier", "why"]);
    for row in &view.rows {
        let why = [row.who.as_deref(), row.because.as_deref(), row.reason.as_deref()];
        rows.add_row([
            row.id.to_string(),
            row.kind.clone(),
            row.window.to_string(),
            row.tenant.clone(),
            row.revision.to_string(),
            row.value.to_string(),
            row.state.clone(),
            row.reported_at.map(|at| at.to_string()).unwrap_or_default(),
            row.identifier.clone().unwrap_or_default(),
            why.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]);
    }
    say!("\nRows of the outbox. Billed is what is reported.\n{rows}");
}

fn print_windows(view: &ExplainView) {
    let mut windows = table(&[
        "window",
        "tenant",
        "#events",
        "#of events",
        "#carried",
        "#expired",
        "#unexplained",
        "#counted",
        "#elsewhere",
        "#waiting",
        "#not closed",
        "#billed",
    ]);
    for window in &view.windows {
        let (expired, unexplained) =
            if window.expired { (window.without_events, 0) } else { (0, window.without_events) };
        windows.add_row([
            window.window.to_string(),
            window.tenant.clone(),
            window.events.to_string(),
            window.of_events.clone(),
            window.carried.clone(),
            expired.to_string(),
            unexplained.to_string(),
            window.counted.to_string(),
            window.billed_elsewhere.to_string(),
            window.waiting.to_string(),
            window.not_closed.to_string(),
            window.billed.to_string(),
        ]);
    }
    say!(
        "\nTheir windows: events + carried + expired + unexplained = counted = elsewhere + waiting + not closed + billed."
    );
    say!("{windows}");
}

fn print_events(view: &ExplainView) {
    let mut events = table(&["time", "id", "request", "model", "class", "outcome", "usage", "#amount"]);
    for event in &view.events {
        events.add_row([
            event.time.to_string(),
            event.id.clone(),
            event.request_id.clone(),
            event.model.clone().unwrap_or_default(),
            event.reading.as_ref().map_or_else(|| event.class.clone(), |name| format!("reading {name}")),
            event.outcome.clone(),
            event.usage.clone(),
            event.amount.clone(),
        ]);
    }
    say!("\n{events}");
    if view.events_left_out > 0 {
        say!("and {} more: --csv lists all", view.events_left_out);
    }
}
