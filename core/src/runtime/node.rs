//! Owns one state machine and everything around it: links, timers, dials, and the way out.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};

use super::changes::{Watcher, Watchers};
use super::clock::Clock;
use super::door::{Door, Guest};
use super::inbox::{Inbox, Item};
use super::keeper::Keeper;
use super::queue::{LinkQueue, Pressure, TrafficCounters};
use super::request::Taker;
use super::seals::Verifiers;
use super::{reader, writer};
use crate::config::Config;
use crate::identity::NodeId;
use crate::mesh::{Candidate, Request, Search};
use crate::protocol::{
    Address, CloseReason, Command, CommandError, DialId, Event, Identity, Input, LinkId, Node, Now, Origin,
    Outbox, Output, Reach, Received, Remote, Role, Token, Trust,
};
use crate::store::{Kept, StoreError};
use crate::transport::{Connection, Transport};
use crate::wire::{DIGEST_LEN, Envelope, Message};

/// After an accept failed (mostly: no file descriptors left), the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A link that is being replaced stays readable this long for what is still under way on it.
const LINGER: Duration = Duration::from_secs(2);
/// How often a reader looks again whether ids of broadcasts can be remembered.
const SEEN_PAUSE: Duration = Duration::from_millis(20);

/// Sends in a row after which a sender that never has to wait lets others run.
const YIELD_EVERY: u64 = 256;

/// Who waits for what comes of a command.
pub(super) enum Waiting {
    /// For the peer concerned.
    Peer(oneshot::Sender<Result<NodeId, CommandError>>),
    /// For the answer to a request.
    Answer(oneshot::Sender<Result<Received, CommandError>>),
    /// For what a search finds.
    Rows(mpsc::Sender<Result<(u64, Received), CommandError>>),
}

impl Waiting {
    // Nobody may be waiting any more, which is no loss.
    fn end(self, result: Result<NodeId, CommandError>) {
        match (self, result) {
            (Self::Peer(waiting), result) => drop(waiting.send(result)),
            (Self::Answer(waiting), Err(error)) => drop(waiting.send(Err(error))),
            (Self::Rows(waiting), Err(error)) => drop(waiting.try_send(Err(error))),
            (Self::Answer(_) | Self::Rows(_), Ok(_)) => {}
        }
    }

    fn answer(self, received: Received) {
        if let Self::Answer(waiting) = self {
            drop(waiting.send(Ok(received)));
        }
    }

    fn has_found(&self, hops: u64, received: Received) {
        if let Self::Rows(waiting) = self {
            drop(waiting.try_send(Ok((hops, received))));
        }
    }
}

/// A user's hook: sees a message first; `true` takes it.
pub(crate) type Hook = Arc<dyn Fn(&Received) -> bool + Send + Sync>;

/// The user's say about who may be on a link.
pub(crate) type AdmitHook = Arc<dyn Fn(&Candidate) -> bool + Send + Sync>;

struct LinkEntry {
    queue: Arc<LinkQueue>,
    reader: AbortHandle,
}

/// Everything behind the one lock.
pub(super) struct Core {
    pub(super) node: Node,
    pub(super) out: Outbox,
    links: BTreeMap<LinkId, LinkEntry>,
    pub(super) answers: HashMap<Token, Waiting>,
    /// What hooks should see.
    items: Vec<Item>,
    /// Who watches the table.
    watchers: Watchers,
    /// Requests that somebody should take.
    asked: Vec<Request>,
    /// Searches that somebody may take.
    searched: Vec<Search>,
    /// When the driver will look at the timers again.
    armed: Option<Duration>,
}

/// The present, and the stamp of a message made now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamped {
    pub(crate) now: Now,
    pub(crate) stamp: i64,
}

