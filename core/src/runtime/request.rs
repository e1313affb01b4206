//! Requests and searches of the program's own, and who takes those of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::inbox::Item;
use super::node::{Runtime, Waiting};
use super::queue::TrafficCounters;
use crate::error::Error;
use crate::identity::NodeId;
use crate::mesh::{Request, Search};
use crate::protocol::{Command, CommandError, Input, Received, Refusal, Token};
use crate::wire::{DIGEST_LEN, Message};

type Handler<T> = Arc<dyn Fn(T) + Send + Sync>;
/// What was found, with the links it went over before the last.
pub(crate) type FoundRows = mpsc::Receiver<Result<(u64, Received), CommandError>>;

/// Who takes the requests and searches of others.
#[derive(Default)]
pub(super) struct Taker {
    requests: Mutex<Option<Handler<Request>>>,
    searches: Mutex<Option<Handler<Search>>>,
    /// Whether the program reads requests among its events.
    reads_requests: AtomicBool,
    /// Whether the program reads searches among its events.
    reads_searches: AtomicBool,
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
        self.feed_one(Input::Command(Command::Ask { token, to, message: message.into(), timeout }));
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

    pub(crate) fn on_request(&self, handler: Handler<Request>) {
        *self.taker.requests.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// The program may be given requests among its events.
    pub(crate) fn reads_requests(&self) {
        raise(&self.taker.reads_requests);
    }

    /// The program may be given searches among its events.
    pub(crate) fn reads_searches(&self) {
        raise(&self.taker.reads_searches);
    }

    /// Gives a request to whoever takes it.
    pub(super) fn take_request(&self, request: Request) {
        let handler = self.taker.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handler) = handler {
            return handler(request);
        }
        if !self.taker.reads_requests.load(Ordering::Acquire) {
            return request.refuse(Refusal::NotTaken);
        }
        if let Some(Item::Request(request)) = self.inbox.offer(Item::Request(Box::new(request))) {
            request.refuse(Refusal::Busy);
        }
    }

    pub(crate) fn on_search(&self, handler: Handler<Search>) {
        *self.taker.searches.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// Gives a search to whoever takes it. Nobody need.
    pub(super) fn take_search(&self, search: Search) {
        let handler = self.taker.searches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handler) = handler {
            return handler(search);
        }
        let reads = self.taker.reads_searches.load(Ordering::Acquire);
        if reads && self.inbox.offer(Item::Search(search)).is_some() {
            TrafficCounters::add(&self.traffic.searches_dropped, 1);
        }
    }

    /// Sends a question. What is found for it comes out of the channel, which ends with the search.
    pub(crate) fn search(
        self: &Arc<Self>,
        note: Message,
        hops: u64,
    ) -> Result<(Token, FoundRows), CommandError> {
        let token = self.token();
        // There is room for all that is ever found, and an error.
        let (rows, mut found) = mpsc::channel(self.config.search_rows + 1);
        self.core().answers.insert(token, Waiting::Rows(rows));
        self.feed_one(Input::Command(Command::Search { token, note, hops }));
        match found.try_recv() {
            Ok(Err(error)) => Err(error),
            _ => Ok((token, found)),
        }
    }

    pub(crate) fn end_search(self: &Arc<Self>, token: Token) {
        self.core().answers.remove(&token);
        self.feed_one(Input::Command(Command::EndSearch(token)));
    }

    /// Sends back what the program found for a question.
    pub(crate) fn find(
        self: &Arc<Self>,
        question: &[u8; DIGEST_LEN],
        note: Message,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let mut guard = self.core();
        let core = &mut *guard;
        core.node.may_find(question)?;
        core.node.handle(now, Input::Command(Command::Find { note }), &mut core.out);
        self.settle(guard);
        Ok(())
    }
}

/// Sets a flag that mostly is set already.
fn raise(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Release);
    }
}
