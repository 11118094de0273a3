//! Failed sign-ins, by address: tokens cannot be guessed, and who tries all the same learns nothing and costs little.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failed attempts of one address within [`SPAN`] after which it has to wait.
const ATTEMPTS_MAX: u32 = 10;
/// The time in which attempts are counted.
const SPAN: Duration = Duration::from_secs(60);
/// The most addresses that are remembered. A further one that fails takes the place of the first.
const ADDRESSES_MAX: usize = 4_096;

/// Failed attempts by address: when the first of them was, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, (Duration, u32)>>);

impl Attempts {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<IpAddr, (Duration, u32)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether an address may try.
    pub(super) fn may_try(&self, from: IpAddr, now: Duration) -> bool {
        self.with(|failed| {
            failed.retain(|_, (first, _)| now.saturating_sub(*first) < SPAN);
            match failed.get(&network(from)) {
                Some((_, count)) => *count < ATTEMPTS_MAX,
                None => true,
            }
        })
    }

    /// An attempt of an address failed.
    pub(super) fn failed(&self, from: IpAddr, now: Duration) {
        self.with(|failed| {
            let from = network(from);
            if failed.len() >= ADDRESSES_MAX
                && !failed.contains_key(&from)
                && let Some(oldest) = failed.iter().min_by_key(|(_, (first, _))| *first).map(|(address, _)| *address)
            {
                failed.remove(&oldest);
            }
            failed.entry(from).or_insert((now, 0)).1 += 1;
        });
    }
}

/// The part of an address that one party has: of IPv6 its first 64 bits. A listener on all addresses sees IPv4 within IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn an_address_that_fails_ten_times_waits_until_the_minute_is_over() {
        let (attempts, one, other) = (Attempts::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..ATTEMPTS_MAX {
            assert!(attempts.may_try(one, NOW));
            attempts.failed(one, NOW);
        }
        assert!(!attempts.may_try(one, NOW) && attempts.may_try(other, NOW));
        assert!(!attempts.may_try(one, NOW + SPAN - Duration::from_millis(1)));
        assert!(attempts.may_try(one, NOW + SPAN));
    }

    #[test]
    fn one_network_of_ipv6_is_one_party_and_the_table_is_bounded() {
        let attempts = Attempts::default();
        let v6 = |text: &str| text.parse::<IpAddr>().expect("an address");
        for last in 0..ATTEMPTS_MAX {
            attempts.failed(v6(&format!("2001:db8::{last}")), NOW);
        }
        assert!(!attempts.may_try(v6("2001:db8::ffff"), NOW) && attempts.may_try(v6("2001:db8:0:1::1"), NOW));
        for number in 0..=ADDRESSES_MAX as u32 {
            attempts.failed(IpAddr::V4(number.into()), NOW + Duration::from_secs(1));
        }
        assert_eq!(attempts.with(|failed| failed.len()), ADDRESSES_MAX);
        assert!(attempts.may_try(IpAddr::from([10, 0, 0, 1]), NOW), "those who fail keep nobody else out");
        assert!(attempts.may_try(v6("2001:db8::ffff"), NOW), "the first gave way");
    }

    #[test]
    fn an_address_of_ipv4_is_itself_within_ipv6() {
        let attempts = Attempts::default();
        let v6 = |text: &str| text.parse::<IpAddr>().expect("an address");
        (0..ATTEMPTS_MAX).for_each(|_| attempts.failed(v6("::ffff:10.0.0.1"), NOW));
        assert!(!attempts.may_try(IpAddr::from([10, 0, 0, 1]), NOW) && attempts.may_try(v6("::ffff:10.0.0.2"), NOW));
    }
}
