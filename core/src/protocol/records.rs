//! What a node keeps for when it starts again: records under names whose first byte says whose they
//! are.

#[cfg(feature = "net")]
pub(crate) use super::admission::ban_record as ban;
use super::node::Node;
use super::outbox::Now;

/// A record that is none of those that [`Output::Keep`](super::Output::Keep) gave, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a kept record does not read: {0}")]
pub struct RecordError(pub &'static str);

/// The first byte of the names of a table's records.
pub(super) const TABLE: u8 = b't';
/// The first byte of the names of what the peer book knows; behind it stands the address.
pub(super) const BOOK: u8 = b'b';
/// The first byte of the names of bans; behind it stands who is banned.
pub(super) const BANS: u8 = b'x';
/// The first byte of the names of marks: how far authors, and the node itself, have stamped.
pub(super) const AUTHORS: u8 = b'a';

/// Whether a record of this name is the peer book's.
#[cfg(feature = "net")]
pub(crate) fn is_of_book(key: &[u8]) -> bool {
    key.first() == Some(&BOOK)
}

impl Node {
    /// Takes back a record that an earlier run of this node kept. Call it for all of them, in order of
    /// their names, before any other input.
    ///
    /// # Errors
    /// [`RecordError`] if the record does not read; then it is as if it had not been given.
    pub fn restore(&mut self, now: Now, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        match key.split_first() {
            Some((&TABLE, key)) => self.restore_entry(now, key, value),
            Some((&AUTHORS, name)) => self.restore_mark(now, name, value),
            Some((&BOOK, address)) => self.restore_known(now, address, value),
            Some((&BANS, peer)) => self.restore_ban(peer, value),
            Some(_) => Err(RecordError("nobody knows its name")),
            None => Err(RecordError("its name is empty")),
        }
    }
}
