//! Seeds for simulations: few in the quick set, many in the long one (`PEERNET_LONG=1`).

#![allow(dead_code, clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// Whether the long set was asked for.
pub(crate) fn long() -> bool {
    std::env::var("PEERNET_LONG").is_ok_and(|value| !value.is_empty() && value != "0")
}

/// Runs a simulation for the seeds from 0 (`PEERNET_SEED` names a single one), and says which failed.
pub(crate) fn for_seeds(quick: u64, many: u64, simulate: impl Fn(u64)) {
    let one = std::env::var("PEERNET_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..if long() { many } else { quick },
    };
    for seed in seeds {
        if let Err(failed) = catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            eprintln!("failed with seed {seed}: PEERNET_SEED={seed} runs it alone");
            resume_unwind(failed);
        }
    }
}

/// Milliseconds.
pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seconds.
pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
