//! What waits for the program to read of a table's changes: bounded, and apart from messages, so that
//! a program that never reads holds up no link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::protocol::Change;

/// Bytes that a change takes beside its key and values, roughly.
const OVERHEAD: usize = 128;

/// One thing for a watcher to read.
#[derive(Debug)]
pub(crate) enum Seen {
    Change(Change),
    /// So many changes did not fit.
    Lagged(u64),
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Changes that did not fit behind those that wait.
    lagged: u64,
    waiting: Option<Waker>,
    closed: bool,
}

impl State {
    fn wake_later(&mut self, cx: &Context<'_>) {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// The queue between a table and one that watches it.
#[derive(Debug)]
pub(crate) struct Watcher {
    state: Mutex<State>,
    most: usize,
    most_bytes: usize,
}

impl Watcher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, change: &Change) {
        let mut state = self.state();
        let full = state.changes.len() >= self.most || state.bytes >= self.most_bytes;
        // Once something is missing, what follows waits until the gap has been told.
        if full || state.lagged > 0 {
            state.lagged += 1;
            return;
        }
        state.bytes += weight(change);
        state.changes.push_back(change.clone());
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    /// The next thing to read; `None` when the table is closed and all is read.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Seen>> {
        let mut state = self.state();
        if let Some(change) = state.changes.pop_front() {
            state.bytes -= weight(&change);
            return Poll::Ready(Some(Seen::Change(change)));
        }
        if state.lagged > 0 {
            return Poll::Ready(Some(Seen::Lagged(std::mem::take(&mut state.lagged))));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.wake_later(cx);
        Poll::Pending
    }

    /// Whether there is anything to read, were it only the end.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.changes.is_empty() || state.lagged > 0 || state.closed {
            return Poll::Ready(());
        }
        state.wake_later(cx);
        Poll::Pending
    }
}

fn weight(change: &Change) -> usize {
    let len = |value: &Option<bytes::Bytes>| value.as_ref().map_or(0, bytes::Bytes::len);
    OVERHEAD + change.key.len() + len(&change.value) + len(&change.old)
}

/// Everyone who watches a table.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    all: Vec<Weak<Watcher>>,
    closed: bool,
}

impl Watchers {
    /// One more, for which up to `most` changes wait, of `most_bytes` bytes in all.
    pub(crate) fn add(&mut self, most: usize, most_bytes: usize) -> Arc<Watcher> {
        let state = Mutex::new(State { closed: self.closed, ..State::default() });
        let watcher = Arc::new(Watcher { state, most, most_bytes });
        self.all.retain(|other| other.strong_count() > 0);
        self.all.push(Arc::downgrade(&watcher));
        watcher
    }

    /// Tells all of a change.
    pub(crate) fn tell(&self, change: &Change) {
        for watcher in self.all.iter().filter_map(Weak::upgrade) {
            watcher.push(change);
        }
    }

    /// No more will come.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for watcher in self.all.drain(..).filter_map(|watcher| watcher.upgrade()) {
            watcher.close();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identity::NodeId;

    fn change(number: i64, bytes: usize) -> Change {
        let value = Some(Bytes::from(vec![0; bytes]));
        let owner = NodeId::parse("a").unwrap();
        Change { key: Bytes::from_static(b"k"), value, old: None, owner, time: number }
    }

    fn read(watcher: &Watcher) -> Vec<i64> {
        let cx = Context::from_waker(Waker::noop());
        let next = || match watcher.poll(&cx) {
            Poll::Ready(Some(Seen::Change(change))) => Some(change.time),
            Poll::Ready(Some(Seen::Lagged(count))) => Some(-i64::try_from(count).unwrap()),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// S-26, L-83, L-84
    #[test]
    fn whoever_watches_too_slowly_is_told_in_its_place() {
        let mut watchers = Watchers::default();
        let few = watchers.add(2, 1 << 20);
        let small = watchers.add(100, 2 * (OVERHEAD + 1 + 1000));
        let ample = watchers.add(100, 1 << 20);
        for number in 1..=4 {
            watchers.tell(&change(number, 1000));
        }
        for watcher in [&few, &small] {
            assert_eq!(read(watcher), [1, 2, -2]);
        }
        assert_eq!(read(&ample), [1, 2, 3, 4]);
        watchers.tell(&change(5, 0));
        for watcher in [&few, &small, &ample] {
            assert_eq!(read(watcher), [5]);
        }
    }

    #[test]
    fn what_came_before_the_end_is_still_read() {
        let mut watchers = Watchers::default();
        let watcher = watchers.add(2, 1 << 20);
        watchers.tell(&change(1, 0));
        watchers.close();
        assert_eq!(read(&watcher), [1]);
        let end = |watcher: &Watcher| watcher.poll(&Context::from_waker(Waker::noop()));
        assert!(matches!(end(&watcher), Poll::Ready(None)));
        assert!(matches!(end(&watchers.add(2, 1 << 20)), Poll::Ready(None)));
    }

    #[test]
    fn nobody_is_told_who_has_gone() {
        let mut watchers = Watchers::default();
        drop(watchers.add(2, 1 << 20));
        let stays = watchers.add(2, 1 << 20);
        assert_eq!(watchers.all.len(), 1);
        watchers.tell(&change(1, 0));
        assert_eq!(read(&stays), [1]);
    }
}
