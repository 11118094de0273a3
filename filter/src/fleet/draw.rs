//! Asks weir serve for one request that leases are too small for.
//!
//! What is granted is spent at once: an answer that is lost loses it, and nothing is asked twice.
use weir_contract::TenantId;
use weir_contract::lease::{Draw, DrawAnswer, DrawCall};

use super::{Renewals, process};
use crate::fetch::Fetched;
use crate::limit::{Charge, Limit};
use crate::store::Store;

/// The end of the path, behind that of the leases.
pub const PATH: &str = "/draw";

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drew {
    /// Everything is drawn; what the center has left, one number for each charge.
    All(Vec<u64>),
    /// Nothing is drawn, because this charge has too little for so many milliseconds.
    Short {
        /// The charge, from 0.
        at: usize,
        /// None: it never has enough.
        wait_ms: Option<u64>,
    },
    /// Nobody answered: the units may be drawn or not.
    Unanswered,
}

impl Renewals {
    /// The body of the call for one request of this tenant; None where the store fails.
    pub fn draw_call<'a>(
        &self,
        store: &mut impl Store,
        tenant: &TenantId,
        asked: impl Iterator<Item = (&'a Limit, &'a Charge)>,
    ) -> Option<Vec<u8>> {
        let draws = asked.map(|(limit, charge)| Draw {
            key: limit.key(tenant, charge.bucket_id),
            definition: limit.definition(),
            tier: limit.account.as_ref().and_then(|account| account.tier.clone()),
            cost: charge.cost,
        });
        let draws: Vec<_> = draws.collect();
        let gateway = process::name(store, &self.process)?;
        serde_json::to_vec(&DrawCall { gateway, draws }).ok()
    }
}

/// Reads the answer to a call of that many draws.
pub fn read(answer: &Fetched<'_>, draws: usize) -> Drew {
    let Some(answer) = answer.ok().ok().and_then(|body| serde_json::from_slice::<DrawAnswer>(body).ok()) else {
        return Drew::Unanswered;
    };
    match answer.short {
        Some(short) if short.index < draws => Drew::Short { at: short.index, wait_ms: short.wait_ms },
        None if answer.levels.len() == draws => Drew::All(answer.levels),
        _ => Drew::Unanswered,
    }
}
