//! What happens to a table, as a program reads it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::unpack;
use crate::error::Error;
use crate::identity::NodeId;
use crate::protocol;
use crate::runtime::{Seen, Watcher};
use crate::wire::Value;

/// A key got another value, or lost it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// Which key.
    pub key: Bytes,
    /// Its value now; `None` if it was deleted.
    pub value: Option<Value>,
    /// Its value before; `None` if it had none.
    pub old: Option<Value>,
    /// Who changed it.
    pub owner: NodeId,
    /// When, in seconds since 1970 UTC by the owner's clock.
    pub time: i64,
}

impl From<protocol::Change> for Change {
    fn from(change: protocol::Change) -> Self {
        let protocol::Change { key, value, old, owner, time } = change;
        let unpacked = |packed: Option<Bytes>| packed.map(|packed| unpack(&packed));
        Self { key, value: unpacked(value), old: unpacked(old), owner, time }
    }
}

/// The changes of a table from the moment at which this was made ([`SyncTable::watch`](super::SyncTable::watch)), this node's own among
/// them, in the order in which they came about here.
///
/// Read them with [`Changes::recv`], or as a stream, which ends when the node is closed.
pub struct Changes {
    pub(super) watcher: Arc<Watcher>,
}

impl Changes {
    /// The next change. [`Error::Lagged`] tells of changes that were dropped before it because they were
    /// read too slowly: whoever keeps a copy of the table reads it anew then. [`Error::Closed`] tells
    /// that no more will come. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Result<Change, Error> {
        match std::future::poll_fn(|cx| self.watcher.poll(cx)).await {
            Some(Seen::Change(change)) => Ok(change.into()),
            Some(Seen::Lagged(count)) => Err(Error::Lagged { count }),
            None => Err(Error::Closed),
        }
    }
}

impl Changes {
    /// Ready when there is something to read, or no more will come. Otherwise whoever asked last is woken when
    /// that is so. It takes nothing.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        self.watcher.poll_ready(cx)
    }

    /// As the stream, with the values as they are packed. Whoever asked last is woken.
    pub fn poll_packed(&mut self, cx: &Context<'_>) -> Poll<Option<Result<protocol::Change, Error>>> {
        self.watcher.poll(cx).map(|seen| match seen? {
            Seen::Change(change) => Some(Ok(change)),
            Seen::Lagged(count) => Some(Err(Error::Lagged { count })),
        })
    }
}

impl Stream for Changes {
    type Item = Result<Change, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.watcher.poll(cx).map(|seen| match seen? {
            Seen::Change(change) => Some(Ok(change.into())),
            Seen::Lagged(count) => Some(Err(Error::Lagged { count })),
        })
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
