//! What a program is told.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::{Message, Request, Search};
use crate::identity::NodeId;
use crate::protocol::{Address, CloseReason};
use crate::wire::Value;

/// What can be read from a node.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message(Message),
    /// Another node asks something. Dropped, it tells its asker that no answer will come.
    Request(Request),
    /// Somebody asks everyone something.
    Search(Search),
    /// A peer is a neighbour from now on.
    Connected {
        /// Who.
        peer: NodeId,
        /// Its outward address, if it has one.
        address: Option<Address>,
    },
    /// A peer is no neighbour any more.
    Disconnected {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A peer takes nothing of what is sent to it. Relayed messages that find no room are dropped
    /// from now on, and the link is closed if it goes on.
    SlowPeer {
        /// Who.
        peer: NodeId,
    },
    /// A link that is to be kept up could not be made, and will be tried again.
    Redial {
        /// Where.
        address: Address,
        /// Why not.
        problem: String,
        /// In how long.
        pause: Duration,
    },
    /// The store in the data directory was damaged. It has another name now, and an empty one its place, with
    /// what could still be read. The node's identity is not in it, and stays.
    StoreReplaced {
        /// Where the damaged one is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Records in the store do not read. The rest is used.
    RecordsDamaged {
        /// How many.
        count: u64,
        /// What is wrong with the first.
        problem: String,
    },
    /// Records cannot be written to the store. That is tried again; told once, until it has worked again.
    StoreFailed {
        /// Why not.
        problem: String,
    },
    /// In a table ([`SyncTable`](crate::SyncTable)), another's write has taken the place of one of this
    /// node's, that had not heard of it or came after its lease.
    Superseded {
        /// Which key.
        key: Bytes,
        /// What this node had written; `None` if it had deleted the key.
        value: Option<Value>,
        /// Who wrote what stands now.
        by: NodeId,
    },
    /// Messages were dropped because the program read too slowly.
    Lagged {
        /// How many.
        count: u64,
    },
}

#[cfg(test)]
mod tests {
    /// As `Item`, from which each is made: what is moved for every message is small.
    #[test]
    fn events_are_small() {
        assert!(size_of::<super::Event>() <= 144, "{}", size_of::<super::Event>());
    }
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Its outward address, if it has one.
    pub address: Option<Address>,
    /// Whether we dialled it.
    pub outgoing: bool,
}
