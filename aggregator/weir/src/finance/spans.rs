//! Sums by tenant over many spans, each read once.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use weir_contract::Timestamp;
use weir_ledger::LedgerError;
use weir_ledger::query::{LedgerReader, MeterUnits, TenantUnits};
use weir_money::amount::{Currency, Pico};

/// From the first moment to the first after it.
pub(super) type Span = (Timestamp, Timestamp);

/// Tenants from which on a span is read for all tenants at once.
const TOGETHER: usize = 8;

/// Cost by tenant and currency.
type TenantCosts = HashMap<String, BTreeMap<Currency, Pico>>;

/// The tenants of each span; of more than [`TOGETHER`] only so many are known.
#[derive(Debug, Default)]
pub(super) struct Demand(BTreeMap<Span, Vec<String>>);

impl Demand {
    /// Asks for the sums of a tenant over a span; an empty one has none.
    pub(super) fn add(&mut self, tenant: &str, span: Span) {
        if span.0 >= span.1 {
            return;
        }
        let tenants = self.0.entry(span).or_default();
        if tenants.len() <= TOGETHER {
            tenants.push(tenant.to_owned());
        }
    }

    /// Each span, with the tenant if it is read for one alone.
    fn reads(&self) -> impl Iterator<Item = (Span, Option<&str>)> {
        self.0.iter().flat_map(|(span, tenants)| {
            let alone = tenants.iter().map(|tenant| Some(tenant.as_str()));
            let reads: Vec<Option<&str>> = if tenants.len() > TOGETHER { vec![None] } else { alone.collect() };
            reads.into_iter().map(|tenant| (*span, tenant))
        })
    }
}

/// Units of meters.
#[derive(Debug, Default)]
pub(super) struct Units(HashMap<Span, TenantUnits>);

impl Units {
    /// Reads what is asked for.
    pub(super) fn read(
        reader: &mut LedgerReader,
        meters: &BTreeSet<&str>,
        demand: &Demand,
    ) -> Result<Self, LedgerError> {
        let mut units = Units::default();
        for (span, tenant) in demand.reads() {
            let read = reader.units(tenant, meters, span.0, span.1)?;
            let of_span = units.0.entry(span).or_default();
            if of_span.is_empty() { *of_span = read } else { of_span.extend(read) }
        }
        Ok(units)
    }

    /// Units of a tenant in a span, by meter.
    pub(super) fn of(&self, tenant: &str, span: Span) -> MeterUnits {
        self.0.get(&span).and_then(|tenants| tenants.get(tenant)).cloned().unwrap_or_default()
    }
}

/// Costs.
#[derive(Debug, Default)]
pub(super) struct Costs(HashMap<Span, TenantCosts>);

impl Costs {
    /// Reads what is asked for.
    pub(super) fn read(reader: &mut LedgerReader, demand: &Demand) -> Result<Self, LedgerError> {
        let mut costs = Costs::default();
        for (span, tenant) in demand.reads() {
            let of_span = costs.0.entry(span).or_default();
            for row in reader.tenant_costs(tenant, span.0, span.1)? {
                let Some(currency) = row.currency else { continue };
                *of_span.entry(row.tenant).or_default().entry(currency).or_default() += row.sums.cost;
            }
        }
        Ok(costs)
    }

    /// Cost of a tenant in a span, by currency.
    pub(super) fn of(&self, tenant: &str, span: Span) -> BTreeMap<Currency, Pico> {
        self.0.get(&span).and_then(|tenants| tenants.get(tenant)).cloned().unwrap_or_default()
    }

    /// The same in one currency.
    pub(super) fn in_currency(&self, tenant: &str, span: Span, currency: Currency) -> Pico {
        let of_tenant = self.0.get(&span).and_then(|tenants| tenants.get(tenant));
        of_tenant.and_then(|costs| costs.get(&currency)).copied().unwrap_or_default()
    }
}
