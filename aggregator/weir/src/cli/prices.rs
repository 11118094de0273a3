//! `weir prices`: shows, checks, compares and imports prices, and prices again.
use std::path::Path;

use anyhow::{Context, bail};
use weir_ledger::view::cost::RepriceView;
use weir_money::prices::check::{Finding, check};
use weir_money::prices::diff::{Difference, diff};
use weir_money::prices::entry::{EntriesFile, Entry};
use weir_money::prices::import::{Imported, Reason};
use weir_money::prices::{Book, Layer, file, import, shipped};
use weir_settings::yaml;

use super::access::{self, Access, somebody_here};
use super::args::money::{ImportArgs, PricesCommand, RepriceArgs};
use super::render::{complain, json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::{Config, ConfigError};
use crate::money::{PriceQuery, PriceView, RepriceRequest, prices};

/// Notes of an import that are shown one by one.
const NOTES_SHOWN: usize = 20;
/// Characters of a value that a table shows.
const VALUE_SHOWN: usize = 60;

/// `load` reads the configuration: commands on files need none.
pub(super) fn run(
    load: impl Fn() -> Result<Config, ConfigError>,
    command: PricesCommand,
    as_json: bool,
) -> anyhow::Result<u8> {
    match command {
        PricesCommand::List { provider } => list(&load()?, &PriceQuery { provider, ..PriceQuery::default() }, as_json),
        PricesCommand::Show { model, provider, at } => {
            show(&load()?, &PriceQuery { model: Some(model), provider, at }, as_json)
        }
        PricesCommand::Check { file: None } => {
            report(&load()?.prices.book()?.context("there are no prices to check")?, as_json)
        }
        PricesCommand::Check { file: Some(path) } => report(&alone(&path)?, as_json),
        PricesCommand::Diff { file, from } => differences(&file, from.as_deref(), as_json),
        PricesCommand::Import(args) => import_list(args),
        PricesCommand::Reprice(args) => reprice(&load()?, args, as_json),
    }
}

fn list(config: &Config, query: &PriceQuery, as_json: bool) -> anyhow::Result<u8> {
    let views = config.prices.book()?.map_or_else(Vec::new, |book| prices(&book, query, access::clock().now()));
    print(&views, as_json)?;
    Ok(EXIT_DONE)
}

fn show(config: &Config, query: &PriceQuery, as_json: bool) -> anyhow::Result<u8> {
    let views = config.prices.book()?.map_or_else(Vec::new, |book| prices(&book, query, access::clock().now()));
    print(&views, as_json)?;
    let in_force = views.iter().any(|view| view.in_force == Some(true));
    let priced = views.iter().filter(|view| view.in_force == Some(true)).count();
    if priced > 1 && !as_json {
        say!("several providers have this model; an event is priced by the provider that it names (--provider)");
    }
    if !in_force && !as_json {
        let model = query.model.as_deref().unwrap_or_default();
        say!("{model}: no price; its usage is unpriced. Add an entry to `prices` in {}", config.path.display());
    }
    Ok(if in_force { EXIT_DONE } else { EXIT_ATTENTION })
}

fn print(views: &[PriceView], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&views);
    }
    let mut shown = table(&["", "provider", "model", "from", "currency", "prices", "layer"]);
    for view in views {
        let entry = &view.entry;
        shown.add_row([
            if view.in_force == Some(true) { "→".to_owned() } else { String::new() },
            entry.provider.clone().unwrap_or_else(|| "any".to_owned()),
            entry.model.clone(),
            entry.effective_from.map_or_else(String::new, |from| from.to_string()),
            entry.currency().to_string(),
            words(entry),
            view.layer.clone(),
        ]);
    }
    say!("{shown}");
    Ok(())
}

/// The prices of an entry on one line.
fn words(entry: &Entry) -> String {
    let mut parts: Vec<String> =
        entry.per_million.iter().map(|(kind, price)| format!("{} {price}", kind.0.as_str())).collect();
    let units = [
        ("request", entry.per_request),
        ("image", entry.per_image),
        ("search", entry.per_search),
        ("page", entry.per_page),
        ("second", entry.per_second),
        ("character", entry.per_character),
    ];
    parts.extend(units.into_iter().filter_map(|(unit, price)| Some(format!("{} a {unit}", price?))));
    parts.extend(entry.above.iter().map(|above| format!("more over {}", above.input_tokens_over)));
    parts.extend(entry.service_tier.keys().cloned());
    parts.extend(entry.batch.iter().map(|_| "batch".to_owned()));
    parts.join(", ")
}

/// The book of one file of entries.
fn alone(path: &Path) -> anyhow::Result<Book> {
    let document = file::Document { path: path.to_owned(), text: yaml::read_text(path)?, parent: "" };
    let config = file::PricesFile { shipped: Some(false), ..file::PricesFile::default() };
    Ok(file::book(&config, None, &[document])?)
}

fn report(book: &Book, as_json: bool) -> anyhow::Result<u8> {
    let findings = check(book);
    if as_json {
        json(&findings)?;
    } else {
        print_findings(book, &findings);
    }
    Ok(if findings.is_empty() { EXIT_DONE } else { EXIT_ATTENTION })
}

fn print_findings(book: &Book, findings: &[Finding]) {
    for found in findings {
        say!("{}: entries[{}] {}: {}", found.layer, found.entry, found.model, found.problem);
    }
    let entries = |layer: &Layer| format!("{} in {}", layer.entries.len(), layer.name);
    say!("{} findings; entries: {}", findings.len(), book.layers().iter().map(entries).collect::<Vec<_>>().join(", "));
}

