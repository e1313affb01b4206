//! A store whose process is killed while it writes, again and again: ten times in the quick set, two hundred
//! times in the long one (`PEERNET_LONG=1`).

#![cfg(all(feature = "net", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use peernet::Store;
use peernet::store::{SledStore, Write};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Tells the process that is to be killed where its store is, and which batch is next.
const FOLDER: &str = "PEERNET_KILL_FOLDER";
const NEXT: &str = "PEERNET_KILL_NEXT";
/// Keys are in slots, a slot is in one batch, and each batch changes another.
const SLOTS: u64 = 40;
const KEYS: u64 = 3;
/// Batches under way at the same time may be in one flush.
const LONGEST: Duration = Duration::from_millis(250);

fn key(slot: u64, key: u64) -> Vec<u8> {
    format!("slot {slot}, key {key}").into_bytes()
}

/// What a batch leaves under a key: nothing now and then, mostly little, sometimes much.
fn value(batch: u64, key: u64) -> Option<Bytes> {
    let size = match batch % 11 {
        0 => 20_000,
        1 => 4_097,
        other => 10 + other * 7,
    };
    let text = format!("batch {batch}, key {key};");
    (!batch.is_multiple_of(7)).then(|| text.bytes().cycle().take(usize::try_from(size).unwrap()).collect())
}

fn batch(number: u64) -> Vec<Write> {
    let slot = number % SLOTS;
    (0..KEYS).map(|n| Write { key: key(slot, n), value: value(number, n) }).collect()
}

/// The last batch of those up to `number` that changed a slot.
fn last_of(slot: u64, number: u64) -> Option<u64> {
    (0..=number).rev().take(SLOTS as usize).find(|batch| batch % SLOTS == slot)
}

/// Whether a store holds what the first `count` batches leave, and nothing else.
fn holds(store: &SledStore, count: u64) -> bool {
    let expected = |slot, n| last_of(slot, count.checked_sub(1)?).and_then(|batch| value(batch, n));
    (0..SLOTS).all(|slot| (0..KEYS).all(|n| store.get(&key(slot, n)).unwrap() == expected(slot, n)))
}

/// Not a test by itself: the process that is killed.
#[test]
fn the_one_that_is_killed() {
    let (Ok(folder), Ok(next)) = (std::env::var(FOLDER), std::env::var(NEXT)) else { return };
    let store = SledStore::open(folder).unwrap();
    let mut out = std::io::stdout().lock();
    for number in next.parse::<u64>().unwrap().. {
        store.apply(&batch(number)).unwrap();
        store.flush().unwrap();
        // As `set` does with `durable`: it says so, and not before.
        writeln!(out, "\nkept {number}").unwrap();
    }
}

/// Dropping it kills it, as nothing else does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has batches written from number `next` on until the process is killed. Returns how many were kept.
fn write_and_be_killed(folder: &Path, next: u64, after: Duration) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_one_that_is_killed", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(NEXT, next.to_string());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut child = Some(Killed(child));
    let mut kept = next;
    for line in lines {
        let Ok(line) = line else { break };
        if let Some(number) = line.strip_prefix("kept ").and_then(|number| number.parse::<u64>().ok()) {
            kept = number + 1;
            if let Some(child) = child.take() {
                // From the first on, while it goes on writing and we go on reading.
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    drop(child);
                });
            }
        }
    }
    kept
}

/// K-1, K-5
#[test]
fn nothing_that_was_flushed_is_lost() {
    let folder: PathBuf = std::env::temp_dir().join(format!("peernet-kill-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let long = std::env::var("PEERNET_LONG").is_ok_and(|value| !value.is_empty() && value != "0");
    let seed = rand::random();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut count = 0;
    for kill in 0..if long { 200 } else { 10 } {
        let after = LONGEST.mul_f64(rng.random_range(0.0..1.0));
        let kept = write_and_be_killed(&folder, count, after);
        assert!(kept > count, "seed {seed}, kill {kill}: it wrote nothing");
        let store = SledStore::open(&folder).unwrap();
        // One more may have been written and not have been told.
        let found = (kept..=kept + 1).find(|count| holds(&store, *count));
        count = found.unwrap_or_else(|| panic!("seed {seed}, kill {kill}: not what {kept} batches leave"));
    }
    println!("{count} batches");
    std::fs::remove_dir_all(folder).unwrap();
}
