//! Who may join a subnet that proves ids (`spec/07-trust.md`, T-70 to T-74).

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use super::node::Node;
use super::outbox::{CloseReason, Now, Outbox};
use super::records::{self, RecordError};
use crate::identity::NodeId;

/// The version of a ban's record: behind it the second at which it ends.
const BAN_VERSION: u8 = 1;

fn record_name(peer: &NodeId) -> Vec<u8> {
    [&[records::BANS], peer.as_str().as_bytes()].concat()
}

/// What is kept of a ban: its name and itself.
pub(crate) fn ban_record(peer: &NodeId, until: i64) -> (Vec<u8>, Bytes) {
    let mut value = BytesMut::new();
    value.put_u8(BAN_VERSION);
    value.put_i64(until);
    (record_name(peer), value.freeze())
}

/// The joining rules: who is let in, as a neighbour and as an author.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The only ones that may join; anyone if there is no list.
    allowed: Option<BTreeSet<NodeId>>,
    /// Who may not, up to a second of the wall clock.
    bans: BTreeMap<NodeId, i64>,
}

impl Admission {
    /// Why `peer` may not join, if so.
    pub(super) fn refusal(&self, wall: i64, peer: &NodeId) -> Option<CloseReason> {
        if self.bans.get(peer).is_some_and(|until| wall < *until) {
            return Some(CloseReason::Banned);
        }
        let allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(peer));
        (!allowed).then_some(CloseReason::NotAllowed)
    }
}

impl Node {
    /// Nodes that may join from now on, besides those that were named before. The first call closes
    /// the subnet to all others, and their links with it.
    pub(super) fn allow(&mut self, now: Now, peers: impl IntoIterator<Item = NodeId>, out: &mut Outbox) {
        self.admission.allowed.get_or_insert_default().extend(peers);
        self.close_uninvited(now, out);
    }

    /// Takes a node off the list; there need not be one yet.
    pub(super) fn disallow(&mut self, now: Now, peer: &NodeId, out: &mut Outbox) {
        self.admission.allowed.get_or_insert_default().remove(peer);
        self.close_uninvited(now, out);
    }

    pub(super) fn ban(&mut self, now: Now, peer: NodeId, until: i64, out: &mut Outbox) {
        for (over, _) in self.admission.bans.extract_if(.., |_, until| *until <= now.wall) {
            out.keep(record_name(&over), None);
        }
        let (key, value) = ban_record(&peer, until);
        out.keep(key, Some(value));
        self.admission.bans.insert(peer, until);
        self.close_uninvited(now, out);
    }

    pub(super) fn unban(&mut self, peer: &NodeId, out: &mut Outbox) {
        if self.admission.bans.remove(peer).is_some() {
            out.keep(record_name(peer), None);
        }
    }

    /// A ban of an earlier run. One that is over by the clock now may be in force by the right time.
    pub(super) fn restore_ban(&mut self, name: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let peer = NodeId::from_bytes(name).map_err(|_| RecordError("a ban names no node"))?;
        let [BAN_VERSION, until @ ..] = value else { return Err(RecordError("a ban of another version")) };
        let until = until.try_into().map_err(|_| RecordError("a ban without an end"))?;
        self.admission.bans.insert(peer, i64::from_be_bytes(until));
        Ok(())
    }

    /// The bans in force: who, and up to which second of the wall clock.
    pub fn bans(&self, now: Now) -> impl Iterator<Item = (&NodeId, i64)> {
        let bans = self.admission.bans.iter().map(|(peer, until)| (peer, *until));
        bans.filter(move |(_, until)| now.wall < *until)
    }

    /// Closes the links of those who may not be there any more, and does not dial them again.
    fn close_uninvited(&mut self, now: Now, out: &mut Outbox) {
        let uninvited: Vec<_> = (self.links.values())
            .filter_map(|link| {
                let peer = link.proven.as_ref()?;
                Some((link.id, peer.clone(), self.admission.refusal(now.wall, peer)?))
            })
            .collect();
        for (link, peer, reason) in uninvited {
            self.dialler.release(&peer, &[link]);
            self.close_link(now, link, reason, out);
        }
    }
}
