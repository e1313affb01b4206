//! The node machine, driven by a script that any bytes make, beside a model of what it may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peernet::identity::{NodeId, ProtocolId};
use peernet::protocol::{
    Address, Class, Command, DialId, Event, Identity, Input, LinkId, Node, Now, Origin, Outbox, Output,
    Remote, Target, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Form, Limits, Message, Method, body, open};
use peernet::{CloseReason, Config, Kind, Value};

/// The subnet of the node under test.
pub(super) fn protocol() -> ProtocolId {
    ProtocolId::derive("mesh", "Plaintext")
}

/// Nodes that there are; the first is the one under test.
const NODES: usize = 8;
/// Messages kept to be sent again.
const KEPT: usize = 4;

/// Runs the script, then lets all links end and all time-outs pass.
pub fn node(data: &[u8]) {
    let mut script = Script(data);
    let mut run = Run::new(&mut script);
    while !script.is_empty() {
        run.step(&mut script);
    }
    run.end();
}

/// Reads choices from bytes; after the end everything is 0.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn pick(&mut self, of: usize) -> usize {
        usize::from(self.byte()) % of
    }

    pub(super) fn wide(&mut self) -> u64 {
        (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte()))
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        let (now, later) = self.0.split_at(len.min(self.0.len()));
        self.0 = later;
        now
    }
}

/// What the model knows of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Another link to the same peer is kept; what comes on this one is still read.
    Doubled,
}

struct Run {
    node: Node,
    out: Outbox,
    now: Now,
    ids: Vec<NodeId>,
    links: BTreeMap<LinkId, Fate>,
    dialled: BTreeSet<LinkId>,
    next_link: u64,
    dials: BTreeSet<DialId>,
    /// Dials that may be under way at the same time.
    allowed_dials: usize,
    tokens: BTreeSet<Token>,
    next_token: u64,
    neighbours: BTreeSet<NodeId>,
    /// Broadcasts handed up.
    heard: BTreeSet<[u8; 32]>,
    /// Broadcasts passed on.
    relayed: BTreeSet<[u8; 32]>,
    /// The message that is being handled, and the link that brought it.
    handled: Option<(LinkId, Message)>,
    kept: Vec<Message>,
    /// What the node asked for: request id and wanted node.
    asked: Vec<(Value, Value)>,
    inputs: usize,
    closed: bool,
}

impl Run {
    fn new(script: &mut Script<'_>) -> Self {
        let protocol = protocol();
        let ids: Vec<NodeId> =
            (0..NODES).map(|at| NodeId::derive("host", 1, &protocol, &at.to_string())).collect();
        let identity =
            Identity { id: ids[0].clone(), protocol, address: address_of(0), trust: Trust::Claimed };
        let config = Config {
            max_peers: 3,
            max_opening: 2,
            max_outgoing: script.pick(4),
            book_addresses: 64,
            connections: 0,
            named_dials_per_minute: 2,
            trust_lookups: true,
            fresh_seconds: 10,
            fresh_floor: 2,
            seen_capacity: 8,
            ..Config::default()
        };
        Self {
            allowed_dials: config.max_outgoing,
            node: Node::new(identity, config, u64::from(script.byte())),
            out: Outbox::new(),
            now: Now { mono: Duration::from_secs(1000), wall: 1_000_000 },
            ids,
            links: BTreeMap::new(),
            dialled: BTreeSet::new(),
            next_link: 0,
            dials: BTreeSet::new(),
            tokens: BTreeSet::new(),
            next_token: 0,
            neighbours: BTreeSet::new(),
            heard: BTreeSet::new(),
            relayed: BTreeSet::new(),
            handled: None,
            kept: Vec::new(),
            asked: Vec::new(),
            inputs: 0,
            closed: false,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.pick(20) {
            0 | 1 => self.link_up(Origin::Accepted),
            2 => self.answer_dial(script),
            3 => {
                let reason = match script.pick(4) {
                    0 => CloseReason::Remote,
                    1 => CloseReason::Broken("it broke".into()),
                    2 => CloseReason::Stalled,
                    _ => CloseReason::Duplicate,
                };
                let link = self.link(script);
                self.links.remove(&link);
                self.feed(Input::LinkDown { link, reason });
            }
            4..=6 => {
                let (link, message) = (self.link(script), self.handshake(script));
                self.message(link, message);
            }
            7 | 8 => {
                let (link, message) = (self.link(script), self.any_message(script));
                self.keep(&message);
                self.message(link, message);
            }
            9 => self.raw_body(script),
            10 => {
                let (link, message) = (self.link(script), self.peers(script));
                self.message(link, message);
            }
            11 | 12 => self.pass_time(script),
            13 => self.command(script),
            14 => {
                let input = match script.pick(2) {
                    0 => Input::Duplicates { link: self.link(script), count: u64::from(script.byte()) },
                    _ => Input::Refused { link: self.link(script) },
                };
                self.feed(input);
            }
            15 | 16 => self.repeat(script),
            17 => self.lookup(script),
            18 => {
                let payload = match script.pick(3) {
                    0 => vec![code::RESEND.into()],
                    1 => vec![code::COMPRESSION.into(), methods(script)],
                    _ => vec![code::COMPRESSION.into(), self.value(script, 0)],
                };
                let message = self.pack(kind::RENEGOTIATE, script, &payload);
                self.message(self.link(script), message);
            }
            _ => {
                let code = [code::PING, code::PONG, code::REQUEST, code::WHISPER][script.pick(4)];
                let message = self.pack(kind::WHISPER, script, &[code.into(), b"*".into()]);
                self.message(self.link(script), message);
            }
        }
    }

    fn link_up(&mut self, origin: Origin) {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, Fate::Open);
        if matches!(origin, Origin::Dialled(_)) {
            self.dialled.insert(link);
        }
        self.feed(Input::LinkUp { link, origin, remote: Remote::default() });
    }

