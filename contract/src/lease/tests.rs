use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn call() -> Call {
    serde_json::from_str(include_str!("../../golden/lease_call.json")).expect("a call")
}

fn refused(change: impl FnOnce(&mut Call)) -> CallError {
    let mut call = call();
    change(&mut call);
    call.check().expect_err("a call that is refused")
}

#[test]
fn the_golden_call_is_in_range() {
    assert_eq!(call().check(), Ok(()));
}

#[test]
fn names_keep_to_their_grammar() {
    assert_eq!(refused(|call| call.gateway.clear()), CallError::Gateway);
    let error = DefinitionError::Name;
    assert_eq!(refused(|call| call.leases[1].key.limit = "a b".into()), CallError::Definition { index: 1, error });
    let error = DefinitionError::Part;
    let part = Some("12".to_owned());
    assert_eq!(refused(|call| call.leases[1].key.part = part), CallError::Definition { index: 1, error });
}

#[test]
fn a_call_has_entries_and_not_too_many() {
    assert_eq!(refused(|call| call.leases.clear()), CallError::Length);
    let many = |call: &mut Call| call.leases = vec![call.leases[0].clone(); LEASES_MAX + 1];
    assert_eq!(refused(many), CallError::Length);
}

#[test]
fn numbers_are_exact_for_every_reader() {
    assert_eq!(refused(|call| call.leases[0].spent = COUNT_MAX + 1), CallError::Count { index: 0 });
    assert_eq!(refused(|call| call.leases[0].largest = 0), CallError::Count { index: 0 });
    let error = DefinitionError::Size;
    assert_eq!(refused(|call| call.leases[0].definition.capacity = 0), CallError::Definition { index: 0, error });
}

#[test]
fn a_report_names_a_tier_of_its_pool() {
    assert_eq!(refused(|call| call.leases[2].tier = None), CallError::Tier { index: 2 });
    assert_eq!(refused(|call| call.leases[0].tier = Some("pro".into())), CallError::Tier { index: 0 });
    let error = DefinitionError::Tiers;
    let changed = refused(|call| call.leases[2].definition.tiers[0].percent = 51);
    assert_eq!(changed, CallError::Definition { index: 2, error });
}

#[test]
fn a_key_is_reported_once() {
    assert_eq!(refused(|call| call.leases[1] = call.leases[0].clone()), CallError::Twice { index: 1 });
}

#[test]
fn a_draw_costs_something() {
    let mut draw: DrawCall = serde_json::from_str(include_str!("../../golden/lease_draw.json")).expect("a draw");
    assert_eq!(draw.check(), Ok(()));
    draw.draws[0].cost = 0;
    assert_eq!(draw.check(), Err(CallError::Count { index: 0 }));
}
