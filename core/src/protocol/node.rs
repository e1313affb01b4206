//! The node machine: what every network shares, and the mesh on top of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::address::{Address, Target};
use super::admission::Admission;
use super::book::{Book, PeerStats};
use super::bootstrap::Bootstrap;
use super::dialler::{Dialler, Next, Purpose, State};
use super::handshake::{Dialect, Handshake};
use super::link::{Link, Peer, Sent};
use super::lookup::Lookups;
use super::marks::Marks;
use super::memory::Memory;
use super::mesh::Authors;
use super::offence::Conduct;
use super::outbox::{
    Authorship, Class, CloseReason, Command, CommandError, DialId, Event, Input, Kind, LinkId, Now, Origin,
    Outbox, Received, Remote, Role, Token,
};
use super::reach::Reach;
use super::request::Requests;
use super::search::{Note, Searches};
use super::seen::OwnIds;
use super::sync::{Spare, Table};
use crate::config::Config;
use crate::identity::{KeyPair, NodeId, ProtocolId};
use crate::wire::codes::{code, kind};
use crate::wire::{DIGEST_LEN, Envelope, Form, Message, Payload, Value, ValueError};

/// The largest body kept for a peer that asks for the last message again.
const MAX_RESEND: usize = 16 << 10;

/// Who a node is: its id, its subnet, and the address it gives to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its own id.
    pub id: NodeId,
    /// Its subnet and encryption.
    pub protocol: ProtocolId,
    /// Its outward address.
    pub address: Address,
    /// How its subnet knows who is who.
    pub trust: Trust,
}

/// How a subnet knows who is who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// As in p2p.today 0.7: everyone may claim any id.
    Claimed,
    /// Ids are derived from keys, and every link proves one (`tls` subnets).
    Proven {
        /// The node's own.
        keys: KeyPair,
        /// Whether authors sign their broadcasts.
        signed: bool,
    },
}

impl Trust {
    /// What stamps count within a second where ids are proven. Two messages of one author then never
    /// need the same stamp.
    pub(super) const MICROSECONDS: i64 = 1_000_000;

    /// What stamps count within a second.
    pub fn stamps_per_second(&self) -> i64 {
        match self {
            Self::Claimed => 1,
            Self::Proven { .. } => Self::MICROSECONDS,
        }
    }
}

impl Identity {
    /// How the bodies of its subnet are made up.
    pub fn envelope(&self) -> Envelope {
        match self.trust {
            Trust::Proven { signed: true, .. } => Envelope::Sealed(self.protocol.clone()),
            Trust::Proven { signed: false, .. } => Envelope::Unsigned,
            Trust::Claimed => Envelope::Plain,
        }
    }

    /// Packs a note of the node's own under this code ([`code::SEARCH`](crate::wire::codes::code::SEARCH) or
    /// [`code::FOUND`](crate::wire::codes::code::FOUND)), and seals it where its subnet's authors sign.
    ///
    /// Fails when a value has no msgpack form, which bytes and numbers have.
    pub fn pack_note(&self, stamp: i64, code: u64, note: &Note) -> Result<Message, ValueError> {
        let message =
            Message::pack(kind::WHISPER, self.id.as_str(), Form::Str, stamp, code, &note.payload())?;
        Ok(match &self.trust {
            Trust::Proven { keys, signed: true } => message.noted(keys),
            _ => message,
        })
    }

    /// Packs a message of the node's own whose payload is `code` followed by `payload`, and seals it
    /// where its subnet wants that. `stamp` is its time in [`Trust::stamps_per_second`].
    ///
    /// Fails when a value has no msgpack form ([`ValueError`] says which).
    pub fn pack(
        &self,
        kind: u64,
        stamp: i64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<Message, ValueError> {
        let message = Message::pack(kind, self.id.as_str(), Form::Str, stamp, code, payload)?;
        Ok(match &self.trust {
            Trust::Proven { keys, signed: true } if kind == kind::BROADCAST => message.sealed(keys),
            _ => message,
        })
    }
}

/// A neighbour: a peer whose handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its id.
    pub id: NodeId,
    /// The link to it.
    pub link: LinkId,
    /// Its outward address, if it has one.
    pub address: Option<Address>,
    /// Which implementation it seems to be.
    pub dialect: Dialect,
    /// Whether we dialled it.
    pub outgoing: bool,
}

