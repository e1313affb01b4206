//! Writes transcripts: what comes in, and what must go out, by the rules and not by what a node did.

use peernet_conformance::json::hex;
use serde_json::{Map, Value as Json, json};

use crate::pack::{TIME, squeeze};

/// The id of the node that is tested. Ids that begin with a lower digit are less, with a higher one
/// greater, if they are as long.
pub(crate) const NODE: &str = "5Node";
/// Its address.
pub(crate) const ADDRESS: (&str, u16) = ("127.0.0.1", 4001);
/// Its subnet, mesh under Plaintext.
pub(crate) const PROTOCOL: &str = "EpAmyZWv9rZUKmjQgU3FTUD4GrJHvVEXizmghVBc8eGD";
/// Another one, sync1.
pub(crate) const OTHER_PROTOCOL: &str = "p7sAnBsK3n5enFXH7vEGQjzS6t6RH1CeEoYekNjr5Jn";

pub(crate) const BROADCAST: u64 = 0;
pub(crate) const RENEGOTIATE: u64 = 1;
pub(crate) const WHISPER: u64 = 2;

pub(crate) const GZIP: u8 = 0x11;
pub(crate) const ZLIB: u8 = 0x13;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Peernet,
    Py2p,
    Js2p,
}

/// A node at the other end of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) id: &'static str,
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    pub(crate) dialect: Dialect,
}

const fn peer(id: &'static str, host: &'static str, port: u16, dialect: Dialect) -> Peer {
    Peer { id, host, port, dialect }
}

pub(crate) const ANNA: Peer = peer("4Anna", "127.0.0.2", 4002, Dialect::Peernet);
pub(crate) const BERT: Peer = peer("6Bert", "127.0.0.3", 4003, Dialect::Peernet);
pub(crate) const CARA: Peer = peer("4Cara", "127.0.0.4", 4004, Dialect::Peernet);
pub(crate) const PYTHON: Peer = peer("4Pyth", "127.0.0.5", 4005, Dialect::Py2p);
pub(crate) const GREAT_PYTHON: Peer = peer("6Pyth", "127.0.0.6", 4006, Dialect::Py2p);
pub(crate) const SCRIPT: Peer = peer("4Jscr", "127.0.0.7", 4007, Dialect::Js2p);
pub(crate) const GREAT_SCRIPT: Peer = peer("6Jscr", "127.0.0.8", 4008, Dialect::Js2p);

pub(crate) fn str(text: &str) -> Json {
    json!({ "str": text })
}

pub(crate) fn bin(text: &str) -> Json {
    json!({ "bin": hex(text.as_bytes()) })
}

pub(crate) fn int(value: impl Into<i128>) -> Json {
    json!({ "int": value.into().to_string() })
}

pub(crate) fn nil() -> Json {
    json!({ "nil": null })
}

pub(crate) fn array(items: Vec<Json>) -> Json {
    json!({ "array": items })
}

/// An address as it travels.
pub(crate) fn address(host: &str, port: u16) -> Json {
    array(vec![str(host), int(port)])
}

pub(crate) fn codes(list: &[u8]) -> Json {
    array(list.iter().map(|code| int(*code)).collect())
}

impl Peer {
    /// Its id as it gives it.
    pub(crate) fn own_id(&self) -> Json {
        if self.dialect == Dialect::Py2p { bin(self.id) } else { str(self.id) }
    }

    pub(crate) fn address(&self) -> Json {
        address(self.host, self.port)
    }

    /// Its entry in a peers list.
    pub(crate) fn entry(&self) -> Json {
        array(vec![self.address(), self.own_id()])
    }

    pub(crate) fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn joins(&self, other: &Peer) -> bool {
        !matches!(
            (self.dialect, other.dialect),
            (Dialect::Py2p, Dialect::Js2p) | (Dialect::Js2p, Dialect::Py2p)
        )
    }

    /// The payload of its handshake.
    pub(crate) fn introduction(&self) -> Vec<Json> {
        let protocol = if self.dialect == Dialect::Js2p { str(PROTOCOL) } else { bin(PROTOCOL) };
        vec![int(5), self.own_id(), protocol, self.address(), codes(&[ZLIB, GZIP])]
    }

