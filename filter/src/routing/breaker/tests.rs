use std::collections::HashMap;

use super::*;
use crate::routing::tests::catalogue_of_two;

#[derive(Default)]
struct Memory(HashMap<String, (Vec<u8>, u32)>);

impl Store for Memory {
    fn read(&mut self, key: &str) -> Read {
        self.0.get(key).map_or(Read::Missing, |(value, generation)| Read::Found(value.clone(), *generation))
    }

    fn write(&mut self, key: &str, value: &[u8], cas: u32) -> Write {
        match self.0.get_mut(key) {
            Some((_, generation)) if *generation != cas => Write::Mismatch,
            Some(found) => {
                *found = (value.to_vec(), cas + 1);
                Write::Written
            }
            None => {
                self.0.insert(key.to_owned(), (value.to_vec(), 1));
                Write::Written
            }
        }
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::default().plus_millis(ms)
}

fn attempt(status: u16, retry_after_secs: Option<u64>) -> Attempted<'static> {
    Attempted {
        provider: "one",
        model: "a",
        status: Some(status).filter(|status| *status > 0),
        retry_after_secs,
        failure: None,
    }
}

fn tell(store: &mut Memory, attempt: Attempted<'static>, ms: u64) -> Changes {
    learn(store, std::iter::once((attempt, Account::House)), true, at(ms))
}

#[test]
fn five_failures_in_a_row_open_it_and_one_probe_closes_it() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for failed in 1..=FAILURES_MAX {
        assert_eq!(standing(&mut store, &catalogue, at(10)).open, 0);
        let changes = tell(&mut store, attempt(503, None), 10);
        assert_eq!((changes.opened, changes.closed), (u64::from(failed == FAILURES_MAX), 0));
        let told = (failed == FAILURES_MAX).then(|| ("one".to_owned(), Some(at(10 + OPEN_MS))));
        assert_eq!(changes.breakers, Vec::from_iter(told));
    }
    assert_eq!(standing(&mut store, &catalogue, at(11)), Standing { open: 1, troubled: true, ..Standing::default() });
    assert_eq!(standing(&mut store, &catalogue, at(10 + OPEN_MS)).due, 1);
    assert!(claim(&mut store, "one", Account::House, at(10 + OPEN_MS)));
    assert!(!claim(&mut store, "one", Account::House, at(11 + OPEN_MS)), "one request has the probe");
    let closed = Changes { opened: 0, closed: 1, breakers: vec![("one".to_owned(), None)] };
    assert_eq!(tell(&mut store, attempt(200, None), 20 + OPEN_MS), closed);
    assert_eq!(standing(&mut store, &catalogue, at(20 + OPEN_MS)), Standing::default());
}

#[test]
fn a_probe_that_fails_doubles_the_time() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for _ in 0..FAILURES_MAX {
        tell(&mut store, attempt(0, None), 0);
    }
    assert!(claim(&mut store, "one", Account::House, at(OPEN_MS)));
    let again = tell(&mut store, attempt(0, None), OPEN_MS + 5);
    assert_eq!(
        again.breakers,
        [("one".to_owned(), Some(at(OPEN_MS + 5 + 2 * OPEN_MS)))],
        "told, though it was open before"
    );
    assert_eq!(standing(&mut store, &catalogue, at(OPEN_MS + 2 * OPEN_MS)).open, 1);
    assert_eq!(standing(&mut store, &catalogue, at(OPEN_MS + 5 + 2 * OPEN_MS)).due, 1);
}

#[test]
fn failures_of_requests_that_were_under_way_do_not_lengthen_the_time() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for _ in 0..4 * FAILURES_MAX {
        tell(&mut store, attempt(503, None), 10);
    }
    assert_eq!(standing(&mut store, &catalogue, at(10 + OPEN_MS)).due, 1);
}

#[test]
fn a_probe_that_is_given_back_is_the_next_requests() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    tell(&mut store, attempt(429, Some(1)), 0);
    assert!(
        claim(&mut store, "one", Account::House, at(1_000)) && !claim(&mut store, "one", Account::House, at(1_001))
    );
    release(&mut store, "one", Account::House, at(1_002));
    assert_eq!(standing(&mut store, &catalogue, at(1_002)).due_for(0), 1);
    assert!(claim(&mut store, "one", Account::House, at(1_002)));
}

#[test]
fn providers_that_nobody_probes_any_more_are_forgotten_and_the_list_is_bounded() {
    let mut store = Memory::default();
    let names: Vec<String> = (0..2 * LINES_MAX).map(|at| format!("p{at}")).collect();
    let failed =
        |name| Attempted { provider: name, model: "a", status: Some(429), retry_after_secs: Some(1), failure: None };
    learn(&mut store, names.iter().map(|name| (failed(name), Account::House)), true, at(0));
    let lines = |store: &mut Memory| store.0[KEY].0.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(lines(&mut store), LINES_MAX);
    learn(&mut store, std::iter::once((failed("one"), Account::House)), true, at(FORGET_OPEN_MS));
    assert_eq!(lines(&mut store), 1);
}

