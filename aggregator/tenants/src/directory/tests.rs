use super::*;
use crate::history::VERSIONS_MAX;
use weir_contract::directory::{Page, TenantState};

struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn with(tenants: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File { path: dir.path().join("tenants.yaml"), _dir: dir };
        file.write(tenants);
        file
    }

    fn write(&self, tenants: &str) {
        std::fs::write(&self.path, format!("tenants: [{tenants}]")).expect("written");
    }

    fn open(&self) -> Directory {
        Directory::open(Some(self.path.clone())).expect("good")
    }
}

#[test]
fn a_bad_file_leaves_the_last_good_one_in_force() {
    let file = File::with("{id: acme, plan: starter}");
    let directory = file.open();
    let before = directory.current().version().to_owned();
    file.write("{id: acme}");
    assert!(directory.reload().is_err());
    assert_eq!(directory.current().version(), before);
    file.write("{id: acme, plan: enterprise}");
    assert_eq!(directory.reload().expect("good"), Reloaded::New);
    assert_eq!(directory.reload().expect("good"), Reloaded::Same);
    assert_ne!(directory.current().version(), before);
}

#[test]
fn who_knows_a_version_learns_what_differs_and_whoever_is_too_far_behind_does_not() {
    let file = File::with("{id: stays, plan: p}, {id: changes, plan: p}, {id: goes, plan: p}");
    let directory = file.open();
    let first = directory.current().version().to_owned();
    file.write("{id: stays, plan: p}, {id: changes, plan: q}");
    directory.reload().expect("good");
    file.write("{id: stays, plan: p}, {id: changes, plan: q}, {id: comes, plan: p}");
    directory.reload().expect("good");
    let difference = directory.difference(&first).expect("json").expect("remembered");
    let page: Page = serde_json::from_slice(&difference.page).expect("a page");
    let ids: Vec<_> = page.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    let removed: Vec<_> = page.removed.iter().map(TenantId::as_str).collect();
    assert_eq!((page.since.as_ref(), ids, removed), (Some(&first), vec!["changes", "comes"], vec!["goes"]));
    assert!(directory.difference("0011223344556677").expect("json").is_none());
    for plan in 0..=VERSIONS_MAX {
        file.write(&format!("{{id: stays, plan: p{plan}}}"));
        directory.reload().expect("good");
    }
    assert!(directory.difference(&first).expect("json").is_none(), "too many versions ago");
}

/// Suspends whom it is laid over.
#[derive(Debug)]
struct Suspension;

impl Overlay for Suspension {
    fn lay_over(&self, tenant: &mut Tenant) {
        tenant.state = TenantState::Suspended;
    }
}

fn id(text: &str) -> TenantId {
    TenantId::new(text).expect("an id")
}

fn whole(directory: &Directory) -> Vec<(String, TenantState)> {
    let page: Page = serde_json::from_slice(&directory.current().state().page(None).expect("json")).expect("a page");
    page.tenants.iter().map(|tenant| (tenant.id.to_string(), tenant.state)).collect()
}

#[test]
fn an_overlay_is_a_change_of_its_tenant_and_taking_it_away_gives_the_version_before() {
    let file = File::with("{id: a, plan: p}, {id: b, plan: p}");
    let directory = file.open();
    let (before, mut woken) = (directory.current().version().to_owned(), directory.subscribe());
    let suspend = |id_text: &str| (id(id_text), Some(Arc::new(Suspension) as Arc<dyn Overlay>));
    assert_eq!(directory.lay_over(vec![suspend("b"), suspend("unknown")], |_| false).expect("json"), []);
    assert!(woken.has_changed().expect("open"));
    woken.mark_unchanged();
    let page = directory.difference(&before).expect("json").expect("remembered").page;
    let page: Page = serde_json::from_slice(&page).expect("a page");
    assert_eq!((page.tenants.len(), page.tenants[0].state), (1, TenantState::Suspended));
    directory.lay_over(vec![(id("b"), None)], |stale| *stale == id("b")).expect("json");
    assert_ne!(directory.current().version(), before, "what has changed in between stays");
    directory.lay_over(vec![(id("b"), None)], |_| false).expect("json");
    assert_eq!(directory.current().version(), before);
    assert!(woken.has_changed().expect("open"));
}

#[test]
fn overlays_outlive_a_change_of_the_file_and_wait_for_their_tenants() {
    let file = File::with("{id: a, plan: p}");
    let directory = file.open();
    let suspend = |id_text: &str| (id(id_text), Some(Arc::new(Suspension) as Arc<dyn Overlay>));
    directory.lay_over(vec![suspend("a"), suspend("c")], |_| false).expect("json");
    file.write("{id: a, plan: q}, {id: b, plan: p}, {id: c, plan: p}");
    directory.reload().expect("good");
    let (active, suspended) = (TenantState::Active, TenantState::Suspended);
    assert_eq!(whole(&directory), [("a".into(), suspended), ("b".into(), active), ("c".into(), suspended)]);
    directory.lay_over(vec![(id("a"), None), (id("c"), None)], |_| false).expect("json");
    assert_eq!(directory.current().version(), file.open().current().version());
}
