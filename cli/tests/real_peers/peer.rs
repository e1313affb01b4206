//! One node of any of the three implementations.

use std::fmt::{self, Display};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::c::{self, Language};
use crate::environment;
use crate::support::{Node, PATIENCE, peernet};

/// Time in which nodes must find together again after whatever went wrong between them.
pub(crate) const MENDING: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Ours, in a C program.
    C,
    /// Ours, in a C++ program.
    Cpp,
    Py2p,
    Js2p,
}

impl Kind {
    /// Whether it is another implementation.
    fn is_real(self) -> bool {
        matches!(self, Self::Py2p | Self::Js2p)
    }
}

/// How links are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    Plaintext,
    Ssl,
    Ws,
}

impl Encryption {
    /// What programs of this kind call it.
    pub(crate) fn name(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Plaintext, kind) if kind.is_real() => "Plaintext",
            (Self::Plaintext, _) => "plaintext",
            (Self::Ssl, kind) if kind.is_real() => "SSL",
            (Self::Ssl, _) => "ssl",
            (Self::Ws, _) => "ws",
        }
    }
}

/// Which side of a pair dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialler {
    We,
    They,
}

/// An address to listen on that no other node of these tests has, nor its host or its port alone:
/// js2p dials none that a neighbour has.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    /// Below the ports that systems give to those who ask for any.
    const FIRST_PORT: u16 = 12_000;

    pub(crate) fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Other processes that run these tests have hosts of their own.
        let process = std::process::id() % 60_000;
        let (high, low) = (process / 250, process % 250);
        let (block, host) = (number / 250, number % 250);
        // 127.0.0.1 is left to those who do not choose.
        let host = format!("127.{}.{}.{}", 1 + (high + u32::from(block)) % 250, 1 + low, 1 + host);
        Self { host, port: Self::FIRST_PORT + number }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A running node, and every message it heard.
pub(crate) struct Peer {
    pub(crate) node: Node,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    heard: Vec<Json>,
}

impl Peer {
    pub(crate) fn start(kind: Kind, options: &[&str]) -> Self {
        Self::start_at(kind, Place::free(), options)
    }

    /// Starts one in a subnet with this encryption.
    pub(crate) fn encrypted(kind: Kind, encryption: Encryption, options: &[&str]) -> Self {
        Self::start(kind, &[&["--encryption", encryption.name(kind)], options].concat())
    }

    pub(crate) fn start_at(kind: Kind, place: Place, options: &[&str]) -> Self {
        let mut command = match kind {
            Kind::Ours => {
                let mut command = peernet();
                command.args(["node", "--json"]).arg("--listen").arg(place.to_string());
                command
            }
            Kind::C | Kind::Cpp => {
                let language = if kind == Kind::C { Language::C99 } else { Language::Cpp17 };
                let mut command = Command::new(c::node(language));
                command.arg("--listen").arg(place.to_string());
                command
            }
            Kind::Py2p => {
                let mut command = Command::new(environment::installed().join("py/bin/python"));
                command.arg(environment::drivers().join("py2p_node.py"));
                command.arg(&place.host).arg(place.port.to_string());
                command
            }
            Kind::Js2p => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", environment::installed().join("node/node_modules"));
                command.arg(environment::drivers().join("js2p_node.js"));
                command.arg(&place.host).arg(place.port.to_string());
                command
            }
        };
        if !options.contains(&"--encryption") {
            command.args(["--encryption", Encryption::Plaintext.name(kind)]);
        }
        let node = Node::spawn(command.args(options));
        Self { node, kind, place, heard: Vec::new() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.node.id
    }

    /// Sends a command that must succeed.
    pub(crate) fn must(&mut self, command: Json) -> Json {
        self.node.must(command)
    }

    /// Sends a command that must fail, and returns the whole error.
    pub(crate) fn must_fail(&mut self, command: Json) -> Json {
        let text = command.to_string();
        let reference = self.node.command(command);
        let answer = self.node.wait(&format!("the answer to {text}"), |event| event["ref"] == reference);
        assert_eq!(answer["event"], "error", "{text}: {answer}");
        answer
    }

