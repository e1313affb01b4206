//! Searches: a question that goes from node to node, and what is found on its way back
//! (`spec/12-requests.md`, R-20 to R-29).
//!
//! Both are notes: messages of their authors' that travel inside whispers from neighbour to neighbour.
//! Each node passes a question on once, and keeps for a while whom it had it from: that is the way of
//! what is found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::node::{Node, Timer};
use super::outbox::{
    Authorship, Class, CloseReason, CommandError, Event, Kind, LinkId, Now, Outbox, Received, Token,
};
use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::wire::codes::{code, kind};
use crate::wire::{DIGEST_LEN, Limits, Message, MessageError, Value, unverified};

/// Links that a question may go over, at most (as in substack's peernet).
pub const MAX_HOPS: u64 = 15;
/// Bytes of the id of a question or of what was found, at most; of its type; and of its data (as there).
pub const MAX_ID: usize = 64;
/// See [`MAX_ID`].
pub const MAX_TYPE: usize = 64;
/// See [`MAX_ID`].
pub const MAX_DATA: usize = 1024;
/// Bytes of a note, at most: the parts above, the longest id of an author, a seal, and what msgpack needs.
const MAX_NOTE: usize = 2048;
/// What one node may find for one question: enough for a node that has several things, too little for
/// one that wants to crowd others out.
const MAX_FOUND: u32 = 8;
/// Nodes whose shares are counted, at most. Beyond, those are forgotten that have most left.
const MAX_SHARES: usize = 1024;

type Digest = [u8; DIGEST_LEN];

/// What a note says, be it a question or something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The message id of the question that something was found for.
    pub question: Option<Digest>,
    /// Its id, whatever its author made it.
    pub id: Vec<u8>,
    /// Its type.
    pub kind: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
    /// Links that the question may go over.
    pub limit: u64,
}

impl Note {
    /// The payload behind the code.
    pub fn payload(&self) -> Vec<Value> {
        let question = self.question.map(|digest| Value::Bin(digest.to_vec()));
        let parts = [&self.id, &self.kind, &self.data].map(|part| Value::Bin(part.clone()));
        question.into_iter().chain(parts).chain([self.limit.into()]).collect()
    }

    /// Whether its parts are within their bounds.
    pub fn is_within_bounds(&self) -> bool {
        self.id.len() <= MAX_ID
            && self.kind.len() <= MAX_TYPE
            && self.data.len() <= MAX_DATA
            && (1..=MAX_HOPS).contains(&self.limit)
    }

    /// Reads a note under this code.
    pub fn read(message: &Message, code: u64) -> Option<Self> {
        let values = message.values(&Limits::default()).ok()?;
        let (question, rest) = match values.as_slice() {
            [first, rest @ ..] if code == code::SEARCH && first.as_u64() == Some(code) => (None, rest),
            [first, Value::Bin(question), rest @ ..] if first.as_u64() == Some(code) => {
                (Some(question.as_slice().try_into().ok()?), rest)
            }
            _ => return None,
        };
        let [Value::Bin(id), Value::Bin(kind), Value::Bin(data), limit] = rest else { return None };
        let (id, kind, data) = (id.clone(), kind.clone(), data.clone());
        let note = Self { question, id, kind, data, limit: limit.as_u64()? };
        note.is_within_bounds().then_some(note)
    }
}

/// Where what is found goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Back {
    /// To our program.
    Own(Token),
    /// To the neighbour that brought the question.
    Peer(NodeId),
}

#[derive(Debug)]
struct Route {
    back: Back,
    until: Duration,
    /// How much came back so far, and of whom. Authors stand for by the end of their ids, which are hashes.
    found: usize,
    authors: BTreeMap<u128, u32>,
}

impl Route {
    fn found_of(&mut self, author: &[u8]) -> &mut u32 {
        let tail = author.iter().rev().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        self.authors.entry(tail).or_default()
    }

    /// Whether there is room for something more of `author`'s.
    fn has_room(&mut self, author: &[u8], most: usize) -> bool {
        self.found < most && *self.found_of(author) < MAX_FOUND
    }

    fn add(&mut self, author: &[u8]) {
        self.found += 1;
        *self.found_of(author) += 1;
    }
}

/// What nodes have taken of their share of a second.
#[derive(Debug, Default)]
struct Shares(BTreeMap<NodeId, Bucket>);

