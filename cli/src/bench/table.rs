//! How long a new node takes to have the whole of a table, beside the same bytes through one socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use peernet::{Config, Encryption, SyncTable};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::failure::Failure;

/// What can be set.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Keys in the table
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Bytes of each value
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Nodes that join, one after the other; the middle one counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this kind of subnet, by its place in the table
    #[arg(long, hide = true)]
    kind: Option<usize>,
}

/// A row: its name, the encryption, and whether authors sign (where that can be chosen).
const KINDS: [(&str, Encryption, Option<bool>); 3] = [
    ("plaintext", Encryption::Plaintext, None),
    ("tls, unsigned", Encryption::Tls, Some(false)),
    ("tls", Encryption::Tls, Some(true)),
];
/// Nothing here takes longer unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether all is there.
const GLANCE: Duration = Duration::from_micros(250);
/// Reads of one key that are timed.
const READS: usize = 1_000_000;

/// What was seen of one kind.
struct Seen {
    join: Duration,
    floor: Duration,
    bytes: u64,
    /// Bytes of memory that a key took in the node that wrote it.
    memory: usize,
    get: Duration,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if let Some(kind) = options.kind {
        return row(options, kind);
    }
    println!(
        "A new node joins a table of {} keys with values of {} bytes; a thread for each side, loopback.",
        options.keys, options.size
    );
    println!("Floor: the same bytes through one socket, read and forgotten.");
    println!(
        "{:<14} {:>8} {:>9} {:>9} {:>7} {:>11} {:>8}",
        "", "MB", "join ms", "floor ms", "times", "bytes/key", "get ns"
    );
    // Each in a process of its own, so that none takes the memory that another has given back.
    let program = std::env::current_exe()?;
    for kind in 0..KINDS.len() {
        let numbers = [("--keys", options.keys), ("--size", options.size), ("--rounds", options.rounds)];
        let mut command = Command::new(&program);
        command.args(["bench", "table", "--kind", &kind.to_string()]);
        for (name, number) in numbers {
            command.args([name, &number.to_string()]);
        }
        if !command.status()?.success() {
            return Err(Failure::told());
        }
    }
    Ok(())
}

/// One row, measured in this process.
fn row(options: &Options, kind: usize) -> Result<(), Failure> {
    let (name, encryption, sign) =
        *KINDS.get(kind).ok_or_else(|| Failure::usage(format!("there are {} kinds", KINDS.len())))?;
    let seen = measure(options, encryption, sign)?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{name:<14} {:>8.1} {:>9.1} {:>9.1} {:>7.1} {:>11} {:>8.0}",
        seen.bytes as f64 / 1e6,
        milliseconds(seen.join),
        milliseconds(seen.floor),
        seen.join.as_secs_f64() / seen.floor.as_secs_f64(),
        seen.memory,
        seen.get.as_secs_f64() * 1e9 / READS as f64,
    );
    Ok(())
}

async fn open(encryption: Encryption, sign: Option<bool>) -> Result<SyncTable, Failure> {
    let config = Config { max_outgoing: 0, ..Config::local() };
    let builder = SyncTable::builder().encryption(encryption).config(config);
    let builder = match sign {
        Some(sign) => builder.sign(sign),
        None => builder,
    };
    builder.open().await.map_err(Failure::failed)
}

/// A thread of its own for a node, as every process has.
fn thread_of_its_own() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn measure(options: &Options, encryption: Encryption, sign: Option<bool>) -> Result<Seen, Failure> {
    let there = thread_of_its_own()?;
    let before = resident();
    let full = there.block_on(fill(options, encryption, sign))?;
    let memory = resident().saturating_sub(before) / options.keys.max(1);
    let (mut joins, mut bytes, mut get) = (Vec::new(), 0, Duration::ZERO);
    let rounds = options.rounds.max(1);
    let here = thread_of_its_own()?;
    for round in 1..=rounds {
        let new = here.block_on(open(encryption, sign))?;
        joins.push(here.block_on(join(&new, &full, options.keys))?);
        bytes = new.stats().bytes_in;
        if round == rounds {
            get = time_of_get(&new, options.keys);
        }
        here.block_on(new.close());
    }
    let floors = (0..rounds).map(|_| floor(bytes)).collect::<Result<_, _>>()?;
    there.block_on(full.close());
    Ok(Seen { join: middle(joins), floor: middle(floors), bytes, memory, get })
}

/// A node with a table of so many keys.
async fn fill(options: &Options, encryption: Encryption, sign: Option<bool>) -> Result<SyncTable, Failure> {
    let full = open(encryption, sign).await?;
    for number in 0..options.keys {
        let value = vec![b'a' + (number % 26) as u8; options.size];
        full.set(key(number), value.as_slice()).await.map_err(Failure::failed)?;
    }
    Ok(full)
}

/// The time from the dial until a new node has all keys.
async fn join(new: &SyncTable, full: &SyncTable, keys: usize) -> Result<Duration, Failure> {
    let begun = Instant::now();
    new.connect(&full.address().to_string()).await.map_err(Failure::failed)?;
    let filled = async {
        while new.len() < keys {
            sleep(GLANCE).await;
        }
    };
    let problem = |_| Failure::failed(format!("only {} of {keys} keys arrived", new.len()));
    timeout(PATIENCE, filled).await.map_err(problem)?;
    Ok(begun.elapsed())
}

fn key(number: usize) -> String {
    format!("key {number}")
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn time_of_get(table: &SyncTable, keys: usize) -> Duration {
    let wanted: Vec<String> = (0..1000).map(|n| key(n * 7919 % keys.max(1))).collect();
    let begun = Instant::now();
    for at in 0..READS {
        std::hint::black_box(wanted.get(at % wanted.len()).and_then(|key| table.get(key)));
    }
    begun.elapsed()
}

/// The time from the dial until `bytes` bytes have come through one socket.
fn floor(bytes: u64) -> Result<Duration, Failure> {
    const AT_ONCE: usize = 64 << 10;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let block = vec![0; AT_ONCE];
        let mut left = bytes as usize;
        while left > 0 {
            let now = left.min(AT_ONCE);
            stream.write_all(block.get(..now).unwrap_or_default())?;
            left -= now;
        }
        Ok(())
    });
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    let (mut buffer, mut read) = (vec![0; AT_ONCE], 0);
    while read < bytes {
        match stream.read(&mut buffer)? {
            0 => break,
            n => read += n as u64,
        }
    }
    let time = begun.elapsed();
    sender.join().map_err(|_| Failure::failed("the floor's sender died"))??;
    Ok(time)
}

/// Bytes of memory that this process holds, 0 where that cannot be asked for.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}
