//! A header that another gateway has set.
//!
//! Anyone can send a header: it is believed only if the gateway itself knows the sender, by address or by
//! certificate.
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use weir_config::{ConfigError, shape};

use crate::head::INJECTED;

/// The gateways' properties for subject alternative names.
const PEER_NAMES: [[&str; 2]; 2] =
    [["connection", "uri_san_peer_certificate"], ["connection", "dns_san_peer_certificate"]];

/// A header that names the tenant, and the senders that are trusted with it.
#[derive(Debug)]
pub struct Trusted {
    /// The header with the tenant's id.
    pub header: Rc<str>,
    /// The header with the plan's name.
    pub plan_header: Option<Rc<str>>,
    /// The header with the end user.
    pub user_header: Option<Rc<str>>,
    networks: Vec<Network>,
    peers: Vec<String>,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u128,
    mask: u128,
}

impl Trusted {
    /// Checks and compiles one source; `path` is where it stands in the configuration.
    pub fn compile(header: shape::TrustedHeader, path: &str) -> Result<Self, ConfigError> {
        let name = |field: &str, name: String| {
            let lower = name.to_ascii_lowercase();
            let token = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !token || INJECTED.contains(&lower.as_str()) || lower == "authorization" {
                let problem = "a header of letters, digits and hyphens that weir does not set itself";
                return Err(ConfigError::new(format!("{path}.{field}"), problem));
            }
            Ok(Rc::from(lower))
        };
        if header.networks.is_empty() && header.peers.is_empty() {
            return Err(ConfigError::new(path, "say whose word is taken: networks, peers, or both"));
        }
        let networks = header.networks.iter().enumerate().map(|(at, text)| {
            Network::parse(text).ok_or_else(|| {
                ConfigError::new(
                    format!("{path}.networks[{at}]"),
                    "expected an address and a length, such as 10.0.0.0/8",
                )
            })
        });
        Ok(Trusted {
            networks: networks.collect::<Result<_, _>>()?,
            peers: header.peers,
            header: name("header", header.header)?,
            plan_header: header.plan_header.map(|header| name("plan_header", header)).transpose()?,
            user_header: header.user_header.map(|header| name("user_header", header)).transpose()?,
        })
    }

    /// Whether the peer of this connection is trusted.
    pub fn believes(&self, property: fn(&[&str]) -> Option<Vec<u8>>) -> bool {
        let text = |path: &[&str]| property(path).and_then(|bytes| String::from_utf8(bytes).ok());
        let network = self.networks.is_empty() || {
            let address = text(&["source", "address"]).and_then(|text| read_address(&text));
            address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
        };
        let peer = self.peers.is_empty()
            || PEER_NAMES.iter().filter_map(|path| text(path)).any(|name| self.peers.contains(&name));
        network && peer
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let (offset, max) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
        let length = (length <= max).then_some(offset + length)?;
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        Some(Network { address: widen(address) & mask, mask })
    }

    fn contains(self, address: IpAddr) -> bool {
        widen(address) & self.mask == self.address
    }
}

/// IPv4 as the IPv6 addresses that map it.
fn widen(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(four.to_ipv6_mapped()),
        IpAddr::V6(six) => u128::from(six),
    }
}

/// Reads an address with its port, as Envoy gives it, or without.
fn read_address(text: &str) -> Option<IpAddr> {
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_network_contains_the_addresses_that_begin_like_it() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).expect("a network").contains(read_address(address).expect("an address"))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1:4000") && !contains("10.0.0.0/8", "11.0.0.1:4000"));
        assert!(contains("127.0.0.1/32", "127.0.0.1") && !contains("127.0.0.1/32", "127.0.0.2"));
        assert!(contains("10.0.0.0/8", "[::ffff:10.1.2.3]:80"), "mapped into IPv6");
        assert!(contains("fd00::/8", "[fd12::1]:443") && !contains("fd00::/8", "10.0.0.1:1"));
        assert!(contains("0.0.0.0/0", "8.8.8.8:53") && !contains("0.0.0.0/0", "[2001::1]:53"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0/8", "/8", "::/129", "10.0.0.0/-1", "example.com/8"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
