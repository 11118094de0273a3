use super::*;
use crate::store::vault::Fallback;
use weir_contract::directory::Page;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Opened {
    _dir: tempfile::TempDir,
    store: TenantStore,
}

fn store() -> Opened {
    let dir = tempfile::tempdir().expect("a directory");
    let store = TenantStore::open(&dir.path().join("tenants.sqlite"), NOW).expect("opened");
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
