//! One connection, as the node machine sees it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::address::Address;
use super::handshake::Dialect;
use super::outbox::{DialId, LinkId, Origin, Role, Token};
use super::reach::Reach;
use crate::identity::NodeId;
use crate::wire::Method;

/// A peer whose handshake is done.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) address: Option<Address>,
    pub(super) dialect: Dialect,
    /// Methods the peer can decompress, in its order.
    pub(super) methods: Vec<Method>,
}

/// The last message sent on a link, in case the peer asks for it again.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Place in the order of everything the node sends.
    pub(super) order: u64,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) dial: Option<DialId>,
    role: Role,
    /// Whether the program brought it, from wherever.
    brought: bool,
    /// Who waits for its handshake, if the program brought it.
    pub(super) token: Option<Token>,
    /// The id that the other side has proven.
    pub(super) proven: Option<NodeId>,
    /// Where the other side is, if there is a network.
    pub(super) ip: Option<IpAddr>,
    /// When it came up.
    pub(super) since: Duration,
    /// When something last arrived.
    pub(super) heard: Duration,
    /// Whether a question for life is unanswered.
    pub(super) probed: bool,
    /// When we last answered a handshake or a request with a peers list.
    pub(super) peers_sent: Option<Duration>,
    /// Handshakes that came again within that pause.
    pub(super) repeats: u32,
    pub(super) peer: Option<Peer>,
    /// Whether something came after the handshake, so that the peer has read ours.
    pub(super) confirmed: bool,
    /// Whether other links to the same peer are to be closed once this one is confirmed.
    pub(super) doubled: bool,
    /// Whether we closed it as a duplicate, and only read it out.
    pub(super) closing: bool,
    pub(super) last_sent: Option<Sent>,
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        origin: Origin,
        proven: Option<NodeId>,
        ip: Option<IpAddr>,
        now: Duration,
    ) -> Self {
        Self {
            id,
            dial: match origin {
                Origin::Dialled(dial) => Some(dial),
                Origin::Accepted | Origin::Brought { .. } => None,
            },
            role: origin.role(),
            brought: matches!(origin, Origin::Brought { .. }),
            token: match origin {
                Origin::Brought { token, .. } => Some(token),
                Origin::Accepted | Origin::Dialled(_) => None,
            },
            proven,
            ip,
            since: now,
            heard: now,
            probed: false,
            peers_sent: None,
            repeats: 0,
            peer: None,
            confirmed: false,
            doubled: false,
            closing: false,
            last_sent: None,
        }
    }

    /// Whether its peer speaks 0.7 only, and might ask for the last message again.
    pub(super) fn may_ask_again(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.dialect != Dialect::Peernet)
    }

    /// Something arrived, which answers a question for life.
    pub(super) fn hear(&mut self, now: Duration) {
        self.heard = now;
        self.probed = false;
    }

    /// Which addresses its peer may make us dial.
    pub(super) fn reach(&self) -> Reach {
        match self.brought {
            // It may be anywhere.
            true => Reach::Global,
            false => Reach::of(self.ip),
        }
    }

    /// Whether we are the side that dialled it.
    pub(super) fn is_outgoing(&self) -> bool {
        self.role == Role::Dialler
    }
}
