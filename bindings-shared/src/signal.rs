//! How threads wait for what wakers tell of.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

/// Tells those who wait that there may be news.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<Round>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Round {
    /// Of how many signals were given.
    round: u64,
    armed: Option<Waker>,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, Round> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many signals were given, for [`Signal::wait`].
    pub(crate) fn round(&self) -> u64 {
        self.state().round
    }

    /// The next signal wakes this too, once, in place of what was to be woken before.
    pub(crate) fn arm(&self, waker: Waker) {
        self.state().armed = Some(waker);
    }

    /// Waits for a signal after the round `seen`. False if the deadline came first.
    pub(crate) fn wait(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        while state.round == seen {
            state = match deadline {
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let armed = {
            let mut state = self.state();
            state.round += 1;
            state.armed.take()
        };
        self.news.notify_all();
        armed.into_iter().for_each(Waker::wake);
    }
}
