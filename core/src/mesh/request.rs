//! Requests as the program sees them, and their answers.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Mesh;
use crate::error::Error;
use crate::identity::NodeId;
use crate::protocol::{CommandError, Received, Refusal};
use crate::runtime::Runtime;
use crate::wire::codes::{code, kind};
use crate::wire::value::skip;
use crate::wire::{Limits, Payload, Value, ValueError};

/// Elements that stand before the payload: the code and the number of a request, and the word of an
/// answer.
const BEFORE_REQUEST: usize = 2;
const BEFORE_ANSWER: usize = 3;

/// Something that another node asks, from [`Mesh::on_request`] or [`Event::Request`](super::Event::Request).
///
/// It waits for [`Request::respond`], once. Dropped without that, it tells the asker so at once, who need not
/// wait for a time-out.
#[must_use = "dropped, it tells its asker that no answer will come"]
pub struct Request {
    received: Received,
    number: u64,
    /// The node, unless the request is done with.
    runtime: Option<Weak<Runtime>>,
}

impl Request {
    pub(crate) fn new(runtime: &Arc<Runtime>, number: u64, received: Received) -> Self {
        Self { received, number, runtime: Some(Arc::downgrade(runtime)) }
    }

    /// Who asks. Always proven.
    pub fn sender(&self) -> &NodeId {
        &self.received.sender
    }

    /// What is asked, unpacked. Unpacks anew with every call.
    pub fn payload(&self) -> Vec<Value> {
        payload(&self.received, BEFORE_REQUEST)
    }

    /// What is asked, as it is packed: msgpack values, one after the other.
    pub fn packed(&self) -> &[u8] {
        packed(&self.received, BEFORE_REQUEST)
    }

    /// Answers. Waits while a neighbour's queue is full, as [`Mesh::send`] does.
    ///
    /// Fails with [`Error::NotConnected`] if the asker is no neighbour any more, [`Error::TooLarge`] or
    /// [`Error::Value`] if the payload cannot be sent, and then the asker is told that no answer will come.
    /// Whether the asker still waits is not known.
    pub async fn respond(mut self, payload: &(impl Payload + ?Sized)) -> Result<(), Error> {
        let runtime = self.runtime.as_ref().and_then(Weak::upgrade).ok_or(Error::Closed)?;
        let payload = Numbered { numbers: [self.number, crate::protocol::ANSWERED], payload };
        let (_, message) = runtime.pack(kind::WHISPER, code::ANSWER, &payload)?;
        if !runtime.has_own_room() {
            runtime.wait_for_own_room().await;
        }
        if runtime.is_closed() {
            return Err(Error::Closed);
        }
        self.runtime = None;
        match runtime.answer(self.sender(), self.number, Ok(message)) {
            true => Ok(()),
            false => Err(CommandError::NotConnected { peer: self.sender().clone() }.into()),
        }
    }

    /// Tells the asker why no answer will come.
    pub(crate) fn refuse(mut self, refusal: Refusal) {
        self.end(refusal);
    }

    fn end(&mut self, refusal: Refusal) {
        if let Some(runtime) = self.runtime.take().and_then(|runtime| runtime.upgrade()) {
            runtime.answer(&self.received.sender, self.number, Err(refusal));
        }
    }

    /// Bytes it keeps in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.received.message.body().len()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.end(Refusal::Dropped);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("sender", self.sender())
            .field("payload", &self.payload())
            .finish_non_exhaustive()
    }
}

/// The answer to a request, from [`Mesh::request`].
#[derive(Clone)]
pub struct Answer {
    received: Received,
}

impl Answer {
    /// Who answered: the node that was asked. Always proven.
    pub fn sender(&self) -> &NodeId {
        &self.received.sender
    }

    /// The answer, unpacked. Unpacks anew with every call.
    pub fn payload(&self) -> Vec<Value> {
        payload(&self.received, BEFORE_ANSWER)
    }

