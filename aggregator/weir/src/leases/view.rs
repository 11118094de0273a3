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

/// The limits that `query` selects at `now`, at most [`LIMITS_SHOWN_MAX`].
pub(crate) fn rows(center: &mut Center, query: &LimitsQuery, now: u64) -> Vec<LimitRow> {
    let wanted = |key: &Key| match &key.owner {
        Owner::Tenant(id) => query.pool.is_none() && query.tenant.as_deref().is_none_or(|tenant| tenant == id.as_str()),
        Owner::Pool(name) => query.tenant.is_none() && query.pool.as_deref().is_none_or(|pool| pool == name),
    };
    let row = |(key, state): (Key, LimitView)| {
        let (tenant, pool) = match key.owner {
            Owner::Tenant(id) => (Some(id.to_string()), None),
            Owner::Pool(name) => (None, Some(name)),
        };
        LimitRow { tenant, pool, limit: key.limit, part: key.part, state }
    };
    center.views(now, LIMITS_SHOWN_MAX, wanted).into_iter().map(row).collect()
}
