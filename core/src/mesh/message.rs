//! A message as the program reads it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Mesh, SendReport};
use crate::error::Error;
use crate::identity::{MessageId, NodeId};
use crate::protocol::{Kind, Received};
use crate::runtime::Runtime;
use crate::wire::codes::{code, kind};
use crate::wire::{Limits, Payload, Value};

/// A message that arrived.
#[derive(Clone)]
pub struct Message {
    pub(super) received: Received,
    pub(super) runtime: Arc<Runtime>,
}

impl Message {
    /// Whether it was for everyone or for this node alone.
    pub fn kind(&self) -> Kind {
        self.received.kind
    }

    /// Its code: 0x00 or 0x02, or the user's own.
    pub fn code(&self) -> u64 {
        self.received.code
    }

    /// Its id: the same on every node.
    pub fn id(&self) -> MessageId {
        self.received.id()
    }

    /// The author.
    pub fn sender(&self) -> &NodeId {
        &self.received.sender
    }

    /// When it was sent, in seconds since 1970 UTC by the author's clock.
    pub fn time(&self) -> i64 {
        let stamps_per_second = self.runtime.identity.trust.stamps_per_second();
        self.received.message.header().time.div_euclid(stamps_per_second)
    }

    /// Whether it is proven that the author wrote it. In `tls` subnets always, but for broadcasts where
    /// signing was turned off; in all others never.
    pub fn verified(&self) -> bool {
        self.received.verified()
    }

    /// The payload, unpacked. Unpacks anew with every call.
    pub fn payload(&self) -> Vec<Value> {
        // The form was checked on arrival, so this cannot fail.
        let mut values = self.received.message.values(&Limits::default()).unwrap_or_default();
        if !values.is_empty() {
            values.remove(0);
        }
        values
    }

    /// The payload's only element, if there is just one and it is text or bytes; copies nothing.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.received.message.only_bytes()
    }

    /// The payload as it is packed: msgpack values, one after the other.
    pub fn packed(&self) -> &[u8] {
        self.received.message.after_code()
    }

    /// Answers the author alone, wherever it is in the subnet, as [`Mesh::send`] does: an author that
    /// is no neighbour gets it only where ids are proven (`tls`) or [`Config::trust_lookups`](crate::Config::trust_lookups) is set,
    /// and without either this fails with [`Error::Unproven`].
    pub async fn reply(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        let (_, message) = self.runtime.pack(kind::WHISPER, code::WHISPER, payload)?;
        self.runtime.whisper(self.received.sender.clone(), message).await
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("id", &self.id())
            .field("sender", self.sender())
            .field("time", &self.time())
            .field("payload", &self.payload())
            .finish()
    }
}
type Next<'a> = Pin<Box<dyn Future<Output = Result<Message, Error>> + Send + 'a>>;

/// The messages of a node as a stream; from [`Mesh::messages`].
pub struct Messages<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) next: Option<Next<'a>>,
}

impl Stream for Messages<'_> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mesh = self.mesh;
        let next = self.next.get_or_insert_with(|| Box::pin(mesh.recv()));
        let Poll::Ready(result) = next.as_mut().poll(cx) else { return Poll::Pending };
        self.next = None;
        Poll::Ready(match result {
            Err(Error::Closed) => None,
            other => Some(other),
        })
    }
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
