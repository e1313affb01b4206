//! What tells fresh broadcasts from those that are known or old: their stamps where everyone may claim
//! any id, their authors where ids are proven.

use std::time::Duration;

use super::heard::{Heard, Mark};
use super::node::Trust;
use super::outbox::Now;
use super::seen::{Seen, Verdict};
use crate::config::Config;
use crate::identity::NodeId;
use crate::wire::DIGEST_LEN;

#[derive(Debug)]
pub(super) enum Memory {
    Stamps(Seen),
    Authors(Heard),
}

impl Memory {
    pub(super) fn new(trust: &Trust, config: &Config, secret: [u64; 2]) -> Self {
        let capacity = config.seen_capacity;
        match trust {
            Trust::Claimed => {
                Self::Stamps(Seen::new(config.fresh_seconds, config.fresh_floor, capacity, secret))
            }
            Trust::Proven { .. } => {
                let seconds = |seconds: u32| Duration::from_secs(seconds.into());
                let (span, least) = (seconds(config.fresh_seconds), seconds(config.fresh_floor));
                Self::Authors(Heard::new(span, least, capacity, config.max_authors, secret))
            }
        }
    }

    pub(super) fn are_known(&self, now: Now, claims: &[(i64, [u8; DIGEST_LEN])], known: &mut Vec<bool>) {
        match self {
            Self::Stamps(seen) => seen.are_known(now.wall, claims, known),
            Self::Authors(heard) => heard.are_known(claims, known),
        }
    }

    pub(super) fn is_full(&mut self, now: Now) -> bool {
        match self {
            Self::Stamps(seen) => seen.is_full(now.wall),
            Self::Authors(heard) => heard.is_full(now.mono),
        }
    }

    /// Notes from now on what of it is to be kept.
    pub(super) fn note_changes(&mut self) {
        if let Self::Authors(heard) = self {
            heard.note_changes();
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        matches!(self, Self::Authors(heard) if heard.has_changes())
    }

    /// What is to be kept since this was asked last.
    pub(super) fn take_changes(&mut self) -> Vec<Mark> {
        match self {
            Self::Stamps(_) => Vec::new(),
            Self::Authors(heard) => heard.take_changes(),
        }
    }

    /// What an earlier run has heard of an author.
    pub(super) fn restore(&mut self, wall: i64, author: NodeId, floor: i64) {
        if let Self::Authors(heard) = self {
            heard.restore(wall, author, floor);
        }
    }

    /// Up to where an earlier run has forgotten authors.
    pub(super) fn restore_floor(&mut self, floor: i64) {
        if let Self::Authors(heard) = self {
            heard.restore_floor(floor);
        }
    }

    pub(super) fn insert(
        &mut self,
        now: Now,
        author: &NodeId,
        stamp: i64,
        digest: &[u8; DIGEST_LEN],
    ) -> Verdict {
        match self {
            Self::Stamps(seen) => seen.insert(now.wall, stamp, digest),
            Self::Authors(heard) => {
                heard.insert(now.mono, now.wall.saturating_mul(Trust::MICROSECONDS), author, stamp, digest)
            }
        }
    }
}
