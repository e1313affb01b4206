//! How often something may happen.

use std::time::Duration;

/// So many within so long: that many at once, and then as time brings new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) amount: u64,
    pub(crate) within: Duration,
}

impl Rate {
    pub(crate) fn per_minute(amount: u64) -> Self {
        Self { amount, within: Duration::from_secs(60) }
    }

    /// How long it takes until `count` may happen again.
    fn time_for(&self, count: u64) -> Duration {
        let amount = self.amount.max(1);
        let within = u64::try_from(self.within.as_nanos()).unwrap_or(u64::MAX);
        // Nearly always it fits: relays ask this for every message.
        let nanos = within.checked_mul(count).map_or_else(
            || u64::try_from(u128::from(within) * u128::from(count) / u128::from(amount)).unwrap_or(u64::MAX),
            |all| all / amount,
        );
        Duration::from_nanos(nanos)
    }
}

/// A token bucket, full at first. It keeps one time instead of a level: when it will be full again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes one if there is one.
    pub(crate) fn try_take(&mut self, now: Duration, rate: Rate) -> bool {
        let full_at = self.full_at.max(now).saturating_add(rate.time_for(1));
        let allowed = full_at.saturating_sub(now) <= rate.within;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }

    /// Whether there is one.
    pub(crate) fn has_one(&self, now: Duration, rate: Rate) -> bool {
        self.free_at(rate) <= now
    }

    /// Takes `count`, whether they are there or not. Returns how long it takes until what was
    /// borrowed is made good.
    pub(crate) fn take(&mut self, now: Duration, count: u64, rate: Rate) -> Duration {
        self.full_at = self.full_at.max(now).saturating_add(rate.time_for(count));
        self.full_at.saturating_sub(now).saturating_sub(rate.within)
    }

    /// When there will be one again.
    pub(crate) fn free_at(&self, rate: Rate) -> Duration {
        (self.full_at + rate.time_for(1)).saturating_sub(rate.within)
    }

    /// When it will be full, or was.
    pub(crate) fn full_at(&self) -> Duration {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_as_time_brings_them() {
        let (mut bucket, rate) = (Bucket::default(), Rate { amount: 4, within: Duration::from_secs(1) });
        let at = Duration::from_millis;
        let now = at(10_000);
        assert_eq!((0..10).filter(|_| bucket.try_take(now, rate)).count(), 4);
        assert_eq!(bucket.free_at(rate), now + at(250));
        assert!(!bucket.try_take(now + at(249), rate));
        assert!(bucket.try_take(now + at(250), rate));
        assert!(!bucket.try_take(now + at(250), rate));
        assert_eq!(bucket.full_at(), now + at(1250));
        // Idle time fills it once, and no further.
        assert_eq!((0..10).filter(|_| bucket.try_take(now + at(60_000), rate)).count(), 4);
    }

    #[test]
    fn what_is_borrowed_is_waited_for() {
        let (mut bucket, rate) = (Bucket::default(), Rate { amount: 1000, within: Duration::from_secs(1) });
        let now = Duration::from_secs(5);
        assert_eq!(bucket.take(now, 1000, rate), Duration::ZERO);
        assert_eq!(bucket.take(now, 500, rate), Duration::from_millis(500));
        assert_eq!(bucket.take(now + Duration::from_millis(500), 0, rate), Duration::ZERO);
        assert_eq!(bucket.take(now, u64::MAX, rate).as_secs(), bucket.full_at().as_secs() - 6);
    }
}
