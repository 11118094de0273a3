//! Another model mix: requests shared out anew among models.
use std::collections::BTreeMap;

use super::part;
use crate::drivers::{ModelUse, Models};
use crate::ratio::Percent;

/// Requests, input tokens, those of them from a cache, and output tokens.
type Shape = [u64; 4];

fn shape(of: &ModelUse) -> Shape {
    [of.requests, of.input_tokens, of.cache_read_tokens, of.output_tokens]
}

/// The part of a shape that so many of its requests have.
fn part_of(shape: Shape, requests: u64) -> Shape {
    let [all, ..] = shape;
    let of = |units: u64| u128::from(units) * u128::from(requests.min(all)) / u128::from(all.max(1));
    shape.map(|units| u64::try_from(of(units)).unwrap_or(units))
}

fn less(shape: Shape, part: Shape) -> Shape {
    std::array::from_fn(|unit| shape[unit] - part[unit])
}

fn plus(shape: Shape, part: Shape) -> Shape {
    std::array::from_fn(|unit| shape[unit] + part[unit])
}

/// Requests shared out among the models of the mix. What stays with a model keeps its shape; what moves has the average shape of all
/// that moves. Requests and tokens stay the same in sum, and the measured mix changes nothing.
pub(super) fn mixed(mix: &BTreeMap<String, Percent>, models: &Models, requests: u64) -> Models {
    let wanted = requests_of(mix, requests);
    let (mut planned, mut moved): (BTreeMap<&str, Shape>, Shape) = (BTreeMap::new(), Shape::default());
    for (name, before) in models {
        let stays = part_of(shape(before), wanted.get(name.as_str()).copied().unwrap_or(0));
        moved = plus(moved, less(shape(before), stays));
        planned.insert(name, stays);
    }
    for (name, wanted) in wanted {
        let model = planned.entry(name).or_default();
        let gained = part_of(moved, wanted.saturating_sub(model[0]));
        moved = less(moved, gained);
        *model = plus(*model, gained);
    }
    let used = |(name, [requests, input_tokens, cache_read_tokens, output_tokens]): (&str, Shape)| {
        let used = ModelUse { requests, input_tokens, cache_read_tokens, output_tokens, ..ModelUse::default() };
        (name.to_owned(), used)
    };
    planned.into_iter().filter(|(_, shape)| shape[0] > 0).map(used).collect()
}

/// The requests of each model of a mix: together they are all requests.
fn requests_of(mix: &BTreeMap<String, Percent>, all: u64) -> BTreeMap<&str, u64> {
    let (mut shares, mut given) = (0, 0);
    let mut requests = BTreeMap::new();
    for (name, share) in mix {
        shares += share.0;
        let until = part(all, Percent(shares));
        requests.insert(name.as_str(), until - given);
        given = until;
    }
    requests
}
