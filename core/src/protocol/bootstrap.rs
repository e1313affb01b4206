//! Coming together and staying together: which known addresses are dialled, and when (`spec/11-state.md`,
//! K-40 to K-46, and C-35).

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::address::{Address, Target};
use super::book::{Choice, Named, Pick, Range, Want};
use super::dialler::{Purpose, State, back_off};
use super::handshake::Dialect;
use super::node::{Node, Timer};
use super::offence::Culprit;
use super::outbox::{CloseReason, DialId, Event, LinkId, Now, Outbox};
use super::reach::Reach;
use super::records::RecordError;
use crate::identity::NodeId;

/// Longest time between two looks beyond the neighbours there are, in intervals.
const MAX_CALM: u32 = 12;

/// When a node sees to its links.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    /// The next time, if there is anything to see to.
    beat: Option<Duration>,
    /// The next purge of the book.
    purge: Duration,
    /// Intervals between two looks beyond.
    calm: u32,
    /// Intervals until the next.
    rest: u32,
}

impl Bootstrap {
    /// The network may have come apart: looks beyond at the next interval.
    pub(super) fn hurry(&mut self) {
        (self.calm, self.rest) = (0, 0);
    }

    /// All was well: looks beyond less often.
    fn calm_down(&mut self) {
        self.calm = (self.calm * 2).clamp(1, MAX_CALM);
        self.rest = self.calm;
    }
}

impl Node {
    /// Whether it looks for neighbours of its own accord.
    fn bootstraps(&self) -> bool {
        self.config.connections > 0 && self.config.max_outgoing > 0 && !self.closed
    }

    /// There is something to see to from now on.
    pub(super) fn arm_bootstrap(&mut self, now: Now) {
        if self.bootstrap.beat.is_none() && self.bootstraps() {
            let interval = self.config.ask_interval.mul_f64(self.rng.random_range(0.75..=1.0));
            self.bootstrap.beat = Some(now.mono + interval);
            self.set_timer(now.mono + interval, Timer::Bootstrap);
        }
    }

    /// As [`Node::arm_bootstrap`], and at once.
    pub(super) fn arm_bootstrap_now(&mut self, now: Now) {
        if self.bootstraps() {
            if let Some(at) = self.bootstrap.beat {
                self.timers.remove(&(at, Timer::Bootstrap));
            }
            self.bootstrap.beat = Some(now.mono);
            self.set_timer(now.mono, Timer::Bootstrap);
        }
    }

    /// Sees to the links: asks and dials while there are too few, and looks beyond them at times.
    pub(super) fn see_to_links(&mut self, now: Now, out: &mut Outbox) {
        self.bootstrap.beat = None;
        if !self.bootstraps() {
            return;
        }
        if now.mono >= self.bootstrap.purge {
            self.bootstrap.purge = now.mono + self.config.purge_interval;
            self.book.purge();
        }
        if self.table.len() < self.config.connections {
            let links: Vec<LinkId> = self.table.values().copied().collect();
            for link in links {
                self.request_peers(now, link, out);
            }
            self.fill_outgoing(now, out);
            // Whatever their pauses: whoever is in need tries all it knows, a few at a time.
            let not_after = now.mono.saturating_sub(self.config.ask_interval.mul_f64(0.5));
            let want = Want::Oldest { not_after };
            while self.lacks(now) > 0 && self.dial_known(now, want, Purpose::Learned, out) {}
        } else if self.bootstrap.rest > 0 {
            self.bootstrap.rest -= 1;
        } else {
            self.look_beyond(now, out);
        }
        self.keep_book(now, out);
        if !(self.book.is_empty() && self.table.is_empty()) {
            self.arm_bootstrap(now);
        }
    }

    /// How many more neighbours are wanted, those included that are being dialled. A dial that takes
    /// longer than an interval does not keep others waiting.
    fn lacks(&self, now: Now) -> usize {
        let since = now.mono.saturating_sub(self.config.ask_interval);
        let coming = |link: &&super::link::Link| link.is_outgoing() && link.peer.is_none();
        let under_way = self.dialler.dialling_since(since) + self.links.values().filter(coming).count();
        self.config.connections.saturating_sub(self.table.len() + under_way)
    }

    /// Dials what neighbours named while there are few links of our own making, and what else is known
    /// while there are few neighbours.
    pub(super) fn fill_outgoing(&mut self, now: Now, out: &mut Outbox) {
        while self.dialler.outgoing() < self.config.max_outgoing
            && self.dial_known(now, Want::Fresh, Purpose::Learned, out)
        {}
        while self.bootstraps()
            && self.lacks(now) > 0
            && self.dial_known(now, Want::Best, Purpose::Learned, out)
        {}
    }

