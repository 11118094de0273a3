//! Spreads units over tiers.
use crate::plans::Tier;

/// A tier, and the units that it prices.
pub(super) type Filled = (Tier, u64);

/// Each tier that is reached, with the units that fall into it. The first tier is always reached.
pub(super) fn graduated(tiers: &[Tier], units: u64) -> Vec<Filled> {
    let (mut filled, mut below) = (Vec::new(), 0);
    for (number, tier) in tiers.iter().enumerate() {
        if number > 0 && units <= below {
            break;
        }
        let end = tier.up_to.map_or(units, |bound| bound.min(units)).max(below);
        filled.push((*tier, end - below));
        below = end;
    }
    filled
}

/// The tier that the sum falls into, with all units.
pub(super) fn volume(tiers: &[Tier], units: u64) -> Option<Filled> {
    let holds = |tier: &&Tier| tier.up_to.is_none_or(|bound| units <= bound);
    tiers.iter().find(holds).map(|tier| (*tier, units))
}
