use super::*;
use crate::store::change::{By, Made, NewKey, NewTenant};
use crate::store::view::HistoryQuery;
use weir_contract::Timestamp;
use weir_database::testing::place;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn by() -> By {
    By { who: "ann".to_owned(), at: NOW, key: Some("once".to_owned()) }
}

fn open(place: &Place) -> TenantStore {
    TenantStore::open(place, &Fence::default(), NOW).expect("opened")
}

fn create(store: &TenantStore, id: &str) {
    let new: NewTenant = serde_json::from_value(serde_json::json!({"id": id, "plan": "p"})).expect("a tenant");
    store.create(&new, &By { key: None, ..by() }).expect("created");
}

fn moved(from: &Place, to: &Place) -> Result<Moved, MoveError> {
    TenantStore::transfer((from, &Fence::default()), (to, &Fence::default()))
}

#[test]
fn tenants_go_on_at_another_place_as_if_they_had_always_been_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (Place::Sqlite(dir.path().join("here.sqlite")), place(&dir.path().join("there.sqlite")));
    let store = open(&from);
    assert_eq!(moved(&from, &to).expect("nothing to do"), Moved::Nothing);
    create(&store, "acme");
    let key = store.create_key("acme", &NewKey::default(), &Made { key: "sk_weir_1".to_owned() }, &by()).expect("made");
    let version = store.directory().current().version().to_owned();
    drop(store);
    // One tenant, one key, two lines of its history, and an answer.
    assert_eq!(moved(&from, &to).expect("copied"), Moved::Copied(5));
    assert_eq!(moved(&from, &to).expect("compared"), Moved::Same);
    let store = open(&to);
    assert_eq!(store.directory().current().version(), version);
    let again = store.create_key("acme", &NewKey::default(), &Made { key: "sk_weir_2".to_owned() }, &by());
    assert!(again.as_ref().is_ok_and(|again| again.repeated && again.answer.id == key.answer.id), "{again:?}");
    create(&store, "globex");
    let numbers: Vec<u64> = ["acme", "globex"]
        .iter()
        .flat_map(|id| store.history(id, &HistoryQuery::default()).expect("a history").changes)
        .map(|change| change.number)
        .collect();
    assert_eq!(numbers, [2, 1, 3], "numbers go on");
    drop(store);
    assert_eq!(moved(&to, &Place::Sqlite(dir.path().join("back.sqlite"))).expect("copied"), Moved::Copied(7));
}

#[test]
fn tenants_that_are_there_already_are_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (Place::Sqlite(dir.path().join("here.sqlite")), place(&dir.path().join("there.sqlite")));
    create(&open(&from), "acme");
    create(&open(&to), "globex");
    let refused = moved(&from, &to).expect_err("refused").to_string();
    assert!(refused.contains("here.sqlite") && refused.contains("table history"), "{refused}");
    assert!(open(&to).tenant("globex", NOW).is_ok() && open(&to).tenant("acme", NOW).is_err());
}