impl Shares {
    fn take(&mut self, now: Duration, who: &NodeId, most: Option<u32>) -> bool {
        let Some(most) = most else { return true };
        let rate = Rate { amount: most.into(), within: Duration::from_secs(1) };
        let taken = self.0.entry(who.clone()).or_default().try_take(now, rate);
        if self.0.len() > MAX_SHARES {
            self.0.retain(|_, share| share.full_at() > now);
        }
        if self.0.len() > MAX_SHARES {
            let most_left = self.0.iter().min_by_key(|(_, share)| share.full_at());
            if let Some(who) = most_left.map(|(who, _)| who.clone()) {
                self.0.remove(&who);
            }
        }
        taken
    }
}

/// The questions that are under way, as far as they came by here.
#[derive(Debug, Default)]
pub(super) struct Searches {
    routes: BTreeMap<Digest, Route>,
    ends: BTreeSet<(Duration, Digest)>,
    /// Questions that neighbours brought, and of whom; and what was found.
    brought: Shares,
    askers: Shares,
    found: Shares,
}

impl Searches {
    fn insert(&mut self, digest: Digest, back: Back, until: Duration) {
        self.routes.insert(digest, Route { back, until, found: 0, authors: BTreeMap::new() });
        self.ends.insert((until, digest));
    }

    fn remove(&mut self, digest: &Digest) -> Option<Route> {
        let route = self.routes.remove(digest)?;
        self.ends.remove(&(route.until, *digest));
        Some(route)
    }

    /// Makes room for a question of `back`. Whoever takes most of it loses its oldest one; `false` if
    /// that is the one who wants more.
    fn make_room(&mut self, back: &Back, most: usize) -> bool {
        if self.routes.len() < most {
            return true;
        }
        let mut counts: BTreeMap<&Back, usize> = BTreeMap::new();
        for route in self.routes.values().filter(|route| matches!(route.back, Back::Peer(_))) {
            *counts.entry(&route.back).or_default() += 1;
        }
        let ours = counts.get(back).copied().unwrap_or_default();
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((greediest, _)) = most.filter(|(_, count)| *count > ours) else { return false };
        let is_theirs =
            |digest: &Digest| self.routes.get(digest).is_some_and(|route| route.back == *greediest);
        let oldest = self.ends.iter().map(|(_, digest)| *digest).find(is_theirs);
        oldest.and_then(|digest| self.remove(&digest)).is_some()
    }

    fn own(&self, token: Token) -> Option<Digest> {
        let own = self.routes.iter().find(|(_, route)| route.back == Back::Own(token));
        own.map(|(digest, _)| *digest)
    }

    /// Those of our program.
    pub(super) fn clear(&mut self) -> Vec<Token> {
        self.ends.clear();
        let own = |route: Route| match route.back {
            Back::Own(token) => Some(token),
            Back::Peer(_) => None,
        };
        std::mem::take(&mut self.routes).into_values().filter_map(own).collect()
    }
}

impl Node {
    /// Sends a packed question of our own, which has gone over `hops` links by the program's count.
    pub(super) fn search(&mut self, now: Now, token: Token, note: Message, hops: u64, out: &mut Outbox) {
        if !self.has_own_words() {
            return self.done(token, Err(CommandError::NeedsTls { what: "searches" }), out);
        }
        let most = self.config.searches_per_author;
        let digest = *note.id().as_bytes();
        let ours = self.identity.id.clone();
        if !self.searches.askers.take(now.mono, &ours, most)
            || !self.searches.make_room(&Back::Own(token), self.config.search_routes)
        {
            return self.done(token, Err(CommandError::TooMany { what: "searches" }), out);
        }
        self.counters.searches_sent += 1;
        self.keep_route(now, digest, Back::Own(token));
        self.pass_on_search(now, hops, &note, None, out);
    }

    fn keep_route(&mut self, now: Now, digest: Digest, back: Back) {
        let until = now.mono + self.config.search_time;
        self.searches.insert(digest, back, until);
        self.set_timer(until, Timer::Search);
    }

    /// The program wants no more of what is found.
    pub(super) fn end_search(&mut self, token: Token) {
        if let Some(digest) = self.searches.own(token) {
            self.searches.remove(&digest);
        }
    }

