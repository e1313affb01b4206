//! Which addresses a peer can make us dial by naming them (`spec/07-trust.md`, T-60 to T-63).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far the addresses reach that may be dialled for someone: nobody who is not on this machine, or
/// not on this network, can use us to knock at doors in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Those of the whole internet.
    Global,
    /// Also those of private and of shared networks.
    Network,
    /// Also those of this machine.
    Machine,
    /// Any: the user named it, or there is no network.
    Any,
}

impl Reach {
    /// What a peer may name that is at `ip`; `None` where there is no network.
    pub fn of(ip: Option<IpAddr>) -> Self {
        // A peer that is at an address of no use has come by some local trick; it is not trusted for it.
        ip.map_or(Self::Any, |ip| needed(ip).unwrap_or(Self::Global))
    }

    /// Its place in the order, from 0.
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        [Self::Global, Self::Network, Self::Machine, Self::Any]
            .into_iter()
            .find(|reach| u64::from(reach.number()) == number)
    }

    /// Whether `ip` may be dialled.
    pub fn covers(self, ip: IpAddr) -> bool {
        self == Self::Any || needed(ip).is_some_and(|needed| needed <= self)
    }
}

/// The least reach that covers an address. `None` for those at which no single node can be, or none
/// should: unspecified, multicast, broadcast, documentation, discard, reserved (RFC 6890).
fn needed(ip: IpAddr) -> Option<Reach> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => needed_v4(ip),
        IpAddr::V6(ip) => needed_v6(ip),
    }
}

fn needed_v4(ip: Ipv4Addr) -> Option<Reach> {
    match ip.octets() {
        // "This network", multicast, and what is reserved, with the broadcast address.
        [0 | 224.., ..] => None,
        // Documentation.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => None,
        [127, ..] => Some(Reach::Machine),
        // Private networks, link-local ones, those of carriers, of tests, and IETF's own.
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [169, 254, ..]
        | [100, 64..=127, ..]
        | [198, 18 | 19, ..]
        | [192, 0, 0, _] => Some(Reach::Network),
        _ => Some(Reach::Global),
    }
}

fn needed_v6(ip: Ipv6Addr) -> Option<Reach> {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        needed_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Reach::Machine),
        // Gateways to IPv4 (NAT64, 6to4) reach what stands inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Documentation.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => None,
        // Unique local, link-local, and what was site-local.
        [0xfc00..=0xfdff | 0xfe80..=0xfeff, ..] => Some(Reach::Network),
        [0x2000..=0x3fff, ..] => Some(Reach::Global),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MACHINE: [&str; 4] = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];
    const NETWORK: [&str; 12] = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:c0a8:0101::1",
        "fec0::1",
    ];
    const GLOBAL: [&str; 7] = [
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "192.169.0.1",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ];
    const NONE: [&str; 14] = [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "::",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        "2002:e000:1::",
    ];

    /// T-60, T-61
    #[test]
    fn nobody_names_what_is_nearer_than_itself() {
        let sets: [(Reach, &[&str]); 3] =
            [(Reach::Machine, &MACHINE), (Reach::Network, &NETWORK), (Reach::Global, &GLOBAL)];
        for (from, namers) in sets {
            for namer in namers {
                assert_eq!(Reach::of(Some(namer.parse().unwrap())), from, "{namer}");
            }
            for (at, named) in sets {
                for ip in named {
                    assert_eq!(from.covers(ip.parse().unwrap()), at <= from, "{ip} for {from:?}");
                }
            }
            for ip in NONE {
                assert!(!from.covers(ip.parse().unwrap()), "{ip}");
            }
        }
    }

    #[test]
    fn without_a_network_anything_goes() {
        for ip in MACHINE.iter().chain(&NETWORK).chain(&GLOBAL).chain(&NONE) {
            assert!(Reach::of(None).covers(ip.parse().unwrap()), "{ip}");
        }
        for ip in NONE {
            assert_eq!(Reach::of(Some(ip.parse().unwrap())), Reach::Global, "{ip}");
        }
    }
}
