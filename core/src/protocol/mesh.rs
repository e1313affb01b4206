//! The mesh: how a broadcast spreads (`spec/04-mesh.md`).
//!
//! Three rules. The author sends it to all its neighbours. Each node that sees it for the first time
//! passes it on to all its neighbours but the one it came from and the author. None passes it on
//! twice.

use super::node::{Node, Trust};
use super::outbox::{Class, LinkId, Now, Outbox};
use super::seen::Verdict;
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
        self.send_flood(None, Class::Own, message.into_body(), out);
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
            Verdict::New => {}
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
        if self.table.len() > 1
            && self.send_flood(Some((from, &author)), Class::Relay, message.body().clone(), out) > 0
        {
            self.counters.relayed += 1;
        }
        Some(author)
    }
}

/// Places for recent authors.
const AUTHORS: usize = 64;

/// Recent authors, so that a stream of messages by few shares their ids instead of copying them.
#[derive(Debug, Default)]
pub(super) struct Authors {
    places: Vec<Option<NodeId>>,
}

impl Authors {
    /// The node id with this text; `None` if it is none.
    pub(super) fn find(&mut self, text: &[u8]) -> Option<NodeId> {
        if self.places.is_empty() {
            self.places.resize(AUTHORS, None);
        }
        // Ids are hashes, so any of their characters serve.
        let at = text.iter().rev().take(4).fold(0, |at, byte| at * 7 + usize::from(*byte)) % AUTHORS;
        let place = self.places.get_mut(at)?;
        match place {
            Some(id) if id.as_str().as_bytes() == text => Some(id.clone()),
            _ => {
                let id = NodeId::from_bytes(text).ok()?;
                *place = Some(id.clone());
                Some(id)
            }
        }
    }
}