#[test]
fn retry_after_opens_at_once_for_as_long_as_it_says() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    assert_eq!(tell(&mut store, attempt(429, Some(30)), 0).opened, 1);
    assert_eq!(standing(&mut store, &catalogue, at(29_999)).open_for(0), 1);
    assert_eq!(standing(&mut store, &catalogue, at(30_000)).due_for(0), 1);
    tell(&mut store, attempt(429, Some(u64::MAX)), 30_000);
    assert_eq!(standing(&mut store, &catalogue, at(30_000 + RETRY_AFTER_MAX_SECS * 1000)).due_for(0), 1);
}

#[test]
fn failures_apart_from_each_other_do_not_add_up_and_client_errors_are_none() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for minute in 0..10 {
        tell(&mut store, attempt(500, None), minute * (FORGET_MS + 1));
        tell(&mut store, attempt(400, None), minute * (FORGET_MS + 1) + 1);
    }
    assert_eq!(standing(&mut store, &catalogue, at(10 * FORGET_MS)).open, 0);
}

#[test]
fn success_without_trouble_writes_nothing_and_bytes_of_others_are_no_trouble() {
    let mut store = Memory::default();
    learn(&mut store, std::iter::once((attempt(200, None), Account::House)), false, at(0));
    assert!(store.0.is_empty());
    store.write(KEY, b"\xff\nnonsense\none x 1 2 3\n", 1);
    assert_eq!(standing(&mut store, &catalogue_of_two(), at(0)).open, 0);
    tell(&mut store, attempt(500, None), 0);
    assert_eq!(standing(&mut store, &catalogue_of_two(), at(0)).open, 0);
}

/// The bit of the provider `one`, as that of tenants' own keys.
const OWN: u32 = 1;

fn tell_of_own(store: &mut Memory, attempt: Attempted<'static>, ms: u64) -> Changes {
    learn(store, std::iter::once((attempt, Account::Tenant)), true, at(ms))
}

#[test]
fn what_a_provider_says_of_a_tenants_own_account_holds_for_nobody_else() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for status in [429, 401, 402, 403] {
        for _ in 0..2 * FAILURES_MAX {
            assert_eq!(tell_of_own(&mut store, attempt(status, Some(30)), 0), Changes::default(), "{status}");
        }
    }
    assert!(store.0.is_empty());
    tell(&mut store, attempt(429, Some(30)), 0);
    for status in [200, 400, 401, 402, 403, 429] {
        tell_of_own(&mut store, attempt(status, None), 1);
        let standing = standing(&mut store, &catalogue, at(2));
        assert_eq!((standing.open_for(0), standing.open_for(OWN)), (1, 0), "{status}: the operator's account waits");
    }
}

#[test]
fn a_provider_that_fails_is_left_alone_by_all_accounts_and_any_of_them_finds_that_it_works() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    for failed in 1..=FAILURES_MAX {
        let tell = if failed % 2 == 0 { tell } else { tell_of_own };
        tell(&mut store, attempt(503, None), 0);
    }
    tell(&mut store, attempt(429, Some(60)), 0);
    let found = standing(&mut store, &catalogue, at(1));
    assert_eq!((found.open_for(0), found.open_for(OWN)), (1, 1));
    let found = standing(&mut store, &catalogue, at(OPEN_MS));
    assert_eq!((found.due_for(0), found.due_for(OWN)), (0, 1), "the operator's account has a longer time to wait");
    assert!(!claim(&mut store, "one", Account::House, at(OPEN_MS)));
    assert!(claim(&mut store, "one", Account::Tenant, at(OPEN_MS)));
    tell_of_own(&mut store, attempt(401, None), OPEN_MS + 1);
    assert_eq!(standing(&mut store, &catalogue, at(OPEN_MS + 1)).due_for(OWN), 1, "that says nothing of the provider");
    assert!(claim(&mut store, "one", Account::Tenant, at(OPEN_MS + 1)));
    let closed = tell_of_own(&mut store, attempt(200, None), OPEN_MS + 2);
    assert_eq!((closed.closed, &closed.breakers[..]), (1, &[][..]), "the operator's account is told all along");
    let found = standing(&mut store, &catalogue, at(OPEN_MS + 3));
    assert_eq!((found.open_for(0), found.open_for(OWN)), (1, 0));
    assert!(claim(&mut store, "one", Account::House, at(60_000)));
    assert_eq!(tell(&mut store, attempt(200, None), 60_001).breakers, [("one".to_owned(), None)]);
    assert_eq!(standing(&mut store, &catalogue, at(60_002)), Standing::default());
}

#[test]
fn a_refused_key_of_the_operators_closes_no_wait_for_its_limit() {
    let (mut store, catalogue) = (Memory::default(), catalogue_of_two());
    tell(&mut store, attempt(429, Some(30)), 0);
    tell(&mut store, attempt(403, None), 1);
    assert_eq!(standing(&mut store, &catalogue, at(2)).open_for(0), 1);
}
