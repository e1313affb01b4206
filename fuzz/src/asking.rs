//! A node of a `tls` subnet that is asked, answered and searched by whatever any bytes make, beside a
//! model of what it may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::protocol::{
    Address, Command, Event, Handshake, Identity, Input, LinkId, Node, Note, Now, Origin, Outbox, Output,
    Refusal, Remote, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Limits, Message};
use peernet::{CloseReason, Config, Value};

/// The node under test, its neighbours, and others that are heard of.
const NODES: usize = 6;
const NEIGHBOURS: usize = 3;
/// Bounds that a script reaches.
const REQUESTS: usize = 4;
const OF_ONE: usize = 2;
const ROUTES: usize = 5;
const ROWS: usize = 6;

/// Runs the script, then lets all links end and all time-outs pass.
pub fn asking(data: &[u8]) {
    let Some((first, script)) = data.split_first() else { return };
    let mut run = Run::new(first & 1 == 1);
    let mut script = Script(script);
    while !script.0.is_empty() {
        run.step(&mut script);
    }
    run.end();
}

/// Reads choices from bytes; after the end everything is 0.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn pick(&mut self, of: usize) -> usize {
        usize::from(self.byte()) % of
    }

    fn value(&mut self) -> Value {
        match self.byte() % 6 {
            0 => Value::Nil,
            1 => Value::from("text"),
            2 => Value::Bin(vec![7; self.pick(80)]),
            3 => Value::Int(-i128::from(self.byte())),
            4 => Value::Array(vec![Value::Nil]),
            _ => u64::from(self.byte()).into(),
        }
    }
}

struct Run {
    who: Vec<Identity>,
    node: Node,
    out: Outbox,
    now: Now,
    stamp: i64,
    /// The link to each neighbour.
    links: BTreeMap<usize, LinkId>,
    next_link: u64,
    /// What waits for an answer, and searches that are not over.
    asked: BTreeSet<Token>,
    searches: BTreeMap<Token, usize>,
    next_token: u64,
    /// Requests of neighbours that wait for the program.
    open: BTreeSet<(NodeId, u64)>,
    /// Searches that were handed up, and when.
    heard: BTreeMap<[u8; 32], Duration>,
    /// Questions, to find something for and to say again.
    questions: Vec<Message>,
    brought_by: Option<LinkId>,
}

