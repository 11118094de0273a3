use super::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn origin(staleness_max: Option<&str>) -> Origin {
    compiled(json!({"cluster": "weir", "token": "t", "refresh": "10s", "wait": "0s", "staleness_max": staleness_max}))
}

fn compiled(shape: Value) -> Origin {
    Origin::compile(serde_json::from_value(shape).expect("a shape"), "gw-1", ["starter", "pro"].into_iter())
        .expect("good")
}

fn page(version: &str, next: Option<&str>, ids: &[&str]) -> Value {
    let tenants: Vec<_> = ids.iter().map(|id| json!({"id": id, "plan": "p"})).collect();
    json!({"version": version, "next": next, "tenants": tenants})
}

/// Asks what is due, answers, takes in what came, and says what was asked and what it meant.
fn round(poll: &mut Poll, origin: &Origin, status: u16, body: &Value, now: Timestamp) -> (String, Update) {
    let fetch = poll.due(origin, now).expect("due");
    let body = body.to_string();
    let answer = Fetched::Answer { status, etag: None, cache_control: None, body: body.as_bytes() };
    let update = poll.answered(origin, &answer, now);
    if update != Update::Staged {
        return (fetch.path, update);
    }
    assert_eq!(poll.due(origin, now.plus_millis(60_000)), None, "nothing is asked for while a page is taken in");
    let update = (0..100).find_map(|_| poll.step(origin, now)).expect("the page is taken in");
    (fetch.path, update)
}

fn has(poll: &Poll, origin: &Origin, id: &str) -> bool {
    poll.tenants(origin, NOW).is_some_and(|tenants| tenants.tenant(id).is_some())
}

#[test]
fn a_state_comes_page_by_page_and_is_in_force_when_it_is_whole() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    assert!(poll.tenants(&origin, NOW).is_none());
    let first = round(&mut poll, &origin, 200, &page("v1", Some("v1.1"), &["acme"]), NOW);
    assert_eq!(first, ("/v1/directory".to_owned(), Update::Staged));
    assert!(poll.tenants(&origin, NOW).is_none(), "half a state is none");
    let second = round(&mut poll, &origin, 200, &page("v1", None, &["globex"]), NOW);
    assert_eq!(second, ("/v1/directory?from=v1.1".to_owned(), Update::Replaced));
    assert!(has(&poll, &origin, "acme") && has(&poll, &origin, "globex"));
}

#[test]
fn what_has_not_changed_is_confirmed_and_not_sent_again() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
    assert_eq!(poll.due(&origin, NOW.plus_millis(9_999)), None);
    let later = NOW.plus_millis(10_000);
    let fetch = poll.due(&origin, later).expect("due");
    assert!(fetch.headers.contains(&("if-none-match", "\"v1\"".to_owned())), "{:?}", fetch.headers);
    let unchanged = Fetched::Answer { status: 304, etag: None, cache_control: None, body: b"" };
    assert_eq!(poll.answered(&origin, &unchanged, later), Update::Confirmed);
    assert_eq!(poll.age_ms(later.plus_millis(500)), 500);
}

#[test]
fn a_bad_state_is_refused_whole_and_the_last_good_one_stays() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
    let bad = [
        page("v2", None, &["globex", "globex"]),
        json!({"version": "v2", "tenants": [{"id": "globex"}]}),
        json!({"version": "", "tenants": []}),
        json!({"version": "v2", "next": "a\r\nb", "tenants": []}),
        json!({"version": "v2", "since": "v0", "tenants": []}),
        json!({"version": "v2", "since": "v1", "next": "v2.1", "tenants": []}),
        json!({"version": "v2", "tenants": [{"id": "globex", "plan": "p"}], "totals": {"tenants": 2, "keys": 0}}),
        json!("no page"),
    ];
    let mut now = NOW;
    for body in bad {
        now = now.plus_millis(10_000);
        let (_, update) = round(&mut poll, &origin, 200, &body, now);
        assert!(matches!(update, Update::Refused(_)), "{body}: {update:?}");
        assert!(has(&poll, &origin, "acme") && !has(&poll, &origin, "globex"), "{body}");
    }
    let half = round(&mut poll, &origin, 200, &page("v3", Some("v3.1"), &["globex"]), now.plus_millis(10_000));
    assert_eq!(half.1, Update::Staged);
    let (_, update) = round(&mut poll, &origin, 200, &page("v3", None, &["globex"]), now.plus_millis(10_001));
    assert!(matches!(update, Update::Refused(_)), "twice, on two pages");
    assert!(has(&poll, &origin, "acme"));
}

