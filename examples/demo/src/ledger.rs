//! The accounts side by side: a table for people, and every difference by name.

use crate::accounts::{Clients, Weir};
use crate::settings::Tenant;
use crate::stack::Stack;
use crate::traffic::Caller;
use comfy_table::{CellAlignment, Table, TableComponent, presets};
use weir_rig::llm::Served;

/// One quantity, as every side that knows of it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    what: String,
    said: Vec<(&'static str, i128)>,
}

/// The demo's findings.
#[derive(Debug)]
pub(crate) struct Ledger {
    table: Table,
    quantities: usize,
    pub(crate) differences: Vec<String>,
}

impl Line {
    fn agrees(&self) -> bool {
        self.said.windows(2).all(|pair| pair[0].1 == pair[1].1)
    }

    fn describe(&self) -> String {
        let said: Vec<String> = self.said.iter().map(|(who, value)| format!("{who} {value}")).collect();
        format!("{}: {}", self.what, said.join(", "))
    }
}

impl Ledger {
    pub(crate) fn draw(stack: &Stack, clients: &Clients, weir: &Weir) -> Self {
        let tenants: Vec<(&Tenant, Vec<Line>)> =
            stack.tenants.iter().map(|tenant| (tenant, lines(stack, tenant, clients, weir))).collect();
        let refusals = refusals(clients, weir);
        let mut table = table();
        for (tenant, lines) in &tenants {
            table.add_row(row(stack, tenant, lines, clients, weir));
        }
        table.add_row(nobody_row(clients, &refusals));
        let all: Vec<Line> = tenants.into_iter().flat_map(|(_, lines)| lines).chain(refusals).collect();
        let differences = all.iter().filter(|line| !line.agrees()).map(Line::describe).collect();
        Self { table, quantities: all.len(), differences }
    }

    pub(crate) fn print(&self) {
        println!("{}", self.table);
        if self.differences.is_empty() {
            println!("All {} quantities agree to the unit: clients, provider, weir, Stripe.", self.quantities);
            return;
        }
        println!("{} of {} quantities differ:", self.differences.len(), self.quantities);
        for difference in &self.differences {
            println!("  {difference}");
        }
    }
}

/// Every quantity of a tenant that at least two sides know.
fn lines(stack: &Stack, tenant: &Tenant, clients: &Clients, weir: &Weir) -> Vec<Line> {
    let answers = clients.of_caller(&Caller::Tenant(tenant.id.clone()));
    let served = stack.llm.tally().tenant(&tenant.id);
    let line = |what: &str, said: Vec<(&'static str, i128)>| Line { what: format!("{} of {}", what, tenant.id), said };
    let mut lines = vec![
        line("admitted requests", vec![("clients", answers.admitted.into()), ("provider", served.requests.into())]),
        line("limited requests", vec![("clients", answers.limited.into()), ("weir", weir.limited(&tenant.id).into())]),
    ];
    for meter in &stack.meters {
        let billed = stack.stripe.stripe().total(&tenant.customer, &meter.event_name);
        let said = vec![
            ("provider", provider(&served, &meter.name).into()),
            ("weir", weir.billable(&tenant.id, &meter.name).into()),
            ("Stripe", billed.into()),
        ];
        lines.push(line(&meter.name, said));
    }
    lines
}

/// The provider's count for one of weir's meters.
fn provider(served: &Served, meter: &str) -> u64 {
    match meter {
        "requests" => served.requests,
        "input_tokens" => served.input,
        "output_tokens" => served.output,
        "cache_read_tokens" => served.cached,
        "cache_write_tokens" => served.cache_write,
        "reasoning_tokens" => served.reasoning,
        // A meter that the provider knows nothing of can agree with nothing.
        _ => u64::MAX,
    }
}

/// Refusals for reasons other than a limit: by status as clients saw them, by reason as weir counted them.
fn refusals(clients: &Clients, weir: &Weir) -> Vec<Line> {
    let line = |what: &str, seen: u64, counted: u64| Line {
        what: what.to_owned(),
        said: vec![("clients", seen.into()), ("weir", counted.into())],
    };
    let unauthorized = ["missing_credential", "invalid_credential", "expired_credential", "conflicting_credentials"];
    let forbidden = ["suspended_tenant", "unknown_tenant", "unknown_plan"];
    vec![
        line("answers 401", clients.sum(|answers| answers.unauthorized), weir.refused_for(&unauthorized)),
        line("answers 403", clients.sum(|answers| answers.forbidden), weir.refused_for(&forbidden)),
        line("refusals of any kind", clients.refused(), weir.refused()),
    ]
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.set_header([
        "tenant",
        "plan",
        "admitted",
        "limited\n429",
        "rejected\n401 403",
        "input\ntokens",
        "output\ntokens",
        "Stripe:\nrequests",
        "Stripe:\ninput",
        "Stripe:\noutput",
        "agree",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(stack: &Stack, tenant: &Tenant, lines: &[Line], clients: &Clients, weir: &Weir) -> Vec<String> {
    let answers = clients.of_caller(&Caller::Tenant(tenant.id.clone()));
    let billable = |meter: &str| weir.billable(&tenant.id, meter).to_string();
    let billed = |meter: &str| {
        let meter = stack.meters.iter().find(|known| known.name == meter);
        meter.map_or_else(String::new, |meter| {
            stack.stripe.stripe().total(&tenant.customer, &meter.event_name).to_string()
        })
    };
    vec![
        tenant.id.clone(),
        tenant.plan.clone(),
        answers.admitted.to_string(),
        answers.limited.to_string(),
        (answers.unauthorized + answers.forbidden).to_string(),
        billable("input_tokens"),
        billable("output_tokens"),
        billed("requests"),
        billed("input_tokens"),
        billed("output_tokens"),
        verdict(lines.iter().all(Line::agrees)),
    ]
}

fn nobody_row(clients: &Clients, refusals: &[Line]) -> Vec<String> {
    let rejected = clients.of_caller(&Caller::Nobody).unauthorized.to_string();
    let mut row = vec![String::new(); 11];
    row[0] = "(nobody)".to_owned();
    row[4] = rejected;
    row[10] = verdict(refusals.iter().all(Line::agrees));
    row
}

fn verdict(agrees: bool) -> String {
    if agrees { "yes" } else { "NO" }.to_owned()
}
