use super::*;
use serde_json::{Value, json};
use weir_contract::directory::Page;
use weir_database::Fence;
use weir_database::testing::place;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn declared(shape: Value) -> Flags {
    let mut flags = serde_json::from_value(shape).expect("flags");
    flags::check(&mut flags).expect("good");
    flags
}

fn one() -> Flags {
    declared(json!({"use-claude": {"type": "bool", "default": false}}))
}

fn by() -> By {
    By { who: "ann".to_owned(), at: NOW, key: None }
}

fn rules(shape: Value) -> Vec<FlagRule> {
    serde_json::from_value(shape).expect("rules")
}

fn store(dir: &tempfile::TempDir) -> TenantStore {
    TenantStore::open(place(&dir.path().join("tenants.sqlite")), &Fence::default(), NOW).expect("opened")
}

fn in_force(store: &TenantStore) -> Flags {
    let page = store.directory().current().state().page(None).expect("JSON");
    serde_json::from_slice::<Page>(&page).expect("a page").flags
}

fn set(store: &TenantStore, flags: &Flags, new: Option<Value>, expected: Option<u64>) -> Result<FlagView, ChangeError> {
    store.set_flag((flags, store.directory()), ("use-claude", new.map(rules)), expected, &by())
}

#[test]
fn rules_are_in_force_at_once_and_after_a_restart_and_can_be_taken_back() {
    let (dir, flags) = (tempfile::tempdir().expect("a directory"), one());
    let quarter = json!([{"percent": 25, "value": true}]);
    {
        let store = store(&dir);
        store.lay_flags(&flags, store.directory()).expect("laid");
        assert_eq!(in_force(&store), flags);
        let before = store.directory().current().version().to_owned();
        let view = set(&store, &flags, Some(quarter.clone()), Some(0)).expect("set");
        assert_eq!((view.version, view.from, view.changed_by.as_deref()), (1, RulesFrom::Database, Some("ann")));
        assert_eq!(in_force(&store)["use-claude"].rules, rules(quarter.clone()));
        let difference = store.directory().difference(&before).expect("JSON").expect("kept");
        let page: Page = serde_json::from_slice(&difference.page).expect("a page");
        assert!(page.since.as_deref() == Some(&*before) && page.flags["use-claude"].rules == rules(quarter.clone()));
    }
    let store = store(&dir);
    store.lay_flags(&flags, store.directory()).expect("laid");
    assert_eq!(in_force(&store)["use-claude"].rules, rules(quarter.clone()));
    assert_eq!(set(&store, &flags, None, None).expect("reset").from, RulesFrom::Configuration);
    assert_eq!(in_force(&store), flags);
    let history = store.flag_history(&flags, "use-claude").expect("history");
    let acts: Vec<_> =
        history.iter().map(|change| (change.version, change.before.is_some(), change.after.is_some())).collect();
    assert_eq!(acts, [(2, true, false), (1, false, true)]);
}

#[test]
fn what_is_not_declared_stale_or_of_another_type_changes_nothing() {
    let (dir, flags) = (tempfile::tempdir().expect("a directory"), one());
    let store = store(&dir);
    let unknown = store.set_flag((&flags, store.directory()), ("use-claud", None), None, &by());
    assert!(unknown.expect_err("unknown").to_string().contains("declared are: use-claude"));
    let wrong = set(&store, &flags, Some(json!([{"value": "yes"}])), None).expect_err("a text").to_string();
    assert!(wrong.contains("flags.use-claude.rules[0].value"), "{wrong}");
    set(&store, &flags, Some(json!([{"value": true}])), None).expect("set");
    let stale = set(&store, &flags, Some(json!([{"value": false}])), Some(0)).expect_err("stale");
    assert!(matches!(stale, ChangeError::StaleFlag { now: 1 }));
    assert_eq!(in_force(&store)["use-claude"].rules, rules(json!([{"value": true}])));
    let same = set(&store, &flags, Some(json!([{"value": true}])), None).expect("the same");
    assert_eq!(same.version, 1, "nothing has changed");
}

#[test]
fn rules_of_a_flag_that_is_declared_otherwise_now_are_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(&dir);
    set(&store, &one(), Some(json!([{"value": true}])), None).expect("set");
    let text = declared(json!({"use-claude": {"type": "string", "default": "no"}}));
    store.lay_flags(&text, store.directory()).expect("laid");
    assert_eq!(in_force(&store), text);
    assert_eq!(store.flag(&text, "use-claude").expect("a flag").from, RulesFrom::Configuration);
    store.lay_flags(&Flags::new(), store.directory()).expect("laid");
    assert!(in_force(&store).is_empty() && store.flags(&Flags::new()).expect("none").is_empty());
}
