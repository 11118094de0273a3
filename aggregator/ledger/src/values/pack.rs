//! Sums by value of one tenant, and the bytes that they are kept as.
//!
//! # Layout
//!
//! The first byte is [`FORMAT`]. An entry for each value and currency follows: the length of the value and its bytes; three letters of
//! the currency, or three zeros; the counts; the amounts, each as whole units and trillionths. Numbers are LEB128, signed ones in
//! zigzag. A tenant's dozen models take a few hundred bytes, and reading them costs less than a row each would.
use std::collections::BTreeMap;

use crate::amount::{Currency, Pico};
use crate::costs::{COUNTS, Parts, SUMS};
use crate::line::OTHER;

/// The version of the layout.
const FORMAT: u8 = 1;
/// The most values of one tenant and month that are kept apart; clients choose some of them. Further ones are summed under [`OTHER`].
pub(crate) const VALUES_MAX: usize = 2_000;
const NO_CURRENCY: [u8; 3] = [0; 3];

/// Sums by value and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values(BTreeMap<Box<str>, Vec<(Option<Currency>, Parts)>>);

/// The bytes are none that [`Values::pack`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Values {
    /// Adds sums to a value, or takes them off with `sign` -1. Once there are `most` values, further ones count as [`OTHER`].
    pub(crate) fn add(&mut self, (value, currency): (&str, Option<Currency>), parts: &Parts, sign: i64, most: usize) {
        if let Some(known) = self.0.get_mut(value) {
            return add(known, currency, parts, sign);
        }
        let value = if self.0.len() < most { value } else { OTHER };
        add(self.0.entry(value.into()).or_default(), currency, parts, sign);
    }

    /// Adds packed sums.
    pub(crate) fn add_packed(&mut self, bytes: &[u8], sign: i64, most: usize) -> Result<(), Malformed> {
        let Some((&FORMAT, mut rest)) = bytes.split_first() else { return Err(Malformed) };
        while !rest.is_empty() {
            let length = usize::try_from(number(&mut rest)?).map_err(|_| Malformed)?;
            let value = std::str::from_utf8(take(&mut rest, length)?).map_err(|_| Malformed)?;
            let currency = match take(&mut rest, NO_CURRENCY.len())? {
                code if code == NO_CURRENCY => None,
                code => Some(std::str::from_utf8(code).ok().and_then(Currency::parse).ok_or(Malformed)?),
            };
            let mut parts: Parts = [0; SUMS];
            for part in &mut parts[..COUNTS.len()] {
                *part = signed(&mut rest)?.into();
            }
            for part in &mut parts[COUNTS.len()..] {
                let units = signed(&mut rest)?;
                *part = Pico::of_columns(units, signed(&mut rest)?).0;
            }
            self.add((value, currency), &parts, sign, most);
        }
        Ok(())
    }

    /// The bytes of these sums.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for (value, sums) in &self.0 {
            for (currency, parts) in sums {
                put(&mut bytes, value.len() as u64);
                bytes.extend_from_slice(value.as_bytes());
                bytes.extend_from_slice(
                    currency.as_ref().map_or(&NO_CURRENCY[..], |currency| currency.as_str().as_bytes()),
                );
                for count in &parts[..COUNTS.len()] {
                    // Sums of counts fit their columns, as they do in the tables that they come from.
                    put_signed(&mut bytes, i64::try_from(*count).unwrap_or(i64::MAX));
                }
                for amount in &parts[COUNTS.len()..] {
                    let (units, pico) = Pico(*amount).columns();
                    put_signed(&mut bytes, units);
                    put_signed(&mut bytes, pico);
                }
            }
        }
        bytes
    }

    /// Takes every entry out. A value whose sums are below nothing was summed under [`OTHER`] in a longer span: it goes there.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Box<str>, Option<Currency>, Parts)> + use<> {
        let below: Vec<(Box<str>, Option<Currency>)> = self.each(|parts| parts.iter().any(|part| *part < 0));
        for (value, currency) in below.into_iter().filter(|(value, _)| **value != *OTHER) {
            let Some(sums) = self.0.get_mut(&value) else { continue };
            let at = sums.iter().position(|(of, _)| *of == currency);
            let Some((_, parts)) = at.map(|at| sums.swap_remove(at)) else { continue };
            add(self.0.entry(OTHER.into()).or_default(), currency, &parts, 1);
        }
        let there = |(_, parts): &(Option<Currency>, Parts)| parts.iter().any(|part| *part != 0);
        std::mem::take(&mut self.0).into_iter().flat_map(move |(value, sums)| {
            let entry = move |(currency, parts)| (value.clone(), currency, parts);
            sums.into_iter().filter(there).map(entry)
        })
    }

    fn each(&self, chosen: impl Fn(&Parts) -> bool) -> Vec<(Box<str>, Option<Currency>)> {
        let entries = self.0.iter().flat_map(|(value, sums)| sums.iter().map(move |(of, parts)| (value, *of, parts)));
        entries.filter(|(_, _, parts)| chosen(parts)).map(|(value, of, _)| (value.clone(), of)).collect()
    }
}

