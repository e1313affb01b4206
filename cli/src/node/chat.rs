//! A node for people: a typed line goes to everyone, what arrives is shown.

use peernet::protocol::CloseReason;
use peernet::{Change, Error, Event, Kind, Message, SyncTable, Value};
use tokio::sync::mpsc;

use super::input;
use super::member::Member;
use super::output::Output;
use super::session::{self, Stopped};
use super::signals::Signals;
use crate::failure::Failure;
use crate::style::{Style, printable, readable};

const HELP: &str = "  a line of text   everyone in the network gets it
  /peers           the neighbours: nodes with a direct link to this one
  /stats           what this node has counted
  /quit            leave
  //text           a line that begins with /
";
const TABLE_HELP: &str = "  /set KEY TEXT    give a key a value, for everyone
  /get KEY         the value of a key
  /delete KEY      take it away, for everyone
  /keys            all keys
";

/// What a typed line asks for.
#[derive(Debug, PartialEq)]
enum Typed {
    Say(String),
    Peers,
    Stats,
    Help,
    Quit,
    Set(String, String),
    Get(String),
    Delete(String),
    Keys,
    Unknown(String),
}

impl Typed {
    fn read(line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        match text.strip_prefix('/') {
            None => Self::Say(text.into_owned()),
            Some(rest) if rest.starts_with('/') => Self::Say(rest.to_owned()),
            Some("peers") => Self::Peers,
            Some("stats") => Self::Stats,
            Some("help" | "?") => Self::Help,
            Some("quit" | "exit") => Self::Quit,
            Some("keys") => Self::Keys,
            Some(rest) => match rest.split_once(' ').map(|(what, rest)| (what, rest.trim())) {
                Some(("get", key)) => Self::Get(key.to_owned()),
                Some(("delete", key)) => Self::Delete(key.to_owned()),
                Some(("set", rest)) if rest.contains(' ') => {
                    let (key, value) = rest.split_once(' ').unwrap_or_default();
                    Self::Set(key.to_owned(), value.trim().to_owned())
                }
                _ => Self::Unknown(text.into_owned()),
            },
        }
    }
}

/// `invitation` is what others type to join, but for the address.
pub(super) async fn run(
    mesh: Member,
    serve: bool,
    signals: Signals,
    invitation: &str,
) -> Result<(), Failure> {
    let chat = Chat { mesh, output: Output::start(), style: Style::for_stdout() };
    chat.greet(invitation).await;
    let talk = async |mut stopped: Stopped| {
        tokio::select! {
            () = chat.listen(input::lines(), serve) => {}
            () = stopped.wait() => {}
        }
    };
    let show = async {
        tokio::join!(chat.show_events(), chat.show_changes());
    };
    session::run(&chat.mesh, &chat.output, signals, talk, show).await
}

struct Chat {
    mesh: Member,
    output: Output,
    style: Style,
}

impl Chat {
    async fn say(&self, line: &str) {
        self.output.write(&format!("{line}\n")).await;
    }

    async fn greet(&self, invitation: &str) {
        let (mesh, style) = (&self.mesh, self.style);
        let join = style.bold(&format!("{invitation} --connect {}", mesh.address()));
        self.say(&format!("Others join with: {join}")).await;
        let here = format!("You are {}. Type to talk to everyone, /help for more.", style.node(mesh.id()));
        self.say(&here).await;
    }

    /// Does what is typed, until that ends.
    async fn listen(&self, mut lines: mpsc::Receiver<Vec<u8>>, serve: bool) {
        while let Some(line) = lines.recv().await {
            match Typed::read(&line) {
                Typed::Say(text) => self.broadcast(text).await,
                Typed::Peers => self.peers().await,
                Typed::Stats => self.stats().await,
                Typed::Help => {
                    self.output.write(HELP).await;
                    if self.mesh.table().is_some() {
                        self.output.write(TABLE_HELP).await;
                    }
                }
                Typed::Set(key, value) => {
                    self.change(async |table| table.set(key, value).await.map(drop)).await;
                }
                Typed::Delete(key) => self.change(async |table| table.delete(key).await.map(drop)).await,
                Typed::Get(key) => self.get(&key).await,
                Typed::Keys => self.keys().await,
                Typed::Quit => return,
                Typed::Unknown(text) => {
                    self.say(&format!("There is no {}; /help shows what there is.", printable(&text))).await;
                }
            }
        }
        if serve {
            std::future::pending::<()>().await;
        }
    }

    async fn broadcast(&self, text: String) {
        let problem = match self.mesh.broadcast(&[Value::Str(text)]).await {
            Ok(report) if report.links > 0 => return,
            Ok(_) => "Nobody is connected, so nobody heard that.".to_owned(),
            Err(error) => format!("Not sent: {error}."),
        };
        self.say(&self.style.bad(&problem)).await;
    }

    /// The table; without one, that is said.
    async fn table(&self) -> Option<&SyncTable> {
        let table = self.mesh.table();
        if table.is_none() {
            self.say("There is no table here; start with --network sync to have one.").await;
        }
        table
    }

    async fn change(&self, change: impl AsyncFnOnce(&SyncTable) -> Result<(), Error>) {
        let Some(table) = self.table().await else { return };
        // What comes of it is shown like any change.
        if let Err(error) = change(table).await {
            self.say(&self.style.bad(&format!("Not done: {error}."))).await;
        }
    }

    async fn get(&self, key: &str) {
        let Some(table) = self.table().await else { return };
        let line = match (table.get(key), table.owner(key)) {
            (Some(value), Some(owner)) => {
                let value = readable(&[value]);
                format!("  {} = {value}, set by {}", printable(key), self.style.node(&owner))
            }
            _ => format!("  {} has no value", printable(key)),
        };
        self.say(&line).await;
    }