    fn answer_dial(&mut self, script: &mut Script<'_>) {
        let Some(dial) = self.dials.iter().nth(script.pick(self.dials.len().max(1))).copied() else { return };
        self.dials.remove(&dial);
        match script.pick(3) {
            0 => self.feed(Input::DialFailed { dial, problem: "nobody is there".into() }),
            _ => self.link_up(Origin::Dialled(dial)),
        }
    }

    /// Any link that there is, or seldom one that there is not.
    fn link(&self, script: &mut Script<'_>) -> LinkId {
        let at = usize::from(script.byte());
        let none = LinkId(u64::MAX);
        match at {
            255 => none,
            _ => self.links.keys().nth(at % self.links.len().max(1)).copied().unwrap_or(none),
        }
    }

    fn message(&mut self, link: LinkId, message: Message) {
        self.feed(Input::Message { link, message });
    }

    fn keep(&mut self, message: &Message) {
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(message.clone());
    }

    fn id(&self, script: &mut Script<'_>) -> Value {
        let id = &self.ids[script.pick(NODES)];
        match script.pick(2) {
            0 => id.as_str().into(),
            _ => id.as_str().as_bytes().into(),
        }
    }

    /// A message of some node, stamped around the present.
    fn pack(&self, kind: u64, script: &mut Script<'_>, payload: &[Value]) -> Message {
        let form = [Form::Str, Form::Bin][script.pick(2)];
        let sender = match script.byte() {
            255 => script.bytes(),
            at => self.ids[usize::from(at) % NODES].as_str().as_bytes(),
        };
        let form = if std::str::from_utf8(sender).is_ok() { form } else { Form::Bin };
        let time = match script.byte() as i8 {
            i8::MIN => script.wide() as i64,
            off => self.now.wall + i64::from(off / 8),
        };
        Message::pack_raw(kind, sender, form, time, payload).expect("such values have a form")
    }

    fn handshake(&self, script: &mut Script<'_>) -> Message {
        let net = protocol();
        let id = self.ids[script.pick(NODES)].as_str();
        let (id, net): (Value, Value) = match script.pick(4) {
            0 => (id.as_bytes().into(), net.as_str().as_bytes().into()),
            1 => (id.into(), net.as_str().into()),
            _ => (id.into(), net.as_str().as_bytes().into()),
        };
        let address = address_of(script.pick(NODES));
        let address = Value::Array(vec![address.host.into(), address.port.into()]);
        let mut payload = vec![code::HANDSHAKE.into(), id, net, address, methods(script)];
        // Seldom a wrong part, one too many or one too few.
        match script.byte() {
            at @ 240..=244 => payload[usize::from(at) - 240] = self.value(script, 0),
            245 => payload.truncate(2),
            246 => payload.push(self.value(script, 0)),
            _ => {}
        }
        self.pack(kind::WHISPER, script, &payload)
    }