fn differences(new: &Path, old: Option<&Path>, as_json: bool) -> anyhow::Result<u8> {
    let entries = |path: &Path| Ok::<_, anyhow::Error>(file::parse(path, &yaml::read_text(path)?)?.entries);
    let new = entries(new)?;
    let old = old.map_or_else(|| Ok(of_providers(shipped::list().entries, &new)), entries)?;
    let found = diff(&old, &new);
    if as_json {
        json(&found)?;
        return Ok(EXIT_DONE);
    }
    let mut shown = table(&["provider", "model", "from", "price", "#old", "#new"]);
    for Difference { provider, model, effective_from, field, old, new } in &found {
        shown.add_row([
            provider.clone().unwrap_or_else(|| "any".to_owned()),
            model.clone(),
            effective_from.map_or_else(String::new, |from| from.to_string()),
            if field.is_empty() { "(entry)".to_owned() } else { field.clone() },
            short(old.as_deref()),
            short(new.as_deref()),
        ]);
    }
    say!("{shown}");
    Ok(EXIT_DONE)
}

/// The beginning of a value: whole entries are long.
fn short(value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    let cut: String = value.chars().take(VALUE_SHOWN).collect();
    if cut.len() == value.len() { cut } else { format!("{cut}…") }
}

/// The entries of those providers that `others` has.
fn of_providers(entries: Vec<Entry>, others: &[Entry]) -> Vec<Entry> {
    let of = |entry: &Entry| others.iter().any(|other| other.provider == entry.provider);
    entries.into_iter().filter(of).collect()
}

fn import_list(args: ImportArgs) -> anyhow::Result<u8> {
    let ImportArgs { file: path, providers, into, source, date } = args;
    let mut imported =
        import::read(&yaml::read_text(&path)?).map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))?;
    if !providers.is_empty() {
        imported.only(&providers);
    }
    if imported.entries.is_empty() {
        say_notes(&imported);
        let remedy = if providers.is_empty() { "see what was left out" } else { "see the names of `--provider`" };
        bail!("{}: no entries; {remedy}", path.display());
    }
    let today = || access::clock().now().to_string().chars().take(10).collect();
    let written = EntriesFile {
        source: Some(source.unwrap_or_else(|| imported.source.to_owned())),
        date: Some(date.unwrap_or_else(today)),
        entries: std::mem::take(&mut imported.entries),
    };
    // A list of which one entry cannot be used would stop all the others.
    Book::new(vec![Layer { name: path.display().to_string(), entries: written.entries.clone() }])?;
    let text = lines(&written)?;
    match &into {
        Some(into) => std::fs::write(into, &text).with_context(|| into.display().to_string())?,
        None => say!("{}", text.trim_end_matches('\n')),
    }
    complain!("{} entries from {}", written.entries.len(), imported.source);
    say_notes(&imported);
    Ok(EXIT_DONE)
}

/// Says what an import left out or changed, the most frequent first.
fn say_notes(imported: &Imported) {
    let reasons = imported.reasons();
    for Reason { reason, count, model } in reasons.iter().take(NOTES_SHOWN) {
        complain!("{count} × {reason}, such as {model}");
    }
    let others: u64 = reasons.iter().skip(NOTES_SHOWN).map(|reason| reason.count).sum();
    if others > 0 {
        complain!("{others} × other reasons");
    }
}

/// The file as JSON with a line for each entry, so that changes are easy to see.
fn lines(written: &EntriesFile) -> anyhow::Result<String> {
    let entries: Vec<String> = written.entries.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let (source, date) = (serde_json::to_string(&written.source)?, serde_json::to_string(&written.date)?);
    Ok(format!("{{\"source\": {source}, \"date\": {date}, \"entries\": [\n{}\n]}}\n", entries.join(",\n")))
}

pub(super) fn reprice(config: &Config, args: RepriceArgs, as_json: bool) -> anyhow::Result<u8> {
    let request = RepriceRequest { from: args.from, why: args.why, dry_run: args.dry_run };
    let view: RepriceView = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.post("/v1/prices/reprice", &request).await?,
            Access::Here(store) => {
                store.catch_up().await?;
                let (now, request) = (access::clock().now(), request.clone().by(somebody_here()));
                store.ledger.call(move |ledger| ledger.reprice(now, &request)).await??
            }
        })
    })?;
    if as_json {
        json(&view)?;
        return Ok(EXIT_DONE);
    }
    let mut shown = table(&["tenant", "currency", "#old", "#new", "#difference"]);
    for row in &view.rows {
        let currency = row.currency.map_or_else(|| "(unpriced)".to_owned(), |currency| currency.to_string());
        shown.add_row([
            row.tenant.clone(),
            currency,
            row.old.to_string(),
            row.new.to_string(),
            (row.new - row.old).to_string(),
        ]);
    }
    say!("{shown}");
    let done = if request.dry_run { "would be priced again; nothing changed" } else { "priced again" };
    say!("{} requests {done}, from the sums by model that are kept for each hour", view.requests);
    if view.left_requests > 0 {
        say!(
            "{} requests keep their cost: they are summed without their model, or date from before costs were",
            view.left_requests
        );
    }
    Ok(EXIT_DONE)
}
