//! The simulated network as its user sees it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::carry::Wires;
use super::delivery::Delivery;
use super::queue::{Happening, Queue};
use super::{Error, Hostile, NodeIndex, Occurrence, Options};
use crate::config::Config;
use crate::identity::{KeyPair, MessageId, NodeId, ProtocolId};
use crate::protocol::{
    Address, Command, CommandError, Counters, Identity, Input, Kind, Neighbour, Node, Now, Outbox,
    TableError, Target, Token, Trust,
};
use crate::wire::body;
use crate::wire::codes::{code, kind};
use crate::wire::{Message, Pack, Payload};

/// What every simulated clock says at the start, in seconds since 1970, unless it is wrong.
const EPOCH: i64 = 1_700_000_000;
/// The port that every simulated node listens on.
const PORT: u16 = 4444;

/// What was put on links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages, each once for every link it was put on.
    pub messages: u64,
    /// Users' messages and relayed ones that were lost to [`Options::loss`].
    pub lost: u64,
    /// The protocol's own messages that were lost to [`Options::control_loss`].
    pub control_lost: u64,
}

/// A node and what the world knows of it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) identity: Identity,
    pub(super) config: Config,
    /// The running machine, unless the node is down.
    pub(super) machine: Option<Node>,
    /// Whether nothing at all answers at its address, not even a refusal.
    pub(super) dark: bool,
    /// How often it was started, less one.
    pub(super) life: u32,
    pub(super) skew: i64,
    /// The last of its program's stamps.
    last_stamp: i64,
    /// What its machine kept for its next start.
    pub(super) store: BTreeMap<Vec<u8>, Bytes>,
    /// Decides what it sends, if it is not honest.
    pub(super) hostile: Option<Box<dyn Hostile>>,
    pub(super) group: usize,
    /// Whom its program connects to, again after every start.
    connects: Vec<NodeIndex>,
    /// Connections that end here.
    pub(super) connections: Vec<usize>,
    /// When its timer will be looked at next.
    pub(super) armed: Option<Duration>,
}

fn protocol(options: &Options) -> ProtocolId {
    let kind = if options.table.is_some() { "sync" } else { "mesh" };
    let subnet = match options.table {
        None => "sim",
        Some(table) if table.leases => "sim1",
        Some(_) => "sim0",
    };
    match options {
        Options { signed: true, .. } => ProtocolId::derive(subnet, &format!("tls/{kind}")),
        Options { proven: true, .. } => ProtocolId::derive(subnet, &format!("tls/{kind}/unsigned")),
        _ => ProtocolId::derive(subnet, "Plaintext"),
    }
}

fn packed(value: &(impl Pack + ?Sized)) -> Result<Bytes, Error> {
    let mut packed = Vec::new();
    value.pack(&mut packed)?;
    Ok(packed.into())
}

/// Simulated nodes and the network between them. See the [module](super).
#[derive(Debug)]
pub struct Network {
    pub(super) options: Options,
    protocol: ProtocolId,
    pub(super) rng: SmallRng,
    pub(super) now: Duration,
    pub(super) queue: Queue,
    pub(super) hosts: Vec<Host>,
    pub(super) wires: Wires,
    by_id: HashMap<NodeId, NodeIndex>,
    pub(super) by_address: HashMap<Address, NodeIndex>,
    pub(super) deliveries: Vec<Delivery>,
    by_message: HashMap<MessageId, usize>,
    pub(super) results: BTreeMap<Token, Result<NodeId, CommandError>>,
    next_token: u64,
    pub(super) events: Vec<Occurrence>,
    pub(super) traffic: Traffic,
    pub(super) fingerprint: u64,
    /// Reused for every input.
    pub(super) out: Outbox,
}

