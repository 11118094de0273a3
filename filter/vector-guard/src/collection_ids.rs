//! Ids of collections that a store gives, and takes from everybody: each tenant sees its own sealed, and no other's open.
use std::rc::Rc;

use weir_sealed_ids::Keys;

/// Seals the UUIDs of Chroma's collections.
#[derive(Clone, Debug)]
pub struct CollectionIds(Rc<Keys>);

impl CollectionIds {
    /// By these keys; None where a sealed UUID would not tell which of them sealed it.
    pub fn new(keys: Rc<Keys>) -> Option<Self> {
        keys.tell_uuids_apart().then_some(CollectionIds(keys))
    }

    pub(crate) fn seal(&self, tenant: &str, id: &str) -> Option<String> {
        self.0.seal_uuid(tenant, id)
    }

    pub(crate) fn open(&self, tenant: &str, sealed: &str) -> Option<String> {
        self.0.open_uuid(tenant, sealed)
    }
}

/// The same keys, not equal ones.
impl PartialEq for CollectionIds {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CollectionIds {}