    /// There are links enough, but perhaps not to all parts of the network: dials whoever was not heard
    /// of for longest.
    fn look_beyond(&mut self, now: Now, out: &mut Outbox) {
        if self.table.len() >= self.config.max_peers
            && let Some(spare) = self.any_spare(None)
        {
            self.let_go(spare, out);
        }
        self.dial_known(now, Want::Quiet, Purpose::Probe, out);
    }

    fn dial_known(&mut self, now: Now, want: Want, purpose: Purpose, out: &mut Outbox) -> bool {
        if self.closed || self.table.len() >= self.config.max_peers {
            return false;
        }
        let peers = || self.table.values().filter_map(|link| self.links.get(link)?.peer.as_ref());
        let busy: BTreeSet<&Address> = (self.dialler.addresses())
            .chain(peers().filter_map(|peer| peer.address.as_ref()))
            .chain([&self.identity.address])
            .collect();
        let links = self.links.values().filter_map(|link| Range::of_ip(link.ip?));
        let ranges: BTreeSet<Range> = links.chain(self.dialler.addresses().filter_map(Range::of)).collect();
        let in_use = |address: &Address, id: Option<&NodeId>| {
            busy.contains(address) || id.is_some_and(|id| self.table.contains_key(id))
        };
        let per_minute = self.config.named_dials_per_minute;
        let choice = Choice { now: now.mono, want, per_minute, ranges: &ranges, in_use: &in_use };
        match self.book.pick(&choice, &mut self.rng) {
            Pick::Nothing => false,
            Pick::Later(at) => {
                if want == Want::Fresh {
                    self.set_timer(at, Timer::Pace);
                }
                false
            }
            Pick::Now(address, reach) => {
                self.book.dialled(now.mono, &address);
                let dial = self.dialler.add(Target { id: None, address }, purpose, None, reach);
                out.outputs.extend(self.dialler.start(dial, now.mono));
                true
            }
        }
    }

    /// Takes back what was known of an address.
    pub(super) fn restore_known(
        &mut self,
        now: Now,
        address: &[u8],
        record: &[u8],
    ) -> Result<(), RecordError> {
        self.book.restore(now, address, record)?;
        self.arm_bootstrap_now(now);
        Ok(())
    }

    /// Where it does not look for neighbours, nobody needs what is kept of them.
    fn keep_book(&mut self, now: Now, out: &mut Outbox) {
        if self.bootstraps() {
            self.book.keep(now, out);
        }
    }

    // ---- what the program says

    pub(super) fn save(&mut self, now: Now, addresses: Vec<Address>, out: &mut Outbox) {
        for address in addresses.into_iter().filter(|address| *address != self.identity.address) {
            self.book.save(address);
        }
        self.keep_book(now, out);
        self.bootstrap.hurry();
        self.arm_bootstrap_now(now);
    }

    pub(super) fn remove(&mut self, now: Now, addresses: &[Address], out: &mut Outbox) {
        for address in addresses {
            self.book.remove(now, address);
        }
        self.keep_book(now, out);
    }

    /// The node has another outward address from now on: its neighbours are told. (0.7 nodes are not; to
    /// some of them a second handshake is an end.)
    pub(super) fn move_to(&mut self, now: Now, address: Address, out: &mut Outbox) {
        self.identity.address = address;
        let told = |link: &LinkId| {
            let peer = self.links.get(link).and_then(|link| link.peer.as_ref());
            peer.is_some_and(|peer| peer.dialect == Dialect::Peernet)
        };
        let links: Vec<LinkId> = self.table.values().copied().filter(told).collect();
        for link in links {
            self.send_handshake(now, link, out);
        }
    }

    // ---- what came of it

    /// A neighbour has left.
    pub(super) fn lost(&mut self, now: Now, link: &super::link::Link, reason: &CloseReason) {
        if let Some(address) = link.peer.as_ref().and_then(|peer| peer.address.as_ref()) {
            self.book.see(now, address);
        }
        if *reason == CloseReason::Remote {
            let dialled = link.dial.and_then(|dial| self.dialler.get(dial)).map(|dial| &dial.target.address);
            let own = link.peer.as_ref().and_then(|peer| peer.address.as_ref());
            for address in dialled.into_iter().chain(own) {
                self.book.leave_alone(address, now.mono + self.config.redial_max);
            }
        }
        if !matches!(reason, CloseReason::Local | CloseReason::Remote) {
            self.bootstrap.hurry();
        }
        self.arm_bootstrap(now);
    }

    /// A peer names an address.
    pub(super) fn learn(
        &mut self,
        now: Now,
        from: LinkId,
        address: Address,
        id: Option<NodeId>,
        reach: Reach,
    ) {
        let busy = self.dialler.addresses().any(|dialled| *dialled == address);
        let named = Named { address, id, reach, by: self.namer(from) };
        if !self.book.learn(now, named, busy, self.config.ask_interval) {
            self.counters.addresses_ignored += 1;
        }
        self.arm_bootstrap(now);
    }

