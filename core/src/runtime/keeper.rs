//! Takes what the machine keeps to the store, on a thread of its own (`spec/11-state.md`, K-10 to K-15).
//!
//! Records wait in memory until the flush interval has passed or somebody wants to know that they are
//! kept; then all that wait go into the store as one batch and one flush, however many wait for it.

use std::any::Any;
use std::collections::{BTreeMap, btree_map};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::inbox::Item;
use super::node::Runtime;
use crate::config::Config;
use crate::store::{Kept, StoreError, Write};

/// After the store failed, it is tried again in this time.
const RETRY: Duration = Duration::from_secs(1);
/// What a waiting record takes in memory besides its key and value, roughly.
const RECORD: usize = 96;

/// Takes records to the store of one node.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    progress: watch::Receiver<Progress>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Something waits, or is wanted.
    news: Condvar,
    interval: Duration,
    bound: usize,
    full: AtomicBool,
    room: Notify,
    kept: AtomicU64,
    lost: AtomicU64,
}

/// What is not in the store yet.
#[derive(Default)]
struct Waiting {
    writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Of these writes, and of those that are being written.
    bytes: usize,
    /// The number of the last record that came.
    last: u64,
    /// The highest number of which somebody wants to know that it is kept.
    wanted: u64,
    /// When the oldest came.
    since: Option<Instant>,
    failing: bool,
    closing: bool,
}

/// How far the thread is.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// All records up to this number are on the disk.
    kept: u64,
    /// Up to this number they could not be written, when that was tried last.
    failed: u64,
    problem: String,
}

impl Progress {
    fn tried(&self) -> u64 {
        self.kept.max(self.failed)
    }
}

fn weight(key: &[u8], value: Option<&Bytes>) -> usize {
    RECORD + key.len() + value.map_or(0, Bytes::len)
}

impl Keeper {
    pub(super) fn start(kept: Kept, config: &Config, runtime: Weak<Runtime>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            news: Condvar::new(),
            interval: config.flush_interval,
            bound: config.keep_queue,
            full: AtomicBool::new(false),
            room: Notify::new(),
            kept: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (tell, progress) = watch::channel(Progress::default());
        let writer = Writer { shared: shared.clone(), kept, tell, runtime };
        let thread = thread::Builder::new().name("peernet-keeper".to_owned()).spawn(|| writer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), progress })
    }

    /// Opens it for records. What comes in through one of these is written in one batch.
    pub(super) fn intake(&self) -> Intake<'_> {
        Intake { shared: &self.shared, waiting: self.shared.waiting(), first: false }
    }

    /// Whether whoever causes records should wait for room.
    pub(super) fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// Waits until there is room for more records.
    pub(super) async fn wait_for_room(&self) {
        loop {
            let room = self.shared.room.notified();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    /// Has what waits written soon.
    pub(super) fn hurry(&self) {
        self.want();
    }

    fn want(&self) -> u64 {
        let mut waiting = self.shared.waiting();
        // Where it failed before, it is tried anew.
        waiting.last += u64::from(waiting.failing);
        waiting.wanted = waiting.last;
        self.shared.news.notify_one();
        waiting.last
    }

    /// Waits until all records that came before are on the disk.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let wanted = self.want();
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.tried() >= wanted).await;
        match reached {
            Ok(progress) if progress.kept >= wanted => Ok(()),
            Ok(progress) => Err(StoreError::Failed(progress.problem.clone())),
            Err(_) => Err(StoreError::Failed("the node is closed".to_owned())),
        }
    }

    /// Writes what waits and gives the store back. Blocks as long as that takes.
    pub(super) fn close(&self) {
        self.shared.waiting().closing = true;
        self.shared.news.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Panics of the store are caught inside.
            let _ = thread.join();
        }
    }

    /// Records that were written, and those that had to be dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.shared.kept.load(Ordering::Relaxed), self.shared.lost.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so much waits that it is written without waiting for the interval to pass.
    fn is_much(&self, waiting: &Waiting) -> bool {
        waiting.bytes >= self.bound / 2 && !waiting.failing
    }

    fn look_for_room(&self, waiting: &Waiting) {
        // A store that fails may do so for long, and must not stop the node.
        let full = waiting.bytes >= self.bound && !waiting.failing && !waiting.closing;
        if self.full.swap(full, Ordering::AcqRel) && !full {
            self.room.notify_waiters();
        }
    }
}