    /// A message of its own on a link, `seconds` after the transcript's beginning.
    pub(crate) fn says(&self, link: u64, kind: u64, seconds: i64, payload: Vec<Json>) -> Json {
        message(link, kind, self.own_id(), TIME + seconds, payload)
    }

    pub(crate) fn whispers(&self, link: u64, payload: Vec<Json>) -> Json {
        self.says(link, WHISPER, 0, payload)
    }

    pub(crate) fn shakes_hands(&self, link: u64) -> Json {
        self.whispers(link, self.introduction())
    }

    fn name(&self) -> &'static str {
        match self.dialect {
            Dialect::Peernet => "peernet",
            Dialect::Py2p => "py2p",
            Dialect::Js2p => "js2p",
        }
    }
}

// Inputs.

pub(crate) fn message(link: u64, kind: u64, sender: Json, time: i64, payload: Vec<Json>) -> Json {
    json!({ "message": { "link": link, "type": int(kind), "sender": sender, "time": time, "payload": payload } })
}

pub(crate) fn frame(link: u64, bytes: &[u8]) -> Json {
    json!({ "frame": { "link": link, "frame": hex(bytes) } })
}

pub(crate) fn accepted(link: u64) -> Json {
    json!({ "accepted": { "link": link } })
}

/// Someone connects from an IP address.
pub(crate) fn accepted_from(link: u64, ip: &str) -> Json {
    json!({ "accepted": { "link": link, "remote": { "ip": ip } } })
}

pub(crate) fn dialled(link: u64, dial: &str) -> Json {
    json!({ "dialled": { "link": link, "dial": dial } })
}

pub(crate) fn dial_failed(dial: &str) -> Json {
    json!({ "dial_failed": { "dial": dial } })
}

pub(crate) fn link_down(link: u64) -> Json {
    json!({ "link_down": { "link": link } })
}

pub(crate) fn tick() -> Json {
    json!({ "tick": {} })
}

pub(crate) fn connect(token: u64, target: &str) -> Json {
    json!({ "connect": { "token": token, "target": target } })
}

pub(crate) fn disconnect(token: u64, peer: &Peer) -> Json {
    json!({ "disconnect": { "token": token, "peer": peer.id } })
}

pub(crate) fn broadcast(payload: Vec<Json>) -> Json {
    json!({ "broadcast": { "payload": payload } })
}

pub(crate) fn whisper(token: u64, to: &str, payload: Vec<Json>) -> Json {
    json!({ "whisper": { "token": token, "to": to, "payload": payload } })
}

// Outputs.

/// A message of the node's own; its time is that of the step.
pub(crate) fn sends(links: &[u64], class: &str, kind: u64, payload: Vec<Json>) -> Json {
    json!({ "send": {
        "links": links, "class": class, "type": int(kind), "sender": str(NODE), "payload": payload,
    } })
}

pub(crate) fn control(link: u64, payload: Vec<Json>) -> Json {
    sends(&[link], "control", WHISPER, payload)
}

/// The same message, made `seconds` after the transcript's beginning instead of at its step.
pub(crate) fn made_at(mut send: Json, seconds: i64) -> Json {
    send["send"]["time"] = (TIME + seconds).into();
    send
}

/// The node's own handshake.
pub(crate) fn own_handshake(link: u64) -> Json {
    let (host, port) = ADDRESS;
    control(link, vec![int(5), str(NODE), bin(PROTOCOL), address(host, port), codes(&[ZLIB, GZIP])])
}

pub(crate) fn peers_list(link: u64, entries: Vec<Json>) -> Json {
    let entries = match entries.len() {
        0 | 1 => array(entries),
        _ => json!({ "array": { "unordered": entries } }),
    };
    control(link, vec![int(7), entries])
}

