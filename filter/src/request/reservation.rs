//! What a request has drawn from its plan's limits: drawn in up to two stages, settled at its end.
use weir_contract::{Timestamp, Usage};

use crate::limit::{Charge, Limit, Limiter, RequestTraits, Settlement, Standing, Unit, Verdict};
use crate::refusal::Refusal;

/// What a request has drawn so far.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    charges: Vec<Charge>,
    /// How the limits stood after each draw, in the order of the draws.
    pub(super) standings: Vec<Standing>,
    /// The limits that the head alone decides about have been drawn from.
    pub(super) first_done: bool,
}

/// A draw on a tenant's limits.
pub(super) struct Draw<'a> {
    pub(super) tenant: &'a str,
    pub(super) limits: &'a [Limit],
    pub(super) traits: RequestTraits<'a>,
    /// The tokens that the request is likely to use, at most.
    pub(super) tokens: u64,
}

impl Reservation {
    /// Draws from those limits of one stage that cover the request.
    pub(super) fn draw(
        &mut self,
        limiter: &mut impl Limiter,
        draw: &Draw<'_>,
        of_stage: impl Fn(&Limit) -> bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Draw { limits, traits, .. } = draw;
        if limits.is_empty() {
            return Ok(());
        }
        let covered = limits.iter().enumerate().filter(|(_, limit)| of_stage(limit) && limit.covers(traits));
        let mut asked = Vec::with_capacity(limits.len());
        self.charges.reserve(limits.len());
        for (at, limit) in covered {
            let charge = charge(at, limit, draw);
            // A debt of tokens does not hold up a request that is estimated to use none; its end charges what it used.
            let charges = if charge.cost == 0 { &mut self.charges } else { &mut asked };
            charges.push(charge);
        }
        if asked.is_empty() {
            return Ok(());
        }
        match limiter.take(draw.tenant, &asked, now) {
            Verdict::Admitted(standings) => {
                self.keep(&asked, standings);
                Ok(())
            }
            Verdict::Limited(standing) => Err(Refusal::RateLimited(standing)),
            // A limit that cannot be asked must not stop traffic, and the plugin counts it.
            Verdict::Unavailable(_) => Ok(()),
        }
    }

    /// Keeps what was drawn, under the buckets that it was drawn from.
    fn keep(&mut self, asked: &[Charge], standings: Vec<Standing>) {
        let drawn = asked.iter().zip(&standings);
        self.charges.extend(drawn.map(|(charge, standing)| Charge { bucket_id: standing.bucket_id, ..*charge }));
        if self.standings.is_empty() {
            self.standings = standings;
        } else {
            self.standings.extend(standings);
        }
    }

    /// Gives back all that was drawn.
    pub(super) fn give_back(&mut self, limiter: &mut impl Limiter, tenant: &str, now: Timestamp) {
        // A store that cannot take it back is counted as a fault.
        let _counted = limiter.give_back(tenant, &self.charges, now);
        self.charges.clear();
    }

    /// Settles what was drawn for tokens against what was used.
    pub(super) fn settle(&self, limiter: &mut impl Limiter, tenant: &str, usage: &Usage, now: Timestamp) {
        let used = usage.input_tokens.unwrap_or(0).saturating_add(usage.output_tokens.unwrap_or(0));
        let of_tokens = self.charges.iter().filter(|charge| charge.unit == Unit::Tokens);
        let settlements: Vec<_> = of_tokens.map(|reserved| Settlement { reserved: *reserved, used }).collect();
        if !settlements.is_empty() {
            // What cannot be settled stays as it was reserved; the fault is counted.
            let _counted = limiter.settle(tenant, &settlements, now);
        }
    }
}

fn charge(at: usize, limit: &Limit, draw: &Draw<'_>) -> Charge {
    let cost = match limit.unit {
        Unit::Requests => 1,
        Unit::Tokens => draw.tokens.min(limit.bucket.capacity()),
    };
    let (bucket_id, shared_bucket_id) = (limit.bucket_id(&draw.traits), limit.shared_bucket_id());
    Charge { limit: at, unit: limit.unit, bucket_id, shared_bucket_id, bucket: limit.bucket, cost }
}
