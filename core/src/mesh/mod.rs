//! The front door: a node of a mesh.

mod book;
mod builder;
mod event;
mod message;
mod request;
mod search;
mod stats;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::sleep;

pub use book::{Known, PeerBook};
pub use builder::{Builder, Candidate, Encryption};
pub use event::{Event, Peer};
pub use message::{Message, Messages};
pub use request::{Answer, Request};
pub use search::{Query, Row, Rows, Search};
pub use stats::Stats;

use crate::config::ConfigError;
use crate::error::Error;
use crate::identity::{KeyPair, MessageId, NodeId, ProtocolId};
use crate::protocol::{Address, Command, CommandError, Identity, Now, Received, Role, Target, Trust};
use crate::runtime::{Item, Runtime};
use crate::wire::Payload;
use crate::wire::codes::{code, kind};

/// A node that may not join for some time; from [`Mesh::bans`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub peer: NodeId,
    /// Until when, by the system's clock.
    pub until: SystemTime,
}

/// How many seconds a broadcast that repeats another may be stamped ahead of the clock, to be told
/// apart from it; far below the minute at which others refuse it.
const MAX_AHEAD: i64 = 5;
/// How often it is tried again after that.
pub(crate) const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// Why a packed broadcast was not sent.
enum Unsent {
    /// It repeats others, and cannot be told apart from them yet.
    Repeated(crate::wire::Message),
    Failed(Error),
}

