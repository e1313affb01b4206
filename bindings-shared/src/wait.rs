//! How long a call may wait.

use std::time::{Duration, Instant};

/// How long a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: what cannot be done at once is an error.
    Never,
    /// So long.
    AtMost(Duration),
    /// As long as it takes.
    Forever,
}

impl Wait {
    /// As milliseconds tell it: negative for ever, 0 not at all.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        match u64::try_from(millis) {
            Err(_) => Self::Forever,
            Ok(0) => Self::Never,
            Ok(millis) => Self::AtMost(Duration::from_millis(millis)),
        }
    }

    /// When it ends, if it does.
    pub(crate) fn deadline(self) -> Option<Instant> {
        let now = Instant::now();
        match self {
            Self::Never => Some(now),
            // One that no clock reaches never comes.
            Self::AtMost(time) => now.checked_add(time),
            Self::Forever => None,
        }
    }
}