    /// Dials another node, and waits until both know it.
    pub(crate) fn join(&mut self, other: &mut Self) {
        self.node.join(&mut other.node);
    }

    pub(crate) fn connected(&mut self, other: &Self) {
        self.node.connected(other.id());
    }

    /// Sends to everyone; returns the message's id, `None` if neighbours got it under several.
    pub(crate) fn try_broadcast(&mut self, payload: &Json) -> Option<String> {
        let value = self.must(json!({"do": "broadcast", "payload": payload}));
        // A py2p or js2p whose clock turns to the next second between two neighbours gives each its
        // own message.
        value.get("ids").is_none().then(|| value["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends to its only neighbour.
    pub(crate) fn broadcast(&mut self, payload: Json) -> String {
        let value = self.must(json!({"do": "broadcast", "payload": payload}));
        assert_eq!(value["links"], 1, "{value}");
        value["id"].as_str().expect("it went out").to_owned()
    }

    /// Waits for the first message for which `wanted` holds among all that it ever heard.
    pub(crate) fn hear(&mut self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let heard = self.try_hear(PATIENCE, wanted);
        heard.unwrap_or_else(|| self.node.fail(&format!("waited too long for {what}")))
    }

    /// As [`Peer::hear`], `None` if nothing like that comes in this time.
    pub(crate) fn try_hear(&mut self, patience: Duration, wanted: impl Fn(&Json) -> bool) -> Option<Json> {
        if let Some(found) = self.heard.iter().find(|message| wanted(message)) {
            return Some(found.clone());
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.node.try_wait(left, |event| event["event"] == "message")?;
            self.heard.push(message.clone());
            if wanted(&message) {
                return Some(message);
            }
        }
    }

    /// Waits for the message with this payload.
    pub(crate) fn hear_payload(&mut self, payload: &Json) -> Json {
        self.hear(&format!("the message {payload:.200}"), |message| message["payload"] == *payload)
    }

    /// Waits for the message with this id.
    pub(crate) fn hear_id(&mut self, id: &str) -> Json {
        self.hear(&format!("the message with id {id}"), |message| message["id"] == id)
    }

    /// Waits for the next message, whatever it is.
    pub(crate) fn hear_next(&mut self) -> Json {
        let message = self.node.message();
        self.heard.push(message.clone());
        message
    }

    /// Ends its input, waits until it has left as it should, and returns every message it ever heard.
    /// Fails if it heard any twice.
    pub(crate) fn finish(mut self) -> Vec<Json> {
        self.node.close_stdin();
        let (status, events) = self.node.finish();
        assert!(status.success(), "{:?} ended with {status}", self.kind);
        let mut heard = self.heard;
        heard.extend(events.into_iter().filter(|event| event["event"] == "message"));
        for (at, message) in heard.iter().enumerate() {
            // One payload at two times is two messages, see `try_broadcast`.
            let same = |other: &Json| ["payload", "time"].iter().all(|key| other[key] == message[key]);
            assert!(!heard[..at].iter().any(same), "{:?} heard it twice: {message}", self.kind);
        }
        heard
    }
}

/// Ends them all; returns what each heard. Fails if one of them noted exceptions.
pub(crate) fn part(peers: impl IntoIterator<Item = Peer>) -> Vec<Vec<Json>> {
    let mut peers: Vec<Peer> = peers.into_iter().collect();
    // Before the first leaves, after which py2p nodes break the links between them.
    for peer in peers.iter_mut().filter(|peer| peer.kind.is_real()) {
        assert_eq!(peer.must(json!({"do": "status"})), "Nominal", "{:?}", peer.kind);
    }
    peers.into_iter().map(Peer::finish).collect()
}

/// Starts one of ours and another, connected.
pub(crate) fn pair(kind: Kind, dialler: Dialler, theirs: &[&str]) -> (Peer, Peer) {
    let mut ours = Peer::start(Kind::Ours, &[]);
    let mut theirs = Peer::start(kind, theirs);
    match dialler {
        Dialler::We => ours.join(&mut theirs),
        Dialler::They => theirs.join(&mut ours),
    }
    (ours, theirs)
}

/// Does the same in both directions.
pub(crate) fn both_ways(a: &mut Peer, b: &mut Peer, mut act: impl FnMut(&mut Peer, &mut Peer)) {
    act(a, b);
    act(b, a);
}

/// Both hear each other's next broadcast, under the id that its sender gave it.
pub(crate) fn talk(a: &mut Peer, b: &mut Peer, topic: &str) {
    both_ways(a, b, |from, to| {
        let payload = json!([topic, from.id()]);
        let id = from.broadcast(payload.clone());
        let heard = to.hear_payload(&payload);
        assert_eq!((&heard["id"], &heard["kind"]), (&json!(id), &json!("broadcast")));
        assert_eq!(heard["sender"], from.id());
    });
}

/// Waits until in every group each hears what any other broadcasts, and goes on to for a while. What
/// is sent before may be lost, and is never heard twice.
pub(crate) fn settle(groups: &mut [Vec<&mut Peer>]) {
    /// How long a message may take.
    const ROUND: Duration = Duration::from_secs(1);
    /// Links that met may still be sorted out after the first messages got through.
    const STEADY: Duration = Duration::from_millis(1500);
    /// A py2p that gets messages faster than it reads them ends the link in the end, by a fault of
    /// its own (conformance/real-peers/README.md); that is not what is waited for here.
    const PAUSE: Duration = Duration::from_millis(50);
    let started = Instant::now();
    let mut steady_since = None;
    for round in 0.. {
        std::thread::sleep(PAUSE);
        let topic = format!("settling {round}");
        let heard: Vec<bool> = groups.iter_mut().map(|group| try_all_to_all(group, &topic, ROUND)).collect();
        if heard.iter().all(|heard| *heard) {
            let since: &Instant = steady_since.get_or_insert_with(Instant::now);
            if since.elapsed() > STEADY {
                return;
            }
        } else {
            steady_since = None;
            let lost = heard.iter().position(|heard| !heard);
            if started.elapsed() > MENDING
                && let Some(lost) = lost
            {
                let logs: Vec<String> = groups[lost].iter().map(|peer| peer.node.log()).collect();
                panic!("they do not hear each other after {MENDING:?}:\n{}", logs.join("\n\n"));
            }
        }
    }
}

/// Each broadcasts, and all others must hear it, once and under one id.
pub(crate) fn all_to_all(peers: &mut [&mut Peer], topic: &str) {
    for from in 0..peers.len() {
        let mut try_number = 0;
        let (payload, id) = loop {
            let payload = json!([topic, peers[from].id(), try_number]);
            match peers[from].try_broadcast(&payload) {
                Some(id) => break (payload, id),
                None => try_number += 1,
            }
        };
        for to in (0..peers.len()).filter(|to| *to != from) {
            let heard = peers[to].hear_payload(&payload);
            assert_eq!(heard["id"], id, "{heard}");
            assert_eq!(heard["sender"], peers[from].id());
        }
    }
}

fn try_all_to_all(peers: &mut [&mut Peer], topic: &str, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let payloads: Vec<Json> = peers.iter().map(|peer| json!([topic, peer.id()])).collect();
    for (peer, payload) in peers.iter_mut().zip(&payloads) {
        peer.try_broadcast(payload);
    }
    let mut all = true;
    for (to, peer) in peers.iter_mut().enumerate() {
        for (_, payload) in payloads.iter().enumerate().filter(|(from, _)| *from != to) {
            let left = deadline.saturating_duration_since(Instant::now());
            all &= peer.try_hear(left, |message| message["payload"] == *payload).is_some();
        }
    }
    all
}
