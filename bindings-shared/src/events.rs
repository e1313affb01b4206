//! The one queue of a node: everything that a program is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use peernet::protocol::Change;
use peernet::{Changes, Mesh};

use crate::error::Error;
use crate::node::Network;
use crate::signal::Signal;
use crate::wait::Wait;

/// What a program is told.
#[derive(Debug)]
pub enum Event {
    /// Everything but a table's changes.
    Node(peernet::Event),
    /// A key of the table got another value, or lost it. The values are packed.
    Change(Change),
    /// So many changes of the table were dropped because the program read too slowly: whoever keeps a copy of
    /// the table reads it anew.
    ChangesLagged(u64),
}

impl From<peernet::Event> for Event {
    fn from(event: peernet::Event) -> Self {
        Self::Node(event)
    }
}

/// A node's one queue. It holds nothing itself: what waits is in the node's own queues, with their bounds, and
/// a slow program is told what it missed there.
///
/// Any number of threads may take events out; each goes to one of them.
#[derive(Debug)]
pub struct Events {
    network: Arc<Network>,
    signal: Arc<Signal>,
    /// Wakes `signal`.
    waker: Waker,
    /// The table's changes, once the program has asked for them.
    changes: Mutex<Option<Changes>>,
    watches: AtomicBool,
    /// Whose turn it is to come first: neither changes nor messages keep the other waiting.
    changes_first: AtomicBool,
}

impl Events {
    pub(crate) fn new(network: Arc<Network>) -> Self {
        let signal = Arc::<Signal>::default();
        Self {
            network,
            waker: Waker::from(signal.clone()),
            signal,
            changes: Mutex::default(),
            watches: AtomicBool::new(false),
            changes_first: AtomicBool::new(false),
        }
    }

    fn mesh(&self) -> &Mesh {
        self.network.mesh()
    }

    fn changes(&self) -> MutexGuard<'_, Option<Changes>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests of others are among the events from now on. Until then they are refused, as nobody would
    /// answer them.
    pub fn take_requests(&self) {
        self.mesh().take_requests();
    }

    /// Searches of others are among the events from now on.
    pub fn take_searches(&self) {
        self.mesh().take_searches();
    }

    /// The table's changes are among the events from now on.
    ///
    /// # Errors
    /// [`peernet::ErrorCode::NoTable`].
    pub fn watch(&self) -> Result<(), Error> {
        let table = self.network.table()?;
        self.changes().get_or_insert_with(|| table.watch());
        self.watches.store(true, Ordering::Release);
        // Whoever waits already does not wait for changes yet.
        self.signal.wake_by_ref();
        Ok(())
    }

    /// Puts the events that wait, `most` at most, at the end of `events`, without waiting for any. Returns
    /// how many. Nothing is copied, and nothing is allocated but room in `events`.
    ///
    /// # Errors
    /// [`peernet::ErrorCode::Closed`] when the node is closed and all is read.
    pub fn try_drain(&self, most: usize, events: &mut Vec<Event>) -> Result<usize, Error> {
        if !self.watches.load(Ordering::Acquire) {
            return Ok(self.mesh().try_events(events, most)?);
        }
        let changes_first = self.changes_first.fetch_not(Ordering::Relaxed);
        let share = most.div_ceil(2);
        let mut taken = if changes_first { self.drain_changes(share, events) } else { 0 };
        let others = if changes_first { most - taken } else { share };
        let others = self.mesh().try_events(events, others);
        taken += others.as_ref().copied().unwrap_or(0);
        taken += self.drain_changes(most - taken, events);
        match others {
            Err(error) if taken == 0 && most > 0 => Err(error.into()),
            _ => Ok(taken),
        }
    }

    fn drain_changes(&self, most: usize, events: &mut Vec<Event>) -> usize {
        let mut changes = self.changes();
        let Some(changes) = changes.as_mut() else { return 0 };
        let cx = Context::from_waker(&self.waker);
        for taken in 0..most {
            match changes.poll_packed(&cx) {
                Poll::Ready(Some(Ok(change))) => events.push(Event::Change(change)),
                Poll::Ready(Some(Err(peernet::Error::Lagged { count }))) => {
                    events.push(Event::ChangesLagged(count));
                }
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return taken,
            }
        }
        most
    }

    /// As [`Events::try_drain`], but waits for at least one event.
    ///
    /// # Errors
    /// [`peernet::ErrorCode::TimedOut`] if none came in time, [`peernet::ErrorCode::Closed`] when the node is
    /// closed, by whichever thread, and all is read.
    pub fn drain(&self, most: usize, wait: Wait, events: &mut Vec<Event>) -> Result<usize, Error> {
        let mut deadline = None;
        loop {
            let round = self.signal.round();
            match self.try_drain(most, events)? {
                0 if most > 0 => {}
                taken => return Ok(taken),
            }
            if wait == Wait::Never {
                return Err(Error::timed_out());
            }
            // Asked for only by those who have to wait.
            let deadline = *deadline.get_or_insert_with(|| wait.deadline());
            if !self.is_ready() && !self.signal.wait(round, deadline) {
                return Err(Error::timed_out());
            }
        }
    }

    /// Wakes `waker` once: when there is something to read or the node is closed, which may be at once. To be
    /// called anew after a drain that left nothing. There is one place: a new waker takes that of the old.
    pub fn arm(&self, waker: Waker) {
        self.signal.arm(waker);
        if self.is_ready() {
            self.signal.wake_by_ref();
        }
    }

    /// Whether there is something to read, were it only the end. If not, the signal is given once there is.
    pub fn is_ready(&self) -> bool {
        let cx = Context::from_waker(&self.waker);
        let watches = self.watches.load(Ordering::Acquire);
        // Both, so that both give the signal.
        let messages = self.mesh().poll_ready(&cx).is_ready();
        let changes = || self.changes().as_ref().is_some_and(|changes| changes.poll_ready(&cx).is_ready());
        // The end of the changes is not news: there is that of the messages.
        (watches && changes() && !self.mesh().is_closed()) || messages
    }
}