/// What a node counted since it was made. Nothing is ever dropped without one of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages handed up to the user.
    pub delivered: u64,
    /// Own broadcasts.
    pub broadcasts: u64,
    /// Own whispers that were sent.
    pub whispers: u64,
    /// Broadcasts of others that were passed on (once each, to however many links).
    pub relayed: u64,
    /// Copies of broadcasts that were known already.
    pub duplicates: u64,
    /// Own broadcasts that came back.
    pub echoes: u64,
    /// Broadcasts dropped because their stamp is too old.
    pub stale: u64,
    /// Broadcasts dropped because their stamp lies in the future.
    pub future: u64,
    /// Broadcasts dropped because their author did not write them. Each ended the link that brought it.
    pub forged: u64,
    /// Messages dropped because of a limit that 0.7 does not have, or a sender that is no node id.
    pub refused: u64,
    /// Own requests.
    pub requests_sent: u64,
    /// Requests of others that were handed up.
    pub requests_received: u64,
    /// Requests of others that got no answer but a refusal: too many under way, or the program did not
    /// take them.
    pub requests_refused: u64,
    /// Answers to requests that nobody waits for any more.
    pub answers_late: u64,
    /// Own searches.
    pub searches_sent: u64,
    /// Searches of others that were handed up.
    pub searches_received: u64,
    /// Searches of others dropped because there were too many: of their author, from a neighbour, or at all.
    pub searches_limited: u64,
    /// What others found, passed on to yet others.
    pub found_relayed: u64,
    /// What others found, dropped because there was too much: for one search, of one author, or from a
    /// neighbour.
    pub found_limited: u64,
    /// What was found, dropped because there is no way back to its asker (any more).
    pub found_lost: u64,
    /// Messages dropped because nobody here knows their code.
    pub unknown: u64,
    /// Control messages dropped because they do not say what their code demands.
    pub malformed: u64,
    /// Versions of keys that were not taken because of a bound of the table.
    pub table_refused: u64,
    /// Versions of keys that were not taken because they are stamped too far ahead of our clock.
    pub table_ahead: u64,
    /// Whispers about tables that answer nothing we asked.
    pub table_unasked: u64,
    /// Questions about tables that were not answered because a peer asks too much.
    pub table_limited: u64,
    /// Broadcasts that were not passed on because there were too many of their author's.
    pub relays_limited: u64,
    /// Broadcasts dropped because their author may not join.
    pub authors_refused: u64,
    /// Addresses that peers named and that were not taken into the peer book: there is no room for more
    /// of theirs, or the program has removed them.
    pub addresses_ignored: u64,
    /// Addresses that peers named and that are not dialled, because only a node nearer to them
    /// could have any business there.
    pub addresses_refused: u64,
    /// Offences of peers: what no honest one does.
    pub offences: u64,
    /// Times that a peer's offences were too many.
    pub misbehaved: u64,
    /// Connections that were closed at once because of who is there.
    pub peers_refused: u64,
    /// Links that came up.
    pub links_opened: u64,
    /// Links that ended before their handshake was done.
    pub handshakes_failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The handshake on a link should be done.
    Handshake(LinkId),
    /// Something should have arrived on a link.
    Alive(LinkId),
    /// A handshake should be sent again on a link.
    Greet(LinkId),
    /// A pause before dialling is over.
    Redial,
    /// Addresses that peers named may be dialled again.
    Pace,
    /// Tables should be compared, or deleted keys forgotten.
    Table,
    /// A node should have been found.
    Lookup,
    /// A new neighbour is to be told more of the table.
    Pairs(LinkId),
    /// A request should have been answered.
    Request,
    /// What was heard should be kept.
    Marks,
    /// A search is over.
    Search,
    /// Links are to be seen to.
    Bootstrap,
}

/// One node as a pure state machine. See the [module](super) for how it is driven.
#[derive(Debug)]
pub struct Node {
    pub(super) identity: Identity,
    pub(super) config: Config,
    pub(super) rng: SmallRng,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// The routing table: the one link to each neighbour.
    pub(super) table: BTreeMap<NodeId, LinkId>,
    pub(super) dialler: Dialler,
    pub(super) book: Book,
    pub(super) bootstrap: Bootstrap,
    pub(super) lookups: Lookups,
    pub(super) requests: Requests,
    pub(super) searches: Searches,
    pub(super) memory: Memory,
    pub(super) marks: Marks,
    pub(super) own: OwnIds,
    pub(super) authors: Authors,
    pub(super) conduct: Conduct,
    pub(super) admission: Admission,
    /// The subnet's dictionary, where it has one.
    pub(super) sync: Option<Box<Table>>,
    pub(super) timers: BTreeSet<(Duration, Timer)>,
    pub(super) counters: Counters,
    /// The highest of its own stamps, where ids are proven.
    last_stamp: i64,
    /// Order of everything sent, and the last broadcast sent, for peers that ask for it again.
    pub(super) sent: u64,
    pub(super) last_flood: Option<Sent>,
    /// Neighbours that speak 0.7 only.
    legacy_peers: usize,
    pub(super) closed: bool,
}

