//! Which addresses are dialled, when, and how often again (`spec/03-conversation.md`, C-30 to C-36).

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::address::{Address, Target};
use super::outbox::{DialId, LinkId, Output, Token};
use super::reach::Reach;
use crate::bucket::{Bucket, Rate};
use crate::config::Config;
use crate::identity::NodeId;

/// Why an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The user asked; kept up once it stood, or from the start if `persist`.
    User { persist: bool },
    /// A neighbour named it in a peers list.
    Learned,
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

/// What of the known addresses can be dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pick {
    Nothing,
    Now(Address, Reach),
    /// Enough were dialled for now.
    Later(Duration),
}

#[derive(Debug, Default)]
pub(super) struct Dialler {
    dials: BTreeMap<DialId, Dial>,
    next: u64,
    /// Addresses that neighbours named and that are not being dialled.
    known: BTreeMap<Address, Named>,
    /// How many of them may be dialled yet.
    pace: Bucket,
}

/// What is known of an address that neighbours named.
#[derive(Debug)]
struct Named {
    id: Option<NodeId>,
    reach: Reach,
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
        let state = State::Dialling;
        self.dials.insert(id, Dial { target, purpose, token, reach, state, peer: None, failures: 0 });
        id
    }

    /// Has the transport dial.
    pub(super) fn start(&mut self, dial: DialId) -> Option<Output> {
        let entry = self.dials.get_mut(&dial)?;
        entry.state = State::Dialling;
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
        self.known.clear();
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

    /// Remembers an address that a neighbour named, unless it is known or there is no room.
    pub(super) fn learn(&mut self, address: Address, id: Option<NodeId>, reach: Reach, capacity: usize) {
        if let Some(known) = self.known.get_mut(&address) {
            known.reach = known.reach.max(reach);
            return;
        }
        let busy = self.dials.values().any(|dial| dial.target.address == address);
        if !busy && self.known.len() < capacity {
            self.known.insert(address, Named { id, reach });
        }
    }

    /// Takes out any of the known addresses that leads to nobody for whom `connected` holds, and
    /// whose turn it is.
    pub(super) fn pick(
        &mut self,
        now: Duration,
        per_minute: u32,
        rng: &mut SmallRng,
        connected: impl Fn(&NodeId) -> bool,
    ) -> Pick {
        self.known.retain(|_, named| !named.id.as_ref().is_some_and(&connected));
        if self.known.is_empty() {
            return Pick::Nothing;
        }
        let rate = Rate::per_minute(per_minute.into());
        if !self.pace.try_take(now, rate) {
            return Pick::Later(self.pace.free_at(rate));
        }
        let at = rng.random_range(0..self.known.len());
        let Some(address) = self.known.keys().nth(at).cloned() else { return Pick::Nothing };
        match self.known.remove(&address) {
            Some(named) => Pick::Now(address, named.reach),
            None => Pick::Nothing,
        }
    }

    /// The dials whose pause is over by `now`.
    pub(super) fn due(&self, now: Duration) -> Vec<DialId> {
        let due = |dial: &Dial| matches!(dial.state, State::Waiting(at) if at <= now);
        self.dials.iter().filter(|(_, dial)| due(dial)).map(|(id, _)| *id).collect()
    }
}

/// `redial_min * 2^failures`, at most `redial_max`, shortened by up to a half at random so that nodes
/// that lost the same peer do not all come back in the same instant.
fn back_off(failures: u32, config: &Config, rng: &mut SmallRng) -> Duration {
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
