//! Who may join a subnet that proves ids (`spec/07-trust.md`, T-70 to T-74).

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use super::outbox::{CloseReason, Now, Outbox};
use crate::identity::NodeId;

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
        self.admission.bans.retain(|_, until| now.wall < *until);
        self.admission.bans.insert(peer, until);
        self.close_uninvited(now, out);
    }

    pub(super) fn unban(&mut self, peer: &NodeId) {
        self.admission.bans.remove(peer);
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
