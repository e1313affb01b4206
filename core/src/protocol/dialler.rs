//! What is being dialled and kept up, and when again (`spec/03-conversation.md`, C-30 to C-36).

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::address::{Address, Target};
use super::outbox::{DialId, LinkId, Output, Token};
use super::reach::Reach;
use crate::config::Config;
use crate::identity::NodeId;

/// Why an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The user asked; kept up once it stood, or from the start if `persist`.
    User { persist: bool },
    /// It stands in the peer book.
    Learned,
    /// The same, while there are links enough: to see whether it is of another part of the network.
    Probe,
    /// A node is looked for, to whisper to it.
    Lookup,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The transport is at it.
    Dialling,
    /// A link came of it.
    Linked(LinkId),
    /// Another link leads to the same peer.
    Satisfied(NodeId),
    /// Again at that time.
    Waiting(Duration),
}

#[derive(Debug)]
pub(super) struct Dial {
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    pub(super) token: Option<Token>,
    /// Which addresses may be dialled for whoever named it.
    pub(super) reach: Reach,
    pub(super) state: State,
    /// When it was last dialled.
    pub(super) since: Duration,
    /// Whether that came as far as a handshake.
    pub(super) stood: bool,
    /// The peer that it led to last.
    pub(super) peer: Option<NodeId>,
    /// Failures since it last stood for long.
    failures: u32,
}

/// What to do about a dial that failed or a link that broke.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Forget,
    After(Duration),
}

#[derive(Debug, Default)]
pub(super) struct Dialler {
    dials: BTreeMap<DialId, Dial>,
    next: u64,
}

impl Dialler {
    pub(super) fn add(
        &mut self,
        target: Target,
        purpose: Purpose,
        token: Option<Token>,
        reach: Reach,
    ) -> DialId {
        let id = DialId(self.next);
        self.next += 1;
        let dial = Dial {
            target,
            purpose,
            token,
            reach,
            state: State::Dialling,
            since: Duration::ZERO,
            stood: false,
            peer: None,
            failures: 0,
        };
        self.dials.insert(id, dial);
        id
    }

    /// Has the transport dial.
    pub(super) fn start(&mut self, dial: DialId, now: Duration) -> Option<Output> {
        let entry = self.dials.get_mut(&dial)?;
        entry.state = State::Dialling;
        entry.since = now;
        entry.stood = false;
        Some(Output::Dial { dial, address: entry.target.address.clone(), reach: entry.reach })
    }

    pub(super) fn get(&self, dial: DialId) -> Option<&Dial> {
        self.dials.get(&dial)
    }

    pub(super) fn get_mut(&mut self, dial: DialId) -> Option<&mut Dial> {
        self.dials.get_mut(&dial)
    }

    pub(super) fn remove(&mut self, dial: DialId) -> Option<Dial> {
        self.dials.remove(&dial)
    }

    pub(super) fn clear(&mut self) -> Vec<Dial> {
        std::mem::take(&mut self.dials).into_values().collect()
    }

    /// Forgets what keeps up `links`, all that lead to `peer` (the user disconnected it).
    pub(super) fn release(&mut self, peer: &NodeId, links: &[LinkId]) {
        self.dials.retain(|_, dial| match &dial.state {
            State::Linked(linked) => !links.contains(linked),
            State::Satisfied(satisfied) => satisfied != peer,
            State::Waiting(_) => dial.target.id.as_ref() != Some(peer),
            State::Dialling => true,
        });
    }

    /// The link that came of a dial is given up for another to the same peer: what the user asked
    /// for is satisfied as long as that one stands.
    pub(super) fn replaced(&mut self, dial: Option<DialId>, link: LinkId, peer: &NodeId) {
        let Some(dial) = dial else { return };
        match self.dials.get_mut(&dial) {
            Some(entry) if entry.state != State::Linked(link) => {}
            Some(entry) if matches!(entry.purpose, Purpose::User { .. }) => {
                entry.state = State::Satisfied(peer.clone());
            }
            _ => {
                self.dials.remove(&dial);
            }
        }
    }

