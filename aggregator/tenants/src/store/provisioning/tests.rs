use super::*;
use crate::store::vault::Fallback;
use weir_contract::directory::Page;
use weir_database::Fence;
use weir_database::testing::place;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Opened {
    _dir: tempfile::TempDir,
    store: TenantStore,
}

fn store() -> Opened {
    let dir = tempfile::tempdir().expect("a directory");
    let store = TenantStore::open(place(&dir.path().join("tenants.sqlite")), &Fence::default(), NOW).expect("opened");
    Opened { _dir: dir, store }
}

fn by(key: &str) -> By {
    By { who: "ann".to_owned(), at: NOW, key: Some(key.to_owned()) }
}

fn acme() -> TenantId {
    TenantId::new("acme").expect("an id")
}

fn begin(store: &TenantStore, kind: &'static str, key: &str) -> Result<Begun, ChangeError> {
    let spec = serde_json::json!({"request": {"plan": "starter"}});
    let keys = vec![FirstKeyKind { id: "key-1".to_owned(), ..FirstKeyKind::default() }];
    let keys = if kind == "provision" { keys } else { Vec::new() };
    let new = NewProvisioning { tenant: &acme(), kind, spec: &spec, saga: "{}", keys };
    store.begin_provisioning(&new, &by(key))
}

fn kept(number: i64, open: bool) -> Kept<'static> {
    Kept { number, saga: "{}", open, act: Act { step: "publish", act: "do", detail: None }, at: NOW }
}

fn made(text: &str) -> Made {
    Made { key: text.to_owned() }
}

fn page(store: &TenantStore) -> Page {
    serde_json::from_slice(&store.directory().current().state().page(None).expect("json")).expect("a page")
}

fn publish(store: &TenantStore) -> i64 {
    let number = begin(store, "provision", "k").expect("begun").saved.number;
    store.make_first_keys(number, &[made("sk_weir_first")]).expect("made");
    assert!(page(store).tenants.is_empty(), "nobody meets half a tenant");
    let new: NewTenant =
        serde_json::from_value(serde_json::json!({"id": "acme", "plan": "starter"})).expect("a tenant");
    store.publish(&new, kept(number, false), &by("k")).expect("published");
    number
}

#[test]
fn a_tenant_comes_whole_and_its_name_is_taken_meanwhile() {
    let kept = store();
    begin(&kept.store, "provision", "k").expect("begun");
    let new: NewTenant =
        serde_json::from_value(serde_json::json!({"id": "acme", "plan": "starter"})).expect("a tenant");
    assert!(matches!(kept.store.create(&new, &by("other")), Err(ChangeError::Taken(_))));
    assert!(matches!(begin(&kept.store, "provision", "other"), Err(ChangeError::Contradiction(_))));
    assert!(begin(&kept.store, "provision", "k").expect("known").repeated);
    assert!(matches!(begin(&kept.store, "deprovision", "k"), Err(ChangeError::OtherRequest)));
    assert_eq!(publish(&kept.store), 1);
    assert_eq!(page(&kept.store).tenants[0].keys[0].sha256, KeyHash::of(b"sk_weir_first"));
    assert!(kept.store.provisionings_under_way().expect("read").is_empty());
}

#[test]
fn keys_are_told_once_and_replaced_while_nobody_was_told() {
    let kept = store();
    let number = publish(&kept.store);
    let views = kept.store.replace_first_keys(&acme(), number, &[made("sk_weir_second")], &by("k")).expect("replaced");
    assert_eq!(views.expect("not told before")[0].id, "key-2");
    let keys = page(&kept.store).tenants.remove(0).keys;
    assert_eq!((keys.len(), keys[0].sha256), (1, KeyHash::of(b"sk_weir_second")));
    assert!(
        kept.store.replace_first_keys(&acme(), number, &[made("sk_weir_third")], &by("k")).expect("read").is_none()
    );
    assert!(!kept.store.tell_first_keys(number).expect("read"));
}

