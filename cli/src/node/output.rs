//! Lines to standard output, written on a thread of their own: whoever reads them slowly must hold
//! up whoever writes them, not the node.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

/// Bytes that may wait before writers wait. One more line fits at any time.
const WAITING: usize = 256 << 10;

#[derive(Debug, Default)]
struct State {
    waiting: String,
    /// No more lines will come.
    finishing: bool,
    /// The thread has ended, with this.
    ended: Option<Result<(), io::ErrorKind>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
    /// Told when lines were taken out, and when the thread ends.
    change: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where lines go. Clones write to the same place; lines never mix.
#[derive(Clone, Debug)]
pub(super) struct Output(Arc<Shared>);

impl Output {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let writer = shared.clone();
        thread::spawn(move || {
            let result = write_out(&writer).map_err(|error| error.kind());
            writer.lock().ended = Some(result);
            writer.change.notify_waiters();
        });
        Self(shared)
    }

    /// Adds a line, which must carry its end; waits while too much is waiting already.
    pub(super) async fn write(&self, line: &str) {
        loop {
            let change = self.0.change.notified();
            {
                let mut state = self.0.lock();
                if state.ended.is_some() {
                    return;
                }
                if state.waiting.len() < WAITING {
                    state.waiting.push_str(line);
                    return self.0.news.notify_one();
                }
            }
            change.await;
        }
    }

    /// Waits until the thread has ended: after [`Output::finish`], or because nobody reads any more.
    pub(super) async fn ended(&self) -> io::Result<()> {
        loop {
            let change = self.0.change.notified();
            if let Some(result) = self.0.lock().ended {
                return result.map_err(io::Error::from);
            }
            change.await;
        }
    }

    /// Waits until everything is written; nothing more may be added.
    pub(super) async fn finish(&self) -> io::Result<()> {
        self.0.lock().finishing = true;
        self.0.news.notify_one();
        self.ended().await
    }
}

fn write_out(shared: &Shared) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut lines = String::new();
    loop {
        {
            let mut state = shared.lock();
            while state.waiting.is_empty() && !state.finishing {
                state = shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.waiting.is_empty() {
                return Ok(());
            }
            std::mem::swap(&mut state.waiting, &mut lines);
        }
        shared.change.notify_waiters();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()?;
        lines.clear();
    }
}
