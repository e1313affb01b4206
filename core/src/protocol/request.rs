//! Requests and their answers (`spec/12-requests.md`, R-1 to R-8).
//!
//! A request is a whisper with a number, and its answer another with the same one. What others ask is
//! handed to the program, which answers through [`Command::Answer`](super::Command::Answer); whatever
//! becomes of it, the asker is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::node::{Node, Timer, Trust};
use super::outbox::{Authorship, Class, CommandError, Event, Kind, LinkId, Now, Outbox, Received, Token};
use crate::config::Config;
use crate::identity::NodeId;
use crate::wire::Message;
use crate::wire::codes::{code, kind};

/// The word in an answer that says that the payload behind it is one. All others are a [`Refusal`].
pub(crate) const ANSWERED: u64 = 0;
/// The longest that a request waits, whatever the program wants: what a clock can count has an end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// No peer has more than this part of the bytes that requests may keep.
const SHARE: usize = 4;

/// Why a node gave no answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Its program takes no requests.
    NotTaken,
    /// Its program took the request and let it go unanswered.
    Dropped,
    /// Too many requests are under way there.
    Busy,
}

impl Refusal {
    /// Its number on the wire.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::NotTaken => 1,
            Self::Dropped => 2,
            Self::Busy => 3,
        }
    }

    /// What a number means. Those of later versions mean at least that no answer will come.
    fn of(number: u64) -> Self {
        match number {
            1 => Self::NotTaken,
            3 => Self::Busy,
            _ => Self::Dropped,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTaken => "its program takes no requests",
            Self::Dropped => "its program let the request go unanswered",
            Self::Busy => "too many requests are under way there",
        })
    }
}

/// A request of ours.
#[derive(Debug)]
struct Asked {
    to: NodeId,
    deadline: Duration,
    /// Whether it went to its addressee, who may still have to be found.
    sent: bool,
}

/// Requests of one peer that the program has not answered, by number, with the bytes they keep.
#[derive(Debug, Default)]
struct Open {
    sizes: BTreeMap<u64, usize>,
    bytes: usize,
}

/// The requests under way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Requests {
    asked: BTreeMap<Token, Asked>,
    open: BTreeMap<NodeId, Open>,
    /// Of all peers together.
    count: usize,
    bytes: usize,
}

impl Requests {
    /// Those that wait for an answer.
    pub(super) fn clear(&mut self) -> Vec<Token> {
        (self.open, self.count, self.bytes) = (BTreeMap::new(), 0, 0);
        std::mem::take(&mut self.asked).into_keys().collect()
    }

    /// Whether there is room for one more of `peer`, of so many bytes. A first one always fits in, however
    /// large it is.
    fn has_room(&self, peer: &NodeId, size: usize, config: &Config) -> bool {
        let (count, bytes) = self.open.get(peer).map_or((0, 0), |open| (open.sizes.len(), open.bytes));
        let fits = |kept: usize, most: usize| kept == 0 || kept.saturating_add(size) <= most;
        count < config.max_requests_per_peer
            && self.count < config.max_requests
            && fits(bytes, config.inbox_bytes / SHARE)
            && fits(self.bytes, config.inbox_bytes)
    }

    /// Takes a request of `peer` in. `false` if there is one with that number already.
    fn open(&mut self, peer: &NodeId, number: u64, size: usize) -> bool {
        let open = self.open.entry(peer.clone()).or_default();
        if open.sizes.contains_key(&number) {
            return false;
        }
        open.sizes.insert(number, size);
        open.bytes += size;
        self.count += 1;
        self.bytes += size;
        true
    }

    /// Takes a request of `peer` out. Whether there was one.
    fn close(&mut self, peer: &NodeId, number: u64) -> bool {
        let Some(open) = self.open.get_mut(peer) else { return false };
        let Some(size) = open.sizes.remove(&number) else { return false };
        open.bytes -= size;
        self.count -= 1;
        self.bytes -= size;
        if open.sizes.is_empty() {
            self.open.remove(peer);
        }
        true
    }

    /// Whether a request is ours, which went on its way if `sent`. One that did not is forgotten.
    pub(super) fn went(&mut self, token: Token, sent: bool) -> bool {
        match self.asked.get_mut(&token) {
            None => false,
            Some(asked) if sent => {
                asked.sent = true;
                true
            }
            Some(_) => {
                self.asked.remove(&token);
                false
            }
        }
    }
}

impl Node {
    /// Whether its subnet has words that 0.7 does not have.
    pub(super) fn has_own_words(&self) -> bool {
        self.identity.trust != Trust::Claimed
    }

