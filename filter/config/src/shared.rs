//! Resources that all tenants of one provider account share, and how a route permits them.
use std::collections::BTreeMap;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A kind of resource that the tenants of one provider account share, and that a route may permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// Files, uploads, containers, skills.
    Files,
    /// Assistants, threads, conversations, chat kits.
    Assistants,
    /// Batches.
    Batches,
    /// Fine-tuning, tuned models, evaluations, and deleting a model.
    FineTuning,
    /// Answers, completions and videos that the provider has stored: retrieving, listing and deleting them.
    StoredResponses,
    /// Vector stores, corpora, cached contents.
    VectorStores,
    /// Keys, users, projects and bills of the account itself.
    Organization,
    /// Any other resource below the provider's paths.
    Unlisted,
}

/// How tenants get at a kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Each tenant reaches the resources of all: for routes of one tenant, or of tenants that trust each other.
    Shared,
    /// Each tenant reaches its own only: ids leave the gateway sealed, and open for their tenant alone (Envoy).
    Sealed,
}

/// The resources that a route permits, and how: a list of kinds, which tenants share, or an access by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "PermitShape")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "PermitShape"))]
pub struct Permit {
    /// Kinds that tenants share.
    pub shared: Vec<Shared>,
    /// Kinds that are kept apart.
    pub sealed: Vec<Shared>,
}

/// As it is written.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum PermitShape {
    /// Kinds that tenants share.
    Kinds(Vec<Shared>),
    /// The access by kind.
    Access(BTreeMap<Shared, Access>),
}

impl From<Permit> for PermitShape {
    fn from(permit: Permit) -> Self {
        if permit.sealed.is_empty() {
            return PermitShape::Kinds(permit.shared);
        }
        let shared = permit.shared.into_iter().map(|kind| (kind, Access::Shared));
        PermitShape::Access(shared.chain(permit.sealed.into_iter().map(|kind| (kind, Access::Sealed))).collect())
    }
}

impl<'de> Deserialize<'de> for Permit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PermitVisitor)
    }
}

struct PermitVisitor;

impl<'de> Visitor<'de> for PermitVisitor {
    type Value = Permit;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of kinds, or `shared` or `sealed` by kind")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut kinds: A) -> Result<Permit, A::Error> {
        let mut permit = Permit::default();
        while let Some(kind) = kinds.next_element()? {
            permit.shared.push(kind);
        }
        Ok(permit)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut kinds: A) -> Result<Permit, A::Error> {
        let mut permit = Permit::default();
        while let Some(kind) = kinds.next_key()? {
            if permit.shared.contains(&kind) || permit.sealed.contains(&kind) {
                return Err(de::Error::custom(format_args!("{kind:?} stands there twice")));
            }
            match kinds.next_value()? {
                Access::Shared => permit.shared.push(kind),
                Access::Sealed => permit.sealed.push(kind),
            }
        }
        Ok(permit)
    }
}