fn add(sums: &mut Vec<(Option<Currency>, Parts)>, currency: Option<Currency>, parts: &Parts, sign: i64) {
    let at = sums.iter().position(|(of, _)| *of == currency).unwrap_or_else(|| {
        sums.push((currency, [0; SUMS]));
        sums.len() - 1
    });
    let sums = sums[at].1.iter_mut().zip(parts);
    // A product of such wide numbers is a call of its own.
    if sign < 0 {
        sums.for_each(|(sum, part)| *sum -= part);
    } else {
        sums.for_each(|(sum, part)| *sum += part);
    }
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, left) = rest.split_first().ok_or(Malformed)?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn signed(rest: &mut &[u8]) -> Result<i64, Malformed> {
    let number = number(rest)?;
    Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::PICO;

    fn parts(requests: i128, cost: i128) -> Parts {
        let mut parts = [0; SUMS];
        (parts[0], parts[COUNTS.len()]) = (requests, cost);
        parts
    }

    #[test]
    fn sums_are_read_back_as_they_are_packed() {
        let mut values = Values::default();
        values.add(("gpt-4o", Some(Currency::USD)), &parts(i128::from(i64::MAX), 7 * PICO + 1), 1, VALUES_MAX);
        values.add(("", None), &parts(1, -3), 1, VALUES_MAX);
        let mut read = Values::default();
        read.add_packed(&values.pack(), 1, VALUES_MAX).expect("well formed");
        assert_eq!(read, values);
        read.add_packed(&values.pack(), -1, VALUES_MAX).expect("well formed");
        assert_eq!(read.drain().count(), 0, "what was added is taken off");
    }

    #[test]
    fn bytes_that_are_cut_are_malformed_and_never_a_panic() {
        let mut values = Values::default();
        values.add(("gpt-4o", Some(Currency::USD)), &parts(300, 7 * PICO + 1), 1, VALUES_MAX);
        let bytes = values.pack();
        for end in 2..bytes.len() {
            assert_eq!(Values::default().add_packed(&bytes[..end], 1, VALUES_MAX), Err(Malformed), "{end} bytes");
        }
        assert_eq!(Values::default().add_packed(&[9], 1, VALUES_MAX), Err(Malformed), "another format");
        assert_eq!(Values::default().add_packed(&[FORMAT, 0xff, 0xff], 1, VALUES_MAX), Err(Malformed));
    }

    #[test]
    fn values_beyond_the_bound_are_one_and_nothing_is_lost() {
        let mut values = Values::default();
        for number in 0..10 {
            values.add((&number.to_string(), None), &parts(1, 1), 1, 3);
        }
        // The fifth value was summed under the other ones; a part of the span that names it takes it off there.
        values.add(("5", None), &parts(1, 1), -1, 100);
        let drained: Vec<_> = values.drain().collect();
        assert_eq!(drained.iter().map(|(_, _, parts)| parts[0]).sum::<i128>(), 9);
        assert!(drained.iter().all(|(_, _, parts)| parts[0] > 0), "{drained:?}");
    }
}