    async fn keys(&self) {
        let Some(table) = self.table().await else { return };
        for (key, value) in table.items() {
            self.say(&format!("  {} = {}", shown_key(&key), readable(&[value]))).await;
        }
    }

    async fn peers(&self) {
        let peers = self.mesh.peers();
        if peers.is_empty() {
            self.say("  nobody is connected").await;
        }
        for peer in peers {
            let address = peer.address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
            let how = if peer.outgoing { "we dialled it" } else { "it dialled us" };
            let line = format!("  {}  {}, {how}", self.style.node(&peer.id), printable(&address));
            self.say(&line).await;
        }
    }

    async fn stats(&self) {
        for (name, count) in self.mesh.stats().entries() {
            self.say(&format!("  {name:<20} {count:>12}")).await;
        }
    }

    /// Shows what happens, until the node is closed.
    async fn show_events(&self) {
        while let Some(event) = self.mesh.next_event().await {
            // We are leaving, and know it.
            if matches!(&event, Event::Disconnected { reason: CloseReason::Local, .. }) {
                continue;
            }
            self.say(&self.describe(&event)).await;
        }
    }

    /// Shows what happens to the table, until the node is closed.
    async fn show_changes(&self) {
        let Some(changes) = self.mesh.changes() else { return };
        let mut changes = changes.lock().await;
        loop {
            let line = match changes.recv().await {
                Ok(change) => self.describe_change(&change),
                Err(Error::Lagged { count }) => self.describe(&Event::Lagged { count }),
                Err(_) => return,
            };
            self.say(&line).await;
        }
    }

    fn describe_change(&self, change: &Change) -> String {
        let (owner, key) = (self.style.node(&change.owner), self.style.bold(&shown_key(&change.key)));
        match &change.value {
            Some(value) => format!("{owner}  {key} = {}", readable(std::slice::from_ref(value))),
            None => format!("{owner}  {key} {}", self.style.dim("is deleted")),
        }
    }

    fn describe(&self, event: &Event) -> String {
        let style = self.style;
        match event {
            Event::Message(message) => self.describe_message(message),
            Event::Connected { peer, address } => {
                let address = address.as_ref().map(|address| printable(&format!(" ({address})")));
                format!(
                    "{} {} is connected{}",
                    style.good("+"),
                    style.node(peer),
                    style.dim(&address.unwrap_or_default())
                )
            }
            Event::Disconnected { peer, reason } => {
                let why = style.dim(&printable(&format!(" ({reason})")));
                format!("{} {} is gone{why}", style.bad("-"), style.node(peer))
            }
            Event::SlowPeer { peer } => {
                let id = style.node(peer);
                format!("{} {id} is slow: it takes nothing of what is sent to it", style.bad("!"))
            }
            Event::Redial { address, problem, pause } => {
                let pause = pause.as_secs_f32();
                let text = format!("no link to {address}: {problem}; trying again in {pause:.1} s");
                format!("{} {}", style.bad("!"), printable(&text))
            }
            Event::StoreReplaced { path, problem } => {
                let text = format!(
                    "what this node had kept is damaged ({problem}); it is in {} now, and the node begins anew",
                    path.display()
                );
                format!("{} {}", style.bad("!"), printable(&text))
            }
            Event::RecordsDamaged { count, problem } => {
                format!("{} {count} records that this node had kept do not read: {problem}", style.bad("!"))
            }
            Event::StoreFailed { problem } => {
                let text = format!("what must outlive the node cannot be written: {problem}; trying again");
                format!("{} {}", style.bad("!"), printable(&text))
            }
            Event::Lagged { count } => {
                format!(
                    "{} {count} messages were missed: they came faster than they were shown",
                    style.bad("!")
                )
            }
            Event::Superseded { key, value, by } => {
                let (key, by) = (shown_key(key), style.node(by));
                let lost = match value {
                    Some(value) => {
                        format!("what you set {key} to, {},", readable(std::slice::from_ref(value)))
                    }
                    None => format!("that you deleted {key}"),
                };
                format!("{} {lost} gave way to what {by} did", style.bad("!"))
            }
            // An event of a later version of the library.
            other => printable(&format!("{other:?}")),
        }
    }

    fn describe_message(&self, message: &Message) -> String {
        let text = readable(&message.payload());
        let sender = self.style.node(message.sender());
        match message.kind() {
            Kind::Broadcast => format!("{sender}  {text}"),
            Kind::Whisper => format!("{sender} {}  {text}", self.style.dim("(to you)")),
        }
    }
}

/// A key for people: text where it is some.
fn shown_key(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(key) => printable(key),
        Err(_) => readable(&[key.into()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_lines_read() {
        assert_eq!(Typed::read(b"hello /quit"), Typed::Say("hello /quit".to_owned()));
        assert_eq!(Typed::read(b"//etc"), Typed::Say("/etc".to_owned()));
        assert_eq!(Typed::read(b"/quit"), Typed::Quit);
        assert_eq!(Typed::read(b"/set k  a b"), Typed::Set("k".to_owned(), "a b".to_owned()));
        assert_eq!(Typed::read(b"/set k"), Typed::Unknown("/set k".to_owned()));
        assert_eq!(Typed::read(b"/get k"), Typed::Get("k".to_owned()));
        assert_eq!(Typed::read(b"/delete k"), Typed::Delete("k".to_owned()));
        assert_eq!(Typed::read(b"/stat"), Typed::Unknown("/stat".to_owned()));
    }
}
