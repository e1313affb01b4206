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
    /// Milliseconds from 1970 to `start`, signed as the system's clock may say anything.
    wall_at_start: AtomicI64,
    /// When the two were last compared, in milliseconds since `start`.
    compared: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        let clock = Self {
            start,
            coarse_start: coarse().unwrap_or_default(),
            wall_at_start: AtomicI64::new(0),
            compared: AtomicU64::new(0),
        };
        clock.compare(Duration::ZERO);
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

    /// When a time of the machine comes.
    pub(super) fn at(&self, mono: Duration) -> Instant {
        self.start + mono
    }

    fn at_mono(&self, mono: Duration) -> Now {
        let millis = millis(mono);
        if millis >= self.compared.load(Ordering::Relaxed).saturating_add(COMPARE_EVERY) {
            self.compare(mono);
        }
        let wall = self.wall_at_start.load(Ordering::Relaxed).saturating_add_unsigned(millis);
        Now { mono, wall: wall.div_euclid(1000) }
    }

    fn compare(&self, mono: Duration) {
        let signed = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => signed(since),
            Err(before) => -signed(before.duration()),
        };
        self.wall_at_start.store(wall - signed(mono), Ordering::Relaxed);
        self.compared.store(millis(mono), Ordering::Relaxed);
    }
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
