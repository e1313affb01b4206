//! Runs the built `peernet` as other programs do: through its arguments, stdin, stdout and signals.

// Every test file uses its own part of this.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// How long anything may take before a test gives up: generous, because other work may share the
/// machine. Nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The built command.
pub(crate) fn peernet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_peernet"))
}

/// Runs `peernet` with this on stdin until it ends.
pub(crate) fn run(args: &[&str], input: impl Into<Vec<u8>>) -> Output {
    let mut child = peernet()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.into();
    // Beside reading, or both sides wait for each other; it may end before it has read everything.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

enum Line {
    Out(String),
    Err(String),
}

/// A running program: its lines as they come, and everything it said for whoever reads a failure.
/// Dropping it kills it.
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    seen: Vec<String>,
}

impl Talk {
    pub(crate) fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if out.send(Line::Out(line)).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut text);
            let _ = sender.send(Line::Err(text));
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new() }
    }

    /// The next line of its output; `None` when that has ended.
    fn next_line(&mut self, deadline: Instant, what: &str) -> Option<String> {
        match self.try_line(deadline) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.fail(&format!("waited too long for {what}")),
        }
    }

    fn try_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left)? {
                Line::Out(line) => {
                    self.seen.push(line.clone());
                    return Ok(line);
                }
                Line::Err(text) => self.seen.push(format!("stderr: {text}")),
            }
        }
    }

    /// Waits for the next line for which `wanted` holds; those before it are passed over.
    pub(crate) fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.next_line(deadline, what);
            let line = line.unwrap_or_else(|| self.fail(&format!("it ended before {what}")));
            if wanted(&line) {
                return line;
            }
        }
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin was closed");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Ends its input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its input, for a thread of the test's own.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin was closed")
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads its output to the end and waits until it has ended.
    pub(crate) fn finish(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while self.next_line(deadline, "its end").is_some() {}
        // Its output has ended, so the rest is a matter of moments; still no wait without a bound.
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.fail("its output ended, but not the process");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Panics with everything it said.
    pub(crate) fn fail(&self, problem: &str) -> ! {
        panic!("{problem}; seen, {}", self.log());
    }

    /// What it said, but for the beginning of a long conversation.
    pub(crate) fn log(&self) -> String {
        const SHOWN: usize = 60;
        let from = self.seen.len().saturating_sub(SHOWN);
        format!("without the first {from} lines:\n{}", self.seen[from..].join("\n"))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `peernet node --json` process. Dropping it kills it.
pub(crate) struct Node {
    talk: Talk,
    /// Events that nobody waited for yet.
    waiting: VecDeque<Json>,
    next_ref: u64,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) protocol: String,
}

impl Node {
    /// Starts a node of a plaintext mesh on a free loopback port, with these options beside.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut args = vec!["node", "--encryption", "plaintext", "--json"];
        args.extend(options);
        Self::spawn(peernet().args(args))
    }

    /// Starts any program that speaks the same JSON lines.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut node = Self {
            talk: Talk::start(command),
            waiting: VecDeque::new(),
            next_ref: 1,
            id: String::new(),
            address: String::new(),
            protocol: String::new(),
        };
        let listening = node.next_event().unwrap_or_else(|| node.fail("it ended before it listened"));
        assert_eq!(listening["event"], "listening", "first line: {listening}");
        let text = |key: &str| listening[key].as_str().unwrap().to_owned();
        (node.id, node.address, node.protocol) = (text("id"), text("address"), text("protocol"));
        node
    }

    /// The next event in the order of arrival, whatever it is; `None` when its output has ended.
    pub(crate) fn next_event(&mut self) -> Option<Json> {
        self.waiting.pop_front().or_else(|| self.read_event(Instant::now() + PATIENCE, "any event"))
    }

    fn read_event(&mut self, deadline: Instant, what: &str) -> Option<Json> {
        let line = self.talk.next_line(deadline, what)?;
        Some(self.parse(&line))
    }

    fn parse(&self, line: &str) -> Json {
        serde_json::from_str(line).unwrap_or_else(|error| self.fail(&format!("no JSON: {error}")))
    }

    /// Waits for the first event not yet taken for which `wanted` holds, and takes it. Others stay
    /// for later.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        self.wait_for(what, PATIENCE, wanted)
    }

    /// As [`Node::wait`], for no longer than `patience`.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Json) -> bool,
    ) -> Json {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at).unwrap();
        }
        let deadline = Instant::now() + patience;
        loop {
            let event = self.read_event(deadline, what);
            let event = event.unwrap_or_else(|| self.fail(&format!("it ended before {what}")));
            if wanted(&event) {
                return event;
            }
            self.waiting.push_back(event);
        }
    }

    /// As [`Node::wait_for`], but `None` if nothing like that comes in this time, or ever.
    pub(crate) fn try_wait(&mut self, patience: Duration, wanted: impl Fn(&Json) -> bool) -> Option<Json> {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at);
        }
        let deadline = Instant::now() + patience;
        while let Ok(line) = self.talk.try_line(deadline) {
            let event = self.parse(&line);
            if wanted(&event) {
                return Some(event);
            }
            self.waiting.push_back(event);
        }
        None
    }

    /// Waits for the next message and takes it.
    pub(crate) fn message(&mut self) -> Json {
        self.wait("a message", |event| event["event"] == "message")
    }

    /// Waits until `peer` is a neighbour.
    pub(crate) fn connected(&mut self, peer: &str) -> Json {
        let here = |event: &Json| event["event"] == "connected" && event["peer"] == peer;
        self.wait(&format!("connected {peer}"), here)
    }

    /// Waits until `peer` is no neighbour any more.
    pub(crate) fn disconnected(&mut self, peer: &str) -> Json {
        let gone = |event: &Json| event["event"] == "disconnected" && event["peer"] == peer;
        self.wait(&format!("disconnected {peer}"), gone)
    }

    /// Kills it at once, and reads what it had said by then.
    pub(crate) fn kill(&mut self) {
        self.talk.signal("KILL");
        while let Some(event) = self.read_event(Instant::now() + PATIENCE, "its end") {
            self.waiting.push_back(event);
        }
    }

    /// Whether a command was done, if it has said so by now and nobody has taken that yet.
    pub(crate) fn said(&self, reference: u64) -> Option<bool> {
        let answer = self.waiting.iter().find(|event| event["ref"] == reference)?;
        Some(answer["event"] == "result")
    }

    /// Writes one line.
    pub(crate) fn write_line(&mut self, line: &str) {
        self.talk.write_line(line);
    }

    /// Sends a command under a `ref` of its own, and returns that.
    pub(crate) fn command(&mut self, mut command: Json) -> u64 {
        let reference = self.next_ref;
        self.next_ref += 1;
        command["ref"] = json!(reference);
        self.write_line(&command.to_string());
        reference
    }

    /// Waits for the answer to a command: its value, or its error's code.
    pub(crate) fn answer(&mut self, reference: u64) -> Result<Json, String> {
        let answers = |event: &Json| event["event"] == "result" || event["event"] == "error";
        let what = format!("the answer to ref {reference}");
        let mut answer = self.wait(&what, |event| answers(event) && event["ref"] == reference);
        match answer["event"] == "result" {
            true => Ok(answer["value"].take()),
            false => Err(answer["code"].as_str().expect("an error has a code").to_owned()),
        }
    }

    /// Sends a command and waits for its value, or its error's code.
    pub(crate) fn ask(&mut self, command: Json) -> Result<Json, String> {
        let reference = self.command(command);
        self.answer(reference)
    }

    /// Sends a command that must succeed.
    pub(crate) fn must(&mut self, command: Json) -> Json {
        let text = command.to_string();
        self.ask(command).unwrap_or_else(|code| self.fail(&format!("{text} failed: {code}")))
    }

    /// Connects to another node, and waits until both know it.
    pub(crate) fn join(&mut self, other: &mut Self) {
        let value = self.must(json!({"do": "connect", "address": other.address}));
        assert_eq!(value, json!({"peer": other.id}));
        self.connected(&other.id);
        other.connected(&self.id);
    }

    /// The ids of its neighbours.
    pub(crate) fn peers(&mut self) -> Vec<String> {
        let peers = self.must(json!({"do": "peers"}));
        peers.as_array().unwrap().iter().map(|peer| peer["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends its input.
    pub(crate) fn close_stdin(&mut self) {
        self.talk.close_stdin();
    }

    /// Its input, for a thread of the test's own.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.talk.take_stdin()
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        self.talk.signal(name);
    }

    /// Waits until it has ended, and returns its status and the events that nobody took.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<Json>) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(event) = self.read_event(deadline, "its end") {
            self.waiting.push_back(event);
        }
        (self.talk.finish(), self.waiting.into())
    }

    /// What the node said.
    pub(crate) fn log(&self) -> String {
        format!("node {} {}: {}", self.address, self.id, self.talk.log())
    }

    /// Panics with everything the node said.
    pub(crate) fn fail(&self, problem: &str) -> ! {
        self.talk.fail(&format!("node {} {}: {problem}", self.address, self.id))
    }
}