/// A keeper that takes records in. Tells its thread when it is dropped.
pub(super) struct Intake<'a> {
    shared: &'a Shared,
    waiting: MutexGuard<'a, Waiting>,
    /// Nothing waited before.
    first: bool,
}

impl Intake<'_> {
    /// Takes in a record. What is not in the store yet under the same name is not needed any more.
    pub(super) fn keep(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        let waiting = &mut *self.waiting;
        let added = weight(&key, value.as_ref());
        let crowded = waiting.failing && waiting.bytes >= self.shared.bound;
        if waiting.closing || crowded && !waiting.writes.contains_key(&key) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.last += 1;
        waiting.bytes += added;
        match waiting.writes.entry(key) {
            btree_map::Entry::Vacant(free) => {
                free.insert(value);
            }
            btree_map::Entry::Occupied(mut taken) => {
                let before = weight(taken.key(), taken.get().as_ref());
                taken.insert(value);
                waiting.bytes -= before;
            }
        }
        if waiting.since.is_none() {
            waiting.since = Some(Instant::now());
            self.first = true;
        }
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        self.shared.look_for_room(&self.waiting);
        // Else it is waiting for the interval to pass, and need not be woken.
        if self.first || self.shared.is_much(&self.waiting) {
            self.shared.news.notify_one();
        }
    }
}

/// The thread.
struct Writer {
    shared: Arc<Shared>,
    kept: Kept,
    tell: watch::Sender<Progress>,
    runtime: Weak<Runtime>,
}

/// What is written at once.
struct Batch {
    writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    bytes: usize,
    /// The number of the last record in it.
    last: u64,
}

impl Writer {
    fn run(self) {
        while let Some(batch) = self.next() {
            let writes = batch.writes.iter();
            let writes =
                writes.map(|(key, value)| Write { key: key.clone(), value: value.clone() }).collect();
            match guarded(|| self.kept.apply(writes).and_then(|()| self.kept.flush())) {
                Ok(()) => self.written(&batch),
                Err(error) if self.shared.waiting().closing => {
                    self.failed(batch, &error);
                    break;
                }
                Err(error) => self.failed(batch, &error),
            }
        }
    }

