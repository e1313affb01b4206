//! Starts drivers as processes of their own, talks with them as [`super::contract`] says, and prints
//! what came of it, the floor beside it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use peernet::wire::Method;
use serde_json::Value;

use crate::failure::Failure;

/// What can be set.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Bytes of each message (default: several sizes one after the other)
    #[arg(long)]
    size: Option<usize>,
    /// Aimed length of each run in seconds
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs of each; the median is shown
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Nodes of the broadcast
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Round trips of the ping-pong
    #[arg(long, default_value_t = 10_000)]
    rounds: u64,
    /// Encryption of the subnet
    #[arg(long, default_value = "tls")]
    encryption: String,
    /// Broadcasts are not signed (tls only)
    #[arg(long)]
    unsigned: bool,
    /// Methods that nodes compress with where that pays, as in `zlib,gzip` (default: none)
    #[arg(long, value_delimiter = ',')]
    compress: Vec<Method>,
    /// What the messages are made of
    #[arg(long, value_parser = ["random", "text"], default_value = "random")]
    content: String,
}

const PATIENCE: Duration = Duration::from_secs(60);
/// After the sender is done, receivers get this long for the rest.
const GRACE: Duration = Duration::from_secs(10);
/// Messages of the run that finds out how many make a second.
const TRIAL: u64 = 20_000;

struct Driver {
    process: Child,
    lines: Option<ChildStdin>,
    events: mpsc::Receiver<Value>,
}

impl Driver {
    fn start(kind: &str, role: &[String]) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut process = Command::new(program)
            .args(["bench", kind])
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = process.stdin.take();
        let Some(stdout) = process.stdout.take() else {
            return Err(Failure::failed("a driver has no stdout"));
        };
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && sender.send(event).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { process, lines, events })
    }

    fn say(&mut self, line: &str) {
        if let Some(lines) = &mut self.lines {
            // A driver that is gone is noticed by what it does not answer.
            let _ = writeln!(lines, "{line}");
            let _ = lines.flush();
        }
    }

    fn wait(&self, event: &str, patience: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(found) if found["ev"] == event => return Ok(found),
                Ok(_) => {}
                Err(_) => return Err(Failure::failed(format!("a driver gave no `{event}` in time"))),
            }
        }
    }
}