impl Network {
    /// A network without nodes.
    pub fn new(options: Options) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(options.seed),
            protocol: protocol(&options),
            options,
            now: Duration::ZERO,
            queue: Queue::default(),
            hosts: Vec::new(),
            wires: Wires::default(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            deliveries: Vec::new(),
            by_message: HashMap::new(),
            results: BTreeMap::new(),
            next_token: 0,
            events: Vec::new(),
            traffic: Traffic::default(),
            fingerprint: 0,
            out: Outbox::new(),
        }
    }

    /// A network of `nodes` nodes that are being connected as [`super::random_links`] says. The
    /// connections stand after [`Network::run_until_idle`].
    pub fn random(options: Options, config: &Config, nodes: usize, degree: usize) -> Self {
        let links = super::random_links(nodes, degree, options.seed);
        let mut network = Self::new(options);
        network.add_nodes(nodes, config);
        for (from, to) in links {
            network.order_connect(NodeIndex(from), NodeIndex(to));
        }
        network
    }

    // ---- nodes

    /// Adds a node and starts it. Its id and address follow from the seed and its place.
    pub fn add_node(&mut self, config: Config) -> NodeIndex {
        let index = NodeIndex(self.hosts.len());
        let [.., x, y, z] = index.0.to_be_bytes();
        let host = format!("10.{x}.{y}.{z}");
        let salt = format!("{} {}", self.options.seed, index.0);
        let signed = self.options.signed;
        let (id, trust) = if signed || self.options.proven {
            let keys = KeyPair::from_secret(body::digest(salt.as_bytes()));
            (NodeId::of_key(&keys.public(), &self.protocol), Trust::Proven { keys, signed })
        } else {
            (NodeId::derive(&host, PORT, &self.protocol, &salt), Trust::Claimed)
        };
        let address = Address::new(host, PORT);
        self.by_id.insert(id.clone(), index);
        self.by_address.insert(address.clone(), index);
        let identity = Identity { id, protocol: self.protocol.clone(), address, trust };
        self.hosts.push(Host {
            identity,
            config,
            machine: None,
            dark: false,
            life: 0,
            skew: 0,
            last_stamp: i64::MIN,
            hostile: None,
            group: 0,
            connects: Vec::new(),
            store: BTreeMap::new(),
            connections: Vec::new(),
            armed: None,
        });
        self.start(index);
        index
    }

    /// Adds `count` nodes that are all configured alike.
    pub fn add_nodes(&mut self, count: usize, config: &Config) -> Vec<NodeIndex> {
        (0..count).map(|_| self.add_node(config.clone())).collect()
    }

    fn start(&mut self, node: NodeIndex) {
        let seed = self.rng.next_u64();
        let now = self.now_of(node);
        let host = &mut self.hosts[node.0];
        let mut machine = Node::new(host.identity.clone(), host.config.clone(), seed);
        if let Some(options) = self.options.table {
            machine = machine.with_table(options);
        }
        for (key, value) in &host.store {
            let restored = machine.restore(now, key, value);
            debug_assert_eq!(restored, Ok(()), "what a machine keeps it takes back");
        }
        host.machine = Some(machine);
        host.dark = false;
        self.arm(node);
    }

    /// All nodes, in the order in which they were added.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeIndex> + use<> {
        (0..self.hosts.len()).map(NodeIndex)
    }

    /// A node's id.
    pub fn id(&self, node: NodeIndex) -> &NodeId {
        &self.hosts[node.0].identity.id
    }

    /// A node's address.
    pub fn address(&self, node: NodeIndex) -> &Address {
        &self.hosts[node.0].identity.address
    }

    /// The node with an id.
    pub fn node_with(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    pub(super) fn node_at(&self, address: &Address) -> Option<NodeIndex> {
        self.by_address.get(address).copied()
    }

    /// The machine itself, to look at; `None` while the node is down.
    pub fn machine(&self, node: NodeIndex) -> Option<&Node> {
        self.hosts[node.0].machine.as_ref()
    }

    /// Whether a node is running.
    pub fn is_up(&self, node: NodeIndex) -> bool {
        self.machine(node).is_some()
    }

    /// The nodes that a node has in its table of neighbours, in order.
    pub fn neighbours(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let ids = self.machine(node).into_iter().flat_map(Node::neighbours);
        let mut nodes: Vec<NodeIndex> = ids.filter_map(|peer| self.node_with(&peer.id)).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Whether two nodes are neighbours, each by its own table, over the same connection.
    pub fn is_linked(&self, a: NodeIndex, b: NodeIndex) -> bool {
        let connection = |from: NodeIndex, to: NodeIndex| -> Option<usize> {
            let link = self.machine(from)?.link_to(self.id(to))?;
            Some(Wires::connection_of(link))
        };
        let ours = connection(a, b);
        ours.is_some() && ours == connection(b, a)
    }

    /// How many connections two nodes have with each other, those included that are coming up or
    /// have been closed by one side only.
    pub fn connections(&self, a: NodeIndex, b: NodeIndex) -> usize {
        self.wires.between(&self.hosts[a.0].connections, a, b).count()
    }

    /// What a node counted since it was last started; zeros while it is down.
    pub fn counters(&self, node: NodeIndex) -> Counters {
        self.machine(node).map(Node::counters).unwrap_or_default()
    }

    // ---- what users want

    /// Lets a node's program connect to another node, and keep that up. [`Network::result`] says what
    /// came of it. A program does it again when its node is restarted.
    ///
    /// # Errors
    /// [`Error::Down`] if `from` is down.
    pub fn connect(&mut self, from: NodeIndex, to: NodeIndex) -> Result<Token, Error> {
        self.check_up(from)?;
        Ok(self.order_connect(from, to))
    }

    fn order_connect(&mut self, from: NodeIndex, to: NodeIndex) -> Token {
        self.hosts[from.0].connects.push(to);
        self.dial(from, to)
    }

    fn dial(&mut self, from: NodeIndex, to: NodeIndex) -> Token {
        let token = self.token();
        let target = Target { id: None, address: self.address(to).clone() };
        self.command(from, Command::Connect { token, target, persist: true });
        token
    }

    /// Lets a node's program close its link to another node, and not dial it again. The other may.
    ///
    /// # Errors
    /// [`Error::Down`] if `from` is down.
    pub fn disconnect(&mut self, from: NodeIndex, to: NodeIndex) -> Result<Token, Error> {
        self.check_up(from)?;
        self.hosts[from.0].connects.retain(|other| *other != to);
        let (token, peer) = (self.token(), self.id(to).clone());
        self.command(from, Command::Disconnect { token, peer });
        Ok(token)
    }

    /// Lets a node broadcast. As on a real network, a message that equals one that the same node sent
    /// in the same second has the same id, and is taken for a copy of it, unless [`Options::signed`].
    ///
    /// # Errors
    /// [`Error::Down`] if `from` is down; [`Error::Value`] if a value has no form on the wire.
    pub fn broadcast(
        &mut self,
        from: NodeIndex,
        payload: &(impl Payload + ?Sized),
    ) -> Result<MessageId, Error> {
        let message = self.pack(from, kind::BROADCAST, code::BROADCAST, payload)?;
        self.record(from, &message);
        let id = message.id();
        self.command(from, Command::Broadcast(message));
        Ok(id)
    }

    /// Lets a node send to one other node, which need not be its neighbour. [`Network::result`] says
    /// what came of it.
    ///
    /// # Errors
    /// [`Error::Down`] if `from` is down; [`Error::Value`] if a value has no form on the wire.
    pub fn send(
        &mut self,
        from: NodeIndex,
        to: NodeIndex,
        payload: &(impl Payload + ?Sized),
    ) -> Result<(MessageId, Token), Error> {
        let message = self.pack(from, kind::WHISPER, code::WHISPER, payload)?;
        self.record(from, &message);
        let (id, token, to) = (message.id(), self.token(), self.id(to).clone());
        self.command(from, Command::Whisper { token, to, message });
        Ok((id, token))
    }

    /// Lets a node's program set a key of the table.
    ///
    /// # Errors
    /// [`Error::Down`] if the node is down; [`Error::Table`] if its table refuses.
    pub fn table_set(
        &mut self,
        node: NodeIndex,
        key: &[u8],
        value: &(impl Pack + ?Sized),
    ) -> Result<MessageId, Error> {
        let (key, value) = (Bytes::copy_from_slice(key), packed(value)?);
        self.write(node, |machine, now, stamp, out| machine.table_set(now, stamp, key, value, out))
    }

    /// Lets a node's program delete a key of the table; errors as in [`Network::table_set`].
    ///
    /// # Errors
    /// As in [`Network::table_set`].
    pub fn table_delete(&mut self, node: NodeIndex, key: &[u8]) -> Result<MessageId, Error> {
        self.write(node, |machine, now, stamp, out| machine.table_delete(now, stamp, key, out))
    }

    /// Lets a node's program merge a map into a key of the table.
    ///
    /// # Errors
    /// As in [`Network::table_set`].
    pub fn table_delta(
        &mut self,
        node: NodeIndex,
        key: &[u8],
        delta: &(impl Pack + ?Sized),
    ) -> Result<MessageId, Error> {
        let delta = packed(delta)?;
        self.write(node, |machine, now, stamp, out| machine.table_delta(now, stamp, key, delta, out))
    }

    fn write(
        &mut self,
        node: NodeIndex,
        write: impl FnOnce(&mut Node, Now, i64, &mut Outbox) -> Result<MessageId, TableError>,
    ) -> Result<MessageId, Error> {
        self.check_up(node)?;
        let (now, stamp) = (self.now_of(node), self.stamp(node));
        let mut written = Err(TableError::NoTable);
        self.drive(node, None, |machine, out| written = write(machine, now, stamp, out));
        Ok(written?)
    }

    /// Lets a node end as a program should: it closes its links and stays down.
    pub fn close(&mut self, node: NodeIndex) {
        if self.is_up(node) {
            self.command(node, Command::Close);
            self.stop(node);
        }
    }

    /// Puts any message on the link from one node to its neighbour, as if the node had sent it: for
    /// peers that misbehave. Returns whether there is a link.
    pub fn inject(&mut self, from: NodeIndex, to: NodeIndex, message: Message) -> bool {
        let link = self.machine(from).and_then(|node| node.link_to(self.id(to)));
        if let Some(link) = link {
            self.post_foreign(link, message);
        }
        link.is_some()
    }

    fn pack(
        &mut self,
        from: NodeIndex,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<Message, Error> {
        self.check_up(from)?;
        let stamp = self.stamp(from);
        Ok(self.hosts[from.0].identity.pack(kind, stamp, code, payload)?)
    }

    /// The stamp of a message that a node's program sends now.
    pub(super) fn stamp(&mut self, node: NodeIndex) -> i64 {
        let wall = self.wall(node);
        let host = &mut self.hosts[node.0];
        match host.identity.trust.stamps_per_second() {
            1 => wall,
            in_a_second => {
                host.last_stamp = wall.saturating_mul(in_a_second).max(host.last_stamp.saturating_add(1));
                host.last_stamp
            }
        }
    }

    pub(super) fn check_up(&self, node: NodeIndex) -> Result<(), Error> {
        self.is_up(node).then_some(()).ok_or(Error::Down(node))
    }

    pub(super) fn command(&mut self, node: NodeIndex, command: Command) {
        self.feed(node, Input::Command(command), None);
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Begins the record of a user's message.
    fn record(&mut self, author: NodeIndex, message: &Message) {
        let kind = match message.header().kind {
            kind::BROADCAST => Kind::Broadcast,
            _ => Kind::Whisper,
        };
        let next = self.deliveries.len();
        if *self.by_message.entry(message.id()).or_insert(next) == next {
            self.deliveries.push(Delivery::new(message.id(), author, kind, self.now));
        }
    }

    pub(super) fn recorded(&self, message: &MessageId) -> Option<usize> {
        self.by_message.get(message).copied()
    }

    // ---- what the world does

    /// A node's process ends at once. Its peers see their connections end, and dials are refused.
    pub fn crash(&mut self, node: NodeIndex) {
        if self.is_up(node) {
            self.cut_off(node, "the peer crashed");
            self.stop(node);
        }
    }

    /// A node's machine is gone without a word. Nothing that is sent there is answered, not even a
    /// dial, until it is restarted.
    pub fn power_off(&mut self, node: NodeIndex) {
        self.forsake(node);
        self.stop(node);
        self.hosts[node.0].dark = true;
    }

    /// Starts a node that is down (or crashes and starts one that is up): the same identity, and of its
    /// memory what its machine had kept. Its program connects to whom it connected to before.
    pub fn restart(&mut self, node: NodeIndex) {
        self.crash(node);
        self.hosts[node.0].life += 1;
        self.start(node);
        for to in self.hosts[node.0].connects.clone() {
            self.dial(node, to);
        }
    }

    /// A node's disk is lost: what it kept is gone with its next start.
    pub fn wipe(&mut self, node: NodeIndex) {
        self.hosts[node.0].store.clear();
    }

    fn stop(&mut self, node: NodeIndex) {
        let host = &mut self.hosts[node.0];
        host.machine = None;
        host.armed = None;
    }

    /// From now on `hostile` decides what a node puts on its links. The node itself goes on as it is, and
    /// sees what an honest one would see.
    pub fn turn_hostile(&mut self, node: NodeIndex, hostile: impl Hostile + 'static) {
        self.hosts[node.0].hostile = Some(Box::new(hostile));
    }

    /// Divides the network: connections between nodes of different groups break at once, what is
    /// under way on them is lost, and dials between groups fail. Nodes in none of the groups are a
    /// group of their own.
    pub fn partition(&mut self, groups: &[&[NodeIndex]]) {
        for host in &mut self.hosts {
            host.group = 0;
        }
        for (number, group) in groups.iter().enumerate() {
            for node in *group {
                self.hosts[node.0].group = number + 1;
            }
        }
        self.break_between_groups();
    }

    /// Ends [`Network::partition`]. Nodes come together as they dial each other again.
    pub fn heal(&mut self) {
        for host in &mut self.hosts {
            host.group = 0;
        }
    }

    /// Breaks the connections that two nodes have with each other: what is under way is lost, and both
    /// are told. They may make new ones at once.
    pub fn cut(&mut self, a: NodeIndex, b: NodeIndex) {
        let connections: Vec<usize> = self.wires.between(&self.hosts[a.0].connections, a, b).collect();
        for connection in connections {
            self.break_connection(connection, "the connection was reset");
        }
    }

    /// From now on nothing arrives on the connections that two nodes have with each other, and
    /// neither is told. New connections between them are not affected.
    pub fn silence(&mut self, a: NodeIndex, b: NodeIndex) {
        let connections: Vec<usize> = self.wires.between(&self.hosts[a.0].connections, a, b).collect();
        self.wires.silence(&connections);
    }

    /// Sets a node's clock to so many seconds beside the true time.
    pub fn set_clock_skew(&mut self, node: NodeIndex, seconds: i64) {
        self.hosts[node.0].skew = seconds;
    }

    /// What a node's clock says, in seconds since 1970.
    pub fn wall(&self, node: NodeIndex) -> i64 {
        let seconds = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        EPOCH.saturating_add(seconds).saturating_add(self.hosts[node.0].skew)
    }

    pub(super) fn now_of(&self, node: NodeIndex) -> Now {
        Now { mono: self.now, wall: self.wall(node) }
    }

    // ---- time

    /// Simulated time since the network was made.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Goes on to the next thing that happens, and lets it happen; `false` if nothing will.
    pub fn step(&mut self) -> bool {
        match self.queue.pop() {
            None => false,
            Some((at, happening)) => {
                self.now = self.now.max(at);
                self.happen(happening);
                true
            }
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |_| false);
        self.now = end;
    }

    /// Runs until nothing is under way any more (no message, no dial, no end of a connection): only
    /// timers are left. Returns `false` if `limit` passed before that.
    pub fn run_until_idle(&mut self, limit: Duration) -> bool {
        self.run_until(limit, Self::is_idle)
    }

    /// Whether nothing is under way: see [`Network::run_until_idle`].
    pub fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Runs until `reached` holds; it is asked after everything that happens. Returns `false` if
    /// `limit` passed before that.
    pub fn run_until(&mut self, limit: Duration, mut reached: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !reached(self) {
            if self.queue.next_time().is_none_or(|next| next > end) {
                self.now = end;
                return reached(self);
            }
            self.step();
        }
        true
    }

    // ---- what came of it

    /// What became of a message that was given to [`Network::broadcast`] or [`Network::send`].
    pub fn delivery(&self, message: &MessageId) -> Option<&Delivery> {
        self.deliveries.get(self.recorded(message)?)
    }

    /// What became of all messages, in the order in which they were sent.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The answer to a command, once it is there.
    pub fn result(&self, token: Token) -> Option<&Result<NodeId, CommandError>> {
        self.results.get(&token)
    }

    /// Everything that nodes told their users, in order of time, if [`Options::keep_events`].
    pub fn events(&self) -> &[Occurrence] {
        &self.events
    }

    /// Takes [`Network::events`] out.
    pub fn take_events(&mut self) -> Vec<Occurrence> {
        std::mem::take(&mut self.events)
    }

    /// What was put on links.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What all running nodes counted.
    pub fn all_counters(&self) -> impl Iterator<Item = (NodeIndex, Counters)> + '_ {
        self.nodes().filter(|node| self.is_up(*node)).map(|node| (node, self.counters(node)))
    }

    /// The neighbours of a node as its machine sees them.
    pub fn neighbour_table(&self, node: NodeIndex) -> Vec<Neighbour> {
        self.machine(node).into_iter().flat_map(Node::neighbours).collect()
    }

    /// A number that sums up everything that happened so far, in order. Two networks with the same
    /// seed to which the same was done have the same one.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn schedule(&mut self, at: Duration, happening: Happening) {
        let chance = self.rng.next_u32();
        self.queue.push(at, chance, happening);
    }
}
