//! What a tenant's own page shows, as files: every row, with exact numbers.
use axum::extract::{Path, State};
use axum::response::Response;
use weir_contract::Timestamp;
use weir_dashboard::Sheet;
use weir_money::revenue::LineKind;

use super::{Asked, Counts, bill, days, meters_used, requests_by_day, so_far, values};
use crate::finance::bill::BillView;
use crate::finance::{Finance, FinanceError};
use crate::server::App;
use crate::server::error::ApiError;
use crate::server::finance::with_finance;
use crate::server::ui::asked::Ask;
use crate::server::ui::guard::Member;
use crate::server::ui::money::download;
use crate::server::ui::{UiError, span};

/// A file, by its name.
#[derive(Clone, Copy, Debug)]
enum File {
    /// Requests and tokens by day: of the last days, or of a billing period that is named.
    Usage,
    /// Billed units by meter.
    Units,
    /// Requests and tokens of the billing period by feature.
    Features,
    /// The same by key.
    Keys,
    /// The bill so far.
    Bill,
}

impl File {
    fn named(name: &str) -> Option<(Self, &'static str)> {
        Some(match name {
            "usage.csv" => (File::Usage, "usage"),
            "units.csv" => (File::Units, "units"),
            "features.csv" => (File::Features, "features"),
            "keys.csv" => (File::Keys, "keys"),
            "bill.csv" => (File::Bill, "bill"),
            _ => return None,
        })
    }

    /// Reads the file; `at` names a billing period by one of its moments, none the one that runs.
    fn read(self, finance: &mut Finance, tenant: &str, at: Option<Timestamp>) -> Result<Sheet, FinanceError> {
        let span = |finance: &mut Finance| {
            let bill = bill(finance, tenant, at)?;
            Ok::<_, FinanceError>(so_far(&bill, finance.now))
        };
        Ok(match self {
            File::Usage => counts("day", &requests_by_day(&days(finance, tenant, at)?)),
            File::Units => units(finance, tenant, at)?,
            File::Features => {
                let span = span(finance)?;
                counts("feature", &values(&mut finance.reader, tenant, "feature", span)?)
            }
            File::Keys => {
                let span = span(finance)?;
                counts("key", &values(&mut finance.reader, tenant, "credential", span)?)
            }
            File::Bill => lines(&bill(finance, tenant, at)?),
        })
    }
}

/// A file of the tenant's own. What was accepted is counted first.
pub(super) async fn get_file(
    State(app): State<App>,
    member: Member,
    Path(name): Path<String>,
    Ask(asked): Ask<Asked>,
) -> Result<Response, UiError> {
    let at = span::moment(&asked.at, app.0.clock.now())?;
    let (file, name) = File::named(&name).ok_or(ApiError::NotFound("there is no such file"))?;
    let tenant = member.tenant().to_string();
    app.0.store.catch_up().await?;
    let read = with_finance(&app, move |finance| {
        let from = bill(finance, &tenant, at)?.from;
        Ok::<_, FinanceError>((file.read(finance, &tenant, at)?, from))
    });
    let (sheet, from) = read.await?;
    let day: String = from.to_string().chars().take(10).collect();
    Ok(download(sheet, &[name, member.tenant().as_str(), &day]))
}

fn counts(of: &str, counts: &Counts) -> Sheet {
    let mut sheet = Sheet::new(&[of, "requests", "input_tokens", "output_tokens"]);
    for (name, [requests, input, output]) in counts {
        sheet.row(&[name.clone(), requests.to_string(), input.to_string(), output.to_string()]);
    }
    sheet
}

fn units(finance: &mut Finance, tenant: &str, at: Option<Timestamp>) -> Result<Sheet, FinanceError> {
    let bill = bill(finance, tenant, at)?;
    let mut sheet = Sheet::new(&["meter", "today", "billing_period", "included", "left"]);
    for of in meters_used(finance, tenant, &bill)? {
        let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (included, left) = (text(of.included), text(of.left()));
        let today = text(of.today);
        sheet.row(&[of.meter, today, of.period.to_string(), included, left]);
    }
    Ok(sheet)
}

/// A bill's lines. What a line of cost-plus multiplies is the operator's to know.
fn lines(bill: &BillView) -> Sheet {
    let mut sheet = Sheet::new(&["currency", "line", "meter", "price_plan", "quantity", "price", "amount"]);
    for of in &bill.bills {
        for line in &of.lines {
            let factor = |text: String| if line.kind == LineKind::CostPlus { String::new() } else { text };
            sheet.row(&[
                of.currency.to_string(),
                line.kind.as_str().to_owned(),
                line.meter.clone().unwrap_or_default(),
                line.plan.clone(),
                factor(line.exact_quantity()),
                factor(line.price.to_string()),
                line.amount.to_string(),
            ]);
        }
    }
    sheet
}