#[test]
fn a_tenant_that_goes_leaves_no_key_and_no_secret() {
    let kept = store();
    publish(&kept.store);
    kept.store.set_fallback("acme", Fallback::House, &by("f")).expect("set");
    let number = begin(&kept.store, "deprovision", "g").expect("begun").saved.number;
    let gone = |store: &TenantStore| store.archive_for_good(&acme(), super::tests::kept(number, false), &by("g"));
    assert!(matches!(gone(&kept.store), Err(ChangeError::Contradiction(_))), "it is active");
    let suspend = serde_json::from_str(r#"{"state": "suspended"}"#).expect("a patch");
    kept.store.change("acme", &suspend, None, &by("s")).expect("suspended");
    gone(&kept.store).expect("archived");
    assert!(page(&kept.store).tenants.is_empty());
    assert!(kept.store.keys("acme").expect("read").iter().all(|key| key.revoked_at.is_some()));
    let left: u32 = kept.store.db().query_row("SELECT count(*) FROM vault_tenant", [], |row| row.get(0)).expect("read");
    assert_eq!(left, 0);
}

#[test]
fn a_journal_keeps_its_beginning_and_its_end_however_often_an_act_fails() {
    let kept = store();
    let number = begin(&kept.store, "provision", "k").expect("begun").saved.number;
    for attempt in 0..1_500 {
        let detail = format!("attempt {attempt}");
        let act = Act { step: "welcome", act: "undo", detail: Some(&detail) };
        kept.store.keep_provisioning(Kept { act, ..super::tests::kept(number, true) }).expect("kept");
    }
    let mut pages: Vec<String> = Vec::new();
    let mut cursor = None;
    loop {
        let page = kept.store.journal("acme", cursor.as_deref(), Some(300)).expect("read").expect("a saga");
        pages.extend(page.acts.into_iter().map(|act| act.detail.unwrap_or_default()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(matches!(kept.store.journal("acme", Some("x"), None), Err(ChangeError::Invalid(_))));
    assert!(kept.store.journal("globex", None, None).expect("read").is_none());
    let db = kept.store.db();
    let read = |sql: &str| -> Vec<String> {
        let mut select = db.prepare(sql).expect("prepared");
        let rows = select.query_map([], |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default()));
        rows.expect("read").collect::<Result<_, _>>().expect("rows")
    };
    let details = read("SELECT detail FROM provisioning_journal ORDER BY number");
    assert_eq!((details.len(), &pages), (1_000, &details), "the pages have every act that is kept");
    // The record itself comes first.
    assert_eq!((&*details[199], &*details[200], &*details[999]), ("attempt 198", "attempt 700", "attempt 1499"));
}

#[test]
fn sagas_that_ended_long_ago_are_forgotten_unless_a_tenant_came_by_them() {
    let kept = store();
    publish(&kept.store);
    let globex = TenantId::new("globex").expect("an id");
    let spec = serde_json::json!({"request": {"plan": "starter"}});
    let new = |tenant| NewProvisioning { tenant, kind: "provision", spec: &spec, saga: "{}", keys: Vec::new() };
    let failed = kept.store.begin_provisioning(&new(&globex), &by("g")).expect("begun").saved.number;
    kept.store.keep_provisioning(super::tests::kept(failed, false)).expect("ended");
    let later = By { at: NOW.plus_millis(ENDED_KEPT_MS + 1), ..by("later") };
    let initech = TenantId::new("initech").expect("an id");
    kept.store.begin_provisioning(&new(&initech), &later).expect("begun");
    assert!(kept.store.provisioning(failed).expect("read").is_none());
    let (came, journal) = kept.store.provisioning_of("acme").expect("read").expect("it came by this one");
    assert!(!came.open && journal.is_empty());
}

#[test]
fn the_first_answer_of_an_outside_system_counts() {
    let kept = store();
    let number = begin(&kept.store, "provision", "k").expect("begun").saved.number;
    assert_eq!(kept.store.tell_environment(number, "a").expect("kept"), "a");
    assert_eq!(kept.store.tell_environment(number, "b").expect("kept"), "a");
    assert_eq!(kept.store.provisioning(number).expect("read").expect("there").told.as_deref(), Some("a"));
}
