//! Many nodes under one simulated clock and network, for tests: of this library, and of yours.
//!
//! A [`Network`] runs the same [`protocol::Node`](crate::protocol::Node) machines that run behind
//! sockets, without sockets, threads or waiting: an hour of a thousand nodes takes seconds. Everything
//! is decided by [`Options::seed`]: the same calls on a network with the same seed do the same thing,
//! event for event, which [`Network::fingerprint`] lets a test compare.
//!
//! ```
//! use std::time::Duration;
//! use peernet::sim::{Network, Options, node_config};
//!
//! let mut network = Network::new(Options { seed: 7, ..Options::default() });
//! let nodes = network.add_nodes(5, &node_config());
//! for pair in nodes.windows(2) {
//!     network.connect(pair[0], pair[1])?;
//! }
//! assert!(network.run_until_idle(Duration::from_secs(10)));
//!
//! let id = network.broadcast(nodes[0], &("hello", 5))?;
//! network.run_until_idle(Duration::from_secs(10));
//! let delivery = network.delivery(&id).expect("it was sent");
//! assert_eq!((delivery.reached(), delivery.doubled()), (4, 0));
//! assert_eq!(delivery.arrival(nodes[4]).map(|arrival| arrival.hops), Some(4));
//!
//! // Links break, and come up again by themselves.
//! network.partition(&[&nodes[..2], &nodes[2..]]);
//! network.run_for(Duration::from_secs(60));
//! assert!(!network.is_linked(nodes[1], nodes[2]));
//! network.heal();
//! network.run_for(Duration::from_secs(60));
//! assert!(network.is_linked(nodes[1], nodes[2]));
//! # Ok::<(), peernet::sim::Error>(())
//! ```
//!
//! # What is simulated
//!
//! - A connection has one latency, drawn from [`Options::latency`], and delivers in order. A dial
//!   takes a round trip; the dialling side is up first. [`Options::jitter`] holds up single messages,
//!   and what comes after them on their link, as a repeated packet does.
//! - [`Options::loss`] loses single user messages and relayed ones without a sign, which TCP never
//!   does: it shows what the protocol does when something is missing. Messages of the protocol's own
//!   (handshakes, keep-alive) are lost only with [`Options::control_loss`].
//! - [`Network::crash`] ends a process: its peers see the connection end. [`Network::power_off`] ends
//!   a machine: nobody is told anything, and only keep-alive finds out. [`Network::silence`] does that
//!   to the connections between two nodes. [`Network::restart`] starts the program again, with what it
//!   kept; [`Network::wipe`] loses that.
//! - With [`Options::table`] every node has a table, which [`Network::table_set`] and its sisters write.
//! - [`Network::partition`] breaks every connection between groups, and no dial crosses until
//!   [`Network::heal`].
//! - With [`Options::signed`] the network is a signed `tls` subnet: ids are proven on every link, and
//!   each node verifies what it reads, with true keys and signatures. [`Network::turn_hostile`] lets a node send what
//!   it likes: [`Meddler`] is one that meddles with whatever passes through it.
//! - Queues have no bounds and bytes no cost: full queues, slow readers and compression are not
//!   simulated, and where nothing is signed and nobody hostile, messages are passed on without being
//!   hashed again.
//!
//! # Handles
//!
//! A [`NodeIndex`] belongs to the network that gave it. As with a slice and its indices, one that
//! names no node of a network makes its methods panic.

mod carry;
mod delivery;
mod hostile;
mod known;
mod network;
mod queue;
mod search;
mod topology;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Config;
use crate::protocol::{Event, TableError, TableOptions};
use crate::wire::ValueError;

pub use delivery::{Arrival, Delivery};
pub use hostile::{Hostile, Manner, Meddler, Sending};
pub use network::{Network, Traffic};
pub use topology::random_links;

/// What decides about a simulated network.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Decides everything left to chance (0).
    pub seed: u64,
    /// How long anything takes from one end of a connection to the other: drawn for each connection
    /// when it is dialled (10 to 50 ms).
    pub latency: RangeInclusive<Duration>,
    /// Each message may be held up by as much as this in addition, and those behind it on its link
    /// with it (0).
    pub jitter: Duration,
    /// Part of the users' and relayed messages that are lost on a link, 0 to 1 (0).
    pub loss: f64,
    /// Part of the protocol's own messages that are lost on a link, 0 to 1 (0).
    pub control_loss: f64,
    /// Whether everything that nodes tell their users is kept for [`Network::events`] (yes). With
    /// thousands of nodes that may be much; [`Network::delivery`] works without it.
    pub keep_events: bool,
    /// Whether ids are proven and authors sign their broadcasts (no).
    pub signed: bool,
    /// Whether ids are proven, also where authors do not sign (no).
    pub proven: bool,
    /// Whether every node has a table, and of which kind (none).
    pub table: Option<TableOptions>,
    /// Part of the users' and relayed messages that arrive twice, 0 to 1 (0). TCP does neither this nor what
    /// follows; what must hold in spite of it holds when links break and others carry the rest, too.
    pub duplication: f64,
    /// Part of the users' and relayed messages that arrive late, behind what was sent after them on the
    /// same link, 0 to 1 (0).
    pub reordering: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Duration::from_millis(10)..=Duration::from_millis(50),
            jitter: Duration::ZERO,
            loss: 0.0,
            control_loss: 0.0,
            keep_events: true,
            signed: false,
            proven: false,
            table: None,
            duplication: 0.0,
            reordering: 0.0,
        }
    }
}

/// A configuration for simulated nodes: the links are those that [`Network::connect`] makes, none
/// are added, and there is room for any number of them. Nodes that are no neighbours are looked for.
pub fn node_config() -> Config {
    Config {
        max_outgoing: 0,
        connections: 0,
        max_peers: usize::MAX,
        max_opening: usize::MAX,
        compression: Vec::new(),
        trust_lookups: true,
        connects_per_minute: None,
        relays_per_author: None,
        ..Config::default()
    }
}

/// Names a node of a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub(crate) usize);

impl NodeIndex {
    /// Its place in the order in which nodes were added, from 0.
    pub fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What a node told its user, and when.
#[derive(Debug)]
pub struct Occurrence {
    /// Simulated time since the network was made.
    pub at: Duration,
    /// Whose user.
    pub node: NodeIndex,
    /// What.
    pub event: Event,
}

/// Why a simulated user's wish was not even passed on to its node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node is crashed or off.
    #[error("{0} is down")]
    Down(NodeIndex),
    /// A value has no form on the wire.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The node's table refused it.
    #[error(transparent)]
    Table(#[from] TableError),
}