    /// The answer, as it is packed: msgpack values, one after the other.
    pub fn packed(&self) -> &[u8] {
        packed(&self.received, BEFORE_ANSWER)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("sender", self.sender()).field("payload", &self.payload()).finish()
    }
}

/// What stands behind the protocol's own elements.
fn payload(received: &Received, before: usize) -> Vec<Value> {
    // The form was checked on arrival, so this cannot fail.
    let mut values = received.message.values(&Limits::default()).unwrap_or_default();
    values.drain(..before.min(values.len()));
    values
}

/// As [`payload`], packed.
fn packed(received: &Received, before: usize) -> &[u8] {
    let packed = received.message.packed();
    let behind = (0..before).try_fold(0, |at, _| skip(packed, at, &Limits::default()));
    behind.ok().and_then(|at| packed.get(at..)).unwrap_or_default()
}

/// A payload behind numbers of the protocol's own.
struct Numbered<'a, P: ?Sized, const N: usize> {
    numbers: [u64; N],
    payload: &'a P,
}

impl<P: Payload + ?Sized, const N: usize> Payload for Numbered<'_, P, N> {
    fn count(&self) -> usize {
        N + self.payload.count()
    }

    fn pack_all(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.numbers.map(Value::from).pack_all(out)?;
        self.payload.pack_all(out)
    }

    fn size_hint(&self) -> usize {
        // The most that an integer takes.
        N * 9 + self.payload.size_hint()
    }
}

impl Mesh {
    /// Asks one node something, and waits for its answer. A node that is no neighbour is found first, as
    /// [`Mesh::send`] does. The answer is that node's: ids are proven wherever there are requests, which is
    /// in `tls` subnets.
    ///
    /// The request is sent once. If it fails, its addressee may have read it, unless it was refused.
    ///
    /// Fails with [`Error::TimedOut`] if no answer came within `timeout`; [`Error::Unanswered`] at once if
    /// none will come: the addressee's program takes no requests or let this one go, too many are under way
    /// there, or its link ended; [`Error::Unreachable`] if it is not found; [`Error::TooMany`] at
    /// [`Config::max_requests`](crate::Config::max_requests); [`Error::NeedsTls`] in other subnets.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peernet::Mesh;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let a = Mesh::builder().open().await?;
    /// let b = Mesh::builder().open().await?;
    /// a.on_request(|request| {
    ///     tokio::spawn(async move {
    ///         let payload = request.payload();
    ///         let sum = payload.iter().filter_map(|number| number.as_i64()).sum::<i64>();
    ///         request.respond(&("sum", sum)).await
    ///     });
    /// });
    /// b.connect(&a.address().to_string()).await?;
    /// let answer = b.request(a.id(), &(2, 3), Duration::from_secs(10)).await?;
    /// assert_eq!(answer.payload(), ["sum".into(), 5.into()]);
    /// # Ok::<(), peernet::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn request(
        &self,
        peer: &NodeId,
        payload: &(impl Payload + ?Sized),
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let runtime = &self.runtime.0;
        if runtime.is_closed() {
            return Err(Error::Closed);
        }
        let room = tokio::time::timeout(timeout, runtime.wait_for_own_room());
        if !runtime.has_own_room() && room.await.is_err() {
            return Err(CommandError::TimedOut { peer: peer.clone() }.into());
        }
        let pack = |number| {
            let payload = Numbered { numbers: [number], payload };
            Ok(runtime.pack(kind::WHISPER, code::ASK, &payload)?.1)
        };
        Ok(Answer { received: runtime.ask(peer.clone(), pack, timeout).await? })
    }

    /// Takes requests from now on: `handler` gets each. A new handler replaces the old. Without one they go
    /// to [`Mesh::next_event`], once that has been called for the first time. A request that nobody takes is
    /// refused at once.
    ///
    /// It runs where messages are read: it must be quick, and leave what takes long to a task of its own.
    pub fn on_request(&self, handler: impl Fn(Request) + Send + Sync + 'static) {
        self.runtime.0.on_request(Arc::new(handler));
    }
}
