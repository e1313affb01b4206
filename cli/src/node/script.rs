//! A node that a program drives: commands on stdin, events on stdout, one JSON object a line.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use peernet::identity::{MessageId, NodeId};
use peernet::{Address, Change, Error, Event, Mesh, Message, Query, SyncTable, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::asked::{self, Asked};
use super::command::{Command, Problem, Request};
use super::input;
use super::member::Member;
use super::output::Output;
use super::session::{self, Stopped};
use super::signals::Signals;
use crate::failure::Failure;
use crate::json::{Json, Object, write_key, write_value};

/// Messages that can be answered by their id.
const ANSWERABLE: usize = 1024;

/// Why no more commands are done.
#[derive(PartialEq)]
enum End {
    /// No more will come.
    Input,
    /// The program closed the node.
    Close,
    /// We were told to go.
    Stopped,
}

pub(super) async fn run(mesh: Member, serve: bool, signals: Signals) -> Result<(), Failure> {
    let script = Script { mesh, output: Output::start(), recent: Mutex::default(), asked: Mutex::default() };
    script.output.write(&listening(&script.mesh)).await;
    let talk = async |mut stopped: Stopped| {
        let end = script.obey(input::lines(), &mut stopped).await;
        if serve && end == End::Input {
            stopped.wait().await;
        }
    };
    let tell = async {
        tokio::join!(script.tell_events(), script.tell_changes());
    };
    session::run(&script.mesh, &script.output, signals, talk, tell).await
}

struct Script {
    mesh: Member,
    output: Output,
    recent: Mutex<Recent>,
    asked: Mutex<Asked>,
}

impl Script {
    /// Writes what happens, until the node is closed.
    async fn tell_events(&self) {
        while let Some(event) = self.mesh.next_event().await {
            if let Event::Message(message) = &event {
                self.recent.lock().unwrap_or_else(PoisonError::into_inner).remember(message);
            }
            let line = match event {
                Event::Request(request) => self.asked().request(request),
                Event::Search(search) => self.asked().search(search),
                event => event_line(&event),
            };
            self.output.write(&line).await;
        }
    }

    /// Writes what happens to the table, until the node is closed.
    async fn tell_changes(&self) {
        let Some(changes) = self.mesh.changes() else { return };
        let mut changes = changes.lock().await;
        loop {
            let line = match changes.recv().await {
                Ok(change) => change_line(&change),
                Err(Error::Lagged { count }) => event_line(&Event::Lagged { count }),
                Err(_) => return,
            };
            self.output.write(&line).await;
        }
    }

    /// The table, if the node is of one.
    fn table(&self) -> Result<&SyncTable, Problem> {
        let text = "this node is of a mesh; start it with --network sync to have a table";
        self.mesh.table().ok_or_else(|| Problem::new("unsupported", text))
    }

    /// Does one command after the other. One that takes long holds up those behind it, nothing else.
    async fn obey(&self, mut lines: mpsc::Receiver<Vec<u8>>, stopped: &mut Stopped) -> End {
        let end = loop {
            let line = tokio::select! {
                biased;
                () = stopped.wait() => break End::Stopped,
                line = lines.recv() => line,
            };
            let Some(line) = line else { break End::Input };
            let Request { reference, command } = Request::read(&line);
            let closes = command == Ok(Command::Close);
            let result = match command {
                Ok(command) => self.execute(command).await,
                Err(problem) => Err(problem),
            };
            self.output.write(&answer(reference.as_ref(), result)).await;
            if closes {
                break End::Close;
            }
        };
        lines.close();
        while let Some(line) = lines.recv().await {
            let request = Request::read(&line);
            let problem = Problem::new("closed", "the node is closed");
            self.output.write(&answer(request.reference.as_ref(), Err(problem))).await;
        }
        end
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a search finds, up to so much and for so long, as a JSON array.
    async fn search(&self, query: Query, count: usize, time: Duration) -> Result<String, Problem> {
        let mut rows = self.mesh.announce(query)?;
        let mut found = Vec::new();
        let collect = async {
            while found.len() < count
                && let Some(row) = rows.next().await
            {
                found.push(asked::row(Object::empty(), &row).end());
            }
        };
        // What was found by then is the result.
        let _ = timeout(time, collect).await;
        Ok(format!("[{}]", found.join(",")))
    }

    /// The result of one command, in JSON.
    async fn execute(&self, command: Command) -> Result<String, Problem> {
        let mesh = &self.mesh;
        Ok(match command {
            Command::Connect { address } => Object::new("peer", mesh.connect(&address).await?.as_str()).end(),
            Command::Disconnect { peer } => {
                mesh.disconnect(&peer).await?;
                "null".to_owned()
            }
            Command::Peers => {
                let peer = |peer: peernet::Peer| {
                    Object::new("id", peer.id.as_str())
                        .json("address", &address_json(peer.address.as_ref()))
                        .end()
                };
                format!("[{}]", mesh.peers().into_iter().map(peer).collect::<Vec<_>>().join(","))
            }
            Command::Broadcast { payload } => {
                let report = mesh.broadcast(&payload).await?;
                Object::new("id", &report.id.to_string()).number("links", report.links as u64).end()
            }
            Command::Send { peer, payload } => {
                Object::new("id", &mesh.send(&peer, &payload).await?.id.to_string()).end()
            }
            Command::Reply { to, payload } => {
                let author = self.recent.lock().unwrap_or_else(PoisonError::into_inner).author(&to);
                let Some(author) = author else {
                    let text = format!("{to} is none of the last {ANSWERABLE} messages; send to its sender");
                    return Err(Problem::new("unknown_message", text));
                };
                Object::new("id", &mesh.send(&author, &payload).await?.id.to_string()).end()
            }
            Command::Request { peer, payload, timeout } => {
                let answer = mesh.request(&peer, &payload, timeout).await?;
                Object::empty().payload("payload", &answer.payload()).end()
            }
            Command::Respond { to, payload } => {
                let request = self.asked().take_request(to)?;
                request.respond(&payload).await?;
                "null".to_owned()
            }
            Command::Search { query, count, time } => self.search(query, count, time).await?,
            Command::Found { to, data } => {
                let search = self.asked().find_search(to)?;
                search.reply(data)?;
                "null".to_owned()
            }
            Command::Ban { peer, time } => {
                mesh.ban(&peer, time)?;
                mesh.flush().await?;
                "null".to_owned()
            }
            Command::Unban { peer } => {
                mesh.unban(&peer)?;
                mesh.flush().await?;
                "null".to_owned()
            }
            Command::Bans => {
                let ban = |ban: peernet::Ban| {
                    let until = ban.until.duration_since(UNIX_EPOCH).unwrap_or_default();
                    Object::new("peer", ban.peer.as_str()).number("until", until.as_secs()).end()
                };
                format!("[{}]", mesh.bans().into_iter().map(ban).collect::<Vec<_>>().join(","))
            }
            Command::Set { key, value } => {
                self.table()?.set(key, value).await?;
                "null".to_owned()
            }
            Command::Get { key } => value_json(&self.table()?.get(key).unwrap_or(Value::Nil)),
            Command::Delta { key, value } => {
                self.table()?.delta(key, value).await?;
                "null".to_owned()
            }
            Command::Delete { key } => {
                self.table()?.delete(key).await?;
                "null".to_owned()
            }
            Command::Keys => {
                let keys = self.table()?.keys();
                format!("[{}]", keys.iter().map(|key| key_json(key)).collect::<Vec<_>>().join(","))
            }
            Command::Stats => {
                let entries = mesh.stats().entries();
                entries.into_iter().fold(Object::empty(), |all, (name, count)| all.number(name, count)).end()
            }
            Command::Close => {
                mesh.close().await;
                "null".to_owned()
            }
        })
    }
}

/// Who wrote the last messages.
#[derive(Debug, Default)]
struct Recent(VecDeque<(MessageId, NodeId)>);

impl Recent {
    fn remember(&mut self, message: &Message) {
        if self.0.len() == ANSWERABLE {
            self.0.pop_front();
        }
        self.0.push_back((message.id(), message.sender().clone()));
    }

    fn author(&self, id: &MessageId) -> Option<NodeId> {
        self.0.iter().rev().find(|(known, _)| known == id).map(|(_, author)| author.clone())
    }
}

fn listening(mesh: &Mesh) -> String {
    let (here, outward) = (mesh.listening(), mesh.address());
    let event = Object::new("event", "listening")
        .text("address", &here.to_string())
        .text("id", mesh.id().as_str())
        .text("protocol", mesh.protocol().as_str());
    let event = if here == outward { event } else { event.text("advertised", &outward.to_string()) };
    event.line()
}

fn answer(reference: Option<&Json>, result: Result<String, Problem>) -> String {
    let event = Object::new("event", if result.is_ok() { "result" } else { "error" });
    let event = match reference {
        Some(reference) => event.json("ref", reference),
        None => event,
    };
    match result {
        Ok(value) => event.raw("value", &value),
        Err(problem) => event.text("error", &problem.text).text("code", problem.code),
    }
    .line()
}

fn address_json(address: Option<&Address>) -> Json {
    address.map_or(Json::Null, |address| Json::Text(address.to_string()))
}

fn key_json(key: &[u8]) -> String {
    let mut text = String::new();
    write_key(key, &mut text);
    text
}

fn value_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

fn change_line(change: &Change) -> String {
    let event = Object::new("event", if change.value.is_some() { "update" } else { "delete" });
    let event = event.raw("key", &key_json(&change.key));
    let event = match &change.value {
        Some(value) => event.raw("value", &value_json(value)),
        None => event,
    };
    event.text("owner", change.owner.as_str()).number("time", change.time).line()
}

fn event_line(event: &Event) -> String {
    match event {
        Event::Message(message) => Object::new("event", "message")
            .text("kind", message.kind().name())
            .text("id", &message.id().to_string())
            .text("sender", message.sender().as_str())
            .number("time", message.time())
            .json("verified", &Json::Bool(message.verified()))
            .payload("payload", &message.payload()),
        Event::Connected { peer, address } => Object::new("event", "connected")
            .text("peer", peer.as_str())
            .json("address", &address_json(address.as_ref())),
        Event::Disconnected { peer, reason } => Object::new("event", "disconnected")
            .text("peer", peer.as_str())
            .text("reason", reason.code())
            .text("detail", &reason.to_string()),
        Event::SlowPeer { peer } => Object::new("event", "slow_peer").text("peer", peer.as_str()),
        Event::Redial { address, problem, pause } => Object::new("event", "error")
            .text(
                "error",
                &format!("no link to {address}: {problem}; trying again in {:.1} s", pause.as_secs_f32()),
            )
            .text("code", "connect"),
        Event::Superseded { key, value, by } => Object::new("event", "superseded")
            .raw("key", &key_json(key))
            .raw("value", &value_json(value.as_ref().unwrap_or(&Value::Nil)))
            .text("by", by.as_str()),
        Event::StoreReplaced { path, problem } => Object::new("event", "store_replaced")
            .text("path", &path.to_string_lossy())
            .text("detail", problem),
        Event::RecordsDamaged { count, problem } => {
            Object::new("event", "records_damaged").number("count", *count).text("detail", problem)
        }
        Event::StoreFailed { problem } => {
            let text = format!("what must outlive the node cannot be written: {problem}; trying again");
            Object::new("event", "error").text("error", &text).text("code", "store")
        }
        Event::Lagged { count } => Object::new("event", "lagged").number("count", *count),
        // An event of a later version of the library.
        other => Object::new("event", "other").text("detail", &format!("{other:?}")),
    }
    .line()
}