    /// Dials that wait for a link to `peer`, which another link fulfilled until now.
    pub(super) fn satisfied_by(&self, peer: &NodeId) -> Vec<DialId> {
        let by_peer = |dial: &Dial| dial.state == State::Satisfied(peer.clone());
        self.dials.iter().filter(|(_, dial)| by_peer(dial)).map(|(id, _)| *id).collect()
    }

    /// A dial failed, or its link broke: again later, or never.
    pub(super) fn failed(
        &mut self,
        dial: DialId,
        now: Duration,
        config: &Config,
        rng: &mut SmallRng,
    ) -> Next {
        let Some(entry) = self.dials.get_mut(&dial) else { return Next::Forget };
        let keep = matches!(entry.purpose, Purpose::User { persist: true });
        if !keep {
            self.dials.remove(&dial);
            return Next::Forget;
        }
        let pause = back_off(entry.failures, config, rng);
        entry.failures += 1;
        entry.state = State::Waiting(now + pause);
        Next::After(pause)
    }

    /// A dial's link stood for so long that what failed before it is forgotten. A peer that shakes
    /// hands and then closes is not dialled ever again at once.
    pub(super) fn stood_long(&mut self, dial: DialId) {
        if let Some(entry) = self.dials.get_mut(&dial) {
            entry.failures = 0;
        }
    }

    /// A dial's handshake is done: what the user asked for is kept up from now on.
    pub(super) fn stands(&mut self, dial: DialId, peer: &NodeId) -> Option<Token> {
        let entry = self.dials.get_mut(&dial)?;
        entry.peer = Some(peer.clone());
        if let Purpose::User { persist } = &mut entry.purpose {
            *persist = true;
        }
        entry.token.take()
    }

    /// Links of our own making, those under way included.
    pub(super) fn outgoing(&self) -> usize {
        let open = |dial: &&Dial| matches!(dial.state, State::Dialling | State::Linked(_));
        self.dials.values().filter(open).count()
    }

    /// What is being dialled or kept up.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.dials.values().map(|dial| &dial.target.address)
    }

    /// Dials under way that began after `since`.
    pub(super) fn dialling_since(&self, since: Duration) -> usize {
        self.dials.values().filter(|dial| dial.state == State::Dialling && dial.since >= since).count()
    }

    /// Links that were made because their addresses were known, and for no one thing.
    pub(super) fn learned_links(&self) -> impl Iterator<Item = LinkId> {
        self.dials.values().filter_map(|dial| match (dial.purpose, &dial.state) {
            (Purpose::Learned, State::Linked(link)) => Some(*link),
            _ => None,
        })
    }

    /// The dials whose pause is over by `now`.
    pub(super) fn due(&self, now: Duration) -> Vec<DialId> {
        let due = |dial: &Dial| matches!(dial.state, State::Waiting(at) if at <= now);
        self.dials.iter().filter(|(_, dial)| due(dial)).map(|(id, _)| *id).collect()
    }
}

/// `redial_min * 2^failures`, at most `redial_max`, shortened by up to a half at random so that nodes
/// that lost the same peer do not all come back in the same instant.
pub(super) fn back_off(failures: u32, config: &Config, rng: &mut SmallRng) -> Duration {
    let doubled = config.redial_min.saturating_mul(1 << failures.min(16));
    doubled.min(config.redial_max).mul_f64(rng.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// C-33, L-15, L-16
    #[test]
    fn pauses_double_up_to_the_longest() {
        let (config, mut rng) = (Config::default(), SmallRng::seed_from_u64(1));
        for failures in 0..40 {
            let pause = back_off(failures, &config, &mut rng);
            let full = config.redial_min.saturating_mul(1 << failures.min(16)).min(config.redial_max);
            assert!(pause <= full && pause >= full / 2, "{failures}: {pause:?}");
        }
    }
}
