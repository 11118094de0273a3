//! A tenant's own page of the dashboard, as the tenant's people come to it: by a link that the operator's backend signs.

use crate::accounts::Weir;
use crate::credentials::Issuer;
use crate::stack::Stack;
use anyhow::{Context as _, ensure};
use weir_rig::clock;
use weir_rig::load::{Call, Client, Reply};

/// Whose page it is.
const TENANT: &str = "acme";

/// The meters that are compared.
const METERS: [&str; 3] = ["requests", "input_tokens", "output_tokens"];

/// Opens the page, shows its numbers in a line, and returns those that differ from the books.
pub(crate) fn show(stack: &Stack, weir: &Weir) -> anyhow::Result<Vec<String>> {
    let serve = stack.aggregator.url();
    let link = Issuer::new(clock::now())?.link(TENANT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let page = runtime.block_on(open(&serve, &link))?;
    let mut problems = Vec::new();
    let mut shown = Vec::new();
    for meter in METERS {
        let (on_page, in_books) = (of_period(&page, meter), weir.billable(TENANT, meter));
        if on_page != Some(in_books) {
            problems.push(format!("the page of {TENANT} says {on_page:?} {meter}, the books say {in_books}"));
        }
        shown.extend(on_page.map(|units| format!("{units} {meter}")));
    }
    println!("  dashboard: {TENANT}'s own page, by a signed link: {}, as in the books", shown.join(", "));
    println!("             {serve}/ui for everybody else; `make run` keeps both open");
    Ok(problems)
}

/// Follows the link, and gets the page with the session that it begins.
async fn open(serve: &str, link: &str) -> anyhow::Result<String> {
    let client = Client::new();
    let entered = client.send(Call::get(format!("{serve}{link}"))).await;
    let cookie = entered.header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let cookie = cookie.with_context(|| format!("the signed link opens nothing: {}", answer(&entered)))?;
    let page = client.send(Call::get(format!("{serve}/ui/own")).header("cookie", &cookie)).await;
    ensure!(page.status == 200, "the page of {TENANT}: {}", answer(&page));
    Ok(page.text())
}

fn answer(reply: &Reply) -> String {
    format!("{} {}", reply.status, reply.error.clone().unwrap_or_else(|| reply.text()))
}

/// The units of a meter in the billing period: the second number of its row, behind those of today.
fn of_period(page: &str, meter: &str) -> Option<u64> {
    let cell = format!(">{meter}<");
    let row = page.split("<tr").find(|row| row.contains(&cell))?.split("</tr>").next()?;
    row.split("value=\"").nth(2)?.split('"').next()?.parse().ok()
}
