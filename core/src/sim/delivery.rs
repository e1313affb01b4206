//! The way of one message through the network.

use std::time::Duration;

use super::NodeIndex;
use crate::identity::MessageId;
use crate::protocol::Kind;

/// A message's arrival at one node: it was handed up there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Where.
    pub node: NodeIndex,
    /// When it was first handed up.
    pub at: Duration,
    /// How many links the copy that was first had crossed.
    pub hops: u32,
    /// How often it was handed up; more than once is a fault.
    pub count: u32,
    /// Which life of the node this was: a node that is restarted may be handed it again.
    pub life: u32,
}

/// What became of one message.
#[derive(Debug, Clone)]
pub struct Delivery {
    id: MessageId,
    author: NodeIndex,
    kind: Kind,
    sent: Duration,
    copies: u64,
    lost: u64,
    arrivals: Vec<Arrival>,
    /// One bit for each node that is among `arrivals`.
    reached: Vec<u64>,
}

impl Delivery {
    pub(super) fn new(id: MessageId, author: NodeIndex, kind: Kind, sent: Duration) -> Self {
        Self { id, author, kind, sent, copies: 0, lost: 0, arrivals: Vec::new(), reached: Vec::new() }
    }

    pub(super) fn copied(&mut self, lost: bool) {
        self.copies += 1;
        self.lost += u64::from(lost);
    }

    pub(super) fn arrived(&mut self, node: NodeIndex, life: u32, at: Duration, hops: u32) {
        let (word, bit) = (node.0 / 64, 1 << (node.0 % 64));
        if self.reached.len() <= word {
            self.reached.resize(word + 1, 0);
        }
        if self.reached[word] & bit != 0 {
            let again = |arrival: &&mut Arrival| arrival.node == node && arrival.life == life;
            if let Some(arrival) = self.arrivals.iter_mut().find(again) {
                arrival.count += 1;
                return;
            }
        }
        self.reached[word] |= bit;
        self.arrivals.push(Arrival { node, at, hops, count: 1, life });
    }

    /// The message.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Who sent it.
    pub fn author(&self) -> NodeIndex {
        self.author
    }

    /// How it was addressed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When it was sent.
    pub fn sent(&self) -> Duration {
        self.sent
    }

    /// How often it was put on a link, lost copies included.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// How many of its copies were lost to [`super::Options::loss`].
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Where it arrived, in order of time.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Its (first) arrival at one node.
    pub fn arrival(&self, node: NodeIndex) -> Option<&Arrival> {
        self.arrivals.iter().find(|arrival| arrival.node == node)
    }

    /// How many nodes it was handed up at.
    pub fn reached(&self) -> usize {
        self.reached.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How often it was handed up where it had been handed up before: a fault.
    pub fn doubled(&self) -> u64 {
        self.arrivals.iter().map(|arrival| u64::from(arrival.count) - 1).sum()
    }

    /// The most links that a copy which was first somewhere had crossed.
    pub fn most_hops(&self) -> u32 {
        self.arrivals.iter().map(|arrival| arrival.hops).max().unwrap_or(0)
    }

    /// Time from sending to the last node's first copy.
    pub fn time_to_last(&self) -> Duration {
        self.arrivals.last().map_or(Duration::ZERO, |last| last.at.saturating_sub(self.sent))
    }
}
