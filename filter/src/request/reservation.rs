//! What a request has drawn from its plan's limits: drawn in up to two stages, settled at its end.
use std::rc::Rc;

use weir_contract::Timestamp;

use crate::limit::bucket::Level;
use crate::limit::{
    Center, Charge, Demand, DrawnFrom, Limit, Limiter, RequestTraits, Settlement, Short, Standing, Unit, Verdict,
};
use crate::refusal::Refusal;

/// What a request has drawn so far.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    charges: Vec<Charge>,
    /// How the limits stood after each draw, in the order of the draws.
    pub(super) standings: Vec<Standing>,
    /// The limits that the head alone decides about have been drawn from.
    pub(super) first_done: bool,
    /// The gateway can hold the request while weir serve is asked for what leases lack.
    pub(super) may_ask: bool,
    /// What it draws from never refills: where a lease is short and nobody can be asked, nothing is known.
    pub(super) never_refills: bool,
    /// What weir serve is to be asked for. The request is held until it has answered.
    pub(super) asked: Vec<Charge>,
}

/// A draw on a tenant's limits.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub(super) grants: Grants<'a>,
    pub(super) traits: RequestTraits<'a>,
    /// The tokens that the request is likely to use, at most.
    pub(super) tokens: u64,
    /// What it is likely to cost, at most, in millionths of the catalogue's currency.
    pub(super) cost: u64,
}

/// What a request has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) tokens: u64,
    /// In millionths of the catalogue's currency.
    pub(super) cost: u64,
}

/// What a tenant is granted, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Grants<'a> {
    /// Whose record of the shared data is drawn from: the tenant's, or that of a pool.
    pub(super) tenant: &'a str,
    pub(super) limits: &'a [Limit],
    /// Who grants leases on limits of the fleet.
    pub(super) center: Option<&'a Rc<Center>>,
}

impl Grants<'_> {
    /// Notes that the lease of a charge is in demand.
    fn note(&self, limiter: &mut impl Limiter, charge: &Charge, now: Timestamp) {
        if let (Some(center), Some(limit)) = (self.center, self.limits.get(charge.limit)) {
            limiter.note(&Demand { tenant: self.tenant, limit, charge, center }, now);
        }
    }

    /// The refusal of a request whose lease has run out without the center. It is noted all the same.
    fn unreachable(&self, limiter: &mut impl Limiter, asked: &[Charge], standing: Standing, now: Timestamp) -> Refusal {
        asked.iter().filter(|charge| charge.fleet.is_some()).for_each(|charge| self.note(limiter, charge, now));
        Refusal::LimitUnreachable(standing)
    }
}

impl Reservation {
    /// Of limits that refill, or of those that never do.
    pub(super) fn that_refills(refills: bool) -> Self {
        Reservation { never_refills: !refills, ..Reservation::default() }
    }

    /// Draws from those limits of one stage that cover the request.
    pub(super) fn draw(
        &mut self,
        limiter: &mut impl Limiter,
        draw: &Draw<'_>,
        of_stage: impl Fn(&Limit) -> bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Draw { grants, traits, .. } = draw;
        let limits = grants.limits;
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
        match limiter.take(grants.tenant, &asked, now) {
            Verdict::Admitted(standings) => {
                self.keep(limiter, grants, &asked, standings, now);
                Ok(())
            }
            Verdict::Limited(standing) => Err(Refusal::RateLimited(standing)),
            Verdict::Unreachable(standing) => Err(grants.unreachable(limiter, &asked, standing, now)),
            Verdict::Short(short) => self.draw_others(limiter, grants, &asked, &short, now),
            // A limit that cannot be asked must not stop traffic, and the plugin counts it.
            Verdict::Unavailable(_) => Ok(()),
        }
    }

    /// Draws from every bucket that has enough, and leaves the leases that lack something to be asked for.
    fn draw_others(
        &mut self,
        limiter: &mut impl Limiter,
        grants: &Grants<'_>,
        asked: &[Charge],
        short: &Short,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (mut lacking, mut others) = (Vec::new(), Vec::new());
        for (at, charge) in asked.iter().enumerate() {
            if short.lacking.contains(&at) {
                grants.note(limiter, charge, now);
                lacking.push(*charge);
            } else {
                others.push(*charge);
            }
        }
        if !self.may_ask && self.never_refills {
            return Err(Refusal::LimitUnreachable(short.standing));
        }
        if !self.may_ask {
            return Err(Refusal::RateLimited(short.standing));
        }
        match limiter.take(grants.tenant, &others, now) {
            Verdict::Admitted(standings) => self.keep(limiter, grants, &others, standings, now),
            Verdict::Limited(standing) => return Err(Refusal::RateLimited(standing)),
            Verdict::Short(short) => return Err(Refusal::RateLimited(short.standing)),
            Verdict::Unreachable(standing) => return Err(grants.unreachable(limiter, &others, standing, now)),
            Verdict::Unavailable(_) => {}
        }
        self.asked.extend(lacking);
        Ok(())
    }

