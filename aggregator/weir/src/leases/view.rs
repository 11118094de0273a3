//! Fleet-wide limits as people see them: `GET /v1/limits` and `weir limits`.
use serde::{Deserialize, Serialize};
use weir_contract::lease::{COUNT_MAX, Definition, Key, Owner};
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
    /// The bound: what all gateways together admit within any minute, at most, whatever fails. Of a budget, within its period.
    pub minute_max: u64,
    /// How it stands.
    #[serde(flatten)]
    pub state: LimitView,
}

/// `capacity + refill × t` for a minute, rounded up.
fn minute_max(definition: &Definition) -> u64 {
    let refill = u128::from(definition.refill) * 60_000;
    let refill = refill.div_ceil(u128::from(definition.period_ms.max(1)));
    u64::try_from(refill).unwrap_or(COUNT_MAX).saturating_add(definition.capacity).min(COUNT_MAX)
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
        let minute_max = minute_max(&state.definition);
        LimitRow { tenant, pool, limit: key.limit, part: key.part, minute_max, state }
    }
}

/// The limits that `query` selects at `now`, at most [`LIMITS_SHOWN_MAX`].
pub(crate) fn rows(center: &mut Center, query: &LimitsQuery, now: u64) -> Vec<LimitRow> {
    let views = center.views(now, LIMITS_SHOWN_MAX, |key| query.selects(key));
    views.into_iter().map(|(key, state)| LimitRow::new(key, state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_minute_is_the_bucket_and_its_refill() {
        let of =
            |capacity, refill, period_ms| minute_max(&Definition { capacity, refill, period_ms, tiers: Vec::new() });
        assert_eq!(of(1_000, 1_000, 60_000), 2_000);
        assert_eq!(of(10, 5, 1_000), 310);
        assert_eq!(of(100, 1, 3_600_000), 101, "a part of a unit counts whole");
        assert_eq!(of(5_000_000, 0, 2_678_400_000), 5_000_000, "a budget");
        assert_eq!(of(COUNT_MAX, COUNT_MAX, 1), COUNT_MAX);
    }
}
