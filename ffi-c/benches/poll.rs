//! What crossing the border costs: the same stream, and the same full queue, read by a program in C and by one
//! in Rust, each a process of its own.
//!
//! `cargo bench -p libpeernet-c [-- ROUNDS]` builds the library, compiles `poll.c` with it, and prints the
//! medians. Plaintext, the loopback, messages of 64 bytes, batches of 64.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;
use std::io::{BufRead, BufReader, Write, stdin};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use node::wire::{Limits, Packed};
use node::{Config, Encryption, Event, Mesh};

/// Events read at once.
const BATCH: usize = 64;
/// Messages in a full queue: fewer than a queue holds.
const FULL: u64 = 10_000;
/// Seconds of a stream.
const SECONDS: u64 = 2;
const ROUNDS: usize = 9;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match args.first().map(String::as_str) {
        Some("receive") => threads.block_on(receive()),
        Some(rounds) => threads.block_on(compare(rounds.parse().unwrap())),
        None => threads.block_on(compare(ROUNDS)),
    }
}

async fn open() -> Mesh {
    Mesh::builder().encryption(Encryption::Plaintext).config(Config::local()).open().await.unwrap()
}

/// The receiver in Rust, which does what that in C does.
async fn receive() {
    let mesh = open().await;
    println!("{}", mesh.address());
    let mut before = 0;
    for line in stdin().lines().map_while(Result::ok) {
        let (what, number) = line.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        match what {
            "drain" => println!("{}", drain(&mesh, number, &mut before).as_nanos()),
            _ => println!("{}", stream(&mesh, number).await),
        }
    }
    mesh.close().await;
}

fn drain(mesh: &Mesh, count: u64, before: &mut u64) -> Duration {
    while mesh.stats().delivered < *before + count {
        sleep(Duration::from_millis(1));
    }
    *before = mesh.stats().delivered;
    let (mut messages, mut sum) = (0, 0);
    let start = Instant::now();
    while messages < count {
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        mesh.try_events(&mut events, BATCH).unwrap();
        for event in events {
            if let Event::Message(message) = event {
                messages += 1;
                sum += message.packed().len();
            }
        }
    }
    let spent = start.elapsed();
    std::hint::black_box(sum);
    spent
}

async fn stream(mesh: &Mesh, seconds: u64) -> u64 {
    let mut messages = Vec::with_capacity(BATCH);
    // What was dropped is not counted by either.
    let _ = mesh.recv_many(&mut messages, BATCH).await;
    let (mut count, mut sum) = (0_u64, 0);
    let start = Instant::now();
    loop {
        messages.clear();
        let _ = mesh.recv_many(&mut messages, BATCH).await;
        count += messages.len() as u64;
        sum += messages.iter().map(|message| message.packed().len()).sum::<usize>();
        let spent = start.elapsed();
        if spent >= Duration::from_secs(seconds) {
            std::hint::black_box(sum);
            return (count as f64 / spent.as_secs_f64()) as u64;
        }
    }
}

struct Receiver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Receiver {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), output, child }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

/// One round: nanoseconds for each message of a full queue, and messages each second of a stream.
async fn round(command: &mut Command) -> (f64, f64) {
    let mut receiver = Receiver::start(command);
    let mesh = open().await;
    mesh.connect(&receiver.line()).await.unwrap();
    let mut number = 0;
    for _ in 0..FULL {
        send(&mesh, &mut number).await;
    }
    receiver.tell(&format!("drain {FULL}"));
    let drained: f64 = receiver.line().parse().unwrap();
    receiver.tell(&format!("stream {SECONDS}"));
    let end = Instant::now() + Duration::from_secs(SECONDS) + Duration::from_millis(500);
    while Instant::now() < end {
        for _ in 0..BATCH {
            send(&mesh, &mut number).await;
        }
    }
    let streamed = receiver.line().parse().unwrap();
    mesh.close().await;
    drop(receiver.input.take());
    assert!(receiver.child.wait().unwrap().success());
    (drained / FULL as f64, streamed)
}

/// No two messages are the same: those would be dropped.
async fn send(mesh: &Mesh, number: &mut u64) {
    *number += 1;
    let mut packed = [0; 66];
    packed[..2].copy_from_slice(&[0xc4, 64]);
    packed[2..10].copy_from_slice(&number.to_be_bytes());
    mesh.broadcast(&Packed::new(&packed, &Limits::default()).unwrap()).await.unwrap();
}

/// `poll.c` with the shared library, both optimised.
fn compile() -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--package", "libpeernet-c", "--lib", "--target-dir"]).arg(target);
    assert!(build.current_dir(folder).status().unwrap().success());
    let (library, program) = (target.join("release"), target.join("tmp/bench-poll"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-O2", "-I"]).arg(folder.join("include")).arg(folder.join("benches/poll.c"));
    cc.arg("-L").arg(&library).args(["-lpeernet", &format!("-Wl,-rpath,{}", library.display())]);
    assert!(cc.arg("-o").arg(&program).status().unwrap().success());
    Command::new(program)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn compare(rounds: usize) {
    let mut c = compile();
    let mut rust = Command::new(env::current_exe().unwrap());
    rust.arg("receive");
    let (mut drained, mut streamed) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..rounds {
        // In turn, so that what else the machine does meets both.
        for (at, command) in [&mut c, &mut rust].into_iter().enumerate() {
            let (full, stream) = round(command).await;
            drained[at].push(full);
            streamed[at].push(stream);
        }
    }
    let [c_drained, rust_drained] = drained.map(median);
    let [c_streamed, rust_streamed] = streamed.map(median);
    println!("               full queue, ns/message   stream, messages/s");
    println!("C, poll        {c_drained:>22.1}   {c_streamed:>18.0}");
    println!("Rust           {rust_drained:>22.1}   {rust_streamed:>18.0}");
    println!("C beside Rust  {:>+22.1}   {:>18.2}", c_drained - rust_drained, c_streamed / rust_streamed);
}
