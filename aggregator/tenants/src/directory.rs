//! The tenants in force: what gateways fetch, and whom a change wakes.
//!
//! Two sources make up what gateways receive: the tenants' entries, and [`Overlay`]s of other parts of the aggregator.
//! Every change of either makes a new version, records what differs, and wakes all who wait.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use weir_contract::TenantId;
use weir_contract::directory::{Revoked, TENANTS_MAX, Tenant};
use weir_contract::flags::Flags;
use weir_ledger::amount::Pico;
use weir_settings::yaml;

use crate::history::{CHANGES_MAX, History};
use crate::{DirectoryError, Snapshot, TenantEntry};

/// The most differences that are kept for those who ask next, each of a page at most: gateways that wait know the latest
/// versions.
const DIFFERENCES_MAX: usize = 16;

/// What another part of the aggregator adds to a tenant as gateways receive it, such as the stages of its budgets.
pub trait Overlay: std::fmt::Debug + Send + Sync {
    /// Adds it to the tenant's entry.
    fn lay_over(&self, tenant: &mut Tenant);
}

/// What another part of the aggregator has to say of a tenant before gateways learn that it has come, or that it has another plan.
pub trait Arrivals: std::fmt::Debug + Send + Sync {
    /// What is laid over its entry then; None for nothing new.
    fn overlay(&self, entry: Arriving<'_>, laid: Option<&Arc<dyn Overlay>>) -> Option<Arc<dyn Overlay>>;
}

/// A tenant that comes, or has another plan or other amounts of budgets than before.
#[derive(Clone, Copy, Debug)]
pub struct Arriving<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its plan.
    pub plan: &'a str,
    /// Its own amounts of budgets.
    pub budgets: &'a BTreeMap<String, Pico>,
}

/// The tenants in force; clones share them.
#[derive(Clone, Debug)]
pub struct Directory {
    path: Option<PathBuf>,
    served: Arc<RwLock<Served>>,
    /// Hash of the text that was last read, valid or not.
    text: Arc<RwLock<Option<[u8; 32]>>>,
    changed: watch::Sender<()>,
    arrivals: Arc<RwLock<Option<Arc<dyn Arrivals>>>>,
}

#[derive(Debug, Default)]
struct Served {
    current: Arc<Snapshot>,
    history: History,
    /// At most [`TENANTS_MAX`].
    overlays: HashMap<TenantId, Laid>,
    /// The feature flags, which no tenants file has.
    flags: Flags,
    /// Differences to the version in force that were asked for, by the version that they start from: when a change
    /// wakes thousands of gateways, all of them ask for the same one.
    differences: RwLock<HashMap<String, Option<Bytes>>>,
}

/// An overlay, and the tenant without it. The tenant is None while the directory does not know it.
#[derive(Debug)]
struct Laid {
    overlay: Arc<dyn Overlay>,
    bare: Option<Tenant>,
}

/// One page that carries a difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The state that the difference leads to.
    pub to: Arc<Snapshot>,
    /// The page as sent.
    pub page: Bytes,
}

/// The result of checking the file for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The file has not changed.
    Same,
    /// New tenants are in force.
    New,
}

impl Directory {
    /// Opens the tenants file at `path`; without a path there are no tenants.
    pub fn open(path: Option<PathBuf>) -> Result<Self, DirectoryError> {
        let directory = Directory { path, ..Directory::of(Snapshot::of(Vec::new(), Revoked::default())?) };
        directory.reload()?;
        Ok(directory)
    }

