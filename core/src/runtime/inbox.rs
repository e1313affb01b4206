//! What waits for the program to read it: bounded, and honest about what did not fit.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::identity::NodeId;
use crate::mesh::{Request, Search};
use crate::protocol::{Address, CloseReason, Received};

/// From this many on, a reader that shares its thread with the program lets it read: so many are
/// still close to the processor, and batches are no cheaper when they are larger.
const PLENTY: usize = 192;

/// One thing for the program to read.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Received),
    Request(Box<Request>),
    Search(Search),
    Connected { peer: NodeId, address: Option<Address> },
    Disconnected { peer: NodeId, reason: CloseReason },
    SlowPeer { peer: NodeId },
    Redial { address: Address, problem: String, pause: Duration },
    StoreReplaced { path: PathBuf, problem: String },
    RecordsDamaged { count: u64, problem: String },
    StoreFailed { problem: String },
    Superseded { key: Bytes, value: Option<Bytes>, by: NodeId },
    Lagged(u64),
}

impl Item {
    /// Bytes it keeps in memory, roughly.
    fn weight(&self) -> usize {
        match self {
            Self::Message(received) => received.message.body().len(),
            Self::Superseded { key, value, .. } => 64 + key.len() + value.as_ref().map_or(0, Bytes::len),
            Self::Request(request) => request.weight(),
            Self::Search(search) => search.weight(),
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
    /// Who is told when something has come ([`Inbox::poll_ready`]).
    waiting: Option<Waker>,
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
    plenty: AtomicBool,
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
            plenty: AtomicBool::new(false),
            lagged: AtomicU64::new(0),
            messages,
            bytes,
        }
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it for items.
    pub(crate) fn intake(&self) -> Intake<'_> {
        Intake { inbox: self, state: self.arriving() }
    }

    /// Takes in items in order.
    pub(crate) fn push(&self, items: impl Iterator<Item = Item>) {
        let mut intake = self.intake();
        items.for_each(|item| intake.push(item));
    }

    /// Takes in a request or a search if there is room, and else gives it back. Links do not wait for a program
    /// to take such.
    pub(crate) fn offer(&self, item: Item) -> Option<Item> {
        let mut intake = self.intake();
        if intake.state.items.len() >= self.messages || intake.state.bytes >= self.bytes {
            return Some(item);
        }
        intake.push(item);
        None
    }

    /// Whether so much waits that the program should get its turn first.
    pub(crate) fn has_plenty(&self) -> bool {
        self.plenty.load(Ordering::Acquire)
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
        self.leaving().pop_front()
    }

    /// Hands up to `most` items to `take`, in order, as long as it wants them. Returns how many.
    pub(crate) fn try_take(
        &self,
        most: usize,
        wanted: impl Fn(&Item) -> bool,
        mut take: impl FnMut(Item),
    ) -> usize {
        let mut leaving = self.leaving();
        let mut taken = 0;
        while taken < most && leaving.front().is_some_and(&wanted) {
            leaving.pop_front().map(&mut take);
            taken += 1;
        }
        taken
    }

    /// The half that the reader empties; filled from the other if it is empty.
    fn leaving(&self) -> MutexGuard<'_, VecDeque<Item>> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if !leaving.is_empty() {
            return leaving;
        }
        let mut state = self.arriving();
        if state.items.is_empty() {
            let missed = std::mem::take(&mut state.lagged);
            leaving.extend((missed > 0).then_some(Item::Lagged(missed)));
            return leaving;
        }
        std::mem::swap(&mut *leaving, &mut state.items);
        state.bytes = 0;
        state.overrun = false;
        self.plenty.store(false, Ordering::Release);
        if self.full.swap(false, Ordering::AcqRel) {
            self.room.notify_waiters();
        }
        drop(state);
        leaving
    }

    /// The next item; `None` when the node is closed and all is read. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&self) -> Option<Item> {
        loop {
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if self.is_closed() {
                // What came before the end was taken in before the flag was set.
                return self.try_next();
            }
            self.news.notified().await;
        }
    }

    /// Whether there is anything to read, were it only the end. If not, whoever asked last is woken once
    /// there is.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.arriving();
        if !leaving.is_empty() || !state.items.is_empty() || state.lagged > 0 || state.closed {
            return Poll::Ready(());
        }
        match &mut state.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether no more will come. What came before may still be there.
    pub(crate) fn is_closed(&self) -> bool {
        self.arriving().closed
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.arriving();
            state.closed = true;
            state.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
        self.room.notify_waiters();
        self.news.notify_waiters();
        self.news.notify_one();
    }

    /// Items dropped since the beginning.
    pub(crate) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }
}