#[test]
fn a_state_that_changes_between_two_pages_starts_over() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    round(&mut poll, &origin, 200, &page("v1", Some("v1.1"), &["gone"]), NOW);
    round(&mut poll, &origin, 200, &page("v2", Some("v2.1"), &["acme"]), NOW);
    round(&mut poll, &origin, 200, &page("v2", None, &["globex"]), NOW);
    assert!(has(&poll, &origin, "acme") && has(&poll, &origin, "globex") && !has(&poll, &origin, "gone"));
}

#[test]
fn a_page_that_does_not_come_is_asked_for_again() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    round(&mut poll, &origin, 200, &page("v1", Some("v1.1"), &["acme"]), NOW);
    assert_eq!(round(&mut poll, &origin, 503, &json!(null), NOW).1, Update::Failed(Failure::Status(503)));
    let later = NOW.plus_millis(1_000);
    let (path, update) = round(&mut poll, &origin, 200, &page("v1", None, &["globex"]), later);
    assert_eq!((path.as_str(), update), ("/v1/directory?from=v1.1", Update::Replaced));
}

#[test]
fn a_state_may_be_as_old_as_the_configuration_says() {
    let (mut poll, origin, forever) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(Some("60s")), origin(None));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
    let (fresh, stale) = (NOW.plus_millis(60_000), NOW.plus_millis(60_001));
    assert!(poll.tenants(&origin, fresh).is_some() && poll.tenants(&origin, stale).is_none());
    assert!(poll.tenants(&forever, stale).is_some());
}

fn difference(tenants: &Value, removed: &[&str], totals: usize) -> Value {
    json!({"version": "v2", "since": "v1", "tenants": tenants, "removed": removed,
           "totals": {"tenants": totals, "keys": 0}})
}

#[test]
fn only_what_differs_is_asked_for_and_put_in() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme", "globex"]), NOW);
    let body = difference(&json!([{"id": "initech", "plan": "q"}]), &["globex", "never-there"], 2);
    let (path, update) = round(&mut poll, &origin, 200, &body, NOW.plus_millis(10_000));
    assert_eq!((path.as_str(), update), ("/v1/directory?since=v1", Update::Changed));
    assert!(has(&poll, &origin, "acme") && has(&poll, &origin, "initech") && !has(&poll, &origin, "globex"));
    let (path, update) = round(&mut poll, &origin, 304, &json!(null), NOW.plus_millis(20_000));
    assert_eq!((path.as_str(), update), ("/v1/directory?since=v2", Update::Confirmed));
}

#[test]
fn a_difference_that_does_not_fit_changes_nothing_and_the_whole_is_asked_for_at_once() {
    let initech = json!({"id": "initech", "plan": "q"});
    let cases = [
        ("twice", difference(&json!([initech, initech]), &[], 3)),
        ("there and gone", difference(&json!([initech]), &["initech"], 2)),
        ("other sums", difference(&json!([initech]), &[], 7)),
        ("no tenant", difference(&json!([{"id": "initech"}]), &[], 2)),
    ];
    for (name, body) in cases {
        let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
        round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
        let later = NOW.plus_millis(10_000);
        let (_, update) = round(&mut poll, &origin, 200, &body, later);
        assert!(matches!(update, Update::Unfit(_)), "{name}: {update:?}");
        assert!(has(&poll, &origin, "acme") && !has(&poll, &origin, "initech"), "{name}");
        let (path, update) = round(&mut poll, &origin, 200, &page("v2", None, &["initech"]), later);
        assert_eq!((path.as_str(), update), ("/v1/directory", Update::Replaced), "{name}");
        assert!(has(&poll, &origin, "initech") && !has(&poll, &origin, "acme"), "{name}");
        let fetch = poll.due(&origin, later.plus_millis(10_000)).expect("due");
        assert_eq!(fetch.path, "/v1/directory?since=v2", "{name}: and then again what differs");
    }
}

#[test]
fn a_call_is_held_until_something_changes_and_then_made_again() {
    let (mut poll, origin) =
        (Poll::new(Keyed::new([0; 16]), None, NOW), compiled(json!({"cluster": "weir", "token": "t"})));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
    let held = NOW.plus_millis(500);
    let fetch = poll.due(&origin, held).expect("due");
    assert!(fetch.headers.contains(&("prefer", "wait=25".to_owned())), "{:?}", fetch.headers);
    assert!(fetch.headers.contains(&("weir-plans", "pro,starter".to_owned())), "{:?}", fetch.headers);
    assert_eq!((fetch.path.as_str(), fetch.timeout_ms), ("/v1/directory?since=v1", origin.timeout_ms + 25_000));
    let unchanged = Fetched::Answer { status: 304, etag: None, cache_control: None, body: b"" };
    let later = held.plus_millis(25_010);
    assert_eq!(poll.answered(&origin, &unchanged, later), Update::Confirmed);
    let body = difference(&json!([{"id": "globex", "plan": "q"}]), &[], 2);
    assert_eq!(round(&mut poll, &origin, 200, &body, later).1, Update::Changed);
    assert!(poll.due(&origin, later.plus_millis(499)).is_none() && poll.due(&origin, later.plus_millis(500)).is_some());
}