    /// Keeps what was drawn, under the buckets that it was drawn from.
    fn keep(
        &mut self,
        limiter: &mut impl Limiter,
        grants: &Grants<'_>,
        asked: &[Charge],
        standings: Vec<Standing>,
        now: Timestamp,
    ) {
        for (charge, standing) in asked.iter().zip(&standings) {
            let charge = Charge { bucket_id: standing.bucket_id, from: standing.from, ..*charge };
            if standing.due {
                grants.note(limiter, &charge, now);
            }
            self.charges.push(charge);
        }
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
        self.asked.clear();
    }

    /// Settles what was drawn for tokens and cost against what was used.
    pub(super) fn settle(&self, limiter: &mut impl Limiter, grants: &Grants<'_>, used: Used, now: Timestamp) {
        let settled = |reserved: &Charge| match reserved.unit {
            Unit::Requests => None,
            Unit::Tokens => Some(Settlement { reserved: *reserved, used: used.tokens }),
            Unit::Cost => Some(Settlement { reserved: *reserved, used: used.cost }),
        };
        let settlements: Vec<_> = self.charges.iter().filter_map(settled).collect();
        if !settlements.is_empty() {
            // What cannot be settled stays as it was reserved; the fault is counted.
            let _counted = limiter.settle(grants.tenant, &settlements, now);
            let of_fleet = settlements.iter().filter(|settled| settled.reserved.fleet.is_some());
            of_fleet.for_each(|settled| grants.note(limiter, &settled.reserved, now));
        }
    }
}

impl Reservation {
    /// Keeps what weir serve has drawn for this request alone. `levels`: what it has left, one for each.
    pub(super) fn granted(&mut self, levels: &[u64]) {
        for (charge, level) in std::mem::take(&mut self.asked).into_iter().zip(levels) {
            let Charge { limit, unit, bucket_id, bucket, .. } = charge;
            let (capacity, remaining) = (bucket.capacity(), (*level).min(bucket.capacity()));
            let wait_ms = bucket.wait_ms(Level::of_units(remaining), capacity);
            let from = DrawnFrom::Center;
            self.standings.push(Standing { limit, unit, bucket_id, capacity, remaining, wait_ms, from, due: false });
            self.charges.push(Charge { from, ..charge });
        }
    }

    /// Weir serve has too little of one charge: the refusal.
    pub(super) fn denied(
        &mut self,
        limiter: &mut impl Limiter,
        tenant: &str,
        at: usize,
        wait_ms: Option<u64>,
        now: Timestamp,
    ) -> Refusal {
        let asked = std::mem::take(&mut self.asked);
        let Some(charge) = asked.get(at) else { return Refusal::RateLimited(Standing::ANY) };
        let Charge { limit, unit, bucket_id, bucket, cost, .. } = *charge;
        let wait_ms = wait_ms.unwrap_or_else(|| bucket.wait_ms(Level::of_units(0), cost));
        limiter.refused(tenant, charge, Some(wait_ms), now);
        let (capacity, from) = (bucket.capacity(), DrawnFrom::Center);
        Refusal::RateLimited(Standing { limit, unit, bucket_id, capacity, remaining: 0, wait_ms, from, due: false })
    }

    /// Weir serve did not answer: each limit goes on as it says.
    pub(super) fn unanswered(
        &mut self,
        limiter: &mut impl Limiter,
        grants: &Grants<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            return Ok(());
        }
        asked.iter().for_each(|charge| limiter.refused(grants.tenant, charge, None, now));
        match limiter.take(grants.tenant, &asked, now) {
            Verdict::Admitted(standings) => {
                self.keep(limiter, grants, &asked, standings, now);
                Ok(())
            }
            Verdict::Limited(standing) => Err(Refusal::RateLimited(standing)),
            Verdict::Short(short) => Err(Refusal::LimitUnreachable(short.standing)),
            Verdict::Unreachable(standing) => Err(Refusal::LimitUnreachable(standing)),
            Verdict::Unavailable(_) => Ok(()),
        }
    }
}

fn charge(at: usize, limit: &Limit, draw: &Draw<'_>) -> Charge {
    let cost = match limit.unit {
        Unit::Requests => 1,
        Unit::Tokens => draw.tokens.min(limit.reserves_max()),
        Unit::Cost => draw.cost.min(limit.reserves_max()),
    };
    let (bucket_id, shared_bucket_id) = (limit.bucket_id(&draw.traits), limit.shared_bucket_id());
    Charge {
        limit: at,
        unit: limit.unit,
        bucket_id,
        shared_bucket_id,
        bucket: limit.bucket,
        cost,
        fleet: limit.fleet,
        from: DrawnFrom::default(),
    }
}
