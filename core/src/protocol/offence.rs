//! What no honest peer does, and what comes of it (`spec/07-trust.md`, T-64 to T-68).
//!
//! A peer answers only for what it makes itself: what it relays in good faith (copies, stale
//! messages, codes that nobody knows, banned authors, messages over a limit that only peernet has) is
//! counted, and never laid to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::link::Link;
use super::node::Node;
use super::outbox::{CloseReason, LinkId, Now, Outbox};
use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::wire::{BodyError, DecompressError};

/// Something that no honest peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offence {
    /// A message that its author did not sign.
    Forged,
    /// A handshake in another name than the one proven.
    WrongKey,
    /// A handshake that does not read, or something else in its place.
    BadHandshake,
    /// Bytes that are no body: a wrong checksum, no compressed stream.
    BadFrame,
    /// A body that is no message.
    BadMessage,
    /// A message of its own that does not say what its code demands.
    Malformed,
    /// Handshakes one after the other on a link that has had one.
    Greedy,
}

/// Points at which a peer is closed and refused.
const TOO_MANY: u64 = 100;
/// Peers whose points are kept, at most. Beyond, those are forgotten whose points would be first.
const MAX_SCORES: usize = 1024;
/// Peers that are refused at the same time, at most. Beyond, whoever would be let in first is.
const MAX_REFUSED: usize = 1024;

impl Offence {
    /// Its points, of the hundred that end a peer's credit.
    fn points(self) -> u64 {
        match self {
            // Every node verifies before it relays, so these are lies; the second is no accident.
            Self::Forged | Self::WrongKey => 50,
            // Another program that found the port, or a broken one; three tries are enough.
            Self::BadHandshake | Self::BadFrame | Self::BadMessage => 25,
            // Implementations have their quirks.
            Self::Malformed => 5,
            // Beyond the few that 0.7 nodes send.
            Self::Greedy => 1,
        }
    }

    /// What a link's end says of the other side, if anything.
    fn behind(reason: &CloseReason) -> Option<Self> {
        Some(match reason {
            CloseReason::WrongKey => Self::WrongKey,
            CloseReason::BadHandshake(_) | CloseReason::HandshakeExpected => Self::BadHandshake,
            // What is too large is so by our bound only, and a frame may be cut off by any accident.
            CloseReason::Body(BodyError::Decompress(DecompressError::TooLarge { .. })) => return None,
            CloseReason::Body(_) => Self::BadFrame,
            CloseReason::Message(_) => Self::BadMessage,
            CloseReason::Forged => Self::Forged,
            _ => return None,
        })
    }
}

/// Whom points and refusals are laid to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Culprit {
    /// Whoever proves this id.
    Id(NodeId),
    /// Whoever is at this IP address; of IPv6, in its /64, all of which one customer has.
    Ip(IpAddr),
    /// The other side of this link alone: many nodes share its IP address, or there is none.
    Link(LinkId),
}

impl Culprit {
    pub(super) fn behind(link: &Link) -> Self {
        match (&link.proven, link.ip) {
            (Some(id), _) => Self::Id(id.clone()),
            (None, Some(ip)) => Self::at(ip).unwrap_or(Self::Link(link.id)),
            (None, None) => Self::Link(link.id),
        }
    }

    /// Whoever is at an IP address, unless that is this machine's.
    pub(super) fn at(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        (!ip.is_loopback()).then(|| Self::Ip(customer(ip)))
    }
}

/// The address that stands for all that one customer commonly has.
pub(crate) fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// How peers have behaved.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    scores: BTreeMap<Culprit, Bucket>,
    /// How often those with proven ids have connected.
    arrivals: BTreeMap<Culprit, Bucket>,
    refused: BTreeMap<Culprit, Duration>,
}

impl Conduct {
    /// Adds points, which fade within `forgive_after`. Returns whether they are too many.
    fn charge(&mut self, now: Duration, who: &Culprit, offence: Offence, forgive_after: Duration) -> bool {
        let rate = Rate { amount: TOO_MANY, within: forgive_after };
        let score = self.scores.entry(who.clone()).or_default();
        // Points that nobody can ever work off would help no one.
        score.take(now, offence.points(), rate);
        let too_many = score.full_at().saturating_sub(now) >= forgive_after;
        if too_many {
            self.scores.remove(who);
        } else if self.scores.len() > MAX_SCORES {
            forget_first(&mut self.scores, now, |score| score.full_at());
        }
        too_many
    }

    /// Someone connects once more. Returns whether that is too often.
    fn arrive(&mut self, now: Duration, who: &Culprit, rate: Rate) -> bool {
        let too_often = !self.arrivals.entry(who.clone()).or_default().try_take(now, rate);
        if self.arrivals.len() > MAX_SCORES {
            forget_first(&mut self.arrivals, now, |arrivals| arrivals.full_at());
        }
        too_often
    }

    fn refuse(&mut self, now: Duration, who: Culprit, until: Duration) {
        self.refused.insert(who, until);
        if self.refused.len() > MAX_REFUSED {
            forget_first(&mut self.refused, now, |until| *until);
        }
    }

    fn is_refused(&self, now: Duration, who: &Culprit) -> bool {
        self.refused.get(who).is_some_and(|until| now < *until)
    }

    /// A link is gone, and whatever it did alone with it.
    fn forget(&mut self, link: LinkId) {
        self.scores.remove(&Culprit::Link(link));
    }
}

