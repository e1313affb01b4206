//! Requests of the program's own, and who takes those of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::node::{Runtime, Waiting};
use crate::error::Error;
use crate::identity::NodeId;
use crate::mesh::Request;
use crate::protocol::{Command, Input, Received, Refusal};
use crate::wire::Message;

type Handler = Arc<dyn Fn(Request) + Send + Sync>;

/// Who takes the requests of others.
#[derive(Default)]
pub(super) struct Taker {
    handler: Mutex<Option<Handler>>,
    /// Whether the program reads events.
    reads_events: AtomicBool,
}

impl Runtime {
    /// Sends the request that `pack` makes for a number, and waits for the answer.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        to: NodeId,
        pack: impl FnOnce(u64) -> Result<Message, Error>,
        timeout: Duration,
    ) -> Result<Received, Error> {
        let token = self.token();
        let message = pack(token.0)?;
        let (answer, answered) = oneshot::channel();
        self.core().answers.insert(token, Waiting::Answer(answer));
        self.feed_one(Input::Command(Command::Ask { token, to, message, timeout }));
        Ok(answered.await.map_err(|_| Error::Closed)??)
    }

    /// Answers a request of another node. Whether the asker is still there.
    pub(crate) fn answer(
        self: &Arc<Self>,
        peer: &NodeId,
        number: u64,
        answer: Result<Message, Refusal>,
    ) -> bool {
        let now = self.now();
        let mut guard = self.core();
        let core = &mut *guard;
        let waits = core.node.is_asked(peer, number);
        let command = Command::Answer { peer: peer.clone(), number, answer };
        core.node.handle(now, Input::Command(command), &mut core.out);
        self.settle(guard);
        waits
    }

    pub(crate) fn on_request(&self, handler: Handler) {
        *self.taker.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// The program reads events, so it may be given requests there.
    pub(crate) fn takes_events(&self) {
        if !self.taker.reads_events.load(Ordering::Relaxed) {
            self.taker.reads_events.store(true, Ordering::Release);
        }
    }

    /// Gives a request to whoever takes it.
    pub(super) fn take_request(&self, request: Request) {
        let handler = self.taker.handler.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handler) = handler {
            return handler(request);
        }
        if !self.taker.reads_events.load(Ordering::Acquire) {
            return request.refuse(Refusal::NotTaken);
        }
        if let Some(request) = self.inbox.offer(request) {
            request.refuse(Refusal::Busy);
        }
    }
}