    /// Waits for what is to be written next; `None` when all is, and no more will come.
    fn next(&self) -> Option<Batch> {
        let mut waiting = self.shared.waiting();
        loop {
            let Some(since) = waiting.since else {
                if waiting.closing {
                    return None;
                }
                waiting = self.shared.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let pause = if waiting.failing { RETRY } else { self.shared.interval };
            let rest = pause.saturating_sub(since.elapsed());
            let wanted = waiting.wanted > self.tell.borrow().tried();
            if rest.is_zero() || wanted || self.shared.is_much(&waiting) || waiting.closing {
                waiting.since = None;
                let writes = std::mem::take(&mut waiting.writes);
                return Some(Batch { writes, bytes: waiting.bytes, last: waiting.last });
            }
            let woken = self.shared.news.wait_timeout(waiting, rest);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn written(&self, batch: &Batch) {
        self.shared.kept.fetch_add(batch.writes.len() as u64, Ordering::Relaxed);
        let mut waiting = self.shared.waiting();
        waiting.bytes -= batch.bytes;
        waiting.failing = false;
        self.shared.look_for_room(&waiting);
        drop(waiting);
        self.tell.send_modify(|progress| progress.kept = batch.last);
    }

    /// The records wait for the next time, unless later ones have taken their place.
    fn failed(&self, batch: Batch, error: &StoreError) {
        let mut waiting = self.shared.waiting();
        for (key, value) in batch.writes {
            match waiting.writes.entry(key) {
                btree_map::Entry::Vacant(free) => {
                    free.insert(value);
                }
                btree_map::Entry::Occupied(taken) => {
                    let before = weight(taken.key(), value.as_ref());
                    waiting.bytes -= before;
                }
            }
        }
        waiting.since = Some(Instant::now());
        let news = !std::mem::replace(&mut waiting.failing, true);
        self.shared.look_for_room(&waiting);
        let left = waiting.writes.len() as u64;
        let lost = if waiting.closing { left } else { 0 };
        drop(waiting);
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        let problem = error.to_string();
        if news && let Some(runtime) = self.runtime.upgrade() {
            runtime.inbox.push(std::iter::once(Item::StoreFailed { problem: problem.clone() }));
        }
        self.tell.send_modify(|progress| {
            progress.failed = batch.last;
            progress.problem = problem;
        });
    }
}

/// A store of the user's own may panic; that must not go unnoticed.
fn guarded(call: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let panicked = |_: Box<dyn Any + Send>| Err(StoreError::Failed("it panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(panicked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::identity::ProtocolId;
    use crate::store::{Kept, MemoryStore, Records, Store};

    /// A store that writes only when it is allowed to.
    #[derive(Default)]
    struct Slow {
        inner: MemoryStore,
        writing: Mutex<()>,
        largest: AtomicUsize,
    }

    impl Store for Slow {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
            self.inner.get(key)
        }

        fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
            let _allowed = self.writing.lock().unwrap();
            self.largest.fetch_max(writes.len(), Ordering::SeqCst);
            self.inner.apply(writes)
        }

        fn scan_prefix<'a>(&'a self, prefix: &[u8]) -> Records<'a> {
            self.inner.scan_prefix(prefix)
        }

        fn flush(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn keeper(store: &Arc<Slow>, config: Config) -> Keeper {
        let protocol = ProtocolId::derive("mesh", "Plaintext");
        let opened = Kept::open(None, Some(store.clone()), &protocol).unwrap().unwrap();
        Keeper::start(opened.kept, &config, Weak::new()).unwrap()
    }

    fn put(keeper: &Keeper, n: u32, size: usize) {
        let (key, value) = (n.to_be_bytes().to_vec(), Bytes::from(vec![7; size]));
        keeper.intake().keep(key, Some(value));
    }

    /// K-13, L-91
    #[tokio::test]
    async fn at_the_bound_the_links_wait() {
        let store = Arc::new(Slow::default());
        let config = Config { keep_queue: 10_000, ..Config::default() };
        let keeper = keeper(&store, config);
        let held_up = store.writing.lock().unwrap();
        for n in 0..9 {
            assert!(!keeper.is_full());
            put(&keeper, n, 1000);
        }
        // The same name once more takes no more room, wherever the others are by now.
        put(&keeper, 8, 1000);
        put(&keeper, 9, 1000);
        assert!(keeper.is_full());
        drop(held_up);
        keeper.wait_for_room().await;
        keeper.flush().await.unwrap();
        assert!(!keeper.is_full());
        assert_eq!(keeper.shared.waiting().bytes, 0);
        assert_eq!(store.scan_prefix(b"n").count(), 10, "nothing is dropped");
        assert_eq!(keeper.counts().1, 0);
        keeper.close();
    }

    /// K-11: what waits while something is written goes into the next batch together, the last of each name.
    #[tokio::test]
    async fn what_waits_is_one_batch() {
        let store = Arc::new(Slow::default());
        let keeper = keeper(&store, Config { flush_interval: Duration::ZERO, ..Config::default() });
        let held_up = store.writing.lock().unwrap();
        put(&keeper, 0, 1);
        while keeper.shared.waiting().since.is_some() {
            thread::yield_now();
        }
        for n in 1..=500 {
            put(&keeper, n, 1);
            put(&keeper, n, 2);
        }
        drop(held_up);
        keeper.flush().await.unwrap();
        assert_eq!((store.largest.load(Ordering::SeqCst), keeper.counts()), (500, (501, 0)));
        assert!(store.scan_prefix(b"n").skip(1).all(|record| record.unwrap().1.len() == 2));
        keeper.close();
    }

    /// K-10
    #[tokio::test]
    async fn what_waits_at_the_end_is_written() {
        let store = Arc::new(Slow::default());
        let keeper =
            keeper(&store, Config { flush_interval: Duration::from_secs(3600), ..Config::default() });
        put(&keeper, 1, 1);
        keeper.close();
        assert_eq!(store.scan_prefix(b"n").count(), 1);
        put(&keeper, 2, 1);
        assert_eq!(keeper.counts(), (1, 1), "after that nothing can be kept");
    }
}