/// One running node.
pub(crate) struct Runtime {
    pub(crate) identity: Identity,
    /// How its subnet's bodies are made up.
    pub(super) envelope: Envelope,
    pub(super) verifiers: Verifiers,
    pub(crate) config: Config,
    pub(crate) inbox: Inbox,
    pub(crate) traffic: Arc<TrafficCounters>,
    pressure: Arc<Pressure>,
    pub(super) transport: Transport,
    admit: Option<AdmitHook>,
    /// Where there is anything to keep records in.
    keeper: Option<Keeper>,
    durable: bool,
    /// Records of earlier runs that did not read.
    pub(crate) records_damaged: u64,
    pub(super) door: Arc<Door>,
    core: Mutex<Core>,
    hooks: Mutex<BTreeMap<u64, Hook>>,
    hooked: AtomicUsize,
    /// Who takes requests.
    pub(super) taker: Taker,
    sends: AtomicU64,
    next_link: AtomicU64,
    next_token: AtomicU64,
    clock: Clock,
    rearm: Notify,
    closed: AtomicBool,
    writers: AtomicUsize,
    writer_ended: Notify,
    tasks: Mutex<JoinSet<()>>,
    handle: Handle,
}

/// What a node is started with.
pub(crate) struct Started {
    pub(crate) node: Node,
    pub(crate) transport: Transport,
    pub(crate) listener: Option<TcpListener>,
    pub(crate) admit: Option<AdmitHook>,
    pub(crate) kept: Option<Kept>,
    pub(crate) durable: bool,
    pub(crate) records_damaged: u64,
    /// What the program is told first.
    pub(crate) news: Vec<Item>,
}

impl Runtime {
    /// The present for a machine that is not started yet: nothing it hears of is later by its steady time.
    pub(crate) fn before_start() -> Now {
        Now { mono: Duration::ZERO, ..Clock::new().exact() }
    }

