//! Fleet-wide limits as people see them: `GET /v1/limits` and `weir limits`.
use serde::{Deserialize, Serialize};
use weir_contract::lease::{Key, Owner};
use weir_leases::Center;
use weir_leases::limit::LimitView;

/// The most limits of one answer.
pub(crate) const LIMITS_SHOWN_MAX: usize = 1_000;

/// Which limits to show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsQuery {
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those of this pool.
    pub pool: Option<String>,
}

/// One limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LimitRow {
    /// The tenant whose limit it is; absent for a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The pool; absent for a tenant's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Its name in the plan, or what the pool counts.
    pub limit: String,
    /// The bucket, for a limit with one for each user, model or the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub state: LimitView,
}

impl LimitsQuery {
    /// Whether it selects the limit of a key.
    pub(crate) fn selects(&self, key: &Key) -> bool {
        match &key.owner {
            Owner::Tenant(id) => {
                self.pool.is_none() && self.tenant.as_deref().is_none_or(|tenant| tenant == id.as_str())
            }
            Owner::Pool(name) => self.tenant.is_none() && self.pool.as_deref().is_none_or(|pool| pool == name),
        }
    }
}

impl LimitRow {
    /// The row of a limit.
    pub(crate) fn new(key: Key, state: LimitView) -> Self {
        let (tenant, pool) = match key.owner {
            Owner::Tenant(id) => (Some(id.to_string()), None),
            Owner::Pool(name) => (None, Some(name)),
        };
        LimitRow { tenant, pool, limit: key.limit, part: key.part, state }
    }
}

/// The limits that `query` selects at `now`, at most [`LIMITS_SHOWN_MAX`].
pub(crate) fn rows(center: &mut Center, query: &LimitsQuery, now: u64) -> Vec<LimitRow> {
    let views = center.views(now, LIMITS_SHOWN_MAX, |key| query.selects(key));
    views.into_iter().map(|(key, state)| LimitRow::new(key, state)).collect()
}