impl Run {
    fn new(signed: bool) -> Self {
        let text = if signed { "tls/mesh" } else { "tls/mesh/unsigned" };
        let protocol = ProtocolId::derive("mesh", text);
        let identity = |n: usize| {
            let keys = KeyPair::from_secret([n as u8 + 1; 32]);
            let id = NodeId::of_key(&keys.public(), &protocol);
            let address = Address::new("127.0.0.1", 4000 + n as u16);
            Identity { id, protocol: protocol.clone(), address, trust: Trust::Proven { keys, signed } }
        };
        let who: Vec<Identity> = (0..NODES).map(identity).collect();
        let config = Config {
            max_outgoing: 0,
            max_requests: REQUESTS,
            max_requests_per_peer: OF_ONE,
            search_routes: ROUTES,
            search_rows: ROWS,
            searches_per_author: Some(3),
            searches_per_peer: Some(6),
            found_per_peer: Some(20),
            connects_per_minute: None,
            ..Config::default()
        };
        let mut run = Self {
            node: Node::new(who[0].clone(), config, 1),
            who,
            out: Outbox::new(),
            now: Now { mono: Duration::from_secs(1000), wall: 1_000_000 },
            stamp: 1_000_000_000_000,
            links: BTreeMap::new(),
            next_link: 0,
            asked: BTreeSet::new(),
            searches: BTreeMap::new(),
            next_token: 0,
            open: BTreeSet::new(),
            heard: BTreeMap::new(),
            questions: Vec::new(),
            brought_by: None,
        };
        (1..=NEIGHBOURS).for_each(|n| run.join(n));
        run
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let n = script.pick(NEIGHBOURS) + 1;
        match script.pick(16) {
            0 | 1 => {
                let payload = [u64::from(script.byte() % 8).into(), script.value()];
                self.whisper(n, code::ASK, &payload);
            }
            2 | 3 => {
                let number = match script.pick(4) {
                    0 => u64::from(script.byte()),
                    _ => self.next_token.saturating_sub(script.pick(4) as u64),
                };
                let payload = [number.into(), u64::from(script.byte() % 5).into(), script.value()];
                self.whisper(n, code::ANSWER, &payload);
            }
            4 => {
                let code = code::ASK + script.pick(4) as u64;
                let payload: Vec<Value> = (0..script.pick(5)).map(|_| script.value()).collect();
                self.whisper(n, code, &payload);
            }
            5 | 6 => {
                let question = self.note(script, code::SEARCH, None);
                self.questions.push(question.clone());
                self.bring(n, u64::from(script.byte() % 17), &question);
            }
            7 => {
                if let Some(question) = self.any_question(script) {
                    self.bring(n, u64::from(script.byte() % 16), &question);
                }
            }
            8 | 9 => {
                let Some(question) = self.any_question(script) else { return };
                let digest = *question.id().as_bytes();
                let row = self.note(script, code::FOUND, Some(digest));
                let mut body = row.body().to_vec();
                // Seldom it is altered on the way.
                if script.byte() > 250
                    && let at = script.pick(body.len())
                    && let Some(byte) = body.get_mut(at)
                {
                    *byte ^= 1;
                }
                let hops = u64::from(script.byte() % 16);
                self.whisper(n, code::FOUND, &[hops.into(), Value::Bin(digest.to_vec()), Value::Bin(body)]);
            }
            10 => self.ask(script),
            11 => {
                let Some((peer, number)) = self.open.iter().nth(script.pick(REQUESTS)).cloned() else {
                    return;
                };
                let answer = match script.pick(3) {
                    0 => Err(Refusal::Dropped),
                    1 => Err(Refusal::NotTaken),
                    _ => Ok(self.pack(0, code::ANSWER, &[number.into(), 0.into()])),
                };
                assert!(self.node.is_asked(&peer, number), "a request is lost");
                self.open.remove(&(peer.clone(), number));
                self.feed(Input::Command(Command::Answer { peer, number, answer }));
            }
            12 => {
                let token = self.token();
                let note = Note { question: None, id: vec![1], kind: vec![2], data: vec![3], limit: 15 };
                let note = self.pack_note(0, code::SEARCH, &note);
                self.questions.push(note.clone());
                self.searches.insert(token, 0);
                self.feed(Input::Command(Command::Search { token, note, hops: 0 }));
                if script.byte() > 200 {
                    self.searches.remove(&token);
                    self.feed(Input::Command(Command::EndSearch(token)));
                }
            }
            13 => {
                if let Some(question) = self.any_question(script) {
                    let digest = *question.id().as_bytes();
                    let note =
                        Note { question: Some(digest), id: vec![], kind: vec![], data: vec![], limit: 1 };
                    let note = self.pack_note(0, code::FOUND, &note);
                    self.feed(Input::Command(Command::Find { note }));
                }
            }
            14 => {
                self.now.mono += Duration::from_millis(u64::from(script.byte()) * 50);
                self.feed(Input::Tick);
            }
            _ => match self.links.remove(&n) {
                Some(link) => {
                    self.forget(n);
                    self.feed(Input::LinkDown { link, reason: CloseReason::Remote });
                }
                None => self.join(n),
            },
        }
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let (token, to) = (self.token(), self.who[script.pick(NODES)].id.clone());
        let message = self.pack(0, code::ASK, &[token.0.into()]);
        self.asked.insert(token);
        let timeout = Duration::from_millis(u64::from(script.byte()) * 20);
        self.feed(Input::Command(Command::Ask { token, to, message: message.into(), timeout }));
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn join(&mut self, n: usize) {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let Trust::Proven { keys, .. } = &self.who[n].trust else { panic!("all are proven") };
        let remote = Remote { key: Some(keys.public()), ..Remote::default() };
        self.links.insert(n, link);
        self.feed(Input::LinkUp { link, origin: Origin::Accepted, remote });
        let who = &self.who[n];
        let payload = Handshake::payload(&who.id, &who.protocol, &who.address, &[]);
        self.whisper(n, code::HANDSHAKE, &payload);
    }

    fn forget(&mut self, n: usize) {
        let peer = &self.who[n].id;
        self.open.retain(|(asker, _)| asker != peer);
    }

    fn pack(&mut self, n: usize, code: u64, payload: &[Value]) -> Message {
        self.stamp += 1;
        self.who[n].pack(kind::WHISPER, self.stamp, code, payload).expect("such values have a form")
    }

    fn pack_note(&mut self, n: usize, code: u64, note: &Note) -> Message {
        self.stamp += 1;
        self.who[n].pack_note(self.stamp, code, note).expect("such values have a form")
    }

    fn note(&mut self, script: &mut Script<'_>, code: u64, question: Option<[u8; 32]>) -> Message {
        let author = script.pick(NODES);
        let (id, limit) = (vec![1; script.pick(70)], script.byte() % 17);
        let note = Note { question, id, kind: vec![2], data: vec![3], limit: limit.into() };
        self.pack_note(author, code, &note)
    }

    fn any_question(&self, script: &mut Script<'_>) -> Option<Message> {
        let at = script.pick(8);
        self.questions.iter().rev().nth(at).cloned()
    }

    fn bring(&mut self, n: usize, hops: u64, question: &Message) {
        self.whisper(n, code::SEARCH, &[hops.into(), Value::Bin(question.body().to_vec())]);
    }

    fn whisper(&mut self, n: usize, code: u64, payload: &[Value]) {
        let Some(link) = self.links.get(&n).copied() else { return };
        let message = self.pack(n, code, payload);
        self.brought_by = Some(link);
        self.feed(Input::Message { link, message });
        self.brought_by = None;
    }

    fn feed(&mut self, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        self.node.handle(self.now, input, &mut out);
        for output in out.outputs.drain(..) {
            match output {
                Output::Event(event) => self.check(event),
                Output::Close { link, .. } => {
                    let gone = self.links.iter().find(|(_, open)| **open == link).map(|(n, _)| *n);
                    if let Some(n) = gone {
                        self.links.remove(&n);
                        self.forget(n);
                    }
                }
                Output::Send { links, body, .. } => {
                    let envelope = self.node.identity().envelope();
                    let message = envelope.read(body, &Limits::default()).expect("it sends messages");
                    if matches!(message.code(), Some(code::SEARCH | code::FOUND)) {
                        let targets = out.targets.get(links).unwrap_or_default();
                        assert!(!targets.iter().any(|link| Some(*link) == self.brought_by), "sent back");
                    }
                }
                _ => {}
            }
        }
        out.clear();
        self.out = out;
    }

    fn check(&mut self, event: Event) {
        match event {
            Event::Asked { number, received } => {
                assert!(self.open.insert((received.sender.clone(), number)), "a number twice");
                assert!(self.open.len() <= REQUESTS, "too many requests");
                let of_one = self.open.iter().filter(|(peer, _)| *peer == received.sender).count();
                assert!(of_one <= OF_ONE, "too many requests of one");
            }
            Event::Answered { token, .. } => assert!(self.asked.remove(&token), "answered twice"),
            Event::Done { token, .. } => {
                let known = self.asked.remove(&token) || self.searches.remove(&token).is_some();
                assert!(known, "ended twice, or what nobody asked");
            }
            Event::Searched { received, .. } => {
                assert!(received.sender != self.who[0].id, "heard itself");
                let digest = *received.message.id().as_bytes();
                let before = self.heard.insert(digest, self.now.mono);
                // Where ways back are given up for others, a question may be heard anew.
                let counters = self.node.counters();
                let given_up =
                    counters.searches_received as usize + counters.searches_sent as usize >= ROUTES;
                let long_ago = |at: Duration| self.now.mono - at >= Duration::from_secs(10);
                assert!(before.is_none_or(long_ago) || given_up, "heard twice");
            }
            Event::Found { token, .. } => {
                let rows = self.searches.get_mut(&token).expect("found for a search that is over");
                *rows += 1;
                assert!(*rows <= ROWS, "too much is found");
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        for (n, link) in std::mem::take(&mut self.links) {
            self.forget(n);
            self.feed(Input::LinkDown { link, reason: CloseReason::Remote });
        }
        self.now.mono += Duration::from_secs(3600);
        self.feed(Input::Tick);
        assert!(self.asked.is_empty() && self.searches.is_empty(), "somebody waits for ever");
    }
}