    fn pass_on_search(
        &mut self,
        now: Now,
        hops: u64,
        note: &Message,
        except: Option<(LinkId, &NodeId)>,
        out: &mut Outbox,
    ) {
        let others =
            |peer: &NodeId, link: LinkId| except.is_none_or(|(from, author)| link != from && peer != author);
        let links: Vec<LinkId> =
            self.table.iter().filter(|(peer, link)| others(peer, **link)).map(|(_, link)| *link).collect();
        if links.is_empty() {
            return;
        }
        let payload = [hops.into(), Value::Bin(note.body().to_vec())];
        let class = if except.is_some() { Class::Relay } else { Class::Own };
        if let Some(message) = self.pack(now, kind::WHISPER, code::SEARCH, &payload) {
            out.send_all(links.into_iter(), class, message.into_body());
        }
    }

    /// Verifies a note that came on a link. `None` if it is none, which the neighbour answers for: it
    /// should have looked.
    fn read_note(
        &mut self,
        now: Now,
        from: LinkId,
        note: &[u8],
        message: &Message,
        out: &mut Outbox,
    ) -> Option<Message> {
        let envelope = self.identity.envelope();
        match envelope.read_note(Bytes::copy_from_slice(note), &Limits::default()) {
            Ok(note) => Some(note),
            Err(MessageError::Seal(_)) => {
                self.counters.forged += 1;
                self.close_link(now, from, CloseReason::Forged, out);
                None
            }
            Err(_) => {
                self.malformed(now, from, message, out);
                None
            }
        }
    }

    /// A neighbour brings a question.
    pub(super) fn on_search(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Some((hops, [], packed)) = parts::<0>(message) else {
            return self.malformed(now, from, message, out);
        };
        let Some(digest) = packed.first_chunk::<DIGEST_LEN>().copied() else {
            return self.malformed(now, from, message, out);
        };
        let Some(peer) = self.peer_on(from).cloned() else { return };
        if self.searches.routes.contains_key(&digest) {
            self.counters.duplicates += 1;
            return;
        }
        if !self.searches.brought.take(now.mono, &peer, self.config.searches_per_peer) {
            self.counters.searches_limited += 1;
            return;
        }
        let Some(note) = self.read_note(now, from, &packed, message, out) else { return };
        let question = Note::read(&note, code::SEARCH).filter(|question| hops < question.limit);
        let (Some(question), Ok(asker)) = (question, NodeId::from_bytes(note.sender())) else {
            return self.malformed(now, from, message, out);
        };
        if asker == self.identity.id {
            self.counters.echoes += 1;
            return;
        }
        if self.admission.refusal(now.wall, &asker).is_some() {
            self.counters.authors_refused += 1;
            return;
        }
        let back = Back::Peer(peer);
        if !self.searches.askers.take(now.mono, &asker, self.config.searches_per_author)
            || !self.searches.make_room(&back, self.config.search_routes)
        {
            self.counters.searches_limited += 1;
            return;
        }
        self.keep_route(now, digest, back);
        self.counters.searches_received += 1;
        if hops + 1 < question.limit {
            self.pass_on_search(now, hops + 1, &note, Some((from, &asker)), out);
        }
        out.event(Event::Searched { hops, received: Box::new(noted(code::SEARCH, asker, from, note)) });
    }

    /// Whether something more can be found for a question, and sent back.
    ///
    /// Fails if the question is too old, if its asker is gone, or if the program found too much.
    pub fn may_find(&mut self, question: &[u8; DIGEST_LEN]) -> Result<(), CommandError> {
        let most = self.config.search_rows;
        let ours = self.identity.id.clone();
        let Some(route) = self.searches.routes.get_mut(question) else {
            return Err(CommandError::SearchOver);
        };
        let Back::Peer(peer) = &route.back else { return Err(CommandError::SearchOver) };
        if !self.table.contains_key(peer) {
            return Err(CommandError::NotConnected { peer: peer.clone() });
        }
        match route.has_room(ours.as_str().as_bytes(), most) {
            true => Ok(()),
            false => Err(CommandError::TooMany { what: "answers to this search" }),
        }
    }

    /// The program found something for a question.
    pub(super) fn find(&mut self, now: Now, note: &Message, out: &mut Outbox) {
        let Some(question) = Note::read(note, code::FOUND).and_then(|found| found.question) else { return };
        if self.may_find(&question).is_err() {
            return;
        }
        let ours = self.identity.id.clone();
        if let Some(route) = self.searches.routes.get_mut(&question) {
            route.add(ours.as_str().as_bytes());
        }
        self.send_back(now, &question, 0, note, Class::Own, out);
    }