/// Stops the node when its [`Mesh`] is dropped.
struct Guard(Arc<Runtime>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One node of a mesh: what it broadcasts reaches every node of the subnet once, over however many
/// hops.
///
/// Delivery: a broadcast reaches every node that is connected to the author by some path of links
/// that stay up; links that break lose what was on the way. In `tls` subnets no clock counts; in all
/// others, clocks that are more than a minute apart make nodes refuse each other's broadcasts
/// ([`Stats::stale`], [`Stats::future`]). Messages of one author over one path arrive in order; nothing
/// else is ordered.
///
/// ```
/// use peernet::Mesh;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let a = Mesh::builder().open().await?;
/// let b = Mesh::builder().open().await?;
/// b.connect(&a.address().to_string()).await?;
///
/// b.broadcast(&("hello", 5)).await?;
/// let message = a.recv().await?;
/// assert_eq!(message.sender(), b.id());
/// assert_eq!(message.payload(), ["hello".into(), 5.into()]);
///
/// message.reply(&("hello yourself",)).await?;
/// assert_eq!(b.recv().await?.payload(), ["hello yourself".into()]);
/// # a.close().await; b.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping a `Mesh` stops it at once, and waits for its store, if it has one; [`Mesh::close`] lets it finish
/// writing to its links first.
pub struct Mesh {
    identity: Identity,
    listening: Address,
    runtime: Guard,
}

impl Mesh {
    /// Options for a new node.
    pub fn builder() -> Builder {
        Builder::for_mesh()
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime.0
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.identity.id
    }

    /// The keys that its id is derived from, in a `tls` subnet: whoever has them is this node. To be
    /// kept where only its owner can read them ([`KeyPair::to_text`]).
    pub fn keys(&self) -> Option<&KeyPair> {
        match &self.identity.trust {
            Trust::Proven { keys, .. } => Some(keys),
            Trust::Claimed => None,
        }
    }

    /// The address others are told.
    pub fn address(&self) -> &Address {
        &self.identity.address
    }

    /// The address listened on.
    pub fn listening(&self) -> &Address {
        &self.listening
    }

    /// The subnet's protocol id.
    pub fn protocol(&self) -> &ProtocolId {
        &self.identity.protocol
    }

    /// Connects to the node at `host:port` or `id@host:port`, and returns its id once the handshake
    /// is done. From then on the link is dialled again with back-off whenever it breaks, until
    /// [`Mesh::disconnect`] or [`Mesh::close`].
    ///
    /// Fails with [`Error::Connect`] if nobody answers there, if it is of another subnet, if someone
    /// else than `id` is there, or in time.
    pub async fn connect(&self, address: &str) -> Result<NodeId, Error> {
        let target: Target = address.parse()?;
        Ok(self.runtime.0.command(|token| Command::Connect { token, target, persist: false }).await?)
    }

    /// Makes a link of a stream of bytes that the program brings, in place of a TCP connection: a pipe,
    /// a channel of an SSH session, a serial line, the standard input and output of another process
    /// ([`tokio::io::join`] makes one stream of two). Waits for the handshake, and returns the id of
    /// whoever is at the other end. A link that breaks is not made again.
    ///
    /// The other end must be a node of the same subnet that attaches it too, or anything that passes the
    /// bytes on to the port of one. One of the two is the [`Role::Dialler`]. The whole transport of the
    /// subnet runs over the stream, TLS in `tls` subnets, and the request for a WebSocket in `ws` and
    /// `wss` ones.
    ///
    /// Nobody knows where the stream leads: bounds per address do not count it, those in total do. Whoever
    /// is there cannot make this node dial addresses of this machine or its network (spec X-32).
    ///
    /// Fails with [`Error::Connect`] as [`Mesh::connect`] does. Dropping the future gives the stream up if the
    /// transport is not ready yet.
    ///
    /// ```
    /// use peernet::{Mesh, Role};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let a = Mesh::builder().open().await?;
    /// let b = Mesh::builder().open().await?;
    /// let (here, there) = tokio::io::duplex(64 << 10);
    /// let (b_id, a_id) = tokio::try_join!(
    ///     a.attach(here, Role::Dialler),
    ///     b.attach(there, Role::Acceptor),
    /// )?;
    /// assert_eq!((&b_id, &a_id), (b.id(), a.id()));
    /// # Ok::<(), peernet::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn attach(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        role: Role,
    ) -> Result<NodeId, Error> {
        if self.runtime.0.is_closed() {
            return Err(Error::Closed);
        }
        Ok(self.runtime.0.attach(Box::new(stream), role).await?)
    }

    /// Closes the link to a neighbour and does not dial it again.
    pub async fn disconnect(&self, peer: &NodeId) -> Result<(), Error> {
        let peer = peer.clone();
        self.runtime.0.command(|token| Command::Disconnect { token, peer }).await?;
        Ok(())
    }

    /// Lets a node join, besides those on the list ([`Builder::allow`]). The first on it closes the
    /// subnet to all others, and their links with it.
    ///
    /// Fails with [`Error::Config`] where ids are not proven (only `tls` proves them), as the following.
    pub fn allow(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Allow(vec![peer.clone()]))
    }

    /// Takes a node off the list of those that may join, and closes its links. The list stays: with
    /// nobody on it, nobody may join.
    pub fn disallow(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Disallow(peer.clone()))
    }

    /// Lets a node neither join nor be heard for a while, whole seconds: its links are closed, its
    /// broadcasts are neither handed up nor relayed. A new ban replaces the old. With a data directory it
    /// is kept there, and holds after a restart too; [`Mesh::flush`] waits until it is written.
    pub fn ban(&self, peer: &NodeId, time: Duration) -> Result<(), Error> {
        let until = self.runtime.0.now().wall.saturating_add_unsigned(time.as_secs());
        self.joining_rule(Command::Ban { peer: peer.clone(), until })
    }

    /// Ends a ban, and no longer keeps it.
    pub fn unban(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Unban(peer.clone()))
    }

    /// The bans in force.
    pub fn bans(&self) -> Vec<Ban> {
        let now = self.runtime.0.now();
        let at = |wall: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(wall).unwrap_or_default());
        let ban = |(peer, until): (&NodeId, i64)| Ban { peer: peer.clone(), until: at(until) };
        self.runtime.0.with_node(|node| node.bans(now).map(ban).collect())
    }

    fn joining_rule(&self, command: Command) -> Result<(), Error> {
        if self.identity.trust == Trust::Claimed {
            let problem = "only encryption tls proves who is who; anyone could come back under another id";
            return Err(ConfigError { option: "joining rules", problem }.into());
        }
        if self.runtime.0.is_closed() {
            return Err(Error::Closed);
        }
        self.runtime.0.command_at_once(command);
        self.runtime.0.flush_soon();
        Ok(())
    }

    /// Sends to every node of the subnet. Waits while a neighbour's queue is full; a neighbour that
    /// takes nothing is reported ([`Event::SlowPeer`]) and then closed, so this ends.
    ///
    /// The payload is a tuple (`&("hello", 5)`), or a slice or vector of [`Value`](crate::Value)s. In `tls` subnets
    /// each is another message, whatever it says. In all others the same payload can be broadcast
    /// about once a second for long, and a few times more in a burst; then this waits, because everyone
    /// would take the next for a copy of one before. (That is noticed among a node's last 8,192
    /// broadcasts.)
    pub async fn broadcast(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        self.broadcast_code(code::BROADCAST, payload).await
    }

    /// As [`Mesh::broadcast`], but fails with [`Error::Full`] or [`Error::Repeated`] instead of
    /// waiting; then nothing was sent to anyone.
    pub fn try_broadcast(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        self.try_broadcast_code(code::BROADCAST, payload)
    }

    /// As [`Mesh::try_broadcast`], under a code of the user's own, 0x31 or more.
    ///
    /// # Errors
    /// As of [`Mesh::try_broadcast`]; [`Error::Code`].
    pub fn try_broadcast_as(
        &self,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        self.try_broadcast_code(user_code(code)?, payload)
    }

    fn try_broadcast_code(&self, code: u64, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        if !self.runtime.0.has_own_room() {
            return Err(Error::Full { peers: self.runtime.0.full_peers() });
        }
        let (now, message) = self.pack(kind::BROADCAST, code, payload)?;
        self.send_packed(now, message).map_err(|unsent| match unsent {
            Unsent::Repeated(_) => Error::Repeated,
            Unsent::Failed(error) => error,
        })
    }

    /// Broadcasts under a code of the user's own, 0x31 or more: only nodes with a hook for it
    /// ([`Mesh::on_code`]) see it, all relay it.
    pub async fn broadcast_as(
        &self,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        self.broadcast_code(user_code(code)?, payload).await
    }

    async fn broadcast_code(
        &self,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        let runtime = &self.runtime.0;
        if !runtime.has_own_room() {
            runtime.wait_for_own_room().await;
        }
        if runtime.is_due_to_yield() {
            // A loop that only sends must not keep everything else on this thread from running.
            yield_now().await;
        }
        // After all waiting, so that what is stamped later is not sent before.
        let (now, message) = self.pack(kind::BROADCAST, code, payload)?;
        match self.send_packed(now, message) {
            Err(Unsent::Repeated(message)) => loop {
                sleep(REPEAT_PAUSE).await;
                let now = runtime.now();
                match self.send_packed(now, message.with_time(now.wall)?) {
                    Err(Unsent::Repeated(_)) => {}
                    Err(Unsent::Failed(error)) => return Err(error),
                    Ok(report) => return Ok(report),
                }
            },
            Err(Unsent::Failed(error)) => Err(error),
            Ok(report) => Ok(report),
        }
    }

    /// Sends a packed broadcast. One that repeats another is stamped a little ahead, to be another
    /// message; where that has been done too often, it is given back.
    fn send_packed(&self, now: Now, mut message: crate::wire::Message) -> Result<SendReport, Unsent> {
        let runtime = &self.runtime.0;
        if runtime.is_closed() {
            return Err(Unsent::Failed(Error::Closed));
        }
        for ahead in 0..=MAX_AHEAD {
            if ahead > 0 {
                message = message.with_time(now.wall + ahead).map_err(|e| Unsent::Failed(e.into()))?;
            }
            let id = message.id();
            match runtime.broadcast(now, message) {
                Ok(links) => return Ok(SendReport { id, links }),
                Err(repeated) => message = repeated,
            }
        }
        Err(Unsent::Repeated(message))
    }

    /// Sends to one node. If it is no neighbour, the subnet is asked for its address, and it is
    /// dialled; [`Error::Unreachable`] after `Config::lookup_timeout`.
    ///
    /// In subnets that prove no ids (all but `tls`) anyone could answer in its name, so that there
    /// this fails with [`Error::Unproven`] unless [`Config::trust_lookups`](crate::Config::trust_lookups) is set.
    pub async fn send(&self, peer: &NodeId, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        let (_, message) = self.pack(kind::WHISPER, code::WHISPER, payload)?;
        self.runtime.0.whisper(peer.clone(), message).await
    }

    /// As [`Mesh::send`], to a neighbour, without waiting.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if the node is no neighbour, [`Error::Full`] if a link has no room for more.
    /// Then nothing was sent.
    pub fn try_send(&self, peer: &NodeId, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        self.try_whisper(peer, code::WHISPER, payload)
    }

    /// As [`Mesh::try_send`], under a code of the user's own, 0x31 or more.
    ///
    /// # Errors
    /// As of [`Mesh::try_send`]; [`Error::Code`].
    pub fn try_send_as(
        &self,
        peer: &NodeId,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        self.try_whisper(peer, user_code(code)?, payload)
    }

    fn try_whisper(
        &self,
        peer: &NodeId,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        let runtime = &self.runtime.0;
        if !runtime.has_own_room() {
            return Err(Error::Full { peers: runtime.full_peers() });
        }
        if runtime.is_closed() {
            return Err(Error::Closed);
        }
        let (_, message) = self.pack(kind::WHISPER, code, payload)?;
        match runtime.whisper_to_neighbour(peer, &message) {
            true => Ok(SendReport { id: message.id(), links: 1 }),
            false => Err(CommandError::NotConnected { peer: peer.clone() }.into()),
        }
    }

    /// Sends to one node under a code of the user's own, 0x31 or more.
    pub async fn send_as(
        &self,
        peer: &NodeId,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        let (_, message) = self.pack(kind::WHISPER, user_code(code)?, payload)?;
        self.runtime.0.whisper(peer.clone(), message).await
    }

    fn pack(
        &self,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<(Now, crate::wire::Message), Error> {
        self.runtime.0.pack(kind, code, payload)
    }

    /// The next message. [`Error::Lagged`] tells of messages that were dropped before it because the
    /// program read too slowly; [`Error::Closed`] that no more will come. Other events that come in
    /// between are passed over; read [`Mesh::next_event`] instead to see all. Dropping the future
    /// loses nothing.
    pub async fn recv(&self) -> Result<Message, Error> {
        loop {
            match self.runtime.0.inbox.next().await {
                None => return Err(Error::Closed),
                Some(Item::Message(received)) => return Ok(self.message(received)),
                Some(Item::Lagged(count)) => return Err(Error::Lagged { count }),
                Some(_) => {}
            }
        }
    }

    /// The next message if one waits, `None` if not. Otherwise as [`Mesh::recv`].
    pub fn try_recv(&self) -> Result<Option<Message>, Error> {
        loop {
            match self.runtime.0.inbox.try_next() {
                None if self.runtime.0.is_closed() => return Err(Error::Closed),
                None => return Ok(None),
                Some(Item::Message(received)) => return Ok(Some(self.message(received))),
                Some(Item::Lagged(count)) => return Err(Error::Lagged { count }),
                Some(_) => {}
            }
        }
    }

    /// Waits for a message as [`Mesh::recv`] does, and puts it and those that wait behind it, `most` at
    /// most, at the end of `messages`. Returns how many. For programs that read a lot, this costs less
    /// for each than taking them one by one.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv_many(&self, messages: &mut Vec<Message>, most: usize) -> Result<usize, Error> {
        if most == 0 {
            return Ok(0);
        }
        messages.push(self.recv().await?);
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let more = self.runtime.0.inbox.try_take(most - 1, is_message, |item| {
            if let Item::Message(received) = item {
                messages.push(self.message(received));
            }
        });
        Ok(1 + more)
    }

    /// Whether the node was closed. What it received before may still wait to be read.
    pub fn is_closed(&self) -> bool {
        self.runtime.0.is_closed()
    }

    /// The next event of any kind, messages included; `None` when the node is closed and all is
    /// read. There is one queue: what is read here is not read by [`Mesh::recv`].
    ///
    /// A program that calls this takes requests and searches of others ([`Event::Request`],
    /// [`Event::Search`]) from then on, unless [`Mesh::on_request`] or [`Mesh::on_search`] does.
    pub async fn next_event(&self) -> Option<Event> {
        self.take_requests();
        self.take_searches();
        let item = self.runtime.0.inbox.next().await?;
        Some(self.event(item))
    }

    /// Puts the events that wait, messages included, `most` at most, at the end of `events`, without waiting
    /// for any. Returns how many; 0 if nothing waits. The queue is that of [`Mesh::next_event`]. A program
    /// with an event type of its own gets them as that.
    ///
    /// Requests and searches are among them once they were asked for ([`Mesh::take_requests`],
    /// [`Mesh::take_searches`]). [`Mesh::poll_ready`] tells when to look again.
    ///
    /// ```
    /// use peernet::{Event, Mesh};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let a = Mesh::builder().open().await?;
    /// let b = Mesh::builder().open().await?;
    /// let mut events = Vec::new();
    /// assert_eq!(a.try_events(&mut events, 64)?, 0);
    /// b.connect(&a.address().to_string()).await?;
    /// std::future::poll_fn(|cx| a.poll_ready(cx)).await;
    /// assert_eq!(a.try_events(&mut events, 64)?, 1);
    /// assert!(matches!(&events[..], [Event::Connected { peer, .. }] if peer == b.id()));
    /// # Ok::<(), peernet::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is closed and all is read.
    pub fn try_events<E: From<Event>>(&self, events: &mut Vec<E>, most: usize) -> Result<usize, Error> {
        let inbox = &self.runtime.0.inbox;
        let mut take = || inbox.try_take(most, |_| true, |item| events.push(self.event(item).into()));
        match take() {
            // What came before the end was taken in before the flag was set.
            0 if most > 0 && inbox.is_closed() => match take() {
                0 => Err(Error::Closed),
                taken => Ok(taken),
            },
            taken => Ok(taken),
        }
    }

    /// Ready when there is an event to read, or the node is closed. Otherwise the task is woken when that is
    /// so: only that of the last call, and once. It takes nothing, and someone else may have read the event
    /// by the time this task looks.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        self.runtime.0.inbox.poll_ready(cx)
    }

    /// Requests of others are among the events from now on, unless [`Mesh::on_request`] takes them: to be
    /// called by a program that reads events and answers requests. [`Mesh::next_event`] does it by itself.
    pub fn take_requests(&self) {
        self.runtime.0.reads_requests();
    }

    /// As [`Mesh::take_requests`], for searches of others.
    pub fn take_searches(&self) {
        self.runtime.0.reads_searches();
    }

    #[inline]
    fn event(&self, item: Item) -> Event {
        match item {
            Item::Message(received) => Event::Message(self.message(received)),
            Item::Request(request) => Event::Request(*request),
            Item::Search(search) => Event::Search(search),
            Item::Connected { peer, address } => Event::Connected { peer, address },
            Item::Disconnected { peer, reason } => Event::Disconnected { peer, reason },
            Item::SlowPeer { peer } => Event::SlowPeer { peer },
            Item::Redial { address, problem, pause } => Event::Redial { address, problem, pause },
            Item::StoreReplaced { path, problem } => Event::StoreReplaced { path, problem },
            Item::RecordsDamaged { count, problem } => Event::RecordsDamaged { count, problem },
            Item::StoreFailed { problem } => Event::StoreFailed { problem },
            Item::Superseded { key, value, by } => {
                let value = value.map(|packed| crate::table::unpack(&packed));
                Event::Superseded { key, value, by }
            }
            Item::Lagged(count) => Event::Lagged { count },
        }
    }

    /// The messages as a stream, which ends when the node is closed. An item is an error only when
    /// messages were dropped ([`Error::Lagged`]); the stream goes on behind it.
    pub fn messages(&self) -> Messages<'_> {
        Messages { mesh: self, next: None }
    }

    fn message(&self, received: Received) -> Message {
        Message { received, runtime: self.runtime.0.clone() }
    }

    /// A hook into the protocol: `handler` sees every message with this code first, and takes it by
    /// returning `true`; others go on to [`Mesh::recv`]. For codes 0x00 (broadcasts), 0x02
    /// (whispers), and 0x31 and up, which only hooks see. A new handler replaces the old.
    ///
    /// It runs where messages are read: it must be quick, and may send with [`Mesh::try_broadcast`].
    pub fn on_code(
        &self,
        code: u64,
        handler: impl Fn(&Message) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        if !matches!(code, code::BROADCAST | code::WHISPER) {
            user_code(code)?;
        }
        let runtime = Arc::downgrade(&self.runtime.0);
        let hook = move |received: &Received| {
            runtime.upgrade().is_some_and(|runtime| handler(&Message { received: received.clone(), runtime }))
        };
        self.runtime.0.set_hook(code, Arc::new(hook));
        Ok(())
    }

    /// The neighbours: nodes that a link leads to directly.
    pub fn peers(&self) -> Vec<Peer> {
        self.runtime.0.with_node(|node| {
            let peer = |neighbour: crate::protocol::Neighbour| Peer {
                id: neighbour.id,
                address: neighbour.address,
                outgoing: neighbour.outgoing,
            };
            node.neighbours().map(peer).collect()
        })
    }

    /// Everything the node counts.
    pub fn stats(&self) -> Stats {
        self.runtime.0.stats()
    }

    /// Waits until everything that is to outlive the node and happened before is on the disk: bans, and what
    /// else its store keeps. Without this that takes [`Config::flush_interval`](crate::Config::flush_interval). Many that wait at the same
    /// time share one write. Done at once where there is neither a data directory nor a store.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.runtime.0.flush().await?)
    }

    /// Leaves: writes what is queued, up to `Config::close_timeout`, closes every link, writes to the store
    /// what waits for it, and stops. Closing twice does no harm. What was received and not read can still be
    /// read.
    pub async fn close(&self) {
        self.runtime.0.close().await;
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("id", self.id()).field("address", self.address()).finish_non_exhaustive()
    }
}

fn user_code(code: u64) -> Result<u64, Error> {
    match code >= code::FIRST_USER {
        true => Ok(code),
        false => Err(Error::Code { code }),
    }
}
/// What became of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendReport {
    /// Its id: the same on every node.
    pub id: MessageId,
    /// Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
    pub links: usize,
}

impl Runtime {
    pub(crate) fn pack(
        &self,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<(Now, crate::wire::Message), Error> {
        let now = self.now();
        let message = self.identity.pack(kind, self.stamp(now), code, payload)?;
        let (size, limit) = (message.body().len(), self.config.max_frame);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        Ok((now, message))
    }

    async fn whisper(
        self: &Arc<Self>,
        to: NodeId,
        message: crate::wire::Message,
    ) -> Result<SendReport, Error> {
        let id = message.id();
        if !self.has_own_room() {
            self.wait_for_own_room().await;
        }
        if self.whisper_to_neighbour(&to, &message) {
            return Ok(SendReport { id, links: 1 });
        }
        self.command(|token| Command::Whisper { token, to, message }).await?;
        Ok(SendReport { id, links: 1 })
    }
}