#[test]
fn a_server_that_holds_nothing_is_asked_at_the_interval() {
    let (mut poll, origin) =
        (Poll::new(Keyed::new([0; 16]), None, NOW), compiled(json!({"cluster": "weir", "token": "t"})));
    round(&mut poll, &origin, 200, &page("v1", None, &["acme"]), NOW);
    let later = NOW.plus_millis(500);
    assert_eq!(round(&mut poll, &origin, 304, &json!(null), later).1, Update::Confirmed);
    assert_eq!(poll.wait_ms(later), 10_000);
}

#[test]
fn a_state_is_confirmed_twice_before_it_is_too_old() {
    let strict = compiled(json!({"cluster": "weir", "token": "t", "staleness_max": "20s"}));
    assert_eq!(strict.wait_ms, 10_000);
    for wait in ["999ms", "51s"] {
        let shape = json!({"cluster": "weir", "token": "t", "wait": wait});
        let shape = serde_json::from_value(shape).expect("a shape");
        assert!(Origin::compile(shape, "gw-1", std::iter::empty()).is_err(), "{wait}");
    }
}

/// The words by which the poll says what it reads and has.
fn words(poll: &mut Poll, origin: &Origin, now: Timestamp) -> String {
    let fetch = poll.due(origin, now).expect("due");
    let header = |name: &str| fetch.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone());
    assert_eq!(header("x-weir-gateway").as_deref(), Some("gw-1"));
    header("x-weir-knows").expect("words")
}

#[test]
fn a_catalogue_is_asked_for_by_the_version_that_is_known_whether_or_not_it_could_be_used() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    poll.parts.ask(true);
    assert!(words(&mut poll, &origin, NOW).ends_with("placement,scopes,catalogue,figures"));
    let mut body = page("v1", None, &["acme"]);
    body["catalogue"] = json!({"version": "c1", "content": {"models": []}});
    body["figures"] = json!({"version": "f1", "content": []});
    let body = body.to_string();
    let answer = Fetched::Answer { status: 200, etag: None, cache_control: None, body: body.as_bytes() };
    assert_eq!(poll.answered(&origin, &answer, NOW), Update::Staged);
    let arrived = poll.parts.take_catalogue().expect("it came");
    assert_eq!((&*arrived.version, &*arrived.content), ("c1", &br#"{"models":[]}"#[..]));
    assert_eq!(poll.parts.take_figures().map(|figures| figures.version), Some("f1".into()));
    poll.parts.settled(arrived, true);
    assert_eq!((0..100).find_map(|_| poll.step(&origin, NOW)), Some(Update::Replaced));
    let later = NOW.plus_millis(10_000);
    assert!(words(&mut poll, &origin, later).ends_with("catalogue=c1,refuses_catalogue,figures=f1"));
}

#[test]
fn a_part_without_a_version_or_too_long_is_refused_with_its_page() {
    let (mut poll, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    poll.parts.ask(true);
    for (at, part) in [json!({"version": "", "content": {}}), json!({"version": "c1", "content": "x".repeat(70_000)})]
        .iter()
        .enumerate()
    {
        let mut body = page("v1", None, &["acme"]);
        body["catalogue"] = part.clone();
        let (_, update) = round(&mut poll, &origin, 200, &body, NOW.plus_millis(at as u64 * 60_000));
        assert!(matches!(update, Update::Refused(_)), "{update:?}");
    }
}

#[test]
fn a_new_configuration_begins_with_the_catalogue_of_the_one_before() {
    let (mut before, origin) = (Poll::new(Keyed::new([0; 16]), None, NOW), origin(None));
    before.parts.ask(true);
    let mut body = page("v1", None, &["acme"]);
    body["catalogue"] = json!({"version": "c1", "content": {}});
    round(&mut before, &origin, 200, &body, NOW);
    let arrived = before.parts.take_catalogue().expect("it came");
    before.parts.settled(arrived, false);
    let mut after = Poll::new(Keyed::new([0; 16]), None, NOW);
    after.parts.ask(true);
    after.inherit(&before);
    assert_eq!(after.parts.take_catalogue().map(|catalogue| catalogue.version), Some("c1".into()));
}
