//! The mesh: how a broadcast spreads (`spec/04-mesh.md`).
//!
//! Three rules. The author sends it to all its neighbours. Each node that sees it for the first time
//! passes it on to all its neighbours but the one it came from and the author. None passes it on
//! twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::{Node, Trust};
use super::outbox::{Class, LinkId, Now, Outbox};
use super::seen::Verdict;
use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::wire::Message;

impl Node {
    /// Whether everyone would take this own broadcast for a copy of one that was sent before: the
    /// same payload under the same stamp. [`Message::with_time`] makes it another one. Never where ids are
    /// proven, because stamps are different there.
    pub fn would_repeat(&self, message: &Message) -> bool {
        let digest = message.body().first_chunk();
        digest.is_some_and(|digest| self.own.contains(digest))
    }

    /// The first rule.
    pub(super) fn originate(&mut self, message: Message, out: &mut Outbox) {
        self.counters.broadcasts += 1;
        match (&self.identity.trust, message.body().first_chunk()) {
            (Trust::Claimed, Some(digest)) => self.own.insert(digest),
            _ => self.use_stamp(message.header().time),
        }
        // Changes of a table come here by themselves.
        self.reserve_if_due(out);
        let spare = self.spare(&message);
        self.send_flood(None, spare, Class::Own, message.into_body(), out);
    }

    /// The second and third rules: the author of a broadcast that is to be handled here, or `None`
    /// if it is to be dropped.
    pub(super) fn flood(
        &mut self,
        now: Now,
        from: LinkId,
        message: &Message,
        out: &mut Outbox,
    ) -> Option<NodeId> {
        let Some(author) = self.authors.find(message.sender()) else {
            self.counters.refused += 1;
            return None;
        };
        if author == self.identity.id {
            self.counters.echoes += 1;
            return None;
        }
        // What is read through the subnet's envelope is sealed; nothing else moves the memory.
        if matches!(self.identity.trust, Trust::Proven { signed: true, .. }) && !message.is_sealed() {
            self.counters.refused += 1;
            return None;
        }
        // The neighbour that relays it means well: its rules may be others.
        if self.identity.trust != Trust::Claimed && self.admission.refusal(now.wall, &author).is_some() {
            self.counters.authors_refused += 1;
            return None;
        }
        let digest = message.body().first_chunk()?;
        match self.memory.insert(now, &author, message.header().time, digest) {
            Verdict::New => self.heard_something(now),
            Verdict::Known => {
                self.counters.duplicates += 1;
                return None;
            }
            Verdict::Stale => {
                self.counters.stale += 1;
                return None;
            }
            Verdict::Future => {
                self.counters.future += 1;
                return None;
            }
            Verdict::Crowded => {
                self.counters.refused += 1;
                return None;
            }
        }
        // Alone with the peer that brought it, there is nobody to pass it on to.
        if self.table.len() < 2 {
            return Some(author);
        }
        if let Some(most) = self.config.relays_per_author
            && !self.authors.may_be_relayed(now.mono, &author, most)
        {
            self.counters.relays_limited += 1;
            return Some(author);
        }
        let spare = self.spare(message);
        if self.send_flood(Some((from, &author)), spare, Class::Relay, message.body().clone(), out) > 0 {
            self.counters.relayed += 1;
        }
        Some(author)
    }
}

/// Places for recent authors.
const AUTHORS: usize = 64;
/// Authors without a place whose relays are counted, at most. Beyond, those are forgotten that have
/// most left.
const MAX_BUSY: usize = 1024;

/// Recent authors, so that a stream of messages by few shares their ids instead of copying them.
#[derive(Debug, Default)]
pub(super) struct Authors {
    places: Vec<Option<Author>>,
    /// What authors that lost their place have taken of their share, while that matters.
    busy: BTreeMap<NodeId, Bucket>,
}

#[derive(Debug, Clone)]
struct Author {
    id: NodeId,
    relays: Bucket,
}

impl Authors {
    /// The node id with this text; `None` if it is none.
    pub(super) fn find(&mut self, text: &[u8]) -> Option<NodeId> {
        let place = self.place(text)?;
        match place {
            Some(author) if author.id.as_str().as_bytes() == text => Some(author.id.clone()),
            _ => {
                let id = NodeId::from_bytes(text).ok()?;
                let gone = place.replace(Author { id: id.clone(), relays: Bucket::default() });
                self.swap_shares(gone, &id);
                Some(id)
            }
        }
    }

    fn place(&mut self, text: &[u8]) -> Option<&mut Option<Author>> {
        if self.places.is_empty() {
            self.places.resize(AUTHORS, None);
        }
        // Ids are hashes, so any of their characters serve.
        let at = text.iter().rev().take(4).fold(0, |at, byte| at * 7 + usize::from(*byte)) % AUTHORS;
        self.places.get_mut(at)
    }

    /// One author has taken the place of another; neither gets a new share by that.
    fn swap_shares(&mut self, gone: Option<Author>, come: &NodeId) {
        if let Some(share) = self.busy.remove(come)
            && let Some(Some(author)) = self.place(come.as_str().as_bytes())
        {
            author.relays = share;
        }
        let Some(gone) = gone.filter(|gone| gone.relays != Bucket::default()) else { return };
        self.busy.insert(gone.id, gone.relays);
        if self.busy.len() > MAX_BUSY {
            let most_left = self.busy.iter().min_by_key(|(_, share)| share.full_at());
            if let Some(id) = most_left.map(|(id, _)| id.clone()) {
                self.busy.remove(&id);
            }
        }
    }

    /// Whether one more broadcast of `author` may be passed on in this second, of `most`.
    fn may_be_relayed(&mut self, now: Duration, author: &NodeId, most: u32) -> bool {
        let rate = Rate { amount: most.into(), within: Duration::from_secs(1) };
        match self.place(author.as_str().as_bytes()) {
            Some(Some(place)) if place.id == *author => place.relays.try_take(now, rate),
            _ => true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// L-60
    #[test]
    fn authors_that_share_a_place_share_nothing_else() {
        let mut authors = Authors::default();
        let at = |millis| Duration::from_millis(millis);
        // The last four characters decide on the place.
        let (one, other) = ("2aaaa", "3aaaa");
        let mut relay = |millis, id: &str| {
            let id = authors.find(id.as_bytes()).unwrap();
            authors.may_be_relayed(at(millis), &id, 10)
        };
        assert_eq!((0..20).filter(|_| relay(0, one)).count(), 10);
        assert_eq!((0..20).filter(|_| relay(0, other)).count(), 10);
        // Taking turns brings neither any more.
        assert!((0..20).all(|_| !relay(99, one) && !relay(99, other)));
        assert!(relay(100, one) && relay(100, other) && !relay(100, one));
        for n in 1111..9999 {
            relay(200, &format!("{n}aaaa").replace('0', "z"));
        }
        assert!(authors.busy.len() <= MAX_BUSY);
    }
}
