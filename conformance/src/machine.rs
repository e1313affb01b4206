//! One node of this build, driven by the steps of a transcript.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use peernet::identity::{NodeId, ProtocolId, PublicKey};
use peernet::protocol::{
    Authorship, Change, CloseReason, Command, CommandError, DialId, Event, Identity, Input, LinkId, Node,
    Now, Origin, Outbox, Output, Received, Refusal, Remote, TableError, TableOptions, Target, Token, Trust,
};
use peernet::wire::codes::{code, kind};
use peernet::wire::{Decoder, Limits, Method, Pack, value};
use peernet::{Address, Config};
use serde_json::{Map, Value as Json, json};

use crate::json::{from_values, hex, to_value, to_values, unhex};
use crate::reference::{Answer, keys, list, message, methods, parts, refused, text};

/// A node, its clock, and what was agreed on its links.
pub(crate) struct Machine {
    node: Node,
    /// The wall clock when the transcript began.
    start: i64,
    mono: Duration,
    /// The last stamp of the program's own messages, where each has another.
    last_stamp: i64,
    read: BTreeMap<LinkId, Vec<Method>>,
    out: Outbox,
}

impl Machine {
    pub(crate) fn start(request: &Json) -> Result<Self, Answer> {
        let node = request.get("node").ok_or(Answer::Unsupported)?;
        let address = address(node.get("address").ok_or(Answer::Unsupported)?)?;
        let identity = Identity {
            id: NodeId::parse(text(node, "id")?).map_err(refused)?,
            protocol: ProtocolId::parse(text(node, "protocol")?).map_err(refused)?,
            address,
            trust: trust(node)?,
        };
        let config = config(node.get("config").ok_or(Answer::Unsupported)?)?;
        let seed = integer(node, "seed")?;
        let mut machine = Node::new(identity, config, seed);
        if let Some(table) = node.get("table") {
            let leases = table.get("leases").and_then(Json::as_bool).ok_or(Answer::Unsupported)?;
            machine = machine.with_table(TableOptions { leases });
        }
        Ok(Self {
            node: machine,
            start: node.get("wall").and_then(Json::as_i64).ok_or(Answer::Unsupported)?,
            mono: Duration::ZERO,
            last_stamp: i64::MIN,
            read: BTreeMap::new(),
            out: Outbox::new(),
        })
    }

