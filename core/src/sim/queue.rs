//! What will happen, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;

use super::NodeIndex;
use super::carry::EndId;
use crate::protocol::{Address, DialId};
use crate::wire::Message;

/// What will happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A node's timer.
    Tick(NodeIndex),
    /// A message reaches an end of a connection.
    Arrive { end: EndId, parcel: Parcel },
    /// The other end's last byte is behind us.
    Finish(EndId),
    /// The connection is known to be broken.
    Break(EndId, &'static str),
    /// The first packet of a dial reaches where it is addressed to.
    Knock { dial: Dial, latency: Duration },
    /// The connection stands at this end.
    Up(EndId),
    /// A dial came to nothing.
    DialFailed { dial: Dial, problem: &'static str },
    /// What was to be sent from an end has been.
    Written(EndId),
    /// An end that only reads has read for long enough.
    Linger(EndId),
}

impl Happening {
    /// Whether a network in which only such things are still to come counts as idle.
    fn is_quiet(&self) -> bool {
        matches!(self, Self::Tick(_) | Self::Linger(_))
    }
}

/// What is under way on a link.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A message that nobody need verify.
    Message(Message),
    /// A body that is to be read as a real reader does, and may be anything.
    Body(Bytes),
}

impl Content {
    pub(super) fn body(&self) -> &Bytes {
        match self {
            Self::Message(message) => message.body(),
            Self::Body(body) => body,
        }
    }
}

/// A message under way.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) content: Content,
    /// How many links it will have crossed on arrival.
    pub(super) hops: u32,
    /// Where its way is recorded, if it is a user's.
    pub(super) delivery: Option<usize>,
}

/// A dial under way.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) from: NodeIndex,
    /// The life of the node that dialled: it may have died since.
    pub(super) life: u32,
    pub(super) id: DialId,
    pub(super) address: Address,
    pub(super) since: Duration,
}

/// Time, then chance, then order of insertion: what is to happen in the same instant happens in any
/// order, decided by the seed.
type Key = (Duration, u32, u64);

/// A queue whose heap moves small entries only; what they stand for stays in its place.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    places: Vec<Option<Happening>>,
    free: Vec<usize>,
    inserted: u64,
    busy: usize,
}

impl Queue {
    pub(super) fn push(&mut self, at: Duration, chance: u32, happening: Happening) {
        self.busy += usize::from(!happening.is_quiet());
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place] = Some(happening);
                place
            }
            None => {
                self.places.push(Some(happening));
                self.places.len() - 1
            }
        };
        self.inserted += 1;
        self.heap.push(Reverse(((at, chance, self.inserted), place)));
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(((at, ..), _))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Duration, Happening)> {
        let Reverse(((at, ..), place)) = self.heap.pop()?;
        let happening = self.places[place].take()?;
        self.free.push(place);
        self.busy -= usize::from(!happening.is_quiet());
        Some((at, happening))
    }

    /// Whether only timers are left.
    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0
    }
}
