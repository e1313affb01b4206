//! What two neighbours say to each other about themselves (`spec/03-conversation.md`).

use std::cmp::Ordering;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::address::Address;
use super::handshake::{Dialect, Handshake, common, read_methods, write_methods};
use super::link::Sent;
use super::lookup::id_value;
use super::node::{Node, Timer, Trust};
use super::offence::Offence;
use super::outbox::{Class, CloseReason, Event, LinkId, Now, Outbox, Output};
use crate::identity::NodeId;
use crate::wire::codes::{code, kind};
use crate::wire::{Limits, Message, Method, Value};

/// Neighbours named in one peers list, at most.
const MAX_NAMED: usize = 100;
/// Entries read of a peers list, at most; a list may be a frame full of them.
const MAX_READ: usize = 1000;
/// Handshakes and requests that come faster than this are not each answered with a peers list: the
/// answer may be a hundred times as long.
const PEERS_PAUSE: Duration = Duration::from_secs(1);
/// Handshakes that may come again faster than that: js2p sends its first one twice, and one more when
/// another link ended.
const REPEATS: u32 = 3;
/// Links to the same peer, at most, until it is decided which stays; a further one is closed.
const MAX_LINKS: usize = 4;
/// js2p forgets a peer when one of two links to it ends; by then it has mostly noticed.
const GREET_PAUSE: Duration = Duration::from_millis(300);
/// How long a py2p has to show that it reads the link that is left of two.
const DOUBT_PAUSE: Duration = Duration::from_secs(2);

impl Node {
    pub(super) fn send_handshake(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        let identity = &self.identity;
        let payload =
            Handshake::payload(&identity.id, &identity.protocol, &identity.address, &self.config.compression);
        self.send_control(now, link, kind::WHISPER, code::HANDSHAKE, &payload, out);
    }

    /// The first message on a link: a handshake or the end.
    pub(super) fn on_first_message(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let read = Handshake::read(message, &self.identity.protocol)
            .and_then(|handshake| self.admit(from, &handshake).map(|()| handshake));
        match read {
            Ok(handshake) => match self.link_to(&handshake.id) {
                None => self.welcome(now, from, handshake, out),
                Some(older) => self.resolve_double(now, older, from, handshake, out),
            },
            Err(reason) => {
                // So that the other side knows why.
                if matches!(reason, CloseReason::WrongSubnet | CloseReason::Itself) {
                    self.answer_handshake(now, from, out);
                }
                self.close_link(now, from, reason, out);
            }
        }
    }

    /// Our handshake on a link that the other side dialled; on our own it went first.
    fn answer_handshake(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        if self.links.get(&link).is_some_and(|link| !link.is_outgoing()) {
            self.send_handshake(now, link, out);
        }
    }

    /// Whether the node behind a handshake may become a neighbour on this link.
    fn admit(&self, from: LinkId, handshake: &Handshake) -> Result<(), CloseReason> {
        if handshake.id == self.identity.id {
            return Err(CloseReason::Itself);
        }
        let link = self.links.get(&from);
        let proven = link.and_then(|link| link.proven.as_ref());
        if self.identity.trust != Trust::Claimed && proven != Some(&handshake.id) {
            return Err(CloseReason::WrongKey);
        }
        let dial = link.and_then(|link| self.dialler.get(link.dial?));
        let expected = dial.and_then(|dial| dial.target.id.as_ref());
        if expected.is_some_and(|expected| *expected != handshake.id) {
            return Err(CloseReason::WrongPeer(handshake.id.clone()));
        }
        if self.table.len() >= self.config.max_peers && !self.table.contains_key(&handshake.id) {
            return Err(CloseReason::Full);
        }
        Ok(())
    }

    fn welcome(&mut self, now: Now, link: LinkId, handshake: Handshake, out: &mut Outbox) {
        let (peer, address, dialect) = (handshake.id.clone(), handshake.address.clone(), handshake.dialect);
        self.settle(now, link, handshake, out);
        out.event(Event::Connected { peer: peer.clone(), link, address, dialect });
        self.table_meets(now, link, out);
        self.link_stands(now, link, &peer, out);
        self.flush_lookup(&peer, link, out);
        self.set_timer(now.mono + self.config.keep_alive, Timer::Alive(link));
    }

