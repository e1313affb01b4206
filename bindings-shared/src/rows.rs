//! What a search finds, for programs that wait instead of awaiting.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use peernet::{ErrorCode, Row};

use crate::error::Error;
use crate::signal::Signal;
use crate::wait::Wait;

/// What a search finds, as it comes. Any number of threads may wait for it; each row goes to one of them.
#[derive(Debug)]
pub struct Rows {
    /// Until the program ends the search.
    found: Mutex<Option<peernet::Rows>>,
    signal: Arc<Signal>,
    /// Wakes `signal`.
    waker: Waker,
}

impl Rows {
    /// Those of a search.
    #[must_use]
    pub fn new(found: peernet::Rows) -> Self {
        let signal = Arc::<Signal>::default();
        Self { found: Mutex::new(Some(found)), waker: Waker::from(signal.clone()), signal }
    }

    fn found(&self) -> MutexGuard<'_, Option<peernet::Rows>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next row, if there is one already.
    ///
    /// # Errors
    /// [`ErrorCode::End`] when the search is over or its node is closed, and all is read;
    /// [`ErrorCode::Closed`] once it was ended.
    pub fn try_next(&self) -> Result<Option<Row>, Error> {
        let mut found = self.found();
        let rows = found.as_mut().ok_or(const { Error::told(ErrorCode::Closed, "the search was ended") })?;
        match pin!(rows.next()).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Ok(None),
            Poll::Ready(Some(row)) => Ok(Some(row)),
            Poll::Ready(None) => Err(Error::told(ErrorCode::End, "the search is over")),
        }
    }

    /// The next row, for which this waits.
    ///
    /// # Errors
    /// As of [`Rows::try_next`], by whichever thread it was ended; [`ErrorCode::TimedOut`] if nothing was found
    /// in time.
    pub fn next(&self, wait: Wait) -> Result<Row, Error> {
        let deadline = wait.deadline();
        loop {
            let round = self.signal.round();
            if let Some(row) = self.try_next()? {
                return Ok(row);
            }
            if wait == Wait::Never || !self.signal.wait(round, deadline) {
                return Err(Error::timed_out());
            }
        }
    }

    /// Ends the search, and releases whoever waits.
    pub fn end(&self) {
        let found = self.found().take();
        // It tells the node, for which nobody need wait.
        drop(found);
        self.signal.wake_by_ref();
    }
}