    /// Lets time pass up to the step's, each timer at its own moment, then takes its input.
    pub(crate) fn step(&mut self, request: &Json) -> Result<Vec<Json>, Answer> {
        let at = Duration::from_millis(integer(request, "at")?);
        if at < self.mono {
            return Err(refused("time runs back"));
        }
        let mut done = Vec::new();
        while let Some(due) = self.node.next_timer().filter(|due| *due <= at) {
            self.mono = self.mono.max(due);
            self.feed(Input::Tick, &mut done)?;
        }
        self.mono = at;
        let input = request.get("input").and_then(Json::as_object).ok_or(Answer::Unsupported)?;
        let (what, with) = input.iter().next().ok_or(Answer::Unsupported)?;
        self.take(what, with, &mut done)?;
        Ok(done)
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: self.start.saturating_add_unsigned(self.mono.as_secs()) }
    }

    fn take(&mut self, what: &str, with: &Json, done: &mut Vec<Json>) -> Result<(), Answer> {
        let input = match what {
            "tick" => Input::Tick,
            "accepted" => {
                Input::LinkUp { link: link(with)?, origin: Origin::Accepted, remote: remote(with)? }
            }
            "dialled" => Input::LinkUp {
                link: link(with)?,
                origin: Origin::Dialled(DialId(integer(with, "dial")?)),
                remote: remote(with)?,
            },
            "dial_failed" => {
                Input::DialFailed { dial: DialId(integer(with, "dial")?), problem: "refused".to_owned() }
            }
            "link_down" => Input::LinkDown { link: link(with)?, reason: CloseReason::Remote },
            "message" => Input::Message { link: link(with)?, message: message(with)? },
            "frame" => match self.read_frame(link(with)?, &unhex(text(with, "frame")?)?) {
                Ok(input) => input,
                Err((link, reason)) => {
                    done.push(json!({ "close": { "link": link.0, "reason": reason.code() } }));
                    Input::LinkDown { link, reason }
                }
            },
            "set" | "delta" | "delete" => return self.change(what, with, done),
            _ => Input::Command(self.command(what, with)?),
        };
        self.feed(input, done)
    }

    /// What a frame on a link is to the node: as its reader treats it.
    fn read_frame(&self, link: LinkId, bytes: &[u8]) -> Result<Input, (LinkId, CloseReason)> {
        let limit = self.node.config().max_frame;
        let mut decoder = Decoder::new(limit);
        decoder.push(bytes);
        let content = decoder.next_frame().and_then(|content| decoder.finish().map(|()| content));
        let content = content.map_err(|error| (link, error.into()))?.unwrap_or_default();
        let methods = self.read.get(&link).map(Vec::as_slice).unwrap_or_default();
        let envelope = self.node.identity().envelope();
        let body: Bytes = envelope.open(content, methods, limit).map_err(|error| (link, error.into()))?;
        Input::read(link, envelope.read(body, &Limits::default())).map_err(|reason| (link, reason))
    }

    /// The stamp of a message that the program sends now.
    fn stamp(&mut self) -> i64 {
        let wall = self.now().wall;
        match self.node.identity().trust.stamps_per_second() {
            1 => wall,
            in_a_second => {
                self.last_stamp = (wall * in_a_second).max(self.last_stamp.saturating_add(1));
                self.last_stamp
            }
        }
    }

    fn command(&mut self, what: &str, with: &Json) -> Result<Command, Answer> {
        let token = || integer(with, "token").map(Token);
        let stamp = self.stamp();
        let packed = |kind, code| {
            let payload = to_values(list(with, "payload")?)?;
            self.node.identity().pack(kind, stamp, code, &payload).map_err(refused)
        };
        Ok(match what {
            "connect" => Command::Connect {
                token: token()?,
                target: text(with, "target")?.parse::<Target>().map_err(refused)?,
                persist: with.get("persist").and_then(Json::as_bool).unwrap_or(false),
            },
            "disconnect" => Command::Disconnect { token: token()?, peer: peer(with, "peer")? },
            "broadcast" => Command::Broadcast(packed(kind::BROADCAST, code::BROADCAST)?),
            "whisper" => Command::Whisper {
                token: token()?,
                to: peer(with, "to")?,
                message: packed(kind::WHISPER, code::WHISPER)?,
            },
            "ask" => {
                let token = token()?;
                let mut payload = to_values(list(with, "payload")?)?;
                payload.insert(0, token.0.into());
                let message = self.node.identity().pack(kind::WHISPER, stamp, code::ASK, &payload);
                let timeout = Duration::from_millis(integer(with, "timeout")?);
                Command::Ask {
                    token,
                    to: peer(with, "to")?,
                    message: message.map_err(refused)?.into(),
                    timeout,
                }
            }
            "answer" => {
                let number = integer(with, "number")?;
                let answer = match with.get("refusal").and_then(Json::as_str) {
                    Some("not_taken") => Err(Refusal::NotTaken),
                    Some("dropped") => Err(Refusal::Dropped),
                    Some("busy") => Err(Refusal::Busy),
                    Some(_) => return Err(Answer::Unsupported),
                    None => {
                        let mut payload = to_values(list(with, "payload")?)?;
                        payload.splice(0..0, [number.into(), 0.into()]);
                        Ok(self
                            .node
                            .identity()
                            .pack(kind::WHISPER, stamp, code::ANSWER, &payload)
                            .map_err(refused)?)
                    }
                };
                Command::Answer { peer: peer(with, "peer")?, number, answer }
            }
            "allow" => {
                let id = |id: &Json| NodeId::parse(id.as_str().unwrap_or_default()).map_err(refused);
                Command::Allow(list(with, "peers")?.iter().map(id).collect::<Result<_, _>>()?)
            }
            "disallow" => Command::Disallow(peer(with, "peer")?),
            "ban" => {
                let until = self.now().wall.saturating_add_unsigned(integer(with, "seconds")?);
                Command::Ban { peer: peer(with, "peer")?, until }
            }
            "unban" => Command::Unban(peer(with, "peer")?),
            "save" => Command::Save(vec![text(with, "address")?.parse().map_err(refused)?]),
            "remove" => Command::Remove(vec![text(with, "address")?.parse().map_err(refused)?]),
            "close" => Command::Close,
            _ => return Err(Answer::Unsupported),
        })
    }

    /// The program changes the table.
    fn change(&mut self, what: &str, with: &Json, done: &mut Vec<Json>) -> Result<(), Answer> {
        let (now, stamp) = (self.now(), self.stamp());
        let key = Bytes::copy_from_slice(text(with, "key")?.as_bytes());
        let value = || {
            let value = to_value(with.get("value").ok_or(Answer::Unsupported)?)?;
            let mut packed = Vec::new();
            value.pack(&mut packed).map_err(refused)?;
            Ok::<_, Answer>(Bytes::from(packed))
        };
        self.out.clear();
        let changed = match what {
            "set" => self.node.table_set(now, stamp, key, value()?, &mut self.out),
            "delta" => self.node.table_delta(now, stamp, &key, value()?, &mut self.out),
            _ => self.node.table_delete(now, stamp, &key, &mut self.out),
        };
        if let Err(error) = changed {
            let error = match error {
                TableError::Leased { .. } => "lease",
                TableError::Absent => "absent",
                TableError::Nil => "nil",
                TableError::NotAMap(_) => "not_a_map",
                TableError::Repeated => "repeated",
                _ => "other",
            };
            done.push(json!({ "refused": { "error": error } }));
        }
        self.show_all(done)
    }

    fn feed(&mut self, input: Input, done: &mut Vec<Json>) -> Result<(), Answer> {
        let now = self.now();
        self.out.clear();
        self.node.handle(now, input, &mut self.out);
        self.show_all(done)
    }

    fn show_all(&mut self, done: &mut Vec<Json>) -> Result<(), Answer> {
        for output in &self.out.outputs {
            if let Output::Agree { link, read, .. } = output {
                self.read.insert(*link, read.clone());
            }
            // What it keeps for itself, and when it goes on, is nobody else's affair.
            if !matches!(output, Output::Keep { .. } | Output::TellWritten { .. }) {
                done.push(self.show(output)?);
            }
        }
        Ok(())
    }

    fn show(&self, output: &Output) -> Result<Json, Answer> {
        Ok(match output {
            Output::Send { links, class, body } => {
                let envelope = self.node.identity().envelope();
                let message = envelope.read(body.clone(), &Limits::default()).map_err(refused)?;
                let mut links: Vec<u64> = self.out.links(links).iter().map(|link| link.0).collect();
                links.sort_unstable();
                let class = match class {
                    peernet::protocol::Class::Control => "control",
                    peernet::protocol::Class::Own => "own",
                    peernet::protocol::Class::Relay => "relay",
                };
                let mut send = Map::new();
                send.insert("links".to_owned(), links.into());
                send.insert("class".to_owned(), class.into());
                send.insert("sealed".to_owned(), message.is_sealed().into());
                send.extend(parts(&message)?.map(|(key, value)| (key.to_owned(), value)));
                json!({ "send": send })
            }
            Output::Dial { dial, address, .. } => {
                json!({ "dial": { "dial": dial.0, "address": [address.host, address.port] } })
            }
            Output::Agree { link, read, write } => json!({ "agree": {
                "link": link.0,
                "read": read.iter().map(|method| method.code()).collect::<Vec<_>>(),
                "write": write.map(Method::code),
            } }),
            Output::Close { link, reason } => {
                json!({ "close": { "link": link.0, "reason": reason.code() } })
            }
            Output::Event(event) => show_event(event)?,
            Output::Keep { .. } | Output::TellWritten { .. } => Json::Null,
        })
    }
}