    fn any_message(&self, script: &mut Script<'_>) -> Message {
        let kind = match script.byte() {
            255 => script.wide(),
            other => u64::from(other % 4),
        };
        let first = match script.byte() {
            255 => self.value(script, 0),
            other => u64::from(other % 0x34).into(),
        };
        let mut payload = vec![first];
        for _ in 0..script.pick(5) {
            payload.push(self.value(script, 0));
        }
        self.pack(kind, script, &payload)
    }

    /// Bytes as they come, behind their digest; what does not read ends its link, or is refused, as it
    /// would by a link's reader.
    fn raw_body(&mut self, script: &mut Script<'_>) {
        let link = self.link(script);
        let packed = script.bytes();
        let whole = [&body::digest(packed)[..], packed].concat();
        match Message::read(whole.into(), &Limits::default()) {
            Ok(message) => self.message(link, message),
            Err(error) if error.is_malformed() => {
                self.links.remove(&link);
                self.feed(Input::LinkDown { link, reason: error.into() });
            }
            Err(_) => self.feed(Input::Refused { link }),
        }
    }

    fn peers(&self, script: &mut Script<'_>) -> Message {
        let named = (0..script.pick(12)).map(|_| match script.byte() {
            255 => self.value(script, 1),
            at => {
                let address = address_of(usize::from(at) % 64);
                Value::Array(vec![
                    Value::Array(vec![address.host.into(), address.port.into()]),
                    self.id(script),
                ])
            }
        });
        let payload = [code::PEERS.into(), Value::Array(named.collect())];
        self.pack(kind::WHISPER, script, &payload)
    }

    fn pass_time(&mut self, script: &mut Script<'_>) {
        let by = match script.pick(4) {
            0 => Duration::from_millis(u64::from(script.byte())),
            1 => Duration::from_secs(u64::from(script.byte())),
            2 => self.node.next_timer().map_or(Duration::ZERO, |at| at.saturating_sub(self.now.mono)),
            _ => {
                // The clock is set, the stop-watch not.
                let by = i64::from(script.byte() as i8);
                self.now.wall += by;
                Duration::ZERO
            }
        };
        self.now.mono += by;
        self.now.wall += i64::try_from(by.as_secs()).unwrap();
        self.feed(Input::Tick);
        assert!(self.node.next_timer().is_none_or(|at| at > self.now.mono), "a timer that is over stays");
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.tokens.insert(Token(self.next_token));
        Token(self.next_token)
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let own = self.ids[0].clone();
        let own = own.as_str();
        let peer = self.ids[script.pick(NODES)].clone();
        let command = match script.byte() {
            255 => {
                self.closed = true;
                Command::Close
            }
            other => match other % 4 {
                0 => {
                    let payload = [code::BROADCAST.into(), script.byte().into()];
                    let message = Message::pack_raw(
                        kind::BROADCAST,
                        own.as_bytes(),
                        Form::Str,
                        self.now.wall,
                        &payload,
                    );
                    Command::Broadcast(message.unwrap())
                }
                1 => {
                    let message =
                        Message::pack(kind::WHISPER, own, Form::Str, self.now.wall, code::WHISPER, &(1,));
                    // A node that is looked for is dialled at three addresses at most.
                    self.allowed_dials += 3;
                    Command::Whisper { token: self.token(), to: peer, message: message.unwrap() }
                }
                2 => {
                    let id = (script.pick(3) == 0).then_some(peer);
                    let target = Target { id, address: address_of(script.pick(NODES)) };
                    self.allowed_dials += 1;
                    Command::Connect { token: self.token(), target, persist: script.pick(2) == 0 }
                }
                _ => Command::Disconnect { token: self.token(), peer },
            },
        };
        let closing = matches!(command, Command::Close);
        self.feed(Input::Command(command));
        assert!(!closing || self.node.next_timer().is_none(), "a closed node keeps a timer");
    }

    /// A message that came before comes again, on another link perhaps.
    fn repeat(&mut self, script: &mut Script<'_>) {
        let Some(message) = self.kept.get(script.pick(KEPT)).cloned() else { return };
        let link = self.link(script);
        let header = *message.header();
        let digest = message.body().first_chunk().unwrap();
        // A link's reader asks first.
        if header.kind == kind::BROADCAST && script.pick(2) == 0 {
            let mut known = Vec::new();
            self.node.are_known(self.now, &[(header.time, *digest)], &mut known);
            if known == [true] {
                return self.feed(Input::Duplicates { link, count: 1 });
            }
        }
        self.message(link, message);
    }