    /// A directory of these tenants, which follows no file.
    pub(crate) fn of(snapshot: Snapshot) -> Self {
        let served = Served { current: Arc::new(snapshot), ..Served::default() };
        Directory {
            path: None,
            served: Arc::new(RwLock::new(served)),
            text: Arc::default(),
            changed: watch::Sender::default(),
            arrivals: Arc::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Served> {
        self.served.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current tenants.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.read().current)
    }

    /// Sees every change from now on. Subscribe first, then look at [`Directory::current`]: no change is missed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Has every tenant that comes or changes its plan from now on looked at before gateways learn of it. `arrivals` must not call the
    /// directory.
    pub fn set_arrivals(&self, arrivals: Arc<dyn Arrivals>) {
        *self.arrivals.write().unwrap_or_else(PoisonError::into_inner) = Some(arrivals);
    }

    fn arrivals(&self) -> Option<Arc<dyn Arrivals>> {
        self.arrivals.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The difference between the version `since` and the current tenants, as one page; nothing differs from the version in
    /// force. None if that version is not
    /// kept, or the difference does not fit on one page.
    pub fn difference(&self, since: &str) -> Result<Option<Difference>, serde_json::Error> {
        let served = self.read();
        let to = |page| Difference { to: Arc::clone(&served.current), page };
        let known = served.differences.read().unwrap_or_else(PoisonError::into_inner).get(since).cloned();
        if let Some(page) = known {
            return Ok(page.map(to));
        }
        let changed = match served.history.since(since) {
            Some(changed) => changed,
            None if since == served.current.version() => BTreeSet::new(),
            None => return Ok(None),
        };
        let page = served.current.state().difference(since, changed.into_iter())?.map(Bytes::from);
        let mut differences = served.differences.write().unwrap_or_else(PoisonError::into_inner);
        if differences.len() < DIFFERENCES_MAX {
            differences.insert(since.to_owned(), page.clone());
        }
        drop(differences);
        Ok(page.map(to))
    }

    /// Reads the file again if it changed. An invalid file changes nothing: the last valid one stays in force.
    pub fn reload(&self) -> Result<Reloaded, DirectoryError> {
        let Some(path) = &self.path else { return Ok(Reloaded::Same) };
        let text = yaml::read_text(path)?;
        let hash: [u8; 32] = Sha256::digest(&text).into();
        if self.text.write().unwrap_or_else(PoisonError::into_inner).replace(hash) == Some(hash) {
            return Ok(Reloaded::Same);
        }
        self.replace(Snapshot::parse(path, &text)?)?;
        Ok(Reloaded::New)
    }

    /// Puts other tenants in force, all at once.
    pub(crate) fn replace(&self, mut snapshot: Snapshot) -> Result<(), serde_json::Error> {
        let mut served = self.write();
        if let Some(arrivals) = self.arrivals() {
            served.receive_all(&snapshot, &*arrivals);
        }
        served.lay_all_over(&mut snapshot)?;
        snapshot.state_mut().set_flags(served.flags.clone())?;
        let (old, new) = (served.current.state(), snapshot.state());
        let changed = old.changes(new, CHANGES_MAX);
        let from = std::mem::replace(&mut served.current, Arc::new(snapshot)).version().to_owned();
        served.follow(from, changed);
        drop(served);
        self.changed.send_replace(());
        Ok(())
    }

    /// Puts a tenant in force, new or changed, which the caller has checked. Gateways do not learn of one that has left.
    pub(crate) fn put(&self, entry: TenantEntry, has_left: bool) -> Result<(), serde_json::Error> {
        let id = entry.id.clone();
        let mut served = self.write();
        if let Some(arrivals) = self.arrivals().filter(|_| !has_left) {
            let arriving = Arriving { id: &entry.id, plan: &entry.plan, budgets: &entry.budgets };
            served.receive(arriving, &*arrivals);
        }
        let from = served.current.version().to_owned();
        let snapshot = Arc::make_mut(&mut served.current);
        let bare = snapshot.learn(entry, has_left);
        if has_left {
            snapshot.state_mut().remove(&id)?;
        }
        let bare = Some(bare).filter(|_| !has_left);
        let laid = served.overlays.get_mut(&id);
        let tenant = bare.as_ref().map(|bare| over(bare, laid.as_ref().map(|laid| &*laid.overlay)));
        if let Some(laid) = laid {
            laid.bare.clone_from(&bare);
        }
        let state = Arc::make_mut(&mut served.current).state_mut();
        // One that is too large with its overlay is put in force without it.
        if let (Some(_too_large), Some(bare)) = (state.put(tenant.as_slice())?.first(), bare) {
            state.put(&[bare])?;
        }
        served.follow(from, Some(vec![id]));
        drop(served);
        self.changed.send_replace(());
        Ok(())
    }

    /// Replaces what is revoked of tokens and signing keys.
    pub(crate) fn revoke(&self, revoked: Revoked) -> Result<(), serde_json::Error> {
        let mut served = self.write();
        let from = served.current.version().to_owned();
        Arc::make_mut(&mut served.current).state_mut().revoke(revoked)?;
        served.follow(from, Some(Vec::new()));
        drop(served);
        self.changed.send_replace(());
        Ok(())
    }

    /// Puts feature flags in force, which the caller has checked.
    pub fn set_flags(&self, flags: Flags) -> Result<(), serde_json::Error> {
        let mut served = self.write();
        if served.flags == flags {
            return Ok(());
        }
        let from = served.current.version().to_owned();
        Arc::make_mut(&mut served.current).state_mut().set_flags(flags.clone())?;
        served.flags = flags;
        served.follow(from, Some(Vec::new()));
        drop(served);
        self.changed.send_replace(());
        Ok(())
    }

    /// Lays overlays over tenants; None takes one away. Returns the tenants that would fit on no page with theirs:
    /// gateways receive these as before. An overlay of an unknown tenant waits for it.
    ///
    /// `is_stale` is asked once nobody else can change the directory; what it names stays as it is.
    pub fn lay_over(
        &self,
        overlays: Vec<(TenantId, Option<Arc<dyn Overlay>>)>,
        is_stale: impl Fn(&TenantId) -> bool,
    ) -> Result<Vec<TenantId>, DirectoryError> {
        let mut served = self.write();
        let mut tenants = Vec::with_capacity(overlays.len());
        for (id, overlay) in overlays.into_iter().filter(|(id, _)| !is_stale(id)) {
            let known = served.current.state().tenant(&id).transpose()?;
            let bare = served.overlays.remove(&id).map_or(known, |laid| laid.bare);
            tenants.extend(bare.as_ref().map(|bare| over(bare, overlay.as_deref())));
            if let Some(overlay) = overlay.filter(|_| served.overlays.len() < TENANTS_MAX) {
                served.overlays.insert(id, Laid { overlay, bare });
            }
        }
        let changed = tenants.iter().map(|tenant| tenant.id.clone()).collect::<Vec<_>>();
        let from = served.current.version().to_owned();
        // Copies the snapshot only while a reader still holds it.
        let too_large = Arc::make_mut(&mut served.current).state_mut().put(&tenants)?;
        served.follow(from, Some(changed).filter(|changed| changed.len() <= CHANGES_MAX));
        drop(served);
        self.changed.send_replace(());
        Ok(too_large)
    }
}

fn over(bare: &Tenant, overlay: Option<&dyn Overlay>) -> Tenant {
    let mut tenant = bare.clone();
    if let Some(overlay) = overlay {
        overlay.lay_over(&mut tenant);
    }
    tenant
}

impl Served {
    /// Lays over a tenant what is to be told with its coming or its new plan.
    fn receive(&mut self, arriving: Arriving<'_>, arrivals: &dyn Arrivals) {
        let current = &self.current;
        let before = current.budgets().get(arriving.id.as_str());
        let is_known = current.state().knows(arriving.id)
            && current.plans().get(arriving.id.as_str()).is_some_and(|plan| plan == arriving.plan)
            && before.map_or(arriving.budgets.is_empty(), |before| before == arriving.budgets);
        if is_known {
            return;
        }
        let has_room = self.overlays.len() < TENANTS_MAX;
        let laid = self.overlays.get_mut(arriving.id);
        let Some(overlay) = arrivals.overlay(arriving, laid.as_deref().map(|laid| &laid.overlay)) else { return };
        match laid {
            Some(laid) => laid.overlay = overlay,
            None if has_room => drop(self.overlays.insert(arriving.id.clone(), Laid { overlay, bare: None })),
            None => {}
        }
    }

    /// The same for the tenants of a new file.
    fn receive_all(&mut self, snapshot: &Snapshot, arrivals: &dyn Arrivals) {
        let none = BTreeMap::new();
        for (id, plan) in snapshot.plans() {
            let Ok(id) = TenantId::new(id) else { continue };
            let budgets = snapshot.budgets().get(id.as_str()).unwrap_or(&none);
            self.receive(Arriving { id: &id, plan, budgets }, arrivals);
        }
    }

    /// Lays all overlays over the tenants of a new file.
    fn lay_all_over(&mut self, snapshot: &mut Snapshot) -> Result<(), serde_json::Error> {
        let mut tenants = Vec::with_capacity(self.overlays.len());
        for (id, laid) in &mut self.overlays {
            laid.bare = snapshot.state().tenant(id).transpose()?;
            tenants.extend(laid.bare.as_ref().map(|bare| over(bare, Some(&*laid.overlay))));
        }
        // One that is too large stays without its overlay.
        snapshot.state_mut().put(&tenants).map(drop)
    }

    /// Records what differs from the version before; None: too much to record.
    fn follow(&mut self, from: String, changed: Option<Vec<TenantId>>) {
        if from != self.current.version() {
            self.history.follow(from, changed);
            self.differences.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests;