/// Drops what time has made void, and if that is nothing, what it would make void first.
fn forget_first<T>(all: &mut BTreeMap<Culprit, T>, now: Duration, void_at: impl Fn(&T) -> Duration) {
    let before = all.len();
    all.retain(|_, entry| void_at(entry) > now);
    if all.len() == before
        && let Some(first) = all.iter().min_by_key(|(_, entry)| void_at(entry)).map(|(who, _)| who.clone())
    {
        all.remove(&first);
    }
}

impl Node {
    /// Lays an offence to the peer on `link`. If that makes too many, its links are closed, and it is
    /// refused for `Config::refuse_for`.
    pub(super) fn blame(&mut self, now: Now, link: LinkId, offence: Offence, out: &mut Outbox) {
        if self.charge(now, link, offence) {
            self.close_link(now, link, CloseReason::Misbehaved, out);
        }
    }

    /// A link ends: whatever its end says of the other side counts.
    pub(super) fn judge_end(&mut self, now: Now, link: LinkId, reason: &CloseReason) {
        if let Some(offence) = Offence::behind(reason) {
            self.charge(now, link, offence);
        }
        self.conduct.forget(link);
    }

    /// Whether whoever is on a link is refused for what it did before.
    pub(super) fn is_refused(&self, now: Now, link: &Link) -> bool {
        self.conduct.is_refused(now.mono, &Culprit::behind(link))
    }

    /// Someone with a proven id has connected. Whoever does so too often is refused from then on. (By
    /// their IP addresses, connections are counted before they come this far.)
    pub(super) fn count_arrival(&mut self, now: Now, link: LinkId) {
        let Some(rate) = self.config.connects_per_minute.map(|most| Rate::per_minute(most.into())) else {
            return;
        };
        let Some(who) = self.links.get(&link).filter(|link| link.proven.is_some()).map(Culprit::behind)
        else {
            return;
        };
        if self.conduct.arrive(now.mono, &who, rate) && !self.conduct.is_refused(now.mono, &who) {
            self.counters.misbehaved += 1;
            self.conduct.refuse(now.mono, who, now.mono + self.config.refuse_for);
        }
    }

    /// Whether connections from an IP address are refused for what came from there before.
    pub fn refuses(&self, now: Now, ip: IpAddr) -> bool {
        Culprit::at(ip).is_some_and(|who| self.conduct.is_refused(now.mono, &who))
    }

    /// Adds the points. Returns whether they are too many, and then sees to the refusal.
    fn charge(&mut self, now: Now, link: LinkId, offence: Offence) -> bool {
        let Some(link) = self.links.get(&link) else { return false };
        let who = Culprit::behind(link);
        self.counters.offences += 1;
        if !self.conduct.charge(now.mono, &who, offence, self.config.forgive_after) {
            return false;
        }
        self.counters.misbehaved += 1;
        if !matches!(who, Culprit::Link(_)) {
            self.conduct.refuse(now.mono, who, now.mono + self.config.refuse_for);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FORGIVE: Duration = Duration::from_secs(600);

    fn at(ip: &str) -> Culprit {
        Culprit::at(ip.parse().unwrap()).unwrap()
    }

    /// T-65
    #[test]
    fn points_add_up_and_fade() {
        let mut conduct = Conduct::default();
        let who = at("1.2.3.4");
        let mut charge =
            |seconds, offence| conduct.charge(Duration::from_secs(seconds), &who, offence, FORGIVE);
        assert!(!charge(1000, Offence::Forged));
        assert!(charge(1000, Offence::Forged));
        // After that it begins anew.
        assert!(!charge(1000, Offence::Forged));
        assert!(!charge(1301, Offence::Forged), "fifty points fade in five minutes");
        assert!(charge(1301, Offence::WrongKey));
        for _ in 0..99 {
            assert!(!charge(2000, Offence::Greedy));
        }
        assert!(charge(2000, Offence::Greedy));
    }

    /// T-66
    #[test]
    fn what_one_customer_has_is_one_peer() {
        assert_eq!(at("2001:4860::1:2:3:4"), at("2001:4860::ffff:0:0:1"));
        assert_ne!(at("2001:4860::1:2:3:4"), at("2001:4860:0:1::1"));
        assert_eq!(at("::ffff:1.2.3.4"), at("1.2.3.4"));
        assert_ne!(at("1.2.3.4"), at("1.2.3.5"));
        for own in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Culprit::at(own.parse().unwrap()), None, "{own}");
        }
    }

    /// T-67
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut conduct = Conduct::default();
        let now = Duration::from_secs(1);
        for n in 0..3000_u32 {
            let who = Culprit::at(IpAddr::from((0x0101_0101 + n).to_be_bytes())).unwrap();
            conduct.charge(now, &who, Offence::Greedy, FORGIVE);
            conduct.refuse(now, who, now + Duration::from_secs(u64::from(n) + 1));
        }
        assert_eq!((conduct.scores.len(), conduct.refused.len()), (MAX_SCORES, MAX_REFUSED));
        // Those that are refused for longest are kept.
        let last = Culprit::at(IpAddr::from((0x0101_0101_u32 + 2999).to_be_bytes())).unwrap();
        assert!(conduct.is_refused(now, &last) && !conduct.is_refused(now, &at("1.1.1.1")));
        assert!(!conduct.is_refused(now + Duration::from_secs(3000), &last));
    }
}
