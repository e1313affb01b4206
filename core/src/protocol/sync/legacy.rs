//! The table by the rules of 0.7.

use bytes::Bytes;

use super::{Entry, TableError};
use crate::identity::NodeId;
use crate::protocol::node::Node;
use crate::protocol::outbox::{LinkId, Now, Outbox};
use crate::protocol::records::RecordError;
use crate::wire::Message;

/// What a node of a 0.7 subnet holds.
#[derive(Debug)]
pub(super) struct Legacy {
    #[allow(dead_code)]
    leases: bool,
}

impl Legacy {
    pub(super) fn new(leases: bool) -> Self {
        Self { leases }
    }

    pub(super) fn get(&self, _key: &[u8]) -> Option<Entry<'_>> {
        None
    }

    pub(super) fn len(&self) -> usize {
        0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        std::iter::empty()
    }
}

impl Node {
    pub(super) fn legacy_set(
        &mut self,
        _now: Now,
        _stamp: i64,
        _key: Bytes,
        _value: Bytes,
        _out: &mut Outbox,
    ) -> Result<(), TableError> {
        Err(TableError::NoTable)
    }

    pub(super) fn legacy_delete(
        &mut self,
        _now: Now,
        _stamp: i64,
        _key: &[u8],
        _out: &mut Outbox,
    ) -> Result<(), TableError> {
        Err(TableError::NoTable)
    }

    pub(super) fn legacy_delta(
        &mut self,
        _now: Now,
        _stamp: i64,
        _key: &[u8],
        _delta: Bytes,
        _out: &mut Outbox,
    ) -> Result<(), TableError> {
        Err(TableError::NoTable)
    }

    pub(super) fn on_legacy_broadcast(
        &mut self,
        _now: Now,
        _from: LinkId,
        _code: u64,
        _author: NodeId,
        _message: Message,
        _out: &mut Outbox,
    ) {
        self.counters.unknown += 1;
    }

    pub(super) fn on_legacy_whisper(
        &mut self,
        _now: Now,
        _from: LinkId,
        _code: u64,
        _message: Message,
        _out: &mut Outbox,
    ) {
        self.counters.unknown += 1;
    }

    /// The peer on a link has become a neighbour, and has been told ours.
    pub(super) fn legacy_meets(&mut self, _now: Now, _link: LinkId, _out: &mut Outbox) {}

    /// Takes back a record of the table.
    pub(super) fn restore_legacy(
        &mut self,
        _now: Now,
        _key: &[u8],
        _value: &[u8],
    ) -> Result<(), RecordError> {
        Err(RecordError("0.7 subnets keep none"))
    }
}
