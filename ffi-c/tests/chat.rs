//! The chats of the examples: compiled as C99 and C++17, and talking to a node in another process.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use node::wire::{Limits, Packed};
use node::{Event, Mesh, Value};
use peernet_bindings::{Node, Wait};
use support::{Language, Link, compile, root};

const PATIENCE: Duration = Duration::from_secs(60);

struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Chat {
    fn start(program: &Path, args: &[&str]) -> Self {
        let mut child =
            Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { input: child.stdin.take(), child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends its input, and with it the chat.
    fn end(&mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The next message that a node hears.
fn heard(node: &Node) -> (String, Vec<Value>) {
    let mut events = Vec::new();
    loop {
        node.events().drain(1, Wait::AtMost(PATIENCE), &mut events).unwrap();
        if let Some(peernet_bindings::Event::Node(Event::Message(message))) = events.pop() {
            return (message.sender().to_string(), message.payload());
        }
    }
}

fn program(language: Language, link: Link) -> PathBuf {
    let source = if language == Language::C99 { "examples/c/chat.c" } else { "examples/cpp/chat.cpp" };
    compile(&root().join(source), language, link, &[])
}

fn chats_with_a_node_and_another_chat(program: &Path) {
    let mut first = Chat::start(program, &[]);
    let address = first.line().strip_prefix("at ").unwrap().to_owned();
    let node = Node::open_mesh(Mesh::builder()).unwrap();
    node.connect(&address, Wait::AtMost(PATIENCE)).unwrap();
    let mut second = Chat::start(program, &[&address]);
    second.line();

    // Two lines at once: neither waits for a third.
    first.say("hello\nh\u{e9} again\n");
    let (id, payload) = heard(&node);
    assert_eq!(payload, ["hello".into()]);
    assert_eq!(heard(&node), (id.clone(), vec!["h\u{e9} again".into()]));
    assert_eq!(second.line(), format!("{}: hello", &id[..8]));
    assert_eq!(second.line(), format!("{}: h\u{e9} again", &id[..8]));

    let payload = Packed::new(b"\xa5hello\x05", &Limits::default()).unwrap();
    node.broadcast(None, &payload, Wait::AtMost(PATIENCE)).unwrap();
    let said = format!("{}: hello", node.mesh().id().short());
    assert_eq!((first.line(), second.line()), (said.clone(), said));
    second.end();
    first.end();
}

#[test]
fn shared() {
    chats_with_a_node_and_another_chat(&program(Language::C99, Link::Shared));
}

#[test]
fn linked_statically() {
    chats_with_a_node_and_another_chat(&program(Language::C99, Link::Static));
}

#[test]
fn in_cpp() {
    chats_with_a_node_and_another_chat(&program(Language::Cpp17, Link::Shared));
}

/// It is what the documentation promises.
#[test]
fn under_forty_lines() {
    let source = std::fs::read_to_string(root().join("examples/c/chat.c")).unwrap();
    assert!(source.lines().count() < 40);
}

#[test]
fn whoever_cannot_join_is_told_why() {
    for language in [Language::C99, Language::Cpp17] {
        let program = program(language, Link::Shared);
        let output = Command::new(program).arg("not an address").stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("chat: "), "{output:?}");
    }
}