fn show_event(event: &Event) -> Result<Json, Answer> {
    Ok(match event {
        Event::Connected { peer, link, address, dialect } => json!({ "connected": {
            "peer": peer.as_str(),
            "link": link.0,
            "address": address.as_ref().map(|address| json!([address.host, address.port])),
            "dialect": dialect.name(),
        } }),
        Event::Disconnected { peer, reason } => {
            json!({ "disconnected": { "peer": peer.as_str(), "reason": reason.code() } })
        }
        Event::Received(Received { kind, code, sender, link, message, authorship }) => json!({ "message": {
            "kind": kind.name(),
            "verified": (*authorship == Authorship::Proven),
            "code": code,
            "sender": sender.as_str(),
            "link": link.0,
            "payload": from_values(&message.values(&Limits::default()).map_err(refused)?),
            "id": hex(message.id().as_bytes()),
        } }),
        Event::Done { token, result: Ok(peer) } => {
            json!({ "done": { "token": token.0, "peer": peer.as_str() } })
        }
        Event::Done { token, result: Err(error) } => json!({ "done": {
            "token": token.0,
            "error": match error {
                CommandError::Connect { .. } => "connect",
                CommandError::Unreachable { .. } => "unreachable",
                CommandError::Unproven { .. } => "unproven",
                CommandError::NotConnected { .. } => "not_connected",
                CommandError::TimedOut { .. } => "timed_out",
                CommandError::Unanswered { .. } => "unanswered",
                CommandError::TooMany { .. } => "too_many",
                CommandError::SearchOver => "search_over",
                CommandError::NeedsTls { .. } => "needs_tls",
                CommandError::Closed => "closed",
                _ => "other",
            },
            "reason": match error {
                CommandError::Connect { reason: Some(reason), .. } => Some(reason.code()),
                _ => None,
            },
        } }),
        Event::Changed(Change { key, value, owner, time, .. }) => {
            let value = value.as_deref().map(unpacked).transpose()?;
            json!({ "changed": { "key": hex(key), "value": value, "owner": owner.as_str(), "time": time } })
        }
        Event::Superseded { key, by, .. } => {
            json!({ "superseded": { "key": hex(key), "by": by.as_str() } })
        }
        Event::Asked { number, received } => json!({ "asked": {
            "number": number,
            "peer": received.sender.as_str(),
            "payload": from_values(&received.message.values(&Limits::default()).map_err(refused)?),
        } }),
        Event::Answered { token, received } => json!({ "answered": {
            "token": token.0,
            "payload": from_values(&received.message.values(&Limits::default()).map_err(refused)?),
        } }),
        Event::Searched { hops, received } => json!({ "searched": note(*hops, received)? }),
        Event::Found { token, hops, received } => {
            let mut found = note(*hops, received)?;
            found["token"] = token.0.into();
            json!({ "found": found })
        }
        Event::Redial { address, pause, .. } => json!({ "redial": {
            "address": [address.host, address.port],
            "pause": u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        } }),
    })
}

