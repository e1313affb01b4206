//! The two times that a state machine is given: one that never runs back, and the system's.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::Now;

/// How often the system's time is asked anew, in milliseconds: it may be set while the node runs.
const COMPARE_EVERY: u64 = 1000;

/// Both times from one reading of one clock.
pub(super) struct Clock {
    start: Instant,
    coarse_start: Duration,
    /// Microseconds from 1970 to `start`, signed as the system's clock may say anything.
    wall_at_start: AtomicI64,
    /// When the two were last compared, in milliseconds since `start`.
    compared: AtomicU64,
    /// The last stamp that was given.
    last_stamp: AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        let clock = Self {
            start,
            coarse_start: coarse().unwrap_or_default(),
            wall_at_start: AtomicI64::new(0),
            compared: AtomicU64::new(0),
            last_stamp: AtomicI64::new(i64::MIN),
        };
        clock.compare();
        clock
    }

    /// The present, to a few milliseconds: read for every message, where an exact reading would be
    /// one of the dearest steps.
    pub(super) fn now(&self) -> Now {
        match coarse() {
            Some(now) => self.at_mono(now.saturating_sub(self.coarse_start)),
            None => self.exact(),
        }
    }

    /// The present: for timers, which must not be early.
    pub(super) fn exact(&self) -> Now {
        self.at_mono(self.start.elapsed())
    }

    /// The present in microseconds since 1970, and never the same twice, nor less than before, also
    /// when the system's clock is set back. Exact, because of two writes to one key of a table the higher
    /// stamp stays, whichever node it is of.
    pub(super) fn stamp(&self) -> i64 {
        let mono = self.exact().mono;
        let clock = self.wall_at_start.load(Ordering::Relaxed).saturating_add(micros(mono));
        let next = |last: i64| clock.max(last.saturating_add(1));
        let last =
            self.last_stamp.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        last.map_or(clock, next)
    }

    /// Stamps are higher than this one from now on.
    pub(super) fn stamp_after(&self, stamp: i64) {
        self.last_stamp.fetch_max(stamp, Ordering::Relaxed);
    }

    /// When a time of the machine comes.
    pub(super) fn at(&self, mono: Duration) -> Instant {
        self.start + mono
    }

    fn at_mono(&self, mono: Duration) -> Now {
        if millis(mono) >= self.compared.load(Ordering::Relaxed).saturating_add(COMPARE_EVERY) {
            self.compare();
        }
        let wall = self.wall_at_start.load(Ordering::Relaxed).saturating_add(micros(mono));
        Now { mono, wall: wall.div_euclid(1_000_000) }
    }

    fn compare(&self) {
        let mono = self.start.elapsed();
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        };
        self.wall_at_start.store(wall - micros(mono), Ordering::Relaxed);
        self.compared.store(millis(mono), Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

/// The system's coarse clock, which is read in a quarter of the time.
#[cfg(target_os = "linux")]
fn coarse() -> Option<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    Some(Duration::new(seconds, nanos))
}

#[cfg(not(target_os = "linux"))]
fn coarse() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-40
    #[test]
    fn stamps_rise_whatever_is_done_to_the_clock() {
        let clock = Clock::new();
        let mut last = i64::MIN;
        for set_back in [0, 0, 3_600_000_000, 0, i64::MAX, 0, 0] {
            let wall = clock.wall_at_start.load(Ordering::Relaxed);
            clock.wall_at_start.store(wall.saturating_sub(set_back), Ordering::Relaxed);
            for _ in 0..1000 {
                let stamp = clock.stamp();
                assert!(stamp > last);
                last = stamp;
            }
        }
    }

    /// T-40
    #[test]
    fn threads_share_the_order_of_stamps() {
        let clock = Clock::new();
        let stamps = |_| (0..10_000).map(|_| clock.stamp()).collect::<Vec<i64>>();
        let all: Vec<Vec<i64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || stamps(n))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        assert!(all.iter().all(|stamps| stamps.is_sorted()));
        let distinct: std::collections::BTreeSet<&i64> = all.iter().flatten().collect();
        assert_eq!(distinct.len(), 40_000);
    }
}