    /// Enters the peer and says what follows a handshake.
    fn settle(&mut self, now: Now, link: LinkId, handshake: Handshake, out: &mut Outbox) {
        let (dialect, methods) = (handshake.dialect, handshake.methods.clone());
        self.answer_handshake(now, link, out);
        self.enter(link, handshake);
        if self.links.get(&link).is_some_and(|link| !link.is_outgoing()) {
            self.meet(now, link);
        }
        self.arm_bootstrap(now);
        self.agree(link, &methods, out);
        self.send_peers(now, link, out);
        let accepted = self.links.get(&link).is_some_and(|link| !link.is_outgoing());
        if dialect == Dialect::Js2p && accepted {
            // It sends no peers by itself if a peers list made it dial us.
            self.request_peers(now, link, out);
        }
    }

    /// Two links to one peer, of which one must go, the same on both sides. py2p's rule is the one
    /// that others know: a link survives if the greater id dialled it; of two dialled by the same
    /// side, the newer if that side has the greater id, else the older.
    ///
    /// What is newer may look different from the two ends, and either may learn of a link before the
    /// other does. So among our own kind only the greater id closes anything, and only once the peer
    /// has shown that it knows of the link that is kept. 0.7 nodes close by themselves, at once.
    fn resolve_double(
        &mut self,
        now: Now,
        older: LinkId,
        newer: LinkId,
        handshake: Handshake,
        out: &mut Outbox,
    ) {
        let we_are_greater = self.identity.id.cmp_int(&handshake.id) == Ordering::Greater;
        let newer_is_ours = self.links.get(&newer).is_some_and(super::link::Link::is_outgoing);
        let (peer, dialect) = (handshake.id.clone(), handshake.dialect);
        let crowded = self.links_to(&peer).len() >= MAX_LINKS;
        let keep_newer = we_are_greater == newer_is_ours && !crowded;
        let one_decides = dialect == Dialect::Peernet && !crowded;
        if keep_newer {
            self.settle(now, newer, handshake, out);
        } else {
            // A 0.7 peer that never gets a handshake on a link never takes it for the one it has.
            if dialect == Dialect::Peernet {
                self.answer_handshake(now, newer, out);
            }
            // It stays readable until the other side has closed it, so that nothing is lost.
            let Handshake { id, address, methods, dialect } = handshake;
            if let Some(link) = self.links.get_mut(&newer) {
                link.peer = Some(super::link::Peer { id, address, dialect, methods: methods.clone() });
            }
            self.agree(newer, &methods, out);
            if one_decides && !we_are_greater {
                // The one who decides may want to keep this link, and waits for a word on it.
                self.send_peers(now, newer, out);
            }
        }
        self.set_timer(now.mono + self.config.keep_alive, Timer::Alive(newer));
        for link in [older, newer] {
            self.link_stands(now, link, &peer, out);
        }
        let (kept, other) = if keep_newer { (newer, older) } else { (older, newer) };
        if !one_decides {
            self.close_duplicate(other, out);
        } else if we_are_greater {
            self.close_duplicates_in_time(kept, out);
        }
        match dialect {
            Dialect::Js2p => self.greet_later(now, &peer),
            Dialect::Py2p => self.doubt(now, kept, out),
            Dialect::Peernet => {}
        }
        self.flush_lookup(&peer, kept, out);
    }

    /// js2p forgets a peer when either of two links to it ends, and remembers it by a handshake.
    pub(super) fn greet_later(&mut self, now: Now, peer: &NodeId) {
        let Some(link) = self.link_to(peer) else { return };
        let dialect = self.links.get(&link).and_then(|link| link.peer.as_ref()).map(|peer| peer.dialect);
        if dialect == Some(Dialect::Js2p) {
            self.set_timer(now.mono + GREET_PAUSE, Timer::Greet(link));
        }
    }

    /// py2p may have lost both of two links, and then does not read the one that still stands: it is
    /// asked for a sign of life at once.
    fn doubt(&mut self, now: Now, id: LinkId, out: &mut Outbox) {
        if let Some(link) = self.links.get_mut(&id) {
            link.probed = true;
            self.request_peers(now, id, out);
            self.timers.retain(|(_, timer)| *timer != Timer::Alive(id));
            self.set_timer(now.mono + DOUBT_PAUSE, Timer::Alive(id));
        }
    }