/// What an input's message becomes when it is relayed.
pub(crate) fn relays(links: &[u64], input: &Json) -> Json {
    let message = &input["message"];
    json!({ "send": {
        "links": links, "class": "relay", "type": message["type"], "sender": message["sender"],
        "time": message["time"], "payload": message["payload"],
    } })
}

pub(crate) fn request_peers(link: u64) -> Json {
    control(link, vec![int(8), bin("*")])
}

pub(crate) fn agrees(link: u64, read: &[u8], write: Option<u8>) -> Json {
    json!({ "agree": { "link": link, "read": read, "write": write } })
}

pub(crate) fn closes(link: u64, reason: &str) -> Json {
    json!({ "close": { "link": link, "reason": reason } })
}

pub(crate) fn dials(dial: &str, host: &str, port: u16) -> Json {
    json!({ "dial": { "dial": dial, "address": [host, port] } })
}

pub(crate) fn connected(peer: &Peer, link: u64) -> Json {
    json!({ "connected": {
        "peer": peer.id, "link": link, "address": [peer.host, peer.port], "dialect": peer.name(),
    } })
}

pub(crate) fn disconnected(peer: &Peer, reason: &str) -> Json {
    json!({ "disconnected": { "peer": peer.id, "reason": reason } })
}

/// A dial that is kept up is tried again after a pause of at most so many milliseconds.
pub(crate) fn redials(host: &str, port: u16, longest: u64) -> Json {
    json!({ "redial": { "address": [host, port], "pause": { "between": [longest / 2, longest] } } })
}

pub(crate) fn done(token: u64, peer: &str) -> Json {
    json!({ "done": { "token": token, "peer": peer } })
}

pub(crate) fn fails(token: u64, error: &str) -> Json {
    json!({ "done": { "token": token, "error": error } })
}

/// A message handed up: its payload begins with its code.
pub(crate) fn hands_up(kind: &str, sender: &str, link: u64, payload: Vec<Json>) -> Json {
    let code: u64 = payload[0]["int"].as_str().unwrap().parse().unwrap();
    json!({ "message": { "kind": kind, "code": code, "sender": sender, "link": link, "payload": payload } })
}

/// A transcript in the making.
pub(crate) struct Play {
    name: String,
    rules: Vec<String>,
    config: Map<String, Json>,
    steps: Vec<Json>,
    /// Who is a neighbour by now.
    present: Vec<Peer>,
    at: u64,
}

impl Play {
    pub(crate) fn new(name: &str, rules: &[&str]) -> Self {
        let config = json!({
            "max_peers": 64, "max_opening": 64, "max_outgoing": 4, "max_frame": 16 << 20,
            "handshake_timeout": 10_000, "keep_alive": 30_000, "redial_min": 500, "redial_max": 60_000,
            "lookup_timeout": 10_000, "fresh_seconds": 60, "compression": [ZLIB, GZIP],
        });
        Self {
            name: name.to_owned(),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            config: config.as_object().unwrap().clone(),
            steps: Vec::new(),
            present: Vec::new(),
            at: 0,
        }
    }

    pub(crate) fn config(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }

    /// Everything from here on happens at `ms`, until another time is given.
    pub(crate) fn at(mut self, ms: u64) -> Self {
        self.at = ms;
        self
    }

    /// Something happens, and these things are done about it.
    pub(crate) fn step(mut self, input: Json, expect: Vec<Json>) -> Self {
        let seconds = TIME + (self.at / 1000) as i64;
        let dated = |mut output: Json| {
            if let Some(send) = output.get_mut("send").and_then(Json::as_object_mut) {
                send.entry("time").or_insert_with(|| seconds.into());
            }
            output
        };
        let expect: Vec<Json> = expect.into_iter().map(dated).collect();
        self.steps.push(json!({ "at": self.at, "input": input, "expect": expect }));
        self
    }

    /// Something happens, and nothing is done about it.
    pub(crate) fn quiet(self, input: Json) -> Self {
        self.step(input, Vec::new())
    }

    /// What a peers list to `peer` names.
    pub(crate) fn others(&self, peer: &Peer) -> Vec<Json> {
        let others = self.present.iter().filter(|other| other.id != peer.id && peer.joins(other));
        others.map(Peer::entry).collect()
    }

