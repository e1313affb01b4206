//! The protocol as pure state machines: bytes, clocks, sockets and threads stay outside.
//!
//! [`Node`] takes an [`Input`] and the present ([`Now`]) and puts what is to be done into an
//! [`Outbox`]. The same machine runs behind sockets (`runtime`), in the simulator ([`crate::sim`])
//! and under the conformance suite, and does the same thing each time: with the same seed and inputs
//! it gives the same outputs.
//!
//! | file | decides |
//! |---|---|
//! | `node` | what an input is and who handles it |
//! | `conversation` | handshakes, peers lists, double connections, keep-alive, renegotiation |
//! | `mesh` | the three rules of a broadcast |
//! | `lookup` | reaching nodes that are no neighbours |
//! | `dialler` | what is dialled and kept up, and when again |
//! | `book` | which addresses are known, and what came of them |
//! | `bootstrap` | which of them are dialled, so that the network holds together |
//! | `seen` | which broadcasts are known, by their stamps |
//! | `heard` | which broadcasts are known, by their authors |
//! | `memory` | which of the two a subnet needs |
//! | `marks` | which of that outlives the process |
//! | `admission` | who may join |
//! | `reach` | which addresses a peer can make us dial |
//! | `records` | what outlives the process |
//! | `sync` | the table: a dictionary that all nodes hold |
//! | `offence` | what no honest peer does, and what comes of it |
//! | `request` | which requests are under way, and which answer is whose |
//! | `search` | how far a question goes, and which way back what is found takes |

mod address;
mod admission;
mod book;
mod bootstrap;
mod conversation;
mod dialler;
mod handshake;
mod heard;
mod link;
mod lookup;
mod marks;
mod memory;
mod mesh;
mod node;
mod offence;
mod outbox;
mod reach;
pub mod records;
mod request;
mod search;
mod seen;
mod sync;

pub use address::{Address, AddressError, Target};
pub use book::PeerStats;
pub use handshake::{Dialect, Handshake};
pub use heard::Heard;
pub use node::{Counters, Identity, Neighbour, Node, Trust};
pub use offence::Offence;
#[cfg(feature = "net")]
pub(crate) use offence::customer;
pub use outbox::{
    Authorship, Class, CloseReason, Command, CommandError, DialId, Event, Input, Kind, LinkId, Now, Origin,
    Outbox, Output, Received, Remote, Role, Token,
};
pub use reach::Reach;
#[cfg(feature = "net")]
pub(crate) use request::ANSWERED;
pub use request::Refusal;
pub use search::{MAX_DATA, MAX_HOPS, MAX_ID, MAX_TYPE, Note};
pub use seen::{Seen, Verdict};
pub use sync::{Change, Entry, LEASE, Table, TableError, TableOptions, Version};
