//! Checks sums of attempts at providers against the bounds that the filter keeps to.
use weir_contract::event::attempts::{BREAKERS_MAX, MODELS_MAX};
use weir_contract::event::security::NAME_MAX_BYTES;
use weir_contract::{AttemptsData, ModelAttempts};

use super::{Rejection, VALUE_MAX};

pub(super) fn check(data: &AttemptsData) -> Result<(), Rejection> {
    let names = data.breakers.iter().map(|breaker| &breaker.provider);
    let fits = data.models.len() <= MODELS_MAX
        && data.breakers.len() <= BREAKERS_MAX
        && names.into_iter().all(|name| name.len() <= NAME_MAX_BYTES)
        && data.models.iter().all(model_fits);
    if fits { Ok(()) } else { Err(Rejection::Value { field: "models" }) }
}

/// Failures are a part of the attempts.
fn model_fits(model: &ModelAttempts) -> bool {
    let failed = model.failed.values().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    [&model.provider, &model.model].iter().all(|name| name.len() <= NAME_MAX_BYTES)
        && [model.made, model.unanswered_input_tokens].iter().all(|count| *count <= VALUE_MAX)
        && model.retries_refused <= model.made
        && failed.is_some_and(|failed| failed <= model.made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use weir_contract::AttemptFailure;

    fn model(made: u64, failed: u64) -> ModelAttempts {
        ModelAttempts {
            provider: "anthropic".to_owned(),
            model: "haiku".to_owned(),
            made,
            failed: BTreeMap::from([(AttemptFailure::Reset, failed)]),
            ..ModelAttempts::default()
        }
    }

    fn checked(models: Vec<ModelAttempts>) -> bool {
        check(&AttemptsData { models, breakers: Vec::new() }).is_ok()
    }

    #[test]
    fn sums_within_the_bounds_are_taken_and_no_others() {
        assert!(checked(vec![model(5, 5), model(0, 0)]));
        assert!(!checked(vec![model(5, 6)]), "more failures than attempts");
        assert!(!checked(vec![ModelAttempts { retries_refused: 6, ..model(5, 5) }]), "each is behind an attempt");
        assert!(!checked(vec![model(VALUE_MAX + 1, 0)]));
        assert!(!checked(vec![ModelAttempts { model: "x".repeat(NAME_MAX_BYTES + 1), ..model(1, 0) }]));
        assert!(!checked(vec![model(1, 0); MODELS_MAX + 1]));
    }
}
