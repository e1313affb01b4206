//! Connections, and the carrying out of what machines want.
//!
//! As `runtime` does it over sockets: an end that its machine closes writes no more, and the other
//! end learns of it after everything that was written before. An end closed as a duplicate is read
//! until the other side closes too.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::hostile::Sending;
use super::network::{Host, Network};
use super::queue::{Content, Dial, Happening, Parcel};
use super::{NodeIndex, Occurrence};
use crate::identity::MessageId;
use crate::protocol::{
    Class, CloseReason, DialId, Event, Input, LinkId, Node, Origin, Outbox, Output, Remote, Trust,
};
use crate::wire::codes::kind;
use crate::wire::{Limits, Message, unverified};

/// An end that only reads does so this long at most, as in `runtime`.
const LINGER: Duration = Duration::from_secs(2);
/// How late copies and reordered messages come, at most.
const LATE: Duration = Duration::from_secs(3);
/// Least time between two arrivals at one end, to keep their order.
const TICK: Duration = Duration::from_nanos(1);

/// Names one end of a connection. It is also the link's name for the machine there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndId {
    connection: usize,
    /// 0 where it was dialled, 1 where it was accepted.
    side: usize,
}

impl EndId {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }

    fn link(self) -> LinkId {
        LinkId((self.connection * 2 + self.side) as u64)
    }

    fn of(link: LinkId) -> Self {
        let number = usize::try_from(link.0).unwrap_or(usize::MAX);
        Self { connection: number / 2, side: number % 2 }
    }

    fn number(self) -> u64 {
        self.link().0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its machine does not know of it yet.
    Opening(Origin),
    Open,
    /// Closed by its machine as a duplicate: reads only.
    Lingering,
    /// Its machine has done with it, or is gone.
    Gone,
}

#[derive(Debug)]
struct End {
    node: NodeIndex,
    state: State,
    /// When the last thing that is under way to this end arrives.
    last: Duration,
}

#[derive(Debug)]
struct Connection {
    ends: [End; 2],
    latency: Duration,
    /// Nothing arrives any more, and nobody is told.
    silent: bool,
    /// Nothing arrives any more, and both ends are told.
    broken: bool,
}

/// All connections there ever were.
#[derive(Debug, Default)]
pub(super) struct Wires {
    connections: Vec<Connection>,
}

impl Wires {
    pub(super) fn connection_of(link: LinkId) -> usize {
        EndId::of(link).connection
    }

    /// Those of `connections`, which end at `a`, that end at `b` too.
    pub(super) fn between<'a>(
        &'a self,
        connections: &'a [usize],
        a: NodeIndex,
        b: NodeIndex,
    ) -> impl Iterator<Item = usize> + 'a {
        let ends_at = move |connection: &&usize| {
            let ends = &self.connections[**connection].ends;
            ends.iter().any(|end| end.node == a) && ends.iter().any(|end| end.node == b)
        };
        connections.iter().filter(ends_at).copied()
    }

    pub(super) fn silence(&mut self, connections: &[usize]) {
        for connection in connections {
            self.connections[*connection].silent = true;
        }
    }

    fn end(&self, id: EndId) -> &End {
        &self.connections[id.connection].ends[id.side]
    }

    fn end_mut(&mut self, id: EndId) -> &mut End {
        &mut self.connections[id.connection].ends[id.side]
    }
}