impl Node {
    /// A node with no links. `seed` decides everything that is left to chance.
    pub fn new(identity: Identity, config: Config, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let secret = [rng.next_u64(), rng.next_u64()];
        Self {
            memory: Memory::new(&identity.trust, &config, secret),
            marks: Marks::default(),
            own: OwnIds::default(),
            book: Book::new(config.book_addresses),
            bootstrap: Bootstrap::default(),
            identity,
            config,
            rng,
            links: BTreeMap::new(),
            table: BTreeMap::new(),
            dialler: Dialler::default(),
            lookups: Lookups::default(),
            requests: Requests::default(),
            searches: Searches::default(),
            authors: Authors::default(),
            conduct: Conduct::default(),
            admission: Admission::default(),
            sync: None,
            timers: BTreeSet::new(),
            counters: Counters::default(),
            last_stamp: i64::MIN,
            sent: 0,
            last_flood: None,
            legacy_peers: 0,
            closed: false,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How it was configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Its neighbours, by id.
    pub fn neighbours(&self) -> impl Iterator<Item = Neighbour> + '_ {
        self.table.values().filter_map(|link| {
            let link = self.links.get(link)?;
            let peer = link.peer.as_ref()?;
            Some(Neighbour {
                id: peer.id.clone(),
                link: link.id,
                address: peer.address.clone(),
                dialect: peer.dialect,
                outgoing: link.is_outgoing(),
            })
        })
    }

    /// What stands in the peer book, by address.
    pub fn known(&self) -> impl Iterator<Item = PeerStats> + '_ {
        self.book.known()
    }

    /// What is known of an address, if it stands in the peer book.
    pub fn peer_stats(&self, address: &Address) -> Option<PeerStats> {
        self.book.stats(address)
    }

    /// The number of neighbours.
    pub fn neighbour_count(&self) -> usize {
        self.table.len()
    }

    /// The number of links: those to neighbours, those that shake hands, and second ones to the same
    /// peer that are on their way out.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// The link to a neighbour.
    pub fn link_to(&self, peer: &NodeId) -> Option<LinkId> {
        self.table.get(peer).copied()
    }

    /// The neighbour at the other end of a link, once its handshake is done.
    pub fn peer_on(&self, link: LinkId) -> Option<&NodeId> {
        self.links.get(&link)?.peer.as_ref().map(|peer| &peer.id)
    }

    /// When [`Input::Tick`] should come next, in the time of [`Now::mono`].
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// For each stamp and digest that a frame claims, whether it is a broadcast that is known
    /// already, so that a copy need not be verified: whoever lies about it only gets its own frame
    /// dropped.
    pub fn are_known(&self, now: Now, claims: &[(i64, [u8; DIGEST_LEN])], known: &mut Vec<bool>) {
        self.memory.are_known(now, claims, known);
    }

    /// Whether readers should wait before they hand in more broadcasts: the memory for their ids is
    /// full (see [`Config::seen_capacity`]).
    pub fn must_wait(&mut self, now: Now) -> bool {
        self.memory.is_full(now)
    }

