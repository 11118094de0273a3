//! Whether requests cost more than in the weeks before, by model and by feature, with the deploys since.
use weir_dashboard::{Block, Cell, Table, Tone};
use weir_money::ratio::Percent;
use weir_steer::alert::deploy::Deploy;
use weir_steer::engine::Rules;

use crate::finance::drift::{DriftRow, DriftView};
use crate::finance::{Finance, FinanceError};

/// Rows of a table, the greatest cost first.
const ROWS_SHOWN: usize = 50;
/// Deploys that are listed.
const DEPLOYS_SHOWN: usize = 50;
/// From how much more a cost is worth a look, as the weekly review marks it, and from how much it is a drift, as the rules of alerts
/// have it: those compare around deploys and ask for a number of requests, too.
const WORTH_A_LOOK: Percent = Percent::whole(10);
const DRIFTED: Percent = Percent::whole(50);

/// By model and by feature.
#[derive(Debug)]
pub(super) struct Drift {
    models: DriftView,
    features: DriftView,
}

/// Compares the costs of models and features.
pub(super) fn read(finance: &mut Finance, _: &Rules, _: &str) -> Result<Drift, FinanceError> {
    Ok(Drift { models: finance.drift("model")?, features: finance.drift("feature")? })
}

impl Drift {
    pub(super) fn blocks(&self) -> Vec<Block> {
        let spans = vec![("Of late: since", self.models.since.into()), ("Before: since", self.models.from.into())];
        let deploys = self.models.deploys.iter().map(deploy);
        let empty =
            "No deploy is marked: `weir deploys mark` tells weir of one, and rules of alerts then compare around it.";
        let columns = ["Deploy", "When", "Features", "Prompt versions", "Marked by"];
        vec![
            Block::Heading("What a request costs, against the weeks before".to_owned()),
            Block::Facts("What is compared".to_owned(), spans),
            Block::Table(table("model", &self.models)),
            Block::Table(table("feature", &self.features)),
            Block::Table(Table::new("Deploys since then", &columns, empty).first(DEPLOYS_SHOWN, deploys)),
        ]
    }
}

fn table(by: &str, view: &DriftView) -> Table {
    let columns = [
        if by == "model" { "Model" } else { "Feature" },
        "Priced requests before",
        "Priced requests",
        "A request before",
        "A request",
        "Change",
        "A million tokens before",
        "A million tokens",
        "Change",
        "Last deploy",
        "Deployed",
    ];
    let rows = view.rows.iter().map(|row| line(row, view.deploy(by, &row.value)));
    let empty = "Nothing that has a price was used of late.";
    Table::new(&format!("Cost of requests by {by}"), &columns, empty).first(ROWS_SHOWN, rows)
}

fn line(row: &DriftRow, last: Option<&Deploy>) -> Vec<Cell> {
    let amount = |amount: Option<_>| amount.map_or(Cell::Missing, |amount| Cell::amount(amount, row.currency));
    vec![
        Cell::text(if row.value.is_empty() { "(none)" } else { &row.value }),
        row.before.requests.into(),
        row.lately.requests.into(),
        amount(row.before.per_request()),
        amount(row.lately.per_request()),
        change(row.of_request()),
        amount(row.before.per_million_tokens()),
        amount(row.lately.per_million_tokens()),
        change(row.of_token()),
        last.map_or(Cell::Missing, |deploy| Cell::text(&deploy.name)),
        Cell::maybe(last.map(|deploy| deploy.at)),
    ]
}

/// A change in percent, with its sign.
fn change(percent: Option<Percent>) -> Cell {
    let Some(percent) = percent else { return Cell::Missing };
    let tone = match percent {
        _ if percent >= DRIFTED => Tone::Bad,
        _ if percent >= WORTH_A_LOOK => Tone::Warn,
        _ => Tone::Plain,
    };
    let sign = if percent > Percent::default() { "+" } else { "" };
    Cell::status(format!("{sign}{percent} %"), tone)
}

fn deploy(deploy: &Deploy) -> Vec<Cell> {
    let any = |pattern: &Option<String>| match (&deploy.feature, &deploy.prompt_version) {
        (None, None) => Cell::text("(any)"),
        _ => Cell::maybe(pattern.clone()),
    };
    vec![
        Cell::text(&deploy.name),
        deploy.at.into(),
        any(&deploy.feature),
        any(&deploy.prompt_version),
        Cell::text(&deploy.who),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_its_sign_and_a_tone_from_a_tenth_on() {
        let shown = |percent| match change(Some(percent)) {
            Cell::Status { text, tone, .. } => (text, tone),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(Percent(999)), ("+9.99 %".to_owned(), Tone::Plain));
        assert_eq!(shown(Percent::whole(10)), ("+10.00 %".to_owned(), Tone::Warn));
        assert_eq!(shown(Percent::whole(50)), ("+50.00 %".to_owned(), Tone::Bad));
        assert_eq!(shown(Percent::whole(-60)), ("-60.00 %".to_owned(), Tone::Plain));
        assert_eq!(shown(Percent::default()).0, "0.00 %");
    }
}
