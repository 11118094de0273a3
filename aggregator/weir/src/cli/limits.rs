//! `weir limits`.
use super::EXIT_DONE;
use super::access::{self, Access};
use super::render::{json, say, table};
use crate::config::Config;
use crate::leases::view::{LimitRow, LimitsQuery, rows};
use crate::leases::{LeaseDatabase, look};
use crate::store::DataDir;
use weir_leases::Center;

pub(super) fn run(config: &Config, query: &LimitsQuery, as_json: bool) -> anyhow::Result<u8> {
    let found: Vec<LimitRow> = access::block_on(async {
        Ok(match access::open(config)? {
            Access::Server(server) => server.get("/v1/limits", query).await?,
            Access::Here(_) if let Some(place) = &config.leases.place => look(place, query).await?,
            Access::Here(_) => {
                let kept = LeaseDatabase::peek(DataDir::of(config).leases())?;
                let now = access::clock().now().as_millis();
                kept.map(Center::restored).map(|mut center| rows(&mut center, query, now)).unwrap_or_default()
            }
        })
    })?;
    if as_json {
        json(&found)?;
    } else {
        print(&found);
    }
    Ok(EXIT_DONE)
}

fn print(found: &[LimitRow]) {
    if found.is_empty() {
        say!(
            "no limit of the whole fleet was drawn on lately: gateways ask for limits with `scope: fleet`, and for `pools`"
        );
        return;
    }
    let mut rows = table(&[
        "of",
        "limit",
        "tier",
        "#capacity",
        "#refill",
        "#in any minute",
        "#left",
        "#held",
        "#set aside",
        "holder",
    ]);
    for row in found {
        let LimitRow { tenant, pool, limit, part, minute_max, state } = row;
        let of = tenant.clone().or_else(|| pool.as_ref().map(|pool| format!("pool {pool}"))).unwrap_or_default();
        let name = part.as_ref().map_or_else(|| limit.clone(), |part| format!("{limit}/{part}"));
        let definition = &state.definition;
        let refill = format!("{} in {} ms", definition.refill, definition.period_ms);
        let set_aside = state.set_aside + state.unknown;
        for tier in &state.tiers {
            let (capacity, left) = (definition.capacity.to_string(), tier.available.to_string());
            let bound = format!("≤ {minute_max}");
            let first = [of.clone(), name.clone(), tier.name.clone(), capacity, refill.clone(), bound, left];
            let held: u64 = state.holders.iter().filter(|one| one.tier == tier.name).map(|one| one.holds).sum();
            rows.add_row(first.into_iter().chain([held.to_string(), set_aside.to_string(), String::new()]));
            for holder in state.holders.iter().filter(|holder| holder.tier == tier.name) {
                let says = if holder.draws { "asks for each request" } else { "holds a lease" };
                let gateway = format!("{} {says}, {} ms", holder.gateway, holder.ends_in_ms);
                let blank = std::iter::repeat_n(String::new(), 7);
                rows.add_row(blank.chain([holder.holds.to_string(), String::new(), gateway]));
            }
        }
    }
    say!("{rows}");
    say!(
        "No fleet admits more than `in any minute` says, whatever fails; what a fail-over of the leases' Redis adds is in docs/limits.md."
    );
}