    /// Fails if the system has no thread left for the store.
    pub(crate) fn start(started: Started) -> std::io::Result<Arc<Self>> {
        let config = started.node.config().clone();
        let mut no_thread = None;
        let runtime = Arc::new_cyclic(|runtime| Self {
            identity: started.node.identity().clone(),
            envelope: started.node.identity().envelope(),
            verifiers: Verifiers::new(),
            inbox: Inbox::new(config.inbox_messages, config.inbox_bytes),
            traffic: Arc::default(),
            pressure: Arc::default(),
            transport: started.transport,
            admit: started.admit,
            keeper: started.kept.and_then(|kept| {
                let keeper = Keeper::start(kept, &config, runtime.clone());
                keeper.map_err(|error| no_thread = Some(error)).ok()
            }),
            durable: started.durable,
            records_damaged: started.records_damaged,
            door: Arc::new(Door::new(&config)),
            core: Mutex::new(Core {
                node: started.node,
                out: Outbox::new(),
                links: BTreeMap::new(),
                answers: HashMap::new(),
                items: Vec::new(),
                watchers: Watchers::default(),
                asked: Vec::new(),
                searched: Vec::new(),
                armed: None,
            }),
            hooks: Mutex::default(),
            hooked: AtomicUsize::new(0),
            taker: Taker::default(),
            sends: AtomicU64::new(0),
            next_link: AtomicU64::new(1),
            // Requests have the numbers of tokens: the answers to those of another life are not ours.
            next_token: AtomicU64::new(u64::from(rand::random::<u32>()) << 16),
            clock: Clock::new(),
            rearm: Notify::new(),
            closed: AtomicBool::new(false),
            writers: AtomicUsize::new(0),
            writer_ended: Notify::new(),
            tasks: Mutex::default(),
            handle: Handle::current(),
            config,
        });
        if let Some(error) = no_thread {
            return Err(error);
        }
        runtime.inbox.push(started.news.into_iter());
        if runtime.keeper.is_some() {
            let mut guard = runtime.core();
            let (now, core) = (runtime.now(), &mut *guard);
            core.node.keep_marks(now, &mut core.out);
            runtime.settle(guard);
        }
        runtime.clock.stamp_after(runtime.with_node(Node::last_stamp));
        runtime.spawn(keep_time(runtime.clone()));
        if let Some(listener) = started.listener {
            runtime.spawn(accept(runtime.clone(), listener));
        }
        Ok(runtime)
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// The stamp of a message made now: different from, and higher than, all before where ids are proven.
    pub(crate) fn stamp(&self, now: Now) -> i64 {
        match self.identity.trust {
            Trust::Claimed => now.wall,
            Trust::Proven { .. } => self.clock.stamp(),
        }
    }

    /// Looks at the state machine.
    pub(crate) fn with_node<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        look(&self.core().node)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.handle)
    }

    /// Gives inputs to the state machine and does what it says. Returns whether what came of it
    /// found something full, so that a reader should pause.
    pub(crate) fn feed(self: &Arc<Self>, inputs: impl Iterator<Item = Input>) -> bool {
        self.feed_at(self.now(), inputs)
    }

    fn feed_at(self: &Arc<Self>, now: Now, inputs: impl Iterator<Item = Input>) -> bool {
        let mut guard = self.core();
        let core = &mut *guard;
        // Inside the iterator, inputs are made where they are used.
        inputs.for_each(|input| core.node.handle(now, input, &mut core.out));
        let must_wait = core.node.must_wait(now);
        self.settle(guard);
        must_wait
            || self.pressure.relay.load(Ordering::Acquire) > 0
            || self.inbox.is_full()
            || self.keeper.as_ref().is_some_and(Keeper::is_full)
    }

    /// After the machine was fed: does what it says, and lets go of it.
    pub(super) fn settle(self: &Arc<Self>, mut guard: MutexGuard<'_, Core>) {
        let core = &mut *guard;
        self.carry_out(core);
        if core.node.next_timer().is_some_and(|next| core.armed.is_none_or(|armed| next < armed)) {
            core.armed = core.node.next_timer();
            self.rearm.notify_one();
        }
        let (items, asked) = (std::mem::take(&mut core.items), std::mem::take(&mut core.asked));
        let searched = std::mem::take(&mut core.searched);
        // A hook may use the node.
        drop(guard);
        for request in asked {
            self.take_request(request);
        }
        for search in searched {
            self.take_search(search);
        }
        if !items.is_empty() {
            self.hand_up(items);
        }
    }

    pub(super) fn feed_one(self: &Arc<Self>, input: Input) {
        self.feed(std::iter::once(input));
    }

    fn carry_out(self: &Arc<Self>, core: &mut Core) {
        let Core { out, links, answers, items, watchers, asked, searched, .. } = core;
        let hooked = self.hooked.load(Ordering::Acquire) > 0;
        let (mut intake, mut records) = (None, None);
        let mut give = |item: Item| {
            if hooked {
                items.push(item);
            } else if is_ordinary(&item) {
                intake.get_or_insert_with(|| self.inbox.intake()).push(item);
            }
        };
        for output in out.outputs.drain(..) {
            match output {
                Output::Send { links: targets, class, body } => {
                    let mut variants = None;
                    for link in out.targets.get(targets).unwrap_or_default() {
                        if let Some(entry) = links.get(link) {
                            entry.queue.push(class, &body, &mut variants);
                        }
                    }
                }
                Output::Keep { key, value } => {
                    if let Some(keeper) = &self.keeper {
                        records.get_or_insert_with(|| keeper.intake()).keep(key, value);
                    }
                }
                Output::Event(Event::Asked { number, received }) => {
                    asked.push(Request::new(self, number, *received));
                }
                Output::Event(Event::Answered { token, received }) => {
                    if let Some(waiting) = answers.remove(&token) {
                        waiting.answer(*received);
                    }
                }
                Output::Event(Event::Searched { hops, received }) => {
                    searched.extend(Search::new(self, hops, *received));
                }
                Output::Event(Event::Found { token, hops, received }) => {
                    if let Some(waiting) = answers.get(&token) {
                        waiting.has_found(hops, *received);
                    }
                }
                Output::Event(Event::Received(received)) => give(Item::Message(received)),
                Output::Event(Event::Connected { peer, address, .. }) => {
                    give(Item::Connected { peer, address });
                }
                Output::Event(Event::Disconnected { peer, reason }) => {
                    give(Item::Disconnected { peer, reason });
                }
                Output::Event(Event::Changed(change)) => watchers.tell(&change),
                Output::Event(Event::Superseded { key, value, by }) => {
                    give(Item::Superseded { key, value, by });
                }
                Output::Event(Event::Redial { address, problem, pause }) => {
                    give(Item::Redial { address, problem, pause });
                }
                Output::Event(Event::Done { token, result }) => {
                    if let Some(waiting) = answers.remove(&token) {
                        waiting.end(result);
                    }
                }
                Output::Dial { dial, address, reach } => {
                    self.spawn(dial_out(self.clone(), dial, address, reach));
                }
                Output::TellWritten { link } => {
                    if let Some(entry) = links.get(&link) {
                        entry.queue.tell_written();
                    }
                }
                Output::Agree { link, read, write } => {
                    if let Some(entry) = links.get(&link) {
                        entry.queue.agree(read, write);
                    }
                }
                Output::Close { link, reason: CloseReason::Duplicate } => {
                    if let Some(entry) = links.get(&link) {
                        entry.queue.close();
                        self.spawn(give_up_later(self.clone(), link, CloseReason::Duplicate));
                    }
                }
                Output::Close { link, reason } => {
                    if let Some(entry) = links.remove(&link) {
                        entry.queue.close();
                        // After a goodbye to a neighbour the reader goes on until that has closed
                        // too: a socket closed with unread bytes resets the connection, and what
                        // was written last would be lost. Nobody else gets that patience, and it ends.
                        let neighbour = entry.queue.agreed().is_some();
                        if neighbour && reason == CloseReason::Local {
                            let patience = self.config.close_timeout;
                            self.spawn(async move {
                                sleep(patience).await;
                                entry.reader.abort();
                            });
                        } else {
                            entry.reader.abort();
                        }
                    }
                }
            }
        }
        out.clear();
    }

    /// Items for the program: hooks see theirs first, and codes that nobody hooked go no further.
    fn hand_up(&self, mut items: Vec<Item>) {
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Before the inbox is opened: a hook may use the node, and whatever threads it waits for may too.
        items.retain(|item| match item {
            Item::Message(received) => {
                let taken = hooks.get(&received.code).is_some_and(|hook| hook(received));
                !taken && is_ordinary(item)
            }
            _ => true,
        });
        self.inbox.push(items.into_iter());
    }

    /// Waits until a reader may go on: relays it caused have room (or their links count as slow), the
    /// program has made room (or its patience is used up), and ids can be remembered.
    pub(super) async fn wait_for_room(self: &Arc<Self>, reader: &LinkQueue) {
        while self.pressure.relay.load(Ordering::Acquire) > 0 {
            let room = self.pressure.room.notified();
            // Nothing this link brings is relayed back to it, so it does not wait for itself.
            let held_up =
                |entry: &LinkEntry| entry.queue.link != reader.link && entry.queue.holds_up_relays();
            if !self.core().links.values().any(held_up) {
                break;
            }
            room.await;
        }
        if self.inbox.is_full() {
            self.inbox.wait_for_room(self.config.inbox_patience).await;
        }
        self.wait_to_keep().await;
        loop {
            let wait = {
                let mut core = self.core();
                core.node.must_wait(self.now())
            };
            if !wait {
                break;
            }
            sleep(SEEN_PAUSE).await;
        }
    }

    /// Waits until there is room for more records on their way to the store.
    pub(crate) async fn wait_to_keep(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.wait_for_room().await;
        }
    }

    /// Waits until every record that the machine has given so far is on the disk. At once where there is
    /// nothing to keep records in.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        match &self.keeper {
            Some(keeper) => keeper.flush().await,
            None => Ok(()),
        }
    }

    /// As [`Runtime::flush`], if what is acknowledged must outlive the process.
    pub(crate) async fn flush_if_durable(&self) -> Result<(), StoreError> {
        match self.durable {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Has the records that wait written soon.
    pub(crate) fn flush_soon(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.hurry();
        }
    }

    /// Records written to the store, and those that were dropped because it fails.
    pub(crate) fn keeping(&self) -> (u64, u64) {
        self.keeper.as_ref().map(Keeper::counts).unwrap_or_default()
    }

    /// Waits until every link has room for own messages.
    pub(crate) async fn wait_for_own_room(&self) {
        while self.pressure.own.load(Ordering::Acquire) > 0 {
            let room = self.pressure.room.notified();
            if self.pressure.own.load(Ordering::Acquire) == 0 {
                break;
            }
            room.await;
        }
    }

    /// Whether every link has room for own messages.
    pub(crate) fn has_own_room(&self) -> bool {
        self.pressure.own.load(Ordering::Acquire) == 0
    }

    /// The peers whose links have no room for own messages.
    pub(crate) fn full_peers(&self) -> Vec<NodeId> {
        let core = self.core();
        let full = core.links.values().filter(|entry| entry.queue.holds_up_own());
        full.filter_map(|entry| core.node.peer_on(entry.queue.link).cloned()).collect()
    }

    /// Which of the broadcasts that frames claim to be are known ([`Node::are_known`]).
    pub(super) fn are_known(&self, claims: &[(i64, [u8; DIGEST_LEN])], known: &mut Vec<bool>) {
        let core = self.core();
        core.node.are_known(self.now(), claims, known);
    }

    /// Whether a sender that has not had to wait should let others run.
    pub(crate) fn is_due_to_yield(&self) -> bool {
        // Senders on two threads may count as one, which does no harm.
        let sends = self.sends.load(Ordering::Relaxed) + 1;
        self.sends.store(sends, Ordering::Relaxed);
        sends.is_multiple_of(YIELD_EVERY)
    }

    /// Sends an own broadcast; returns to how many links. Gives it back if everyone would take it
    /// for a copy of one that was sent before.
    pub(crate) fn broadcast(self: &Arc<Self>, now: Now, message: Message) -> Result<usize, Message> {
        let mut guard = self.core();
        let core = &mut *guard;
        if core.node.would_repeat(&message) {
            return Err(message);
        }
        core.node.handle(now, Input::Command(Command::Broadcast(message)), &mut core.out);
        let links = core.out.targets.len();
        self.carry_out(core);
        Ok(links)
    }

    /// Changes the table; returns what came of it and to how many links it went.
    pub(crate) fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Node, Stamped, &mut Outbox) -> T,
    ) -> (T, usize) {
        let mut guard = self.core();
        let core = &mut *guard;
        // Behind the lock, so that what is stamped later is not sent before.
        let now = self.now();
        let changed = change(&mut core.node, Stamped { now, stamp: self.stamp(now) }, &mut core.out);
        let links = core.out.targets.len();
        self.settle(guard);
        (changed, links)
    }

    /// Tells of the table's changes from now on.
    pub(crate) fn watch(&self) -> Arc<Watcher> {
        let mut core = self.core();
        core.node.watch_table(true);
        core.watchers.add(self.config.watch_changes, self.config.watch_bytes)
    }

    /// Sends a whisper at once if its addressee is a neighbour, as it mostly is.
    pub(crate) fn whisper_to_neighbour(self: &Arc<Self>, to: &NodeId, message: &Message) -> bool {
        let mut guard = self.core();
        if guard.node.link_to(to).is_none() {
            return false;
        }
        let now = self.now();
        let core = &mut *guard;
        // The answer is known, so nobody waits for it.
        let command = Command::Whisper { token: Token(0), to: to.clone(), message: message.clone() };
        core.node.handle(now, Input::Command(command), &mut core.out);
        self.settle(guard);
        true
    }

    /// Gives a command and waits for its answer. Dropping the future drops the answer only.
    pub(crate) async fn command(
        self: &Arc<Self>,
        command: impl FnOnce(Token) -> Command,
    ) -> Result<NodeId, CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let (token, answered) = self.promise();
        self.feed_one(Input::Command(command(token)));
        answered.await.unwrap_or(Err(CommandError::Closed))
    }

    pub(super) fn token(&self) -> Token {
        Token(self.next_token.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for something whose answer comes later, and where it comes.
    pub(super) fn promise(&self) -> (Token, oneshot::Receiver<Result<NodeId, CommandError>>) {
        let token = self.token();
        let (answer, answered) = oneshot::channel();
        self.core().answers.insert(token, Waiting::Peer(answer));
        (token, answered)
    }

    /// Gives a command whose answer nobody waits for.
    pub(crate) fn command_unanswered(self: &Arc<Self>, command: impl FnOnce(Token) -> Command) {
        let token = self.token();
        self.feed_one(Input::Command(command(token)));
    }

    /// Gives a command that has no answer.
    pub(crate) fn command_at_once(self: &Arc<Self>, command: Command) {
        self.feed_one(Input::Command(command));
    }

    pub(crate) fn set_hook(&self, code: u64, hook: Hook) {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = hooks.insert(code, hook);
        self.hooked.store(hooks.len(), Ordering::Release);
        // What goes with it may set hooks.
        drop(hooks);
        drop(replaced);
    }

    /// Whether the program lets whoever is on a connection be there.
    fn is_admitted(&self, remote: &Remote, origin: Origin) -> bool {
        let (Some(admit), Some(key)) = (&self.admit, &remote.key) else { return true };
        let id = self.with_node(|node| NodeId::of_key(key, &node.identity().protocol));
        admit(&Candidate { id, ip: remote.ip, dialled: origin.role() == Role::Dialler })
    }

    /// A connection stands: starts its reader and writer and shakes hands.
    pub(super) fn link_up(self: &Arc<Self>, connection: Connection, origin: Origin, guest: Option<Guest>) {
        if !self.is_admitted(&connection.remote, origin) {
            TrafficCounters::add(&self.traffic.refused, 1);
            let problem = CloseReason::Refused.to_string();
            match origin {
                Origin::Accepted => {}
                Origin::Dialled(dial) => self.feed_one(Input::DialFailed { dial, problem }),
                Origin::Brought { token, .. } => {
                    let error = CommandError::brought(&problem, Some(CloseReason::Refused));
                    if let Some(waiting) = self.core().answers.remove(&token) {
                        waiting.end(Err(error));
                    }
                }
            }
            return;
        }
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let Connection { reader: read, writer: write, remote } = connection;
        let queue = Arc::new(LinkQueue::new(
            link,
            self.config.own_queue,
            self.config.relay_queue,
            self.pressure.clone(),
            self.traffic.clone(),
        ));
        let (reading, read_up) = oneshot::channel::<()>();
        let reader = {
            // The reader may not hand in anything before the machine knows the link.
            let mut guard = self.core();
            let run = reader::run(self.clone(), queue.clone(), read);
            let reader = self.spawn(async move {
                // Dropped when the reader ends, however it does.
                let _reading = reading;
                let _counted = guest;
                run.await;
            });
            guard.links.insert(link, LinkEntry { queue: queue.clone(), reader: reader.clone() });
            let now = self.now();
            let core = &mut *guard;
            core.node.handle(now, Input::LinkUp { link, origin, remote }, &mut core.out);
            self.settle(guard);
            reader
        };
        self.writers.fetch_add(1, Ordering::AcqRel);
        let (runtime, writer) = (self.clone(), writer::run(self.clone(), queue, write));
        self.spawn(async move {
            writer.await;
            let _ = timeout(runtime.config.close_timeout, read_up).await;
            reader.abort();
            runtime.writers.fetch_sub(1, Ordering::AcqRel);
            runtime.writer_ended.notify_waiters();
        });
    }

    /// A link's reader ended.
    pub(super) fn link_down(self: &Arc<Self>, link: LinkId, reason: CloseReason) {
        let entry = self.core().links.remove(&link);
        if let Some(entry) = entry {
            // What was accepted for it is written if the other side still reads.
            match reason {
                CloseReason::Remote => entry.queue.close(),
                _ => entry.queue.kill(),
            }
        }
        self.feed_one(Input::LinkDown { link, reason });
    }

    /// A link's writer failed. What has arrived is still read; the end of the stream says the rest,
    /// and if it does not, time does.
    pub(super) fn write_failed(self: &Arc<Self>, link: LinkId, reason: CloseReason) {
        self.spawn(give_up_later(self.clone(), link, reason));
    }

    /// Tells the program that a peer takes nothing.
    pub(super) fn slow_peer(&self, link: LinkId) {
        TrafficCounters::add(&self.traffic.slow_peers, 1);
        let peer = self.core().node.peer_on(link).cloned();
        if let Some(peer) = peer {
            self.inbox.push(std::iter::once(Item::SlowPeer { peer }));
        }
    }

    /// Whether the node was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.inbox.lagged()
    }

    /// The one way out: says goodbye, writes what is queued within the deadline, stops everything.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.feed_one(Input::Command(Command::Close));
        // Writers end when their queues are written; they are all that is waited for.
        let written = async {
            loop {
                let ended = self.writer_ended.notified();
                if self.writers.load(Ordering::Acquire) == 0 {
                    break;
                }
                ended.await;
            }
        };
        let _ = timeout(self.config.close_timeout, written).await;
        self.stop();
        if self.keeper.is_some() {
            let runtime = self.clone();
            let closed = self.handle.spawn_blocking(move || runtime.close_store());
            // It can only fail where everything is going down, and then it is done again by whoever drops us.
            let _ = closed.await;
        }
    }

    /// Stops everything at once, but for what is being written to the store.
    pub(crate) fn abort(&self) {
        self.stop();
        self.close_store();
    }

    fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.finish();
    }

    /// Writes the records that wait, and gives the store back.
    fn close_store(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
    }

    fn finish(&self) {
        self.closed.store(true, Ordering::Release);
        let mut core = self.core();
        core.answers.clear();
        core.watchers.close();
        for (_, entry) in std::mem::take(&mut core.links) {
            entry.queue.kill();
        }
        drop(core);
        self.inbox.close();
    }
}