    /// What follows an accepted handshake on a link that the peer dialled.
    pub(crate) fn welcome(&self, link: u64, peer: &Peer) -> Vec<Json> {
        let mut all = vec![own_handshake(link)];
        all.extend(self.settled(link, peer));
        if peer.dialect == Dialect::Js2p {
            all.push(request_peers(link));
        }
        all.push(connected(peer, link));
        all
    }

    /// What follows any accepted handshake.
    pub(crate) fn settled(&self, link: u64, peer: &Peer) -> Vec<Json> {
        vec![agrees(link, &[ZLIB, GZIP], Some(ZLIB)), peers_list(link, self.others(peer))]
    }

    /// `peer` dials the node and becomes a neighbour.
    pub(crate) fn joined(self, link: u64, peer: &Peer) -> Self {
        self.joined_by(accepted(link), link, peer)
    }

    /// `peer` dials the node from an IP address and becomes a neighbour.
    pub(crate) fn joined_from(self, link: u64, peer: &Peer, ip: &str) -> Self {
        self.joined_by(accepted_from(link, ip), link, peer)
    }

    pub(crate) fn joined_by(self, accepted: Json, link: u64, peer: &Peer) -> Self {
        let welcome = self.welcome(link, peer);
        let mut play = self.quiet(accepted).step(peer.shakes_hands(link), welcome);
        play.present.push(*peer);
        play
    }

    /// The node dials `peer` because it is told to, and it becomes a neighbour.
    pub(crate) fn dialled(self, token: u64, link: u64, peer: &Peer) -> Self {
        let dial = format!("$dial{token}");
        let mut welcome = self.settled(link, peer);
        welcome.extend([connected(peer, link), done(token, peer.id)]);
        let mut play = self
            .step(connect(token, &peer.at()), vec![dials(&dial, peer.host, peer.port)])
            .step(dialled(link, &dial), vec![own_handshake(link)])
            .step(peer.shakes_hands(link), welcome);
        play.present.push(*peer);
        play
    }

    /// `peer` is no neighbour any more.
    pub(crate) fn without(mut self, peer: &Peer) -> Self {
        self.present.retain(|other| other.id != peer.id);
        self
    }

    pub(crate) fn done(self) -> Json {
        let (host, port) = ADDRESS;
        json!({
            "name": self.name,
            "rules": self.rules,
            "node": {
                "id": NODE, "protocol": PROTOCOL, "address": [host, port], "wall": TIME, "seed": 1,
                "config": self.config,
            },
            "steps": self.steps,
        })
    }
}

pub(crate) fn transcript_file(about: &str, plays: Vec<Play>) -> String {
    transcript_file_of(about, plays.into_iter().map(Play::done).collect())
}

pub(crate) fn transcript_file_of(about: &str, transcripts: Vec<Json>) -> String {
    let transcripts: Vec<String> = transcripts.iter().map(transcript).collect();
    format!(
        "{{\n\"format\": \"peernet transcripts 1\",\n\"about\": {},\n\"transcripts\": [\n{}\n]\n}}\n",
        json!(about),
        transcripts.join(",\n")
    )
}

/// One input or output a line.
fn transcript(json: &Json) -> String {
    let line = |json: &Json| squeeze(json, "").to_string();
    let steps = json["steps"].as_array().unwrap().iter().map(|step| {
        let expect: Vec<String> = step["expect"]
            .as_array()
            .unwrap()
            .iter()
            .map(|output| format!("\n      {}", line(output)))
            .collect();
        format!(
            "    {{\"at\":{},\"input\":{},\n     \"expect\":[{}]}}",
            step["at"],
            line(&step["input"]),
            expect.join(",")
        )
    });
    format!(
        "  {{\"name\":{},\"rules\":{},\n   \"node\":{},\n   \"steps\":[\n{}\n   ]}}",
        json["name"],
        json["rules"],
        json["node"],
        steps.collect::<Vec<_>>().join(",\n")
    )
}
