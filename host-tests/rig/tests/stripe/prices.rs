use crate::caller::Caller;
use serde_json::json;
use weir_rig::stripe::{Price, PriceTier, Scheme};

fn tier(up_to: Option<u64>, unit: &str, flat: Option<&str>) -> PriceTier {
    PriceTier { up_to, unit_amount_decimal: unit.to_owned(), flat_amount_decimal: flat.map(str::to_owned) }
}

fn price(scheme: Scheme) -> Price {
    Price { currency: "usd", event_name: None, lookup_key: None, scheme, active: true }
}

#[test]
fn tiers_are_listed_only_where_they_are_expanded() {
    let mut caller = Caller::open();
    caller.stripe.add_price(price(Scheme::Graduated(vec![tier(None, "0.5", None)])));
    assert_eq!(caller.get("/v1/prices").body["data"][0].get("tiers"), None);
    let expanded = caller.get("/v1/prices?expand[]=data.tiers").body;
    assert_eq!(expanded["data"][0]["tiers"][0]["up_to"], json!(null));
    assert_eq!(expanded["data"][0]["tiers"][0]["unit_amount_decimal"], "0.5");
}

#[test]
fn pages_of_prices_follow_each_other_and_inactive_ones_can_be_left_out() {
    let mut caller = Caller::open();
    for number in 0..3 {
        caller.stripe.add_price(Price { active: number != 1, ..price(Scheme::PerUnit("1".to_owned())) });
    }
    let first = caller.get("/v1/prices?limit=1&active=true").body;
    assert_eq!((&first["data"][0]["id"], &first["has_more"]), (&json!("price_rig00000002"), &json!(true)));
    let next = caller.get("/v1/prices?limit=1&active=true&starting_after=price_rig00000002").body;
    assert_eq!((&next["data"][0]["id"], &next["has_more"]), (&json!("price_rig00000000"), &json!(false)));
}

#[test]
fn each_tier_is_a_line_and_each_line_is_rounded() {
    let tiers = vec![tier(Some(10), "0.05", None), tier(None, "0.04", Some("100"))];
    assert_eq!(price(Scheme::Graduated(tiers.clone())).lines(10), [1]);
    assert_eq!(price(Scheme::Graduated(tiers.clone())).lines(21), [1, 0, 100]);
    assert_eq!(price(Scheme::Volume(tiers)).lines(21), [1, 100]);
    assert_eq!(price(Scheme::PerUnit("0.000000000001".to_owned())).lines(500_000_000_000), [1]);
}