/// One packed value.
fn unpacked(packed: &[u8]) -> Result<Json, Answer> {
    let values = value::unpack(packed, 1, &Limits::default()).map_err(refused)?;
    Ok(from_values(&values).get(0).cloned().unwrap_or_default())
}

fn note(hops: u64, received: &Received) -> Result<Json, Answer> {
    Ok(json!({
        "hops": hops,
        "sender": received.sender.as_str(),
        "verified": received.verified(),
        "payload": from_values(&received.message.values(&Limits::default()).map_err(refused)?),
        "id": hex(received.message.id().as_bytes()),
    }))
}

fn integer(json: &Json, key: &str) -> Result<u64, Answer> {
    json.get(key).and_then(Json::as_u64).ok_or(Answer::Unsupported)
}

fn link(with: &Json) -> Result<LinkId, Answer> {
    integer(with, "link").map(LinkId)
}

/// How the node's subnet knows who is who.
fn trust(node: &Json) -> Result<Trust, Answer> {
    let Some(trust) = node.get("trust") else { return Ok(Trust::Claimed) };
    let signed = trust.get("signed").and_then(Json::as_bool).ok_or(Answer::Unsupported)?;
    Ok(Trust::Proven { keys: keys(trust)?, signed })
}

/// What is known of the other side of a connection: `ip`, and the public key that it has proven.
fn remote(with: &Json) -> Result<Remote, Answer> {
    let Some(remote) = with.get("remote") else { return Ok(Remote::default()) };
    let ip = match remote.get("ip") {
        None => None,
        Some(_) => Some(text(remote, "ip")?.parse().map_err(refused)?),
    };
    let key = match remote.get("key") {
        None => None,
        Some(_) => {
            let bytes = unhex(text(remote, "key")?)?.try_into();
            Some(PublicKey::from_bytes(bytes.map_err(|_| refused("a public key has 32 bytes"))?))
        }
    };
    Ok(Remote { ip, key })
}