fn is_ordinary(item: &Item) -> bool {
    match item {
        Item::Message(received) => received.code < crate::wire::codes::code::FIRST_USER,
        _ => true,
    }
}

async fn give_up_later(runtime: Arc<Runtime>, link: LinkId, reason: CloseReason) {
    sleep(LINGER).await;
    let entry = runtime.core().links.remove(&link);
    if let Some(entry) = entry {
        entry.queue.kill();
        entry.reader.abort();
        runtime.feed_one(Input::LinkDown { link, reason });
    }
}

async fn dial_out(runtime: Arc<Runtime>, dial: DialId, address: Address, reach: Reach) {
    match runtime.transport.dial(&address, reach, runtime.config.dial_timeout).await {
        Ok(connection) => runtime.link_up(connection, Origin::Dialled(dial), None),
        Err(error) => runtime.feed_one(Input::DialFailed { dial, problem: error.to_string() }),
    }
}

async fn accept(runtime: Arc<Runtime>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let now = runtime.now();
                if runtime.with_node(|node| node.refuses(now, from.ip())) {
                    TrafficCounters::add(&runtime.traffic.turned_away, 1);
                    continue;
                }
                let Ok((guest, crowded)) = runtime.door.enter(now.mono, from.ip()) else {
                    TrafficCounters::add(&runtime.traffic.turned_away, 1);
                    continue;
                };
                TrafficCounters::add(&runtime.traffic.crowded_out, crowded.into());
                let number = guest.number;
                let welcome = welcome(runtime.clone(), stream, guest);
                if runtime.transport.is_ready_at_once() {
                    welcome.await;
                } else {
                    let work = runtime.spawn(welcome);
                    runtime.door.is_worked_on(number, work);
                }
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Makes a link of a connection that was accepted, if the other side does its part in time.
async fn welcome(runtime: Arc<Runtime>, stream: TcpStream, guest: Guest) {
    let patience = runtime.config.handshake_timeout;
    match timeout(patience, runtime.transport.accept(stream)).await {
        Ok(Ok(connection)) => {
            guest.is_in();
            runtime.link_up(connection, Origin::Accepted, Some(guest));
        }
        _ => TrafficCounters::add(&runtime.traffic.strangers, 1),
    }
}

/// Feeds the machine's timers.
async fn keep_time(runtime: Arc<Runtime>) {
    loop {
        let next = {
            let mut core = runtime.core();
            core.armed = core.node.next_timer();
            core.armed
        };
        match next {
            None => runtime.rearm.notified().await,
            Some(at) => {
                tokio::select! {
                    () = sleep_until(runtime.clock.at(at).into()) => {
                        runtime.feed_at(runtime.clock.exact(), std::iter::once(Input::Tick));
                    }
                    () = runtime.rearm.notified() => {}
                }
            }
        }
    }
}