    /// Sends a request to a node, which is found first if it is no neighbour.
    pub(super) fn send_request(
        &mut self,
        now: Now,
        token: Token,
        to: NodeId,
        message: Message,
        timeout: Duration,
        out: &mut Outbox,
    ) {
        if !self.has_own_words() {
            return self.done(token, Err(CommandError::NeedsTls { what: "requests" }), out);
        }
        if self.requests.asked.len() >= self.config.max_requests {
            return self.done(token, Err(CommandError::TooMany { what: "requests" }), out);
        }
        self.counters.requests_sent += 1;
        let deadline = now.mono + timeout.min(LONGEST);
        self.requests.asked.insert(token, Asked { to: to.clone(), deadline, sent: false });
        self.set_timer(deadline, Timer::Request);
        self.whisper(now, token, to, message, out);
    }

    /// A neighbour asks something.
    pub(super) fn on_ask(&mut self, now: Now, from: LinkId, message: Message, out: &mut Outbox) {
        let Some([_, number]) = message.integers() else { return self.malformed(now, from, &message, out) };
        let Some(peer) = self.peer_on(from).cloned() else { return };
        let size = message.body().len();
        if !self.requests.has_room(&peer, size, &self.config) {
            self.counters.requests_refused += 1;
            return self.refuse(now, from, number, Refusal::Busy, out);
        }
        if !self.requests.open(&peer, number, size) {
            return self.malformed(now, from, &message, out);
        }
        self.counters.requests_received += 1;
        out.event(Event::Asked { number, received: Box::new(whispered(code::ASK, peer, from, message)) });
    }

    fn refuse(&mut self, now: Now, to: LinkId, number: u64, refusal: Refusal, out: &mut Outbox) {
        let payload = [number.into(), refusal.number().into()];
        self.send_control(now, to, kind::WHISPER, code::ANSWER, &payload, out);
    }

    /// Whether a request of `peer` under this number waits for the program's answer.
    pub fn is_asked(&self, peer: &NodeId, number: u64) -> bool {
        self.requests.open.get(peer).is_some_and(|open| open.sizes.contains_key(&number))
    }

    /// The program answers a request, or lets it go.
    pub(super) fn answer(
        &mut self,
        now: Now,
        peer: &NodeId,
        number: u64,
        answer: Result<Message, Refusal>,
        out: &mut Outbox,
    ) {
        // Its asker may be gone.
        if !self.requests.close(peer, number) {
            return;
        }
        let Some(link) = self.link_to(peer) else { return };
        match answer {
            Ok(message) => self.send_body(link, Class::Own, message.into_body(), out),
            Err(refusal) => {
                self.counters.requests_refused += 1;
                self.refuse(now, link, number, refusal, out);
            }
        }
    }

    /// A neighbour answers. An answer to nothing is honest: it came too late, or its asker was another
    /// life of this node.
    pub(super) fn on_answer(&mut self, now: Now, from: LinkId, message: Message, out: &mut Outbox) {
        let Some([_, number, word]) = message.integers() else {
            return self.malformed(now, from, &message, out);
        };
        let token = Token(number);
        let Some(peer) = self.peer_on(from).cloned() else { return };
        if self.requests.asked.get(&token).is_none_or(|asked| asked.to != peer) {
            self.counters.answers_late += 1;
            return;
        }
        self.requests.asked.remove(&token);
        if word == ANSWERED {
            let received = Box::new(whispered(code::ANSWER, peer, from, message));
            return out.event(Event::Answered { token, received });
        }
        let error = CommandError::Unanswered { peer, refusal: Some(Refusal::of(word)) };
        self.done(token, Err(error), out);
    }

    /// A peer is no neighbour any more: it will neither answer nor be answered.
    pub(super) fn end_requests(&mut self, peer: &NodeId, out: &mut Outbox) {
        if let Some(open) = self.requests.open.remove(peer) {
            self.requests.count -= open.sizes.len();
            self.requests.bytes -= open.bytes;
        }
        for token in self.asked_where(|asked| asked.sent && asked.to == *peer) {
            let error = CommandError::Unanswered { peer: peer.clone(), refusal: None };
            self.done(token, Err(error), out);
        }
    }

    pub(super) fn expire_requests(&mut self, now: Now, out: &mut Outbox) {
        for token in self.asked_where(|asked| asked.deadline <= now.mono) {
            let Some(asked) = self.requests.asked.get(&token) else { continue };
            let error = CommandError::TimedOut { peer: asked.to.clone() };
            self.lookups.forget(token);
            self.done(token, Err(error), out);
        }
    }

    fn asked_where(&self, holds: impl Fn(&Asked) -> bool) -> Vec<Token> {
        self.requests.asked.iter().filter(|(_, asked)| holds(asked)).map(|(token, _)| *token).collect()
    }
}

/// Where ids are proven, a whisper is by the neighbour on its link.
fn whispered(code: u64, sender: NodeId, link: LinkId, message: Message) -> Received {
    Received { kind: Kind::Whisper, code, sender, link, message, authorship: Authorship::Proven }
}