    fn namer(&self, link: LinkId) -> Option<(Culprit, NodeId)> {
        let link = self.links.get(&link)?;
        Some((Culprit::behind(link), link.peer.as_ref()?.id.clone()))
    }

    /// A neighbour says where it can be.
    pub(super) fn meet(&mut self, now: Now, link: LinkId) {
        let Some((address, id, reach)) = self.links.get(&link).and_then(|link| {
            let peer = link.peer.as_ref()?;
            Some((peer.address.clone()?, peer.id.clone(), link.reach()))
        }) else {
            return;
        };
        if address == self.identity.address || !address.is_within(reach) {
            return;
        }
        let named = Named { address, id: Some(id), reach, by: self.namer(link) };
        if !self.book.meet(now, named) {
            self.counters.addresses_ignored += 1;
        }
        self.arm_bootstrap(now);
    }

    /// The address under which the peer on a link stands in the book.
    pub(super) fn book_address(&self, link: LinkId) -> Option<Address> {
        let link = self.links.get(&link)?;
        match link.dial.and_then(|dial| self.dialler.get(dial)) {
            Some(dial) => Some(dial.target.address.clone()),
            None => link.peer.as_ref()?.address.clone(),
        }
    }

    /// The handshake on a link that we dialled is done.
    pub(super) fn dial_stood(&mut self, now: Now, dial: DialId, peer: &NodeId, out: &mut Outbox) {
        if let Some(entry) = self.dialler.get_mut(dial) {
            entry.stood = true;
            let (address, reach) = (entry.target.address.clone(), entry.reach);
            let latency = now.mono.saturating_sub(entry.since);
            self.book.stood(now, &address, peer, reach, latency);
            self.arm_bootstrap(now);
            self.keep_book(now, out);
        }
        self.dial_stands(dial, peer, out);
    }

    /// A dial failed, or the link that came of it ended.
    pub(super) fn dial_tried(&mut self, now: Now, dial: DialId, reason: Option<&CloseReason>, long: bool) {
        let Some(entry) = self.dialler.get(dial) else { return };
        if !matches!(entry.state, State::Dialling | State::Linked(_)) {
            return;
        }
        let (address, stood) = (entry.target.address.clone(), entry.stood);
        let probe = entry.purpose == Purpose::Probe;
        match reason {
            // One of our own addresses, whoever named it.
            Some(CloseReason::Itself) => return self.book.remove(now, &address),
            _ if stood => self.book.ended(now, &address, long),
            _ => self.book.failed(&address),
        }
        if probe {
            self.bootstrap.hurry();
        }
        let row = self.book.failures(&address);
        let pause = match row {
            0 => Duration::ZERO,
            row => back_off(row - 1, &self.config, &mut self.rng),
        };
        self.book.pause(&address, now.mono + pause);
    }

    /// The neighbour that was dialled to look beyond the others names its own: `shared` if we have one of
    /// them too. Then it is of our part of the network, and not needed. Otherwise it stays, and if there
    /// are many of its kind another goes.
    pub(super) fn judge_probe(&mut self, link: LinkId, shared: bool, out: &mut Outbox) {
        let Some(dial) = self.links.get(&link).and_then(|link| link.dial) else { return };
        let Some(entry) = self.dialler.get_mut(dial).filter(|dial| dial.purpose == Purpose::Probe) else {
            return;
        };
        entry.purpose = Purpose::Learned;
        self.bootstrap.calm_down();
        if self.table.len() <= self.config.connections {
            return;
        }
        if shared {
            self.let_go(link, out);
        } else if let Some(spare) = self.any_spare(Some(link)) {
            self.let_go(spare, out);
        }
    }

    /// Any of the links that were made to look beyond, or to have neighbours at all, if there are more
    /// of them than wanted.
    fn any_spare(&mut self, but: Option<LinkId>) -> Option<LinkId> {
        let mut spare: Vec<LinkId> = self.dialler.learned_links().collect();
        spare.retain(|link| self.peer_on(*link).is_some_and(|peer| self.link_to(peer) == Some(*link)));
        if spare.len() <= self.config.connections {
            return None;
        }
        spare.retain(|link| Some(*link) != but);
        let at = self.rng.random_range(0..spare.len().max(1));
        spare.get(at).copied()
    }

    /// Gives up a link of ours that is not needed. What is under way on it still arrives.
    fn let_go(&mut self, id: LinkId, out: &mut Outbox) {
        let Some(peer) = self.peer_on(id).cloned() else { return };
        if self.links_to(&peer).len() > 1 || self.link_to(&peer) != Some(id) {
            return;
        }
        self.table.remove(&peer);
        self.count_legacy();
        if let Some(link) = self.links.get_mut(&id) {
            link.closing = true;
            if let Some(dial) = link.dial {
                self.dialler.remove(dial);
            }
        }
        out.close(id, CloseReason::Duplicate);
        out.event(Event::Disconnected { peer, reason: CloseReason::Spare });
    }
}