    /// Requests for nodes' addresses, and answers to the node's own.
    fn lookup(&mut self, script: &mut Script<'_>) {
        let payload = match script.pick(3) {
            0 => vec![code::REQUEST.into(), self.value(script, 0), self.id(script)],
            1 => {
                let Some((request, wanted)) = self.asked.last().cloned() else { return };
                let address = address_of(script.pick(64));
                let address = Value::Array(vec![address.host.into(), address.port.into()]);
                vec![code::RESPONSE.into(), request, Value::Array(vec![address, wanted])]
            }
            _ => vec![code::RESPONSE.into(), self.value(script, 0), self.value(script, 0)],
        };
        let message = self.pack(u64::from(script.byte() % 3), script, &payload);
        self.message(self.link(script), message);
    }

    fn value(&self, script: &mut Script<'_>, depth: usize) -> Value {
        match script.pick(12) {
            0 => Value::Nil,
            1 => (script.byte() & 1 == 1).into(),
            2 => script.byte().into(),
            3 => (script.wide() as i64).into(),
            4 => script.wide().into(),
            5 => f64::from_bits(script.wide()).into(),
            6 => String::from_utf8_lossy(script.bytes()).into_owned().into(),
            7 => script.bytes().into(),
            8 if depth < 5 => {
                Value::Array((0..script.pick(6)).map(|_| self.value(script, depth + 1)).collect())
            }
            9 if depth < 5 => {
                let pair = |_| (self.value(script, depth + 1), self.value(script, depth + 1));
                Value::Map((0..2).map(pair).collect())
            }
            10 => Value::Array(vec!["host".into(), script.wide().into()]),
            _ => self.id(script),
        }
    }

    /// Gives the machine one input and checks everything that comes of it.
    fn feed(&mut self, input: Input) {
        self.inputs += 1;
        self.handled = match &input {
            Input::Message { link, message } => Some((*link, message.clone())),
            _ => None,
        };
        self.node.handle(self.now, input, &mut self.out);
        let mut out = std::mem::take(&mut self.out);
        for output in out.outputs.drain(..).collect::<Vec<_>>() {
            self.check(output, &out);
        }
        out.clear();
        self.out = out;
        self.node.must_wait(self.now);
        self.check_table();
    }

    fn check(&mut self, output: Output, out: &Outbox) {
        match output {
            Output::Send { links, body, class } => {
                let targets = out.links(&links);
                let once: BTreeSet<_> = targets.iter().collect();
                assert!(!targets.is_empty() && once.len() == targets.len(), "sent twice: {targets:?}");
                for link in targets {
                    assert!(self.links.contains_key(link), "sent on {link:?}, which is gone");
                }
                if class == Class::Relay {
                    self.check_relay(targets, &body);
                }
                let body = open(body, &[], usize::MAX).expect("what is sent has a digest");
                let message = Message::read(body, &Limits::default()).expect("what is sent is a message");
                if message.code() == Some(code::REQUEST)
                    && message.header().kind == kind::BROADCAST
                    && let [_, request, wanted] = message.values(&Limits::default()).unwrap().as_slice()
                {
                    self.asked = vec![(request.clone(), wanted.clone())];
                }
            }
            Output::Dial { dial, address, .. } => {
                assert!(!self.closed, "a closed node dials");
                assert!(address.port != 0 && !address.host.is_empty());
                assert!(self.dials.insert(dial), "dialled while it is dialled");
                assert!(self.dials.len() <= self.allowed_dials, "too many dials under way");
            }
            Output::Agree { link, read, write } => {
                assert!(self.links.contains_key(&link), "agreed on {link:?}, which is gone");
                assert!(write.is_none_or(|write| read.contains(&write)));
            }
            Output::Close { link, reason } => {
                let fate = self.links.remove(&link).expect("closed a link that is gone");
                if reason == CloseReason::Duplicate {
                    assert_eq!(fate, Fate::Open, "doubled twice");
                    self.links.insert(link, Fate::Doubled);
                }
            }
            Output::Keep { .. } | Output::TellWritten { .. } => {}
            Output::Event(event) => self.check_event(event),
        }
    }