/// An inbox that takes items in. Tells the program when it is dropped.
pub(crate) struct Intake<'a> {
    inbox: &'a Inbox,
    state: MutexGuard<'a, Arriving>,
}

impl Intake<'_> {
    /// Takes in an item. One that does not fit, and may not wait any more, is counted.
    pub(crate) fn push(&mut self, item: Item) {
        let (inbox, state) = (self.inbox, &mut *self.state);
        if state.items.len() >= inbox.messages || state.bytes >= inbox.bytes {
            inbox.full.store(true, Ordering::Release);
            if state.overrun {
                state.lagged += 1;
                inbox.lagged.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if state.lagged > 0 {
            let missed = std::mem::take(&mut state.lagged);
            state.items.push_back(Item::Lagged(missed));
        }
        state.bytes += item.weight();
        state.items.push_back(item);
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        if self.state.items.len() >= PLENTY {
            self.inbox.plenty.store(true, Ordering::Release);
        }
        if let Some(waker) = self.state.waiting.take() {
            waker.wake();
        }
        self.inbox.news.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::protocol::{Authorship, Kind, LinkId};
    use crate::wire::{Form, Message};

    fn message(number: u64) -> Item {
        let message = Message::pack(0, "a", Form::Str, 0, 0, &(number,)).unwrap();
        let sender = NodeId::parse("a").unwrap();
        Item::Message(Received {
            kind: Kind::Broadcast,
            code: 0,
            sender,
            link: LinkId(1),
            message,
            authorship: Authorship::Claimed,
        })
    }

    fn numbers(inbox: &Inbox) -> Vec<String> {
        let show = |item| match item {
            Item::Message(received) => {
                format!("{:?}", received.message.values(&crate::wire::Limits::default()).unwrap()[1])
            }
            Item::Lagged(count) => format!("lagged {count}"),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| inbox.try_next()).map(show).collect()
    }

    /// Whatever else is added: items and outputs are moved often, and larger ones by calls instead of a few
    /// instructions, which a stream of small messages notices.
    #[test]
    fn what_is_moved_for_every_message_is_small() {
        assert!(size_of::<Item>() <= 128, "{}", size_of::<Item>());
        assert!(size_of::<crate::protocol::Output>() <= 128, "{}", size_of::<crate::protocol::Output>());
        assert!(size_of::<crate::protocol::Input>() <= 128, "{}", size_of::<crate::protocol::Input>());
    }

    /// L-36, L-37, L-38: at either bound the links wait; then what does not fit is counted, and told
    /// in its place.
    #[tokio::test(start_paused = true)]
    async fn a_program_that_does_not_read_is_waited_for_and_then_told() {
        let size = match message(0) {
            Item::Message(received) => received.message.body().len(),
            _ => 0,
        };
        for inbox in [Inbox::new(2, 1 << 20), Inbox::new(1 << 20, 2 * size)] {
            inbox.push([message(0), message(1)].into_iter());
            assert!(!inbox.is_full());
            // What is under way while the links are told to wait is still taken.
            inbox.push([message(2)].into_iter());
            assert!(inbox.is_full());
            let before = tokio::time::Instant::now();
            inbox.wait_for_room(Duration::from_millis(250)).await;
            assert!(before.elapsed() >= Duration::from_millis(250));
            inbox.push([message(3), message(4)].into_iter());
            assert_eq!(inbox.lagged(), 2);
            assert_eq!(numbers(&inbox), ["Int(0)", "Int(1)", "Int(2)", "lagged 2"]);
            assert!(!inbox.is_full());
            inbox.push([message(5)].into_iter());
            assert_eq!(numbers(&inbox), ["Int(5)"]);
        }
    }

    /// L-38
    #[tokio::test(start_paused = true)]
    async fn a_program_that_reads_in_time_misses_nothing() {
        let inbox = Inbox::new(2, 1 << 20);
        inbox.push((0..3).map(message));
        let before = tokio::time::Instant::now();
        let (_, read) =
            tokio::join!(inbox.wait_for_room(Duration::from_millis(250)), async { numbers(&inbox) });
        assert!(before.elapsed() < Duration::from_millis(250));
        inbox.push([message(3)].into_iter());
        assert_eq!((read.len(), numbers(&inbox).len(), inbox.lagged()), (3, 1, 0));
    }
}
