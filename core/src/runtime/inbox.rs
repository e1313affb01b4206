//! What waits for the program to read it: bounded, and honest about what did not fit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::identity::NodeId;
use crate::protocol::{Address, CloseReason, Received};

/// One thing for the program to read.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Received),
    Connected { peer: NodeId, address: Option<Address> },
    Disconnected { peer: NodeId, reason: CloseReason },
    SlowPeer { peer: NodeId },
    Redial { address: Address, problem: String, pause: Duration },
    Lagged(u64),
}

impl Item {
    /// Bytes it keeps in memory, roughly.
    fn weight(&self) -> usize {
        match self {
            Self::Message(received) => received.message.body().len(),
            _ => 64,
        }
    }
}

#[derive(Debug, Default)]
struct Arriving {
    items: VecDeque<Item>,
    bytes: usize,
    /// Dropped since the last item was taken in.
    lagged: u64,
    /// The program did not make room in time; drop until it has.
    overrun: bool,
    closed: bool,
}

/// The queue between a node and its program. Writers fill one half under a lock per batch, the
/// reader empties the other, so that they seldom meet.
#[derive(Debug)]
pub(crate) struct Inbox {
    arriving: Mutex<Arriving>,
    leaving: Mutex<VecDeque<Item>>,
    news: Notify,
    room: Notify,
    full: AtomicBool,
    lagged: AtomicU64,
    messages: usize,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            arriving: Mutex::default(),
            leaving: Mutex::default(),
            news: Notify::new(),
            room: Notify::new(),
            full: AtomicBool::new(false),
            lagged: AtomicU64::new(0),
            messages,
            bytes,
        }
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in items in order. Those that do not fit, and may not wait any more, are counted.
    pub(crate) fn push(&self, items: impl Iterator<Item = Item>) {
        let mut state = self.arriving();
        let state = &mut *state;
        for item in items {
            let full = state.items.len() >= self.messages || state.bytes >= self.bytes;
            if full {
                self.full.store(true, Ordering::Release);
                if state.overrun {
                    state.lagged += 1;
                    self.lagged.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            if state.lagged > 0 {
                let missed = std::mem::take(&mut state.lagged);
                state.items.push_back(Item::Lagged(missed));
            }
            state.bytes += item.weight();
            state.items.push_back(item);
        }
        self.news.notify_one();
    }

    /// Whether whoever fills it should wait for room.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Waits for room, no longer than `patience`; then messages that do not fit are dropped until
    /// the program has made room.
    pub(crate) async fn wait_for_room(&self, patience: Duration) {
        let waited = tokio::time::timeout(patience, async {
            loop {
                let room = self.room.notified();
                if !self.is_full() || self.arriving().overrun {
                    return;
                }
                room.await;
            }
        });
        if waited.await.is_err() {
            self.arriving().overrun = self.is_full();
        }
    }

    /// The next item, if there is one.
    pub(crate) fn try_next(&self) -> Option<Item> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = leaving.pop_front() {
            return Some(item);
        }
        let mut state = self.arriving();
        if state.items.is_empty() {
            let missed = std::mem::take(&mut state.lagged);
            return (missed > 0).then_some(Item::Lagged(missed));
        }
        std::mem::swap(&mut *leaving, &mut state.items);
        state.bytes = 0;
        state.overrun = false;
        if self.full.swap(false, Ordering::AcqRel) {
            self.room.notify_waiters();
        }
        drop(state);
        leaving.pop_front()
    }

    /// The next item; `None` when the node is closed and all is read. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&self) -> Option<Item> {
        loop {
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            let closed = self.arriving().closed;
            if closed {
                // What came before the end was taken in before the flag was set.
                return self.try_next();
            }
            self.news.notified().await;
        }
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.arriving().closed = true;
        self.room.notify_waiters();
        self.news.notify_waiters();
        self.news.notify_one();
    }

    /// Items dropped since the beginning.
    pub(crate) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }
}