    /// A relay goes on unchanged, once, and not to where it came from or was made.
    fn check_relay(&mut self, targets: &[LinkId], body: &[u8]) {
        let (from, message) = self.handled.as_ref().expect("relayed without a message");
        assert!(message.body() == body && message.header().kind == kind::BROADCAST);
        for link in targets {
            let author = self.node.peer_on(*link).map(|peer| peer.as_str().as_bytes());
            assert!(link != from && author != Some(message.sender()), "relayed back");
        }
        assert!(self.relayed.insert(*body.first_chunk().unwrap()), "relayed twice");
    }

    fn check_event(&mut self, event: Event) {
        match event {
            Event::Connected { peer, link, .. } => {
                assert!(self.links.contains_key(&link));
                assert!(peer != self.ids[0] && self.neighbours.insert(peer), "connected twice");
            }
            Event::Disconnected { peer, .. } => {
                assert!(self.neighbours.remove(&peer), "disconnected without a connection");
            }
            Event::Received(received) => {
                assert!(received.sender != self.ids[0], "heard itself");
                assert!(self.links.contains_key(&received.link));
                let digest = *received.message.body().first_chunk().unwrap();
                if received.kind == Kind::Broadcast {
                    assert!(self.heard.insert(digest), "handed up twice");
                }
            }
            Event::Done { token, .. } => {
                assert!(self.tokens.remove(&token), "answered twice, or what nobody asked");
            }
            // 0.7 has no words for them.
            Event::Asked { .. } | Event::Answered { .. } | Event::Searched { .. } | Event::Found { .. } => {
                panic!("requests in a subnet of 0.7")
            }
            Event::Redial { pause, .. } => assert!(pause <= self.node.config().redial_max),
            Event::Changed(_) | Event::Superseded { .. } => panic!("a mesh has no table"),
        }
    }

    fn check_table(&self) {
        let config = self.node.config();
        let table: Vec<_> = self.node.neighbours().collect();
        assert!(table.len() <= config.max_peers, "too many neighbours");
        assert_eq!(table.len(), self.node.neighbour_count());
        let ids: BTreeSet<_> = table.iter().map(|neighbour| neighbour.id.clone()).collect();
        let links: BTreeSet<_> = table.iter().map(|neighbour| neighbour.link).collect();
        assert_eq!((ids.len(), links.len()), (table.len(), table.len()), "a link or a peer twice");
        assert_eq!(ids, self.neighbours, "the events tell of other neighbours than the table");
        for neighbour in &table {
            assert_eq!(self.links.get(&neighbour.link), Some(&Fate::Open), "a neighbour over a closed link");
            assert_eq!(self.node.link_to(&neighbour.id), Some(neighbour.link));
            assert_eq!(self.node.peer_on(neighbour.link), Some(&neighbour.id));
        }
        let dialled = self.dialled.iter().filter(|link| self.links.contains_key(link)).count();
        let most = config.max_peers + config.max_opening + dialled;
        assert!(self.node.link_count() <= most.min(self.links.len()), "too many links");
    }

    /// All links end, nobody answers dials any more: every timer runs out, and every command is
    /// answered when the node closes.
    fn end(&mut self) {
        while let Some((link, _)) = self.links.pop_first() {
            self.feed(Input::LinkDown { link, reason: CloseReason::Remote });
        }
        assert_eq!(self.node.link_count(), 0);
        let most = 8 * self.inputs + 8;
        for rounds in 0.. {
            assert!(rounds < most, "timers beget timers");
            let Some(at) = self.node.next_timer() else { break };
            self.now.mono = self.now.mono.max(at);
            self.feed(Input::Tick);
        }
        self.closed = true;
        self.feed(Input::Command(Command::Close));
        assert!(self.tokens.is_empty(), "never answered: {:?}", self.tokens);
    }
}

fn address_of(node: usize) -> Address {
    Address::new("host", 1 + u16::try_from(node).unwrap())
}

fn methods(script: &mut Script<'_>) -> Value {
    let list = (0..script.pick(7)).map(|_| match script.byte() {
        255 => Value::Nil,
        other => Method::ALL[usize::from(other) % Method::ALL.len()].code().into(),
    });
    Value::Array(list.collect())
}
