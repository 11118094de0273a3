//! Finds which of some amounts make up a sum, by trying every combination.

/// The most amounts that are tried: every further one doubles the work.
pub(crate) const AMOUNTS_MAX: usize = 16;

/// Every choice among `amounts` that makes `sum`, as bits: bit `n` is amount `n`. Nothing among more than [`AMOUNTS_MAX`].
pub(crate) fn making(amounts: &[i64], sum: i64) -> impl Iterator<Item = u32> {
    let choices = if amounts.len() > AMOUNTS_MAX { 0 } else { 1u32 << amounts.len() };
    (0..choices).filter(move |choice| {
        let chosen = amounts.iter().enumerate().filter(|(number, _)| is_chosen(*choice, *number));
        chosen.map(|(_, amount)| i128::from(*amount)).sum::<i128>() == i128::from(sum)
    })
}

/// Whether `choice` has amount `number` in it.
pub(crate) fn is_chosen(choice: u32, number: usize) -> bool {
    choice >> number & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_that_makes_the_sum_is_found() {
        let found = |amounts: &[i64], sum| making(amounts, sum).collect::<Vec<_>>();
        assert_eq!(found(&[5, 7, 5], 5), [0b001, 0b100]);
        assert_eq!(found(&[5, -5], 0), [0b00, 0b11]);
        assert_eq!(found(&[], 0), [0_u32]);
        assert_eq!(found(&[i64::MAX, i64::MAX], -2), [0_u32; 0], "a sum does not wrap around");
        assert_eq!(found(&[0; AMOUNTS_MAX + 1], 0), [0_u32; 0]);
    }
}
