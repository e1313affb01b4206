//! How fast one peer may send.

use std::time::Duration;

use crate::bucket::{Bucket, Rate};
use crate::config::Config;

/// The share of one link's reader: what goes beyond it waits in the peer's own queues, because TCP
/// holds it up.
pub(super) struct Pace {
    messages: Meter,
    bytes: Meter,
}

struct Meter {
    rate: Option<Rate>,
    bucket: Bucket,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        let meter = |amount: Option<u64>| {
            let rate = amount.map(|amount| Rate { amount, within: Duration::from_secs(1) });
            Meter { rate, bucket: Bucket::default() }
        };
        Self { messages: meter(config.messages_per_second), bytes: meter(config.bytes_per_second) }
    }

    /// So much was read. Returns how long to wait before more is.
    pub(super) fn read(&mut self, now: Duration, messages: u64, bytes: u64) -> Duration {
        self.messages.read(now, messages).max(self.bytes.read(now, bytes))
    }
}

impl Meter {
    fn read(&mut self, now: Duration, count: u64) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| self.bucket.take(now, count, rate))
    }
}