    /// Closes the other links to the peer on `kept` as soon as it has shown that it knows of this one.
    fn close_duplicates_in_time(&mut self, kept: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&kept) else { return };
        link.doubled = true;
        if link.confirmed {
            self.close_duplicates(kept, out);
        }
    }

    /// The peer on `kept` knows of that link: the others that lead to it can go.
    pub(super) fn close_duplicates(&mut self, kept: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&kept) else { return };
        link.doubled = false;
        let Some(peer) = link.peer.as_ref().map(|peer| peer.id.clone()) else { return };
        // By now another may have been preferred to it.
        if self.link_to(&peer) == Some(kept) {
            for other in self.links_to(&peer).into_iter().filter(|link| *link != kept) {
                self.close_duplicate(other, out);
            }
        }
    }

    fn close_duplicate(&mut self, id: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.closing) else { return };
        link.closing = true;
        out.close(id, CloseReason::Duplicate);
        if let Some(peer) = &link.peer {
            self.dialler.replaced(link.dial, id, &peer.id);
        }
    }

    /// All links to a peer whose handshakes are done, those that are only read out excepted, and the
    /// one in the table last.
    pub(super) fn links_to(&self, peer: &NodeId) -> Vec<LinkId> {
        let in_table = self.link_to(peer);
        let leads_there = |link: &&super::link::Link| {
            !link.closing && link.peer.as_ref().is_some_and(|there| there.id == *peer)
        };
        let others = self.links.values().filter(leads_there).map(|link| link.id);
        others.filter(|link| Some(*link) != in_table).chain(in_table).collect()
    }

    /// The link to a peer is gone: if there is another, it takes its place.
    pub(super) fn fall_back(&mut self, peer: &NodeId, out: &mut Outbox) -> bool {
        let Some(next) = self.links_to(peer).first().copied() else { return false };
        self.table.insert(peer.clone(), next);
        self.count_legacy();
        if self.identity.id.cmp_int(peer) == Ordering::Greater {
            self.close_duplicates_in_time(next, out);
        }
        true
    }

    /// A handshake on a link that has had one: its methods count, nothing else may change.
    pub(super) fn on_handshake_again(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        if message.header().count != 5 {
            self.counters.unknown += 1;
            return;
        }
        let handshake = match Handshake::read(message, &self.identity.protocol) {
            Ok(handshake) => handshake,
            Err(reason) => return self.close_link(now, from, reason, out),
        };
        let Some(peer) = self.links.get_mut(&from).and_then(|link| link.peer.as_mut()) else { return };
        if peer.id != handshake.id {
            return self.close_link(now, from, CloseReason::WrongPeer(handshake.id), out);
        }
        let moved = peer.address != handshake.address;
        peer.address = handshake.address;
        if peer.methods != handshake.methods {
            peer.methods.clone_from(&handshake.methods);
            self.agree(from, &handshake.methods, out);
        }
        if moved {
            self.meet(now, from);
        }
        if self.is_at_leisure(now, from) {
            return self.send_peers(now, from, out);
        }
        let Some(link) = self.links.get_mut(&from) else { return };
        link.repeats = link.repeats.saturating_add(1);
        if link.repeats > REPEATS {
            self.blame(now, from, Offence::Greedy, out);
        }
    }

    /// Tells the link's owner how its frames are compressed from now on.
    fn agree(&self, link: LinkId, theirs: &[Method], out: &mut Outbox) {
        let ours = &self.config.compression;
        let read = common(theirs, ours);
        let write = common(ours, theirs).first().copied();
        out.outputs.push(Output::Agree { link, read, write });
    }

    fn send_peers(&mut self, now: Now, to: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&to) else { return };
        link.peers_sent = Some(now.mono);
        let Some(reader) = self.links.get(&to).and_then(|link| link.peer.as_ref()) else { return };
        let mut named: Vec<Value> = (self.table.values())
            .filter_map(|link| self.links.get(link)?.peer.as_ref())
            .filter(|peer| peer.id != reader.id && reader.dialect.joins(peer.dialect))
            .filter_map(|peer| {
                let id = id_value(&peer.id, peer.dialect.id_form());
                Some(Value::Array(vec![peer.address.as_ref()?.to_value(), id]))
            })
            .collect();
        named.shuffle(&mut self.rng);
        named.truncate(MAX_NAMED);
        if let Some(address) = self.book_address(to) {
            self.book.count(&address, named.len(), 0);
        }
        self.send_control(now, to, kind::WHISPER, code::PEERS, &[Value::Array(named)], out);
    }

    fn send_peers_at_leisure(&mut self, now: Now, to: LinkId, out: &mut Outbox) {
        if self.is_at_leisure(now, to) {
            self.send_peers(now, to, out);
        }
    }

    /// Whether a link's last peers list went long enough ago for another.
    fn is_at_leisure(&self, now: Now, link: LinkId) -> bool {
        let last = self.links.get(&link).and_then(|link| link.peers_sent);
        last.is_none_or(|last| now.mono.saturating_sub(last) >= PEERS_PAUSE)
    }

    /// `*` as bin: py2p understands no other, everyone understands it.
    pub(super) fn request_peers(&mut self, now: Now, link: LinkId, out: &mut Outbox) {
        let all = Value::Bin(b"*".to_vec());
        self.send_control(now, link, kind::WHISPER, code::REQUEST, &[all], out);
    }

    pub(super) fn on_peers_request(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        match message.values(&Limits::default()).as_deref() {
            Ok([_, what]) if what.as_text() == Some("*") => self.send_peers_at_leisure(now, from, out),
            // A whispered request for one node is answered like a broadcast one.
            Ok([_, _, _]) => self.on_lookup_request(now, from, message, out),
            _ => self.malformed(now, from, message, out),
        }
    }

    /// A neighbour names others.
    pub(super) fn on_peers(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let values = message.values(&Limits::default()).unwrap_or_default();
        let [_, Value::Array(named)] = values.as_slice() else {
            return self.malformed(now, from, message, out);
        };
        let Some(reach) = self.links.get(&from).map(super::link::Link::reach) else { return };
        if let Some(address) = self.book_address(from) {
            self.book.count(&address, 0, named.len().min(MAX_READ));
        }
        let mut shared = false;
        for entry in named.iter().take(MAX_READ) {
            let Some([address, id]) = entry.as_array() else { continue };
            let Some(address) = Address::from_value(address) else { continue };
            let id = id.as_text().and_then(|id| NodeId::parse(id).ok());
            let known = |id: &NodeId| *id == self.identity.id || self.table.contains_key(id);
            if address == self.identity.address || id.as_ref().is_some_and(known) {
                shared |= id.is_some_and(|id| id != self.identity.id);
                continue;
            }
            match address.is_within(reach) {
                true => self.learn(now, from, address, id, reach),
                false => self.counters.addresses_refused += 1,
            }
        }
        self.judge_probe(from, shared, out);
        self.fill_outgoing(now, out);
    }

    /// Asks a silent peer for a sign of life, and gives up one that gave none.
    pub(super) fn check_alive(&mut self, now: Now, id: LinkId, out: &mut Outbox) {
        let keep_alive = self.config.keep_alive;
        let Some(link) = self.links.get_mut(&id) else { return };
        let due = link.heard + keep_alive;
        if link.probed {
            return self.give_up_silent(now, id, out);
        }
        if now.mono < due {
            return self.set_timer(due, Timer::Alive(id));
        }
        link.probed = true;
        match link.peer.as_ref().map(|peer| peer.dialect) {
            Some(Dialect::Peernet) => self.send_control(now, id, kind::WHISPER, code::PING, &[], out),
            // 0.7 has no answer to a ping, but answers this.
            _ => self.request_peers(now, id, out),
        }
        self.set_timer(now.mono + keep_alive, Timer::Alive(id));
    }

    /// Closes a link from which nothing comes, and tries the peer's address once if nobody else will.
    fn give_up_silent(&mut self, now: Now, id: LinkId, out: &mut Outbox) {
        let Some(link) = self.links.get(&id) else { return };
        let address = link.peer.as_ref().and_then(|peer| peer.address.clone());
        let reach = link.reach();
        if let Some(address) = address.filter(|address| !link.is_outgoing() && address.is_within(reach)) {
            self.learn(now, id, address, None, reach);
        }
        self.close_link(now, id, CloseReason::Silent, out);
    }

    /// The peer changes its methods, or wants the last message again. We never ask for either: of
    /// the 0.7 implementations one answers wrongly and the other hangs up.
    pub(super) fn on_renegotiate(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let values = message.values(&Limits::default()).unwrap_or_default();
        match values.as_slice() {
            [what, list] if what.as_u64() == Some(code::COMPRESSION) => {
                let Some(theirs) = read_methods(list) else {
                    return self.malformed(now, from, message, out);
                };
                let ours = self.config.compression.clone();
                let Some(peer) = self.links.get_mut(&from).and_then(|link| link.peer.as_mut()) else {
                    return;
                };
                if peer.methods == theirs {
                    return;
                }
                peer.methods.clone_from(&theirs);
                let shared = write_methods(&common(&ours, &theirs));
                self.send_control(now, from, kind::RENEGOTIATE, code::COMPRESSION, &[shared], out);
                self.agree(from, &theirs, out);
            }
            [what, ..] if what.as_u64() == Some(code::RESEND) => self.resend(from, out),
            _ => self.malformed(now, from, message, out),
        }
    }

    fn resend(&mut self, to: LinkId, out: &mut Outbox) {
        let alone = self.links.get(&to).and_then(|link| link.last_sent.as_ref());
        let order = |sent: &Option<&Sent>| sent.map_or(0, |sent| sent.order);
        let flood = self.last_flood.as_ref();
        let last = if order(&alone) > order(&flood) { alone } else { flood };
        if let Some(body) = last.map(|sent| sent.body.clone()) {
            out.send(to, Class::Control, body);
        }
    }
}