    /// Sends something that was found a step back towards its asker.
    fn send_back(
        &mut self,
        now: Now,
        question: &Digest,
        hops: u64,
        note: &Message,
        class: Class,
        out: &mut Outbox,
    ) {
        let link = match self.searches.routes.get(question).map(|route| &route.back) {
            Some(Back::Peer(peer)) => self.link_to(peer),
            _ => None,
        };
        let Some(link) = link else {
            self.counters.found_lost += 1;
            return;
        };
        let payload = [hops.into(), Value::Bin(question.to_vec()), Value::Bin(note.body().to_vec())];
        if let Some(message) = self.pack(now, kind::WHISPER, code::FOUND, &payload) {
            out.send(link, class, message.into_body());
        }
    }

    /// A neighbour brings something that was found.
    pub(super) fn on_found(&mut self, now: Now, from: LinkId, message: &Message, out: &mut Outbox) {
        let Some((hops, [question], packed)) = parts::<1>(message) else {
            return self.malformed(now, from, message, out);
        };
        let Some(question) = question.as_slice().try_into().ok().filter(|_: &Digest| hops < MAX_HOPS) else {
            return self.malformed(now, from, message, out);
        };
        let Some(peer) = self.peer_on(from).cloned() else { return };
        let most = self.config.search_rows;
        let Some(route) = self.searches.routes.get_mut(&question) else {
            self.counters.found_lost += 1;
            return;
        };
        // Nobody finds anything for whom it asks.
        if route.back == Back::Peer(peer.clone()) {
            self.counters.found_lost += 1;
            return;
        }
        // Whoever lies here only gets its own lost.
        let claimed = unverified(&packed).map(|(_, header)| header.sender(&packed));
        let has_room = claimed.is_some_and(|author| route.has_room(author, most));
        if !has_room || !self.searches.found.take(now.mono, &peer, self.config.found_per_peer) {
            self.counters.found_limited += 1;
            return;
        }
        let Some(note) = self.read_note(now, from, &packed, message, out) else { return };
        let found = Note::read(&note, code::FOUND).filter(|found| found.question == Some(question));
        let (Some(_), Ok(author)) = (found, NodeId::from_bytes(note.sender())) else {
            return self.malformed(now, from, message, out);
        };
        if self.admission.refusal(now.wall, &author).is_some() {
            self.counters.authors_refused += 1;
            return;
        }
        let Some(route) = self.searches.routes.get_mut(&question) else { return };
        route.add(note.sender());
        if let Back::Own(token) = route.back {
            let received = Box::new(noted(code::FOUND, author, from, note));
            return out.event(Event::Found { token, hops, received });
        }
        self.counters.found_relayed += 1;
        self.send_back(now, &question, hops + 1, &note, Class::Relay, out);
    }

    pub(super) fn expire_searches(&mut self, now: Now, out: &mut Outbox) {
        while let Some((_, digest)) =
            self.searches.ends.first().copied().filter(|(until, _)| *until <= now.mono)
        {
            if let Some(Route { back: Back::Own(token), .. }) = self.searches.remove(&digest) {
                self.done(token, Ok(self.identity.id.clone()), out);
            }
        }
    }
}

/// The hops, the parts and the note that stand in a whisper of a search.
fn parts<const N: usize>(message: &Message) -> Option<(u64, [Vec<u8>; N], Vec<u8>)> {
    // Far less than a frame may be, and so is what it takes to unpack it.
    if message.body().len() > 2 * MAX_NOTE {
        return None;
    }
    let values = message.values(&Limits::default()).ok()?;
    let [_, hops, parts @ .., Value::Bin(note)] = values.as_slice() else { return None };
    let bin = |value: &Value| match value {
        Value::Bin(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let parts: Vec<Vec<u8>> = parts.iter().map(bin).collect::<Option<_>>()?;
    (note.len() <= MAX_NOTE).then_some((hops.as_u64()?, parts.try_into().ok()?, note.clone()))
}

fn noted(code: u64, sender: NodeId, link: LinkId, message: Message) -> Received {
    let authorship = if message.is_sealed() { Authorship::Proven } else { Authorship::Claimed };
    Received { kind: Kind::Whisper, code, sender, link, message, authorship }
}