fn peer(with: &Json, key: &str) -> Result<NodeId, Answer> {
    NodeId::parse(text(with, key)?).map_err(refused)
}

fn address(json: &Json) -> Result<Address, Answer> {
    let Some([host, port]) = json.as_array().map(Vec::as_slice) else { return Err(Answer::Unsupported) };
    let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
    match (host.as_str(), port) {
        (Some(host), Some(port)) => Ok(Address::new(host, port)),
        _ => Err(Answer::Unsupported),
    }
}

/// Reads what a transcript sets; it sets everything that its steps depend on.
fn config(json: &Json) -> Result<Config, Answer> {
    let mut config = Config { connections: 0, ..Config::default() };
    let settings = json.as_object().ok_or(Answer::Unsupported)?;
    for (key, value) in settings {
        let number = value.as_u64();
        let size = || number.and_then(|n| usize::try_from(n).ok()).ok_or(Answer::Unsupported);
        let small = || number.and_then(|n| u32::try_from(n).ok()).ok_or(Answer::Unsupported);
        let millis = || number.map(Duration::from_millis).ok_or(Answer::Unsupported);
        match key.as_str() {
            "max_peers" => config.max_peers = size()?,
            "max_opening" => config.max_opening = size()?,
            "max_outgoing" => config.max_outgoing = size()?,
            "book_addresses" => config.book_addresses = size()?,
            "connections" => config.connections = size()?,
            "ask_interval" => config.ask_interval = millis()?,
            "purge_interval" => config.purge_interval = millis()?,
            "named_dials_per_minute" => config.named_dials_per_minute = small()?,
            "trust_lookups" => config.trust_lookups = value.as_bool().ok_or(Answer::Unsupported)?,
            "forgive_after" => config.forgive_after = millis()?,
            "refuse_for" => config.refuse_for = millis()?,
            "max_frame" => config.max_frame = size()?,
            "handshake_timeout" => config.handshake_timeout = millis()?,
            "keep_alive" => config.keep_alive = millis()?,
            "redial_min" => config.redial_min = millis()?,
            "redial_max" => config.redial_max = millis()?,
            "lookup_timeout" => config.lookup_timeout = millis()?,
            "max_requests" => config.max_requests = size()?,
            "max_requests_per_peer" => config.max_requests_per_peer = size()?,
            "fresh_seconds" => config.fresh_seconds = small()?,
            "compression" => config.compression = methods(list(json, key)?),
            _ => return Err(Answer::Unsupported),
        }
    }
    config.check().map_err(refused)?;
    Ok(config)
}
