//! What a node keeps so that when it starts again it takes nothing old for new, and stamps nothing lower
//! than before (`spec/11-state.md`, K-21 to K-24).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::heard::Mark;
use super::node::{Node, Timer, Trust};
use super::outbox::{Now, Outbox};
use super::records::{AUTHORS, RecordError};
use crate::identity::NodeId;

/// After this time what was heard of an author is kept. An author that speaks all the time so costs a
/// record of about a hundred bytes every two seconds.
const KEEP_AFTER: Duration = Duration::from_secs(2);
/// Own stamps are reserved for this long ahead, in their unit, so that one record does for many stamps.
const AHEAD: i64 = 10 * Trust::MICROSECONDS;

/// The name of the record with the end of what is reserved; no node id.
const OWN: &[u8] = &[0];
/// The name of the record with the floor of authors that are forgotten; no node id.
const FORGOTTEN: &[u8] = &[1];
/// The version of these records: behind it a stamp.
const VERSION: u8 = 1;

/// Whether and up to where marks are kept.
#[derive(Debug)]
pub(super) struct Marks {
    on: bool,
    /// The timer for authors runs.
    armed: bool,
    /// An own stamp above this one wants more to be reserved.
    renew_above: i64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { on: false, armed: false, renew_above: i64::MAX }
    }
}

fn name(of: &[u8]) -> Vec<u8> {
    [&[AUTHORS], of].concat()
}

fn value(stamp: i64) -> Bytes {
    let mut value = BytesMut::new();
    value.put_u8(VERSION);
    value.put_i64(stamp);
    value.freeze()
}

impl Node {
    /// Keeps marks from now on, and reserves the first stamps; where ids are proven, for elsewhere stamps are
    /// of no help. For nodes whose records are kept.
    pub fn keep_marks(&mut self, now: Now, out: &mut Outbox) {
        if self.identity.trust == Trust::Claimed {
            return;
        }
        self.marks.on = true;
        self.memory.note_changes();
        self.use_stamp(self.last_stamp().max(now.wall.saturating_mul(Trust::MICROSECONDS)));
        self.reserve_stamps(out);
    }

    /// Reserves more stamps before those that are reserved are used up.
    pub(super) fn reserve_if_due(&mut self, out: &mut Outbox) {
        if self.last_stamp() > self.marks.renew_above {
            self.reserve_stamps(out);
        }
    }

    fn reserve_stamps(&mut self, out: &mut Outbox) {
        let end = self.last_stamp().saturating_add(AHEAD);
        self.marks.renew_above = end - AHEAD / 2;
        out.keep(name(OWN), Some(value(end)));
    }

    /// Something new was heard.
    pub(super) fn heard_something(&mut self, now: Now) {
        if self.marks.on && !self.marks.armed && self.memory.has_changes() {
            self.marks.armed = true;
            self.set_timer(now.mono + KEEP_AFTER, Timer::Marks);
        }
    }

    /// Keeps what was heard since the last time.
    pub(super) fn keep_heard(&mut self, out: &mut Outbox) {
        self.marks.armed = false;
        for mark in self.memory.take_changes() {
            match mark {
                Mark::Author { author, floor } => {
                    out.keep(name(author.as_str().as_bytes()), floor.map(value));
                }
                Mark::Forgotten { floor } => out.keep(name(FORGOTTEN), Some(value(floor))),
            }
        }
    }

    /// The last of this run: nothing that is reserved will be used any more.
    pub(super) fn keep_last_marks(&mut self, out: &mut Outbox) {
        if self.marks.on {
            self.keep_heard(out);
            self.marks.renew_above = i64::MAX;
            out.keep(name(OWN), Some(value(self.last_stamp())));
        }
    }

    /// A mark of an earlier run.
    pub(super) fn restore_mark(&mut self, now: Now, name: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let [VERSION, stamp @ ..] = value else { return Err(RecordError("a mark of another version")) };
        let stamp = stamp.try_into().map(i64::from_be_bytes);
        let stamp = stamp.map_err(|_| RecordError("a mark without a stamp"))?;
        let wall = now.wall.saturating_mul(Trust::MICROSECONDS);
        match name {
            OWN => self.use_stamp(stamp),
            FORGOTTEN => self.memory.restore_floor(stamp),
            author => {
                let author = NodeId::from_bytes(author).map_err(|_| RecordError("a mark of no node"))?;
                self.memory.restore(wall, author, stamp);
            }
        }
        Ok(())
    }
}
