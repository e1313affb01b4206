//! The threads that nodes run on.

use std::panic::resume_unwind;
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use peernet::ErrorCode;
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use crate::error::Error;
use crate::wait::Wait;

/// How long the end of the last node waits for the threads to end. What they may still do is write to a
/// store; then they are left to themselves.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The process that has the threads; 0 while there are none.
static OWNER: AtomicU32 = AtomicU32::new(0);
static STATE: Mutex<State> = Mutex::new(State { current: Weak::new(), count: 0 });

struct State {
    current: Weak<Runtime>,
    /// Those that have not ended yet: besides the current one, those that are ending.
    count: usize,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails in a process that was forked while nodes were open: it has none of the threads that these need, and
/// may have locks that nobody will open. Costs one system call while nodes are open, and nothing before.
///
/// # Errors
/// [`ErrorCode::Forked`].
pub fn check_process() -> Result<(), Error> {
    match OWNER.load(Ordering::Acquire) {
        0 => Ok(()),
        owner if owner == process::id() => Ok(()),
        _ => Err(Error::told(
            ErrorCode::Forked,
            "this process was forked from one with open nodes, whose threads it does not have; \
             open nodes after the fork, or start another program",
        )),
    }
}

/// The library's own tokio runtime: there is one while there are nodes. The first node starts it; the last
/// to go ends its threads, so that the library can be unloaded then.
#[derive(Debug)]
pub struct Runtime {
    /// Taken when it ends.
    tokio: Option<tokio::runtime::Runtime>,
    handle: Handle,
}

impl Runtime {
    /// The runtime, started if there is none.
    ///
    /// # Errors
    /// [`ErrorCode::Forked`]; [`ErrorCode::Internal`] if the system has no threads left.
    pub fn get() -> Result<Arc<Self>, Error> {
        // Before the lock, which nobody may open in a forked process.
        check_process()?;
        let mut state = state();
        if let Some(runtime) = state.current.upgrade() {
            return Ok(runtime);
        }
        let failed = |error| Error::new(ErrorCode::Internal, format!("cannot start threads: {error}"));
        let mut threads = Builder::new_multi_thread();
        threads.thread_name("peernet").enable_all().on_thread_start(ignore_broken_pipes);
        let tokio = threads.build().map_err(failed)?;
        let handle = tokio.handle().clone();
        let runtime = Arc::new(Self { tokio: Some(tokio), handle });
        state.current = Arc::downgrade(&runtime);
        state.count += 1;
        OWNER.store(process::id(), Ordering::Release);
        Ok(runtime)
    }

    /// Runs a future on the calling thread until it is done. One that is not done in time is dropped.
    ///
    /// # Errors
    /// [`ErrorCode::TimedOut`]; [`ErrorCode::Reentrant`] if it may wait on one of the runtime's own threads, which
    /// would wait for itself; those of the future.
    pub fn block_on<T: Send, E: Into<Error> + Send>(
        &self,
        wait: Wait,
        future: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, Error> {
        match Handle::try_current() {
            Ok(_) if wait != Wait::Never => {
                let problem = "called from where messages are read, which must not wait; use another thread";
                Err(Error::told(ErrorCode::Reentrant, problem))
            }
            // Of a program that ends: what it does last runs where tokio's own part of the thread is gone.
            Err(error) if error.is_thread_local_destroyed() => thread::scope(|scope| {
                let done = scope.spawn(|| self.run(wait, future)).join();
                done.unwrap_or_else(|panic| resume_unwind(panic))
            }),
            _ => self.run(wait, future),
        }
    }

    fn run<T, E: Into<Error>>(
        &self,
        wait: Wait,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        let limit = match wait {
            Wait::Never => return self.at_once(future),
            Wait::AtMost(limit) => limit,
            Wait::Forever => return self.handle.block_on(future).map_err(Into::into),
        };
        let done = self.handle.block_on(async { timeout(limit, future).await });
        done.map_err(|_| Error::timed_out())?.map_err(Into::into)
    }

    /// What a future does without waiting, on any thread.
    fn at_once<T, E: Into<Error>>(&self, future: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
        // One that only lets others go first waits for nothing.
        const POLLS: usize = 3;
        let _entered = self.handle.enter();
        let (mut future, mut cx) = (pin!(future), Context::from_waker(Waker::noop()));
        for _ in 0..POLLS {
            if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
                return done.map_err(Into::into);
            }
        }
        Err(Error::timed_out())
    }

    /// For tasks of the binding's own.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Writing to a pipe that nobody reads is an error on these threads, and not the end of the program, whatever
/// that has said about the signal.
fn ignore_broken_pipes() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let _ = SigSet::from(Signal::SIGPIPE).thread_block();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let tokio = self.tokio.take();
        if check_process().is_err() {
            // Its threads are in another process.
            return std::mem::forget(tokio);
        }
        if let Some(tokio) = tokio {
            match Handle::try_current() {
                // One of its own threads cannot wait for them.
                Ok(_) => tokio.shutdown_background(),
                Err(_) => tokio.shutdown_timeout(SHUTDOWN),
            }
        }
        let mut state = state();
        state.count -= 1;
        if state.count == 0 {
            // Nothing stays behind in a library that may be unloaded now.
            state.current = Weak::new();
            OWNER.store(0, Ordering::Release);
        }
    }
}