impl Driver {
    /// Seconds this process has spent on a CPU.
    fn cpu_seconds(&self) -> f64 {
        // Fields 14 and 15 of proc(5) stat, behind the name in parentheses, in ticks of 10 ms.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
            / 100.0
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.say("quit");
        self.lines = None;
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts all drivers of a run and brings them together.
fn gather(
    kind: &str,
    workload: &str,
    nodes: usize,
    size: usize,
    count: u64,
    options: &Options,
) -> Result<Vec<Driver>, Failure> {
    let mut drivers = Vec::new();
    for index in 0..nodes {
        let mut role: Vec<String> = [
            ("--workload", workload.to_owned()),
            ("--index", index.to_string()),
            ("--nodes", nodes.to_string()),
            ("--size", size.to_string()),
            ("--count", count.to_string()),
            ("--content", options.content.clone()),
            ("--encryption", options.encryption.clone()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        if options.unsigned {
            role.push("--unsigned".to_owned());
        }
        for method in &options.compress {
            role.extend(["--compress".to_owned(), method.name().to_owned()]);
        }
        drivers.push(Driver::start(kind, &role)?);
    }
    let mut addresses: Vec<String> = Vec::new();
    for driver in &drivers {
        let event = driver.wait("addr", PATIENCE)?;
        addresses.push(event["addr"].as_str().unwrap_or_default().to_owned());
    }
    for (index, driver) in drivers.iter_mut().enumerate() {
        driver.say(&format!("connect {}", addresses[..index].join(" ")));
    }
    for driver in &drivers {
        driver.wait("ready", PATIENCE)?;
    }
    Ok(drivers)
}

/// What one run of messages in one direction came to.
#[derive(Debug, Clone, Copy)]
struct Flow {
    per_second: f64,
    delivered: u64,
    expected: u64,
    exactly_once: bool,
    /// Time on a CPU of all processes together, for each delivery.
    cpu_us: f64,
    /// Bytes received for each delivery, copies on other ways included.
    wire_bytes: f64,
}

fn flow(
    kind: &str,
    workload: &str,
    nodes: usize,
    size: usize,
    count: u64,
    options: &Options,
) -> Result<Flow, Failure> {
    let mut drivers = gather(kind, workload, nodes, size, count, options)?;
    let cpu = |drivers: &[Driver]| drivers.iter().map(Driver::cpu_seconds).sum::<f64>();
    let before = cpu(&drivers);
    drivers[0].say("go");
    drivers[0].wait("sent", PATIENCE)?;
    let mut results = Vec::new();
    for driver in &mut drivers[1..] {
        let result = driver.wait("result", GRACE).or_else(|_| {
            driver.say("stop");
            driver.wait("result", GRACE)
        })?;
        results.push(result);
    }
    let cpu_seconds = cpu(&drivers) - before;
    let number = |result: &Value, name: &str| result[name].as_u64().unwrap_or(0);
    let delivered = results.iter().map(|result| number(result, "received")).sum::<u64>();
    let first = results.iter().map(|result| number(result, "first_ns")).min().unwrap_or(0);
    let last = results.iter().map(|result| number(result, "last_ns")).max().unwrap_or(0);
    let seconds = (last.saturating_sub(first) as f64 / 1e9).max(1e-6);
    Ok(Flow {
        per_second: delivered.saturating_sub(results.len() as u64) as f64 / seconds,
        delivered,
        expected: count * (nodes as u64 - 1),
        exactly_once: results.iter().all(|result| result["exactly_once"] == true),
        cpu_us: cpu_seconds * 1e6 / delivered.max(1) as f64,
        wire_bytes: results.iter().map(|result| number(result, "wire_bytes")).sum::<u64>() as f64
            / delivered.max(1) as f64,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn flows(kind: &str, workload: &str, nodes: usize, size: usize, options: &Options) -> Result<Flow, Failure> {
    let trial = flow(kind, workload, nodes, size, TRIAL.min(200_000_000 / size as u64), options)?;
    let per_receiver = trial.per_second / (nodes as f64 - 1.0);
    let count = (per_receiver * options.seconds).clamp(100.0, 20_000_000.0) as u64;
    let mut runs = Vec::new();
    for _ in 0..options.runs.max(1) {
        runs.push(flow(kind, workload, nodes, size, count, options)?);
    }
    Ok(Flow {
        per_second: median(runs.iter().map(|run| run.per_second).collect()),
        delivered: runs.iter().map(|run| run.delivered).sum(),
        expected: runs.iter().map(|run| run.expected).sum(),
        exactly_once: runs.iter().all(|run| run.exactly_once),
        cpu_us: median(runs.iter().map(|run| run.cpu_us).collect()),
        wire_bytes: median(runs.iter().map(|run| run.wire_bytes).collect()),
    })
}

fn compare(
    title: &str,
    workload: &str,
    nodes: usize,
    sizes: &[usize],
    options: &Options,
) -> Result<(), Failure> {
    println!("{title}");
    println!(
        "{:>7} {:<8} {:>12} {:>8} {:>9} {:>8} {:>22}  {:<12} {:>8}",
        "bytes", "", "messages/s", "MB/s", "CPU us", "wire B", "delivered / sent", "exactly once", "of floor"
    );
    for &size in sizes {
        let floor = flows("floor", workload, nodes, size, options)?;
        let node = flows("driver", workload, nodes, size, options)?;
        for (name, run) in [("floor", floor), ("peernet", node)] {
            println!(
                "{size:>7} {name:<8} {:>12.0} {:>8.1} {:>9.3} {:>8.0} {:>22}  {:<12} {:>8.2}",
                run.per_second,
                run.per_second * size as f64 / 1e6,
                run.cpu_us,
                run.wire_bytes,
                format!("{} / {}", run.delivered, run.expected),
                if run.exactly_once { "yes" } else { "NO" },
                run.per_second / floor.per_second,
            );
        }
    }
    println!("Floor: the same frames over bare blocking sockets, hashed and checked, without a node.");
    println!("CPU: of all processes together, for each message delivered. wire: received for each.");
    Ok(())
}

pub(super) fn stream(options: &Options) -> Result<(), Failure> {
    let sizes = options.size.map_or(vec![64, 1024, 16_384], |size| vec![size]);
    compare("One sender, one receiver, each a process of its own, over loopback.", "w1", 2, &sizes, options)
}

pub(super) fn broadcast(options: &Options) -> Result<(), Failure> {
    let sizes = options.size.map_or(vec![64, 1024], |size| vec![size]);
    let nodes = options.nodes.max(2);
    let title = format!(
        "One author, {} receivers, each a process of its own, all linked to each other; every message \
         reaches every receiver over {} links and is handed up once.",
        nodes - 1,
        nodes - 1
    );
    compare(&title, "w2", nodes, &sizes, options)
}

pub(super) fn latency(options: &Options) -> Result<(), Failure> {
    println!("Ping-pong between two processes over loopback, microseconds per round trip.");
    println!("{:>8}  {:<8} {:>8} {:>8} {:>8} {:>9}", "bytes", "", "p50", "p90", "p99", "of floor");
    let size = options.size.unwrap_or(64);
    let mut floor_p50 = 0.0;
    for (name, kind) in [("floor", "floor"), ("peernet", "driver")] {
        let mut runs: Vec<Value> = Vec::new();
        for _ in 0..options.runs.max(1) {
            let mut drivers = gather(kind, "w3", 2, size, options.rounds, options)?;
            drivers[0].say("go");
            runs.push(drivers[0].wait("result", PATIENCE)?);
        }
        let at = |name: &str| median(runs.iter().map(|run| run[name].as_f64().unwrap_or(0.0)).collect());
        let p50 = at("p50_us");
        if kind == "floor" {
            floor_p50 = p50;
        }
        println!(
            "{size:>8}  {name:<8} {p50:>8.1} {:>8.1} {:>8.1} {:>8.2}",
            at("p90_us"),
            at("p99_us"),
            p50 / floor_p50
        );
    }
    Ok(())
}
