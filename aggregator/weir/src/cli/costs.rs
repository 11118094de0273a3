//! `weir costs compare`: our costs against what a provider says it charged.
use weir_contract::Timestamp;
use weir_contract::time::HOUR_MS;
use weir_ledger::view::cost::{PricedQuery, Step};
use weir_money::charged::{self, Compared, Reason, Report};
use weir_settings::yaml;

use super::args::money::CostsCommand;
use super::cost::models;
use super::render::{complain, json, say, table};
use super::{EXIT_ATTENTION, EXIT_DONE};
use crate::config::Config;

pub(super) fn run(config: &Config, command: CostsCommand, as_json: bool) -> anyhow::Result<u8> {
    let CostsCommand::Compare { file, provider } = command;
    let report =
        charged::read(&yaml::read_text(&file)?).map_err(|problem| anyhow::anyhow!("{}: {problem}", file.display()))?;
    if report.is_partial {
        complain!(
            "weir: {}: one page of a longer report (has_more); what its other pages charge is missing, so ask for all days at once, or \
             compare each page",
            file.display()
        );
    }
    let (from, to) = span(&report);
    let query = PricedQuery { tenant: None, from, to, step: Step::Day, by_tenant: false };
    let compared = charged::compare(&report, &models(config, &query)?, provider.as_deref());
    let differ = compared.iter().filter(|row| row.reason != Reason::Equal).count();
    if as_json {
        json(&compared)?;
    } else {
        print(&compared, report.source, differ);
    }
    Ok(if differ == 0 { EXIT_DONE } else { EXIT_ATTENTION })
}

/// The days of a report: the first, and the end of the last.
fn span(report: &Report) -> (Option<Timestamp>, Option<Timestamp>) {
    let days = || report.charges.iter().map(|charge| charge.day);
    (days().min(), days().max().map(|day| day.plus_millis(24 * HOUR_MS)))
}

fn print(compared: &[Compared], source: &str, differ: usize) {
    let mut shown = table(&["day", "model", "currency", "#theirs", "#ours", "#difference", "likely reason"]);
    for row in compared {
        let day: String = row.day.to_string().chars().take(10).collect();
        let amounts = [row.theirs, row.ours, row.difference].map(|amount| amount.to_string());
        let texts = [day, row.model.clone(), row.currency.to_string()];
        shown.add_row(texts.into_iter().chain(amounts).chain([row.reason.words().to_owned()]));
    }
    say!("{shown}");
    say!("{source}: {} days of models, {differ} differ", compared.len());
}