impl Network {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(node) => self.tick(node),
            Happening::Arrive { end, parcel } => self.arrive(end, parcel),
            Happening::Finish(end) => self.finish(end),
            Happening::Break(end, problem) => self.break_end(end, problem),
            Happening::Knock { dial, latency } => self.knock(dial, latency),
            Happening::Up(end) => self.come_up(end),
            Happening::DialFailed { dial, problem } => {
                self.note(3, dial.from.0 as u64, dial.id.0);
                if self.lives(&dial) {
                    let input = Input::DialFailed { dial: dial.id, problem: problem.to_owned() };
                    self.feed(dial.from, input, None);
                }
            }
            Happening::Written(end) => {
                let (node, state) = (self.wires.end(end).node, self.wires.end(end).state);
                if state == State::Open {
                    self.feed(node, Input::Written { link: end.link() }, None);
                }
            }
            Happening::Linger(end) => {
                if self.wires.end(end).state == State::Lingering {
                    self.link_down(end, CloseReason::Duplicate);
                }
            }
        }
    }

    fn tick(&mut self, node: NodeIndex) {
        if self.hosts[node.0].armed == Some(self.now) {
            self.hosts[node.0].armed = None;
            self.note(1, node.0 as u64, 0);
            self.feed(node, Input::Tick, None);
        }
    }

    /// Gives an input to a machine and does what it says. `parcel` is what brought it.
    pub(super) fn feed(&mut self, node: NodeIndex, input: Input, parcel: Option<&Parcel>) {
        let now = self.now_of(node);
        self.drive(node, parcel, |machine, out| {
            machine.handle(now, input, out);
            // A real reader would wait for as long as this says so. Simulated ones do not, but it
            // also makes the machine forget what it may not keep.
            let _ = machine.must_wait(now);
        });
    }

    /// Lets a machine do something, and does what it says.
    pub(super) fn drive(
        &mut self,
        node: NodeIndex,
        parcel: Option<&Parcel>,
        work: impl FnOnce(&mut Node, &mut Outbox),
    ) {
        let mut out = std::mem::take(&mut self.out);
        if let Some(machine) = &mut self.hosts[node.0].machine {
            work(machine, &mut out);
        }
        self.carry_out(node, &mut out, parcel);
        out.clear();
        self.out = out;
        self.arm(node);
    }

    pub(super) fn arm(&mut self, node: NodeIndex) {
        let host = &self.hosts[node.0];
        let Some(next) = host.machine.as_ref().and_then(Node::next_timer) else { return };
        if host.armed.is_none_or(|armed| next < armed) {
            let at = next.max(self.now);
            self.hosts[node.0].armed = Some(at);
            self.schedule(at, Happening::Tick(node));
        }
    }

    fn carry_out(&mut self, node: NodeIndex, out: &mut Outbox, parcel: Option<&Parcel>) {
        let Outbox { outputs, targets } = out;
        for output in outputs.drain(..) {
            match output {
                Output::Send { links, class, body } => {
                    let parcel = self.wrap(&body, class, parcel);
                    let links = targets.get(links).unwrap_or_default();
                    if self.hosts[node.0].hostile.is_some() {
                        self.send_what_it_likes(node, links, class, &parcel);
                        continue;
                    }
                    for link in links {
                        self.post(*link, parcel.clone(), class);
                    }
                }
                Output::Dial { dial, address, .. } => {
                    let since = self.now;
                    let dial = Dial { from: node, life: self.hosts[node.0].life, id: dial, address, since };
                    let latency = self.rng.random_range(self.options.latency.clone());
                    self.schedule(since + latency, Happening::Knock { dial, latency });
                }
                Output::TellWritten { link } => {
                    let end = EndId::of(link);
                    let at = self.arrival_time(end.other());
                    self.schedule(at, Happening::Written(end));
                }
                Output::Agree { .. } => {}
                Output::Keep { key, value } => {
                    let store = &mut self.hosts[node.0].store;
                    match value {
                        Some(value) => store.insert(key, value),
                        None => store.remove(&key),
                    };
                }
                Output::Close { link, reason } => self.close_end(EndId::of(link), &reason),
                Output::Event(event) => self.tell(node, event, parcel),
            }
        }
    }

    /// What is to be put on links for a body: one of the message that was just handled is passed on,
    /// any other begins its way.
    fn wrap(&self, body: &Bytes, class: Class, handled: Option<&Parcel>) -> Parcel {
        match handled {
            Some(parcel) if parcel.content.body().as_ptr() == body.as_ptr() => {
                Parcel { hops: parcel.hops + 1, ..parcel.clone() }
            }
            _ => {
                let verified = match self.options.signed {
                    true => None,
                    false => Message::read(body.clone(), &Limits::default()).ok(),
                };
                let content = verified.map_or_else(|| Content::Body(body.clone()), Content::Message);
                let delivery = (class != Class::Control).then(|| self.recorded(&id(body))).flatten();
                Parcel { content, hops: 1, delivery }
            }
        }
    }

    /// What a hostile node puts on links instead of what its machine wants there.
    fn send_what_it_likes(&mut self, node: NodeIndex, links: &[LinkId], class: Class, parcel: &Parcel) {
        let Some(mut hostile) = self.hosts[node.0].hostile.take() else { return };
        for link in links {
            let to = self.wires.end(EndId::of(*link).other()).node;
            for body in hostile.send(&Sending { to, class, body: parcel.content.body() }) {
                let delivery = self.recorded(&id(&body));
                let parcel = Parcel { content: Content::Body(body), delivery, ..*parcel };
                self.post(*link, parcel, class);
            }
        }
        self.hosts[node.0].hostile = Some(hostile);
    }

    /// Puts a message on a link.
    fn post(&mut self, link: LinkId, parcel: Parcel, class: Class) {
        let from = EndId::of(link);
        if self.wires.end(from).state != State::Open || self.wires.connections[from.connection].broken {
            return;
        }
        let loss = match class {
            Class::Control => self.options.control_loss,
            Class::Own | Class::Relay => self.options.loss,
        };
        let lost = loss > 0.0 && self.rng.random_bool(loss.min(1.0));
        self.traffic.messages += 1;
        if let Some(delivery) = parcel.delivery.and_then(|delivery| self.deliveries.get_mut(delivery)) {
            delivery.copied(lost);
        }
        match (lost, class) {
            (false, _) => {
                let mut at = self.arrival_time(from.other());
                let often = |part: f64| if class == Class::Control { 0.0 } else { part.min(1.0) };
                let (twice, late) = (often(self.options.duplication), often(self.options.reordering));
                if twice > 0.0 && self.rng.random_bool(twice) {
                    let again = at + self.rng.random_range(Duration::ZERO..=LATE);
                    self.schedule(again, Happening::Arrive { end: from.other(), parcel: parcel.clone() });
                }
                if late > 0.0 && self.rng.random_bool(late) {
                    at += self.rng.random_range(Duration::ZERO..=LATE);
                }
                self.schedule(at, Happening::Arrive { end: from.other(), parcel });
            }
            (true, Class::Control) => self.traffic.control_lost += 1,
            (true, _) => self.traffic.lost += 1,
        }
    }

    /// Puts a message on a link that no machine there sent.
    pub(super) fn post_foreign(&mut self, link: LinkId, message: Message) {
        let delivery = self.recorded(&message.id());
        let content = match self.options.signed {
            true => Content::Body(message.into_body()),
            false => Content::Message(message),
        };
        self.post(link, Parcel { content, hops: 1, delivery }, Class::Control);
    }

    /// When something that is sent to an end now arrives: after all that was sent before.
    fn arrival_time(&mut self, to: EndId) -> Duration {
        let jitter = match self.options.jitter {
            Duration::ZERO => Duration::ZERO,
            most => self.rng.random_range(Duration::ZERO..=most),
        };
        let at = self.now + self.wires.connections[to.connection].latency + jitter;
        let end = self.wires.end_mut(to);
        end.last = at.max(end.last + TICK);
        end.last
    }

    fn tell(&mut self, node: NodeIndex, event: Event, parcel: Option<&Parcel>) {
        match &event {
            Event::Received(received) => {
                self.note(9, node.0 as u64, prefix(received.message.body()));
                let life = self.hosts[node.0].life;
                if let Some(parcel) = parcel
                    && let Some(delivery) = parcel.delivery.and_then(|at| self.deliveries.get_mut(at))
                {
                    delivery.arrived(node, life, self.now, parcel.hops);
                }
            }
            Event::Done { token, result } => {
                self.note(10, token.0, u64::from(result.is_ok()));
                self.results.insert(*token, result.clone());
            }
            Event::Connected { link, .. } => self.note(11, node.0 as u64, link.0),
            Event::Disconnected { .. } => self.note(12, node.0 as u64, 0),
            Event::Asked { number, .. } => self.note(16, node.0 as u64, *number),
            Event::Answered { token, .. } => self.note(17, node.0 as u64, token.0),
            Event::Searched { received, .. } | Event::Found { received, .. } => {
                self.note(18, node.0 as u64, prefix(received.message.body()));
            }
            Event::Redial { pause, .. } => self.note(13, node.0 as u64, nanos(*pause)),
            Event::Changed(change) => self.note(14, node.0 as u64, change.time.unsigned_abs()),
            Event::Superseded { key, .. } => self.note(15, node.0 as u64, key.len() as u64),
        }
        if self.options.keep_events {
            self.events.push(Occurrence { at: self.now, node, event });
        }
    }

    // ---- dialling

    fn lives(&self, dial: &Dial) -> bool {
        let host = &self.hosts[dial.from.0];
        host.machine.is_some() && host.life == dial.life
    }

    fn knock(&mut self, dial: Dial, latency: Duration) {
        self.note(2, dial.from.0 as u64, dial.id.0);
        if !self.lives(&dial) {
            return;
        }
        let host = |node: NodeIndex| -> &Host { &self.hosts[node.0] };
        let found = self.node_at(&dial.address);
        let problem = match found.map(host) {
            Some(there) if there.group != host(dial.from).group => Some("the network is unreachable"),
            Some(there) if there.dark => {
                let timeout = host(dial.from).config.dial_timeout;
                let at = self.now.max(dial.since + timeout);
                return self.schedule(at, Happening::DialFailed { dial, problem: "no answer came in time" });
            }
            Some(there) if there.machine.is_none() => Some("the connection was refused"),
            Some(_) => None,
            None => Some("there is no such host"),
        };
        match (found, problem) {
            (Some(there), None) => self.accept(&dial, there, latency),
            (_, problem) => {
                let problem = problem.unwrap_or_default();
                self.schedule(self.now + latency, Happening::DialFailed { dial, problem });
            }
        }
    }

    /// A dial is answered: its side is up when the answer is there, the other when the answer to that
    /// is.
    fn accept(&mut self, dial: &Dial, there: NodeIndex, latency: Duration) {
        let connection = self.wires.connections.len();
        let (dialled, accepted) = (self.now + latency, self.now + latency * 2);
        let ends = [
            End { node: dial.from, state: State::Opening(Origin::Dialled(dial.id)), last: dialled },
            End { node: there, state: State::Opening(Origin::Accepted), last: accepted },
        ];
        self.wires.connections.push(Connection { ends, latency, silent: false, broken: false });
        for (side, at) in [(0, dialled), (1, accepted)] {
            let end = EndId { connection, side };
            let node = self.wires.end(end).node;
            self.hosts[node.0].connections.push(connection);
            self.schedule(at, Happening::Up(end));
        }
    }

    fn come_up(&mut self, end: EndId) {
        let connection = &self.wires.connections[end.connection];
        let State::Opening(origin) = self.wires.end(end).state else { return };
        if connection.silent || connection.broken {
            return;
        }
        self.note(4, end.number(), 0);
        self.wires.end_mut(end).state = State::Open;
        let node = self.wires.end(end).node;
        let there = &self.hosts[self.wires.end(end.other()).node.0].identity;
        let key = match &there.trust {
            Trust::Proven { keys, .. } => Some(keys.public()),
            Trust::Claimed => None,
        };
        let remote = Remote { key, ..Remote::default() };
        self.feed(node, Input::LinkUp { link: end.link(), origin, remote }, None);
    }

    // ---- arriving

    fn arrive(&mut self, end: EndId, parcel: Parcel) {
        let connection = &self.wires.connections[end.connection];
        if connection.silent || connection.broken {
            return;
        }
        self.note(5, end.number(), prefix(parcel.content.body()));
        let (node, state) = (self.wires.end(end).node, self.wires.end(end).state);
        match state {
            State::Open | State::Lingering => match &parcel.content {
                Content::Message(message) => {
                    let input = Input::Message { link: end.link(), message: message.clone() };
                    self.feed(node, input, Some(&parcel));
                }
                Content::Body(body) => self.read(end, body, &parcel),
            },
            // A machine that was off and knows nothing of the connection says so.
            State::Gone if self.wires.end(end.other()).state == State::Open => self.reset(end),
            State::Gone | State::Opening(_) => {}
        }
    }

    /// Reads a body as `runtime` does: what is known is dropped unread, the rest verified.
    fn read(&mut self, end: EndId, body: &Bytes, parcel: &Parcel) {
        let (node, link) = (self.wires.end(end).node, end.link());
        let now = self.now_of(node);
        let Some(machine) = &self.hosts[node.0].machine else { return };
        let claim = unverified(body).filter(|(_, header)| header.kind == kind::BROADCAST);
        if let Some((digest, header)) = claim {
            let mut known = Vec::new();
            machine.are_known(now, &[(header.time, *digest)], &mut known);
            if known == [true] {
                return self.feed(node, Input::Duplicates { link, count: 1 }, None);
            }
        }
        let envelope = machine.identity().envelope();
        let body = envelope.open(body.clone(), &[], machine.config().max_frame);
        let input = body
            .map_err(CloseReason::from)
            .and_then(|body| Input::read(link, envelope.read(body, &Limits::default())));
        match input {
            Ok(input) => self.feed(node, input, Some(parcel)),
            Err(reason) => {
                self.send_end(end);
                self.link_down(end, reason);
            }
        }
    }

    fn reset(&mut self, end: EndId) {
        if !self.hosts[self.wires.end(end).node.0].dark {
            let at = self.arrival_time(end.other());
            self.schedule(at, Happening::Break(end.other(), "the peer knows nothing of it"));
        }
    }

    /// The other side wrote its last.
    fn finish(&mut self, end: EndId) {
        let connection = &self.wires.connections[end.connection];
        if connection.silent || connection.broken {
            return;
        }
        self.note(6, end.number(), 0);
        match self.wires.end(end).state {
            State::Open => {
                // What was accepted for it is still written, and then it is closed.
                self.send_end(end);
                self.link_down(end, CloseReason::Remote);
            }
            State::Lingering => self.link_down(end, CloseReason::Remote),
            State::Gone | State::Opening(_) => {}
        }
    }

    fn break_end(&mut self, end: EndId, problem: &'static str) {
        self.note(7, end.number(), 0);
        let node = self.wires.end(end).node;
        match self.wires.end(end).state {
            State::Open | State::Lingering => {
                self.link_down(end, CloseReason::Broken(problem.to_owned()));
            }
            State::Opening(Origin::Dialled(dial)) => {
                self.forget(end);
                self.fail_dial(node, dial, problem);
            }
            State::Opening(_) => self.forget(end),
            State::Gone => {}
        }
    }

    fn fail_dial(&mut self, node: NodeIndex, dial: DialId, problem: &str) {
        self.feed(node, Input::DialFailed { dial, problem: problem.to_owned() }, None);
    }

    fn link_down(&mut self, end: EndId, reason: CloseReason) {
        self.note(8, end.number(), 0);
        self.forget(end);
        let node = self.wires.end(end).node;
        self.feed(node, Input::LinkDown { link: end.link(), reason }, None);
    }

    // ---- ending

    /// A machine closes its end.
    fn close_end(&mut self, end: EndId, reason: &CloseReason) {
        let state = self.wires.end(end).state;
        if state == State::Open {
            self.send_end(end);
        }
        match (state, reason) {
            (State::Open, CloseReason::Duplicate) => {
                self.wires.end_mut(end).state = State::Lingering;
                self.schedule(self.now + LINGER, Happening::Linger(end));
            }
            (State::Lingering, CloseReason::Duplicate) => {}
            _ => self.forget(end),
        }
    }

    fn send_end(&mut self, from: EndId) {
        let at = self.arrival_time(from.other());
        self.schedule(at, Happening::Finish(from.other()));
    }

    /// An end is of no interest any more to the machine there.
    fn forget(&mut self, end: EndId) {
        let end_here = self.wires.end_mut(end);
        end_here.state = State::Gone;
        let connections = &mut self.hosts[end_here.node.0].connections;
        if let Some(at) = connections.iter().position(|connection| *connection == end.connection) {
            connections.swap_remove(at);
        }
    }

    /// Ends all connections of a node, as the system does for a process that died.
    pub(super) fn cut_off(&mut self, node: NodeIndex, problem: &'static str) {
        for end in self.ends_at(node) {
            let at = self.arrival_time(end.other());
            self.schedule(at, Happening::Break(end.other(), problem));
            self.forget(end);
        }
    }

    /// A node will never again say anything on its connections.
    pub(super) fn forsake(&mut self, node: NodeIndex) {
        for end in self.ends_at(node) {
            self.forget(end);
        }
    }

    fn ends_at(&self, node: NodeIndex) -> Vec<EndId> {
        let side = |connection: usize| -> usize {
            usize::from(self.wires.connections[connection].ends[0].node != node)
        };
        let connections = self.hosts[node.0].connections.iter();
        connections.map(|connection| EndId { connection: *connection, side: side(*connection) }).collect()
    }

    pub(super) fn break_between_groups(&mut self) {
        for connection in 0..self.wires.connections.len() {
            let ends = &self.wires.connections[connection].ends;
            let [a, b] = ends.each_ref().map(|end| self.hosts[end.node.0].group);
            if a != b {
                self.break_connection(connection, "the network is unreachable");
            }
        }
    }

    /// Nothing arrives any more on a connection, and both ends are told.
    pub(super) fn break_connection(&mut self, connection: usize, problem: &'static str) {
        let wire = &mut self.wires.connections[connection];
        let live = wire.ends.iter().any(|end| end.state != State::Gone);
        if wire.broken || wire.silent || !live {
            return;
        }
        wire.broken = true;
        for side in 0..2 {
            self.schedule(self.now, Happening::Break(EndId { connection, side }, problem));
        }
    }

    // ---- what happened

    fn note(&mut self, what: u64, a: u64, b: u64) {
        for word in [nanos(self.now), what, a, b] {
            // FNV-1a over whole words, turned so that high bits count too.
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The id of the message that a body claims to hold.
fn id(body: &[u8]) -> MessageId {
    MessageId::from_digest(body.first_chunk().copied().unwrap_or_default())
}

/// The first bytes of a message's id.
fn prefix(body: &[u8]) -> u64 {
    body.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