    /// Takes one input and puts what is to be done into `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Message { link, message } => self.on_message(now, link, message, out),
            Input::Entries { link, message, genuine } => {
                self.on_verified(now, link, *message, &genuine, out);
            }
            Input::Duplicates { link, count } => {
                self.counters.duplicates += count;
                self.heard(now, link, out);
            }
            Input::Refused { link } => {
                self.counters.refused += 1;
                self.heard(now, link, out);
            }
            Input::Forged { link } => self.on_forged(now, link, out),
            Input::Command(command) => self.on_command(now, command, out),
            Input::Tick => self.on_tick(now, out),
            Input::LinkUp { link, origin, remote } => self.on_link_up(now, link, origin, &remote, out),
            Input::LinkDown { link, reason } => self.drop_link(now, link, reason, out),
            Input::Written { link } => self.tell_pairs(now, link, out),
            Input::DialFailed { dial, problem } => self.on_dial_failed(now, dial, &problem, out),
        }
        self.reserve_if_due(out);
    }

    /// Something came that was dropped unread: a sign of life from a neighbour, but no handshake from
    /// a stranger.
    fn heard(&mut self, now: Now, from: LinkId, out: &mut Outbox) {
        match self.links.get_mut(&from) {
            Some(link) if link.peer.is_some() => link.hear(now.mono),
            Some(_) => self.close_link(now, from, CloseReason::HandshakeExpected, out),
            None => {}
        }
    }

    /// Honest nodes verify what they relay, so it was the neighbour that forged or altered it.
    pub(super) fn on_forged(&mut self, now: Now, from: LinkId, out: &mut Outbox) {
        self.counters.forged += 1;
        match self.links.get(&from) {
            Some(link) if link.peer.is_some() => self.close_link(now, from, CloseReason::Forged, out),
            Some(_) => self.close_link(now, from, CloseReason::HandshakeExpected, out),
            None => {}
        }
    }

    fn on_message(&mut self, now: Now, from: LinkId, message: Message, out: &mut Outbox) {
        if !self.is_neighbours(now, from, &message, out) {
            return;
        }
        match message.header().kind {
            kind::BROADCAST => self.on_broadcast(now, from, message, out),
            kind::RENEGOTIATE => self.on_renegotiate(now, from, &message, out),
            // 0.7 reads every other type as it reads a whisper.
            _ => self.on_whisper(now, from, message, out),
        }
    }

    /// Entries whose seals were verified, or what the driver took for such.
    fn on_verified(&mut self, now: Now, from: LinkId, message: Message, genuine: &[usize], out: &mut Outbox) {
        if self.sync.is_none() || !message.is_entries() {
            self.on_message(now, from, message, out);
        } else if self.is_neighbours(now, from, &message, out) {
            self.on_entries(now, from, &message, genuine, out);
        }
    }

    /// Whether a message came from a neighbour. If not, all that can be done with it has been done.
    fn is_neighbours(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) -> bool {
        // A link that was closed may have had messages under way; nobody waits for them.
        let Some(link) = self.links.get_mut(&from) else { return false };
        link.hear(now.mono);
        if link.peer.is_none() {
            self.on_first_message(now, from, message, out);
            return false;
        }
        link.confirmed = true;
        if link.doubled {
            self.close_duplicates(from, out);
        }
        true
    }

    fn on_broadcast(&mut self, now: Now, from: LinkId, message: Message, out: &mut Outbox) {
        let Some(author) = self.flood(now, from, &message, out) else { return };
        match message.code() {
            Some(code::REQUEST) => self.on_lookup_request(now, from, &message, out),
            Some(code::RESPONSE) => self.on_lookup_response(now, from, &message, out),
            Some(code @ code::BROADCAST) => self.deliver(Kind::Broadcast, code, author, from, message, out),
            Some(code) if code >= code::FIRST_USER => {
                self.deliver(Kind::Broadcast, code, author, from, message, out);
            }
            // 0.7 hands up a whisper code in a broadcast like any message.
            Some(code @ code::WHISPER) => self.deliver(Kind::Broadcast, code, author, from, message, out),
            Some(code @ (code::STORE | code::DELTA)) if self.sync.is_some() => {
                self.on_table_broadcast(now, code, author, message, out);
            }
            _ => self.counters.unknown += 1,
        }
    }

    fn on_whisper(&mut self, now: Now, from: LinkId, message: Message, out: &mut Outbox) {
        match message.code() {
            Some(code @ (code::WHISPER | code::BROADCAST)) => self.whispered(code, from, message, out),
            Some(code::PEERS) => self.on_peers(now, from, &message, out),
            Some(code::REQUEST) => self.on_peers_request(now, from, &message, out),
            Some(code::HANDSHAKE) => self.on_handshake_again(now, from, &message, out),
            Some(code::PING) => self.send_control(now, from, kind::WHISPER, code::PONG, &[], out),
            Some(code::PONG) => {}
            Some(code @ (code::STORE | code::DIGEST | code::ENTRIES)) if self.sync.is_some() => {
                self.on_table_whisper(now, from, code, message, out);
            }
            Some(code::ASK) if self.has_own_words() => self.on_ask(now, from, message, out),
            Some(code::ANSWER) if self.has_own_words() => self.on_answer(now, from, message, out),
            Some(code::SEARCH) if self.has_own_words() => self.on_search(now, from, &message, out),
            Some(code::FOUND) if self.has_own_words() => self.on_found(now, from, &message, out),
            Some(code) if code >= code::FIRST_USER => self.whispered(code, from, message, out),
            _ => self.counters.unknown += 1,
        }
    }

    /// A whisper comes from the neighbour that brought it, whatever it claims.
    fn whispered(&mut self, code: u64, from: LinkId, message: Message, out: &mut Outbox) {
        if let Some(sender) = self.peer_on(from).cloned() {
            self.deliver(Kind::Whisper, code, sender, from, message, out);
        }
    }

    fn deliver(
        &mut self,
        kind: Kind,
        code: u64,
        sender: NodeId,
        link: LinkId,
        message: Message,
        out: &mut Outbox,
    ) {
        self.counters.delivered += 1;
        let proven = match kind {
            Kind::Broadcast => message.is_sealed(),
            Kind::Whisper => self.identity.trust != Trust::Claimed,
        };
        let authorship = if proven { Authorship::Proven } else { Authorship::Claimed };
        out.event(Event::Received(Received { kind, code, sender, link, message, authorship }));
    }

    fn on_command(&mut self, now: Now, command: Command, out: &mut Outbox) {
        match command {
            Command::Broadcast(message) => self.originate(message, out),
            Command::Ask { token, to, message, timeout } => {
                self.send_request(now, token, to, *message, timeout, out);
            }
            Command::Answer { peer, number, answer } => self.answer(now, &peer, number, answer, out),
            Command::Whisper { token, to, message } => {
                self.use_stamp(message.header().time);
                self.whisper(now, token, to, message, out);
            }
            Command::Search { token, note, hops } => self.search(now, token, note, hops, out),
            Command::EndSearch(token) => self.end_search(token),
            Command::Find { note } => self.find(now, &note, out),
            Command::Connect { token, target, persist } => {
                if self.closed {
                    return out.event(Event::Done { token, result: Err(CommandError::Closed) });
                }
                if let Some(neighbour) = self.neighbour_at(&target) {
                    let purpose = Purpose::User { persist: true };
                    let dial = self.dialler.add(target, purpose, Some(token), Reach::Any);
                    return self.already_linked(dial, neighbour, out);
                }
                let dial = self.dialler.add(target, Purpose::User { persist }, Some(token), Reach::Any);
                out.outputs.extend(self.dialler.start(dial, now.mono));
            }
            Command::Disconnect { token, peer } => {
                let links = self.links_to(&peer);
                self.dialler.release(&peer, &links);
                let connected = self.table.contains_key(&peer);
                let addresses: Vec<_> = links.iter().filter_map(|link| self.book_address(*link)).collect();
                self.book.shun(&peer, &addresses);
                for link in links {
                    self.close_link(now, link, CloseReason::Local, out);
                }
                let result = if connected { Ok(peer) } else { Err(CommandError::NotConnected { peer }) };
                out.event(Event::Done { token, result });
            }
            Command::Allow(peers) => self.allow(now, peers, out),
            Command::Disallow(peer) => self.disallow(now, &peer, out),
            Command::Ban { peer, until } => self.ban(now, peer, until, out),
            Command::Unban(peer) => self.unban(&peer, out),
            Command::Save(addresses) => self.save(now, addresses, out),
            Command::Remove(addresses) => self.remove(now, &addresses, out),
            Command::Move(address) => self.move_to(now, address, out),
            Command::Close => self.on_close(now, out),
        }
    }

    /// The neighbour that a target means, if there is one already.
    fn neighbour_at(&self, target: &Target) -> Option<NodeId> {
        let mut peers = self.table.values().filter_map(|link| self.links.get(link)?.peer.as_ref());
        let found = peers.find(|peer| peer.address.as_ref() == Some(&target.address))?;
        target.id.as_ref().is_none_or(|id| *id == found.id).then(|| found.id.clone())
    }

    /// A command asks for a link that stands: it is kept up from now on.
    fn already_linked(&mut self, dial: DialId, peer: NodeId, out: &mut Outbox) {
        self.dial_stands(dial, &peer, out);
        if let Some(entry) = self.dialler.get_mut(dial) {
            entry.state = State::Satisfied(peer);
        }
    }

    fn on_close(&mut self, now: Now, out: &mut Outbox) {
        self.closed = true;
        for token in self.dialler.clear().into_iter().filter_map(|dial| dial.token) {
            out.event(Event::Done { token, result: Err(CommandError::Closed) });
        }
        let waiting = self.lookups.clear().into_iter().chain(self.requests.clear());
        let waiting: BTreeSet<Token> = waiting.chain(self.searches.clear()).collect();
        for token in waiting {
            out.event(Event::Done { token, result: Err(CommandError::Closed) });
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close_link(now, link, CloseReason::Local, out);
        }
        self.keep_last_marks(out);
        self.timers.clear();
    }

    fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Handshake(link) => {
                    if self.links.get(&link).is_some_and(|link| link.peer.is_none()) {
                        self.close_link(now, link, CloseReason::HandshakeTimeout, out);
                    }
                }
                Timer::Alive(link) => self.check_alive(now, link, out),
                Timer::Greet(link) => {
                    if self.links.contains_key(&link) {
                        self.send_handshake(now, link, out);
                    }
                }
                Timer::Redial => self.redial(now, out),
                Timer::Pace => self.fill_outgoing(now, out),
                Timer::Lookup => self.expire_lookups(now, out),
                Timer::Pairs(link) => self.tell_pairs(now, link, out),
                Timer::Table => self.on_table_timer(now, out),
                Timer::Request => self.expire_requests(now, out),
                Timer::Marks => self.keep_heard(out),
                Timer::Search => self.expire_searches(now, out),
                Timer::Bootstrap => self.see_to_links(now, out),
            }
        }
    }

    fn on_link_up(&mut self, now: Now, id: LinkId, origin: Origin, remote: &Remote, out: &mut Outbox) {
        if self.closed {
            if let Origin::Brought { token, .. } = origin {
                self.done(token, Err(CommandError::Closed), out);
            }
            return out.close(id, CloseReason::Local);
        }
        self.counters.links_opened += 1;
        if let Origin::Dialled(dial) = origin {
            match self.dialler.get_mut(dial) {
                Some(entry) => entry.state = State::Linked(id),
                // Given up while it was under way.
                None => return out.close(id, CloseReason::Local),
            }
        }
        if origin.role() == Role::Acceptor {
            self.make_room(now, out);
        }
        let proven = remote.key.as_ref().map(|key| NodeId::of_key(key, &self.identity.protocol));
        self.links.insert(id, Link::new(id, origin, proven, remote.ip, now.mono));
        self.set_timer(now.mono + self.config.handshake_timeout, Timer::Handshake(id));
        if origin.role() == Role::Acceptor {
            self.count_arrival(now, id);
        }
        if let Err(reason) = self.check_known(now, id) {
            self.counters.peers_refused += 1;
            return self.close_link(now, id, reason, out);
        }
        // Whoever dialled speaks first: a stranger learns nothing before it has said who it is, and a
        // second link can be refused before a 0.7 peer takes it for the only one.
        if origin.role() == Role::Dialler {
            self.send_handshake(now, id, out);
        }
    }

    /// What is known of whoever is at the other end is judged before anything is said to it.
    fn check_known(&self, now: Now, link: LinkId) -> Result<(), CloseReason> {
        let Some(link) = self.links.get(&link) else { return Ok(()) };
        if self.is_refused(now, link) {
            return Err(CloseReason::Misbehaved);
        }
        let Some(proven) = &link.proven else { return Ok(()) };
        if *proven == self.identity.id {
            return Err(CloseReason::Itself);
        }
        if let Some(reason) = self.admission.refusal(now.wall, proven) {
            return Err(reason);
        }
        let dial = link.dial.and_then(|dial| self.dialler.get(dial));
        match dial.and_then(|dial| dial.target.id.as_ref()) {
            Some(expected) if expected != proven => Err(CloseReason::WrongPeer(proven.clone())),
            _ => Ok(()),
        }
    }

    /// Strangers that connect and say nothing, or always the same, must not keep others out: the
    /// oldest goes.
    fn make_room(&mut self, now: Now, out: &mut Outbox) {
        let table = &self.table;
        let in_use =
            |link: &Link| link.peer.as_ref().is_some_and(|peer| table.get(&peer.id) == Some(&link.id));
        let passing = |link: &&Link| !in_use(link) && !link.is_outgoing();
        if self.links.values().filter(passing).count() < self.config.max_opening {
            return;
        }
        let oldest = self.links.values().filter(passing).min_by_key(|link| (link.since, link.id));
        if let Some(oldest) = oldest.map(|link| link.id) {
            self.close_link(now, oldest, CloseReason::HandshakeTimeout, out);
        }
    }

    fn on_dial_failed(&mut self, now: Now, dial: DialId, problem: &str, out: &mut Outbox) {
        self.dial_tried(now, dial, None, false);
        self.dial_ended(now, dial, problem, None, out);
        self.fill_outgoing(now, out);
    }

    /// A dial failed, or its link ended: answers whoever waits for it, and dials again later what is
    /// to be kept up.
    fn dial_ended(
        &mut self,
        now: Now,
        dial: DialId,
        problem: &str,
        reason: Option<&CloseReason>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.dialler.get_mut(dial) else { return };
        let (target, token) = (entry.target.clone(), entry.token.take());
        if let Some(token) = token {
            let error = CommandError::Connect {
                target: target.to_string(),
                problem: problem.to_owned(),
                reason: reason.cloned(),
            };
            out.event(Event::Done { token, result: Err(error) });
        }
        if reason == Some(&CloseReason::Itself) {
            self.dialler.remove(dial);
            return;
        }
        if let Next::After(pause) = self.dialler.failed(dial, now.mono, &self.config, &mut self.rng) {
            self.set_timer(now.mono + pause, Timer::Redial);
            let problem = problem.to_owned();
            out.event(Event::Redial { address: target.address, problem, pause });
        }
    }

    fn redial(&mut self, now: Now, out: &mut Outbox) {
        for dial in self.dialler.due(now.mono) {
            let Some(entry) = self.dialler.get(dial) else { continue };
            let led_to = entry.peer.clone().filter(|peer| self.table.contains_key(peer));
            match led_to.or_else(|| self.neighbour_at(&entry.target)) {
                // The peer came back by itself, or another dial leads to it. A second link would go
                // again at once, and may take the first one with it.
                Some(peer) => self.already_linked(dial, peer, out),
                None => out.outputs.extend(self.dialler.start(dial, now.mono)),
            }
        }
    }

    /// Closes a link from our side.
    pub(super) fn close_link(&mut self, now: Now, link: LinkId, reason: CloseReason, out: &mut Outbox) {
        out.close(link, reason.clone());
        self.drop_link(now, link, reason, out);
    }

    /// A link is gone: tidies up after it.
    fn drop_link(&mut self, now: Now, id: LinkId, reason: CloseReason, out: &mut Outbox) {
        self.judge_end(now, id, &reason);
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(peer) = &link.peer {
            self.table_parts(now, &peer.id, id);
        }
        if let Some(token) = link.token {
            let error = match self.closed {
                true => CommandError::Closed,
                false => CommandError::brought(&reason.to_string(), Some(reason.clone())),
            };
            self.done(token, Err(error), out);
        }
        match &link.peer {
            None => self.counters.handshakes_failed += 1,
            Some(peer) if self.table.get(&peer.id) == Some(&id) => {
                self.table.remove(&peer.id);
                self.count_legacy();
                let (peer, reason) = (peer.id.clone(), reason.clone());
                if self.fall_back(&peer, out) {
                    self.dialler.replaced(link.dial, id, &peer);
                    return self.greet_later(now, &peer);
                }
                for dial in self.dialler.satisfied_by(&peer) {
                    self.dial_ended(now, dial, &reason.to_string(), None, out);
                }
                self.end_requests(&peer, out);
                self.lost(now, &link, &reason);
                out.event(Event::Disconnected { peer, reason });
            }
            // Another link to the same peer stands.
            Some(peer) => {
                self.dialler.replaced(link.dial, id, &peer.id);
                return self.greet_later(now, &peer.id);
            }
        }
        if let Some(dial) = link.dial {
            let long = now.mono.saturating_sub(link.since) >= self.config.redial_max;
            if long {
                self.dialler.stood_long(dial);
            }
            self.dial_tried(now, dial, Some(&reason), long);
            self.dial_ended(now, dial, &reason.to_string(), Some(&reason), out);
        }
        self.fill_outgoing(now, out);
    }

    pub(super) fn set_timer(&mut self, at: Duration, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// Only 0.7 peers ask for the last message again, and it is kept only where there are any.
    pub(super) fn count_legacy(&mut self) {
        let links = self.table.values().filter_map(|link| self.links.get(link));
        self.legacy_peers = links.filter(|link| link.may_ask_again()).count();
    }

    /// Enters a peer whose handshake is done.
    pub(super) fn enter(&mut self, link: LinkId, handshake: Handshake) {
        let Handshake { id, address, methods, dialect } = handshake;
        if let Some(entry) = self.links.get_mut(&link) {
            entry.peer = Some(Peer { id: id.clone(), address, dialect, methods });
            self.table.insert(id, link);
            self.count_legacy();
        }
    }

    /// The handshake on a link is done: whoever waits for that is answered.
    pub(super) fn link_stands(&mut self, now: Now, link: LinkId, peer: &NodeId, out: &mut Outbox) {
        let Some(link) = self.links.get_mut(&link) else { return };
        let (dial, token) = (link.dial, link.token.take());
        if let Some(token) = token {
            self.done(token, Ok(peer.clone()), out);
        }
        if let Some(dial) = dial {
            self.dial_stood(now, dial, peer, out);
        }
    }

    /// The command that opened `dial` is answered: its handshake is done.
    pub(super) fn dial_stands(&mut self, dial: DialId, peer: &NodeId, out: &mut Outbox) {
        if let Some(token) = self.dialler.stands(dial, peer) {
            out.event(Event::Done { token, result: Ok(peer.clone()) });
        }
    }

    /// Packs and sends a message of the protocol's own.
    pub(super) fn send_control(
        &mut self,
        now: Now,
        link: LinkId,
        kind: u64,
        code: u64,
        payload: &[Value],
        out: &mut Outbox,
    ) {
        if let Some(message) = self.pack(now, kind, code, payload) {
            self.send_body(link, Class::Control, message.body().clone(), out);
        }
    }

    /// Packs a message of ours. Our own values always have a msgpack form.
    pub(super) fn pack(
        &mut self,
        now: Now,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Option<Message> {
        let stamp = self.next_stamp(now);
        self.identity.pack(kind, stamp, code, payload).ok()
    }

    /// The stamp of the next message of the node's own.
    pub(super) fn next_stamp(&mut self, now: Now) -> i64 {
        match self.identity.trust {
            Trust::Claimed => now.wall,
            Trust::Proven { .. } => {
                let clock = now.wall.saturating_mul(Trust::MICROSECONDS);
                self.use_stamp(clock.max(self.last_stamp.saturating_add(1)));
                self.last_stamp
            }
        }
    }

    /// The highest of its own stamps, this run's or an earlier one's. Whoever stamps messages for it goes on
    /// from there.
    pub fn last_stamp(&self) -> i64 {
        self.last_stamp
    }

    /// Later stamps are higher than this one.
    pub(super) fn use_stamp(&mut self, stamp: i64) {
        self.last_stamp = stamp.max(self.last_stamp);
    }

    /// Sends to one link, and remembers what was sent last there.
    pub(super) fn send_body(&mut self, link: LinkId, class: Class, body: Bytes, out: &mut Outbox) {
        self.sent += 1;
        if let Some(link) = self.links.get_mut(&link) {
            if link.may_ask_again() && body.len() <= MAX_RESEND {
                link.last_sent = Some(Sent { order: self.sent, body: body.clone() });
            }
            out.send(link.id, class, body);
        }
    }

    /// Sends to many links but those that it would end, and remembers it as the last broadcast.
    pub(super) fn send_flood(
        &mut self,
        except: Option<(LinkId, &NodeId)>,
        spare: Spare,
        class: Class,
        body: Bytes,
        out: &mut Outbox,
    ) -> usize {
        self.sent += 1;
        if self.legacy_peers == 0 || spare.any() {
            self.last_flood = None;
        } else if body.len() <= MAX_RESEND {
            self.last_flood = Some(Sent { order: self.sent, body: body.clone() });
        }
        let dialect = |link: &LinkId| Some(self.links.get(link)?.peer.as_ref()?.dialect);
        let links = self
            .table
            .iter()
            .filter(|(peer, link)| except.is_none_or(|(from, author)| **link != from && *peer != author))
            .filter(|(_, link)| !spare.any() || dialect(link).is_some_and(|kind| !spare.spares(kind)));
        out.send_all(links.map(|(_, link)| *link), class, body)
    }

    /// Answers a command that waited for a peer. A request that is on its way still waits.
    pub(super) fn done(&mut self, token: Token, result: Result<NodeId, CommandError>, out: &mut Outbox) {
        if self.requests.went(token, result.is_ok()) {
            return;
        }
        out.event(Event::Done { token, result });
    }
}
