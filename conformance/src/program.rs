//! A testee that is another process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::Value as Json;

use crate::{Lost, Testee, json};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line taken as an answer.
const MAX_ANSWER: u64 = 64 << 20;

/// A program that is asked on its stdin and answers on its stdout, a line each.
pub struct Program {
    child: Child,
    requests: Option<Sender<String>>,
    answers: Receiver<std::io::Result<String>>,
    patience: Duration,
}

impl Program {
    /// Starts `command` with the system's shell. Its stderr goes where ours goes.
    ///
    /// # Errors
    /// What the system says about a command that cannot be started.
    pub fn start(command: &str) -> std::io::Result<Self> {
        let mut shell = if cfg!(windows) { Command::new("cmd") } else { Command::new("sh") };
        shell.arg(if cfg!(windows) { "/C" } else { "-c" }).arg(command);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("the command has no stdin or stdout"));
        };
        let (requests, asked) = channel();
        let (answering, answers) = channel();
        // Writing and reading may both block; a thread of its own lets the runner lose patience.
        std::thread::spawn(move || carry(stdin, stdout, &asked, &answering));
        Ok(Self { child, requests: Some(requests), answers, patience: PATIENCE })
    }

    /// Waits at most `patience` for each answer, instead of 10 s.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn lost(&mut self, problem: String) -> Lost {
        self.requests = None;
        let _ = self.child.kill();
        Lost { problem }
    }
}

fn carry(
    mut stdin: ChildStdin,
    stdout: ChildStdout,
    asked: &Receiver<String>,
    answering: &Sender<std::io::Result<String>>,
) {
    let mut stdout = BufReader::new(stdout);
    while let Ok(request) = asked.recv() {
        let answer = exchange(&mut stdin, &mut stdout, &request);
        let over = answer.is_err();
        if answering.send(answer).is_err() || over {
            return;
        }
    }
}

fn exchange(
    stdin: &mut ChildStdin,
    stdout: &mut BufReader<ChildStdout>,
    request: &str,
) -> std::io::Result<String> {
    stdin.write_all(request.as_bytes())?;
    stdin.write_all(b"\n")?;
    stdin.flush()?;
    let mut line = String::new();
    stdout.take(MAX_ANSWER).read_line(&mut line)?;
    match line.ends_with('\n') {
        true => Ok(line),
        false if line.is_empty() => Err(std::io::Error::other("it closed its stdout")),
        false => Err(std::io::Error::other("its answer does not end with a newline")),
    }
}

impl Testee for Program {
    fn ask(&mut self, request: &Json) -> Result<Json, Lost> {
        let sent = self.requests.as_ref().is_some_and(|requests| requests.send(request.to_string()).is_ok());
        if !sent {
            return Err(Lost { problem: "it is gone".to_owned() });
        }
        let line = match self.answers.recv_timeout(self.patience) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(self.lost(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {
                let problem = format!("no answer within {:?}", self.patience);
                return Err(self.lost(problem));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.lost("it is gone".to_owned())),
        };
        json::parse(&line).map_err(|error| self.lost(error.to_string()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Closing its stdin ends a testee that behaves; there is nothing left to wait for with others.
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
