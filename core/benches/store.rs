//! What a kept write costs: `cargo bench --package libpeernet --bench store`.
//!
//! `floor` appends the same bytes to a file and syncs it; whatever is acknowledged only when it is on the disk
//! cannot cost less. Records are of 100 bytes under keys of 20, in a store of 100,000. Files are made in the
//! folder that `TMPDIR` names: name one on the disk that is meant.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use peernet::Store;
use peernet::store::{MemoryStore, SledStore, Write};

fn main() {
    growth();
    divan::main();
}

const STORED: u64 = 100_000;
const BATCHES: [u64; 4] = [1, 10, 100, 1000];

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peernet-bench-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Another record of those that are stored, in no order.
fn write(number: u64) -> Write {
    // Without a common divisor, so that each has its turn.
    let place = number * 61_803 % STORED;
    let value: Vec<u8> = (0..100).map(|at| (number as u8).wrapping_mul(at)).collect();
    Write::put(format!("key {place:016}"), value)
}

fn fill(store: &impl Store) {
    for start in (0..STORED).step_by(1000) {
        store.apply(&(start..start + 1000).map(write).collect::<Vec<_>>()).unwrap();
    }
    store.flush().unwrap();
}

fn filled<S: Store>(store: S) -> S {
    fill(&store);
    store
}

/// Appending and syncing the bytes of as many records.
#[divan::bench(args = BATCHES)]
fn floor(bencher: Bencher, batch: u64) {
    let folder = Folder::new("floor");
    let mut file = File::create(folder.0.join("log")).unwrap();
    let bytes = vec![7; 120 * batch as usize];
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    });
}

fn durable(bencher: Bencher, batch: u64, store: &impl Store) {
    let next = Cell::new(0);
    let writes = || {
        let first = next.replace(next.get() + batch);
        (first..first + batch).map(write).collect::<Vec<_>>()
    };
    bencher.counter(ItemsCount::new(batch)).with_inputs(writes).bench_local_values(|writes| {
        store.apply(&writes).unwrap();
        store.flush().unwrap();
    });
}

/// A batch and a flush: what as many `set`s cost together that wait for the disk at the same time.
#[divan::bench(args = BATCHES)]
fn sled(bencher: Bencher, batch: u64) {
    let folder = Folder::new("sled");
    durable(bencher, batch, &filled(SledStore::open(folder.0.join("store")).unwrap()));
}

#[divan::bench(args = BATCHES)]
fn memory(bencher: Bencher, batch: u64) {
    durable(bencher, batch, &filled(MemoryStore::default()));
}

/// What 100,000 records take, as they are new and when each has been written ten times.
fn growth() {
    let folder = Folder::new("growth");
    let path = folder.0.join("store");
    let mut store = Some(SledStore::open(&path).unwrap());
    for round in 0..10_u64 {
        let begun = Instant::now();
        fill(store.as_ref().unwrap());
        let wrote = begun.elapsed();
        let begun = Instant::now();
        drop(store.take());
        store = Some(SledStore::open(&path).unwrap());
        let found = store.as_ref().unwrap().scan_prefix(b"").count();
        let size = fs::metadata(path.join("db")).unwrap().len() >> 10;
        let read = begun.elapsed();
        eprintln!(
            "round {round}: {found} records written in {wrote:?}, {size} KiB, opened and read in {read:?}"
        );
    }
}
