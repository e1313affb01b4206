//! `peernet sim`: broadcasts in a simulated mesh, and what became of them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use peernet::sim::{Arrival, Delivery, Manner, Meddler, Network, NodeIndex, Options, node_config};
use serde_json::{Value, json};

use crate::failure::Failure;

/// What `peernet sim` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: u32,
    /// Neighbours of a node, on average; the graph is random and connected, so 2 is the least
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..))]
    degree: u32,
    /// Part of the messages that is lost on each link, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = part)]
    loss: f64,
    /// Mean latency of a link in milliseconds; each has its own, from half to one and a half of this
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = milliseconds)]
    latency: f64,
    /// Decides everything left to chance; a random one by default
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Number of broadcasts, one after the other, each from a random node
    #[arg(long, value_name = "B", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    broadcasts: u32,
    /// A tls subnet: ids are proven, and every node verifies the signatures of what it reads
    #[arg(long)]
    signed: bool,
    /// Part of the nodes that meddle with what they relay, from 0 to 1; half of them also forge. What is
    /// counted is what the others send and get
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = part, requires = "signed")]
    hostile: f64,
    /// Print one JSON line instead of a table
    #[arg(long)]
    json: bool,
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "give a number from 0 to 1".to_owned())
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=60_000.0).contains(number));
    number.ok_or_else(|| "give a number of milliseconds from 0 to 60000".to_owned())
}

/// Longest simulated time for connections to come up, and for one broadcast to spread.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A run that is over before this shows no progress.
const PROGRESS_FIRST: Duration = Duration::from_secs(1);
/// How often a long run shows how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    // 53 bits, so that every reader of JSON gets it back as it was.
    let seed = args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 11);
    let begun = Instant::now();
    let mut progress = Progress::new();
    let network = simulate(&args, seed, &mut progress)?;
    progress.clear();
    let report = Report::of(&network, &args, seed, begun.elapsed());
    if args.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    // Hostile nodes may stand between all others.
    let missed = report.missed > 0 && report.hostile == 0;
    match args.loss == 0.0 && (missed || report.doubled > 0) {
        false => Ok(()),
        true => Err(Failure::failed(format!(
            "{} deliveries are missing and {} doubled, though nothing was lost; --seed {seed} shows it again",
            report.missed, report.doubled
        ))),
    }
}

fn simulate(args: &Args, seed: u64, progress: &mut Progress) -> Result<Network, Failure> {
    let mean = Duration::from_secs_f64(args.latency / 1000.0);
    let options = Options {
        seed,
        latency: mean / 2..=mean * 3 / 2,
        loss: args.loss,
        keep_events: false,
        signed: args.signed,
        ..Options::default()
    };
    let mut network = Network::random(options, &node_config(), args.nodes as usize, args.degree as usize);
    network.run_until(PATIENCE, |network| {
        progress.show(|| format!("connecting {} nodes", args.nodes));
        network.is_idle()
    });
    // Places in the graph are random already, so the authors may come in order, and the hostile nodes.
    let authors: Vec<NodeIndex> = network.nodes().take(honest(args) as usize).collect();
    for node in network.nodes().skip(authors.len()) {
        let manner = if node.get() % 2 == 0 { Manner::Forges } else { Manner::Replays };
        network.turn_hostile(node, Meddler::new(manner, seed ^ node.get() as u64));
    }
    for (number, author) in (1..=args.broadcasts).zip(authors.into_iter().cycle()) {
        network.broadcast(author, &("simulated", number)).map_err(Failure::failed)?;
        network.run_until(PATIENCE, |network| {
            progress.show(|| format!("broadcast {number} of {}", args.broadcasts));
            network.is_idle()
        });
    }
    Ok(network)
}

/// How many nodes keep to the rules; at least one does.
fn honest(args: &Args) -> u32 {
    let hostile = (f64::from(args.nodes) * args.hostile).round() as u32;
    args.nodes.saturating_sub(hostile).max(1)
}

/// What came of it all, for the nodes that keep to the rules.
struct Report {
    seed: u64,
    nodes: u32,
    hostile: u32,
    /// Broadcasts that were found to be forged or altered.
    forged: u64,
    degree: u32,
    links: usize,
    loss: f64,
    latency: f64,
    broadcasts: u32,
    expected: u64,
    delivered: u64,
    doubled: u64,
    missed: u64,
    copies: u64,
    lost: u64,
    hops: u64,
    most_hops: u32,
    mean_time: Duration,
    longest_time: Duration,
    took: Duration,
}

impl Report {
    fn of(network: &Network, args: &Args, seed: u64, took: Duration) -> Self {
        let all = network.deliveries();
        let sum = |part: &dyn Fn(&Delivery) -> u64| all.iter().map(part).sum::<u64>();
        let honest = honest(args);
        let keeps_to_the_rules = |arrival: &&Arrival| arrival.node.get() < honest as usize;
        let arrivals = |part: fn(&Arrival) -> u64| -> u64 {
            all.iter().flat_map(Delivery::arrivals).filter(keeps_to_the_rules).map(part).sum()
        };
        let expected = u64::from(args.broadcasts) * u64::from(honest - 1);
        let reached = arrivals(|_| 1);
        let doubled = arrivals(|arrival| u64::from(arrival.count) - 1);
        Self {
            seed,
            nodes: args.nodes,
            hostile: args.nodes - honest,
            forged: network.nodes().take(honest as usize).map(|node| network.counters(node).forged).sum(),
            degree: args.degree,
            links: network.nodes().map(|node| network.neighbours(node).len()).sum::<usize>() / 2,
            loss: args.loss,
            latency: args.latency,
            broadcasts: args.broadcasts,
            expected,
            delivered: reached + doubled,
            doubled,
            missed: expected - reached,
            copies: sum(&Delivery::copies),
            lost: sum(&Delivery::lost),
            hops: arrivals(|arrival| arrival.hops.into()),
            most_hops: all.iter().map(Delivery::most_hops).max().unwrap_or(0),
            mean_time: all.iter().map(Delivery::time_to_last).sum::<Duration>() / args.broadcasts,
            longest_time: all.iter().map(Delivery::time_to_last).max().unwrap_or_default(),
            took,
        }
    }

    fn copies_per_delivery(&self) -> f64 {
        ratio(self.copies, self.delivered)
    }

    fn mean_hops(&self) -> f64 {
        ratio(self.hops, self.delivered - self.doubled)
    }

    fn json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "degree": self.degree,
            "links": self.links,
            "hostile": self.hostile,
            "forged": self.forged,
            "loss": self.loss,
            "latency_ms": self.latency,
            "seed": self.seed,
            "broadcasts": self.broadcasts,
            "expected": self.expected,
            "delivered": self.delivered,
            "doubled": self.doubled,
            "missed": self.missed,
            "copies": self.copies,
            "copies_lost": self.lost,
            "copies_per_delivery": rounded(self.copies_per_delivery()),
            "hops_mean": rounded(self.mean_hops()),
            "hops_most": self.most_hops,
            "time_to_last_ms_mean": rounded(self.mean_time.as_secs_f64() * 1000.0),
            "time_to_last_ms_most": rounded(self.longest_time.as_secs_f64() * 1000.0),
            "took_s": rounded(self.took.as_secs_f64()),
        })
    }

    fn table(&self) -> String {
        let millis = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
        let mut rows = vec![
            ("nodes", format!("{}", self.nodes)),
            (
                "links",
                format!("{}, {:.1} at a node", self.links, ratio(self.links as u64 * 2, self.nodes.into())),
            ),
            ("broadcasts", self.broadcasts.to_string()),
            ("deliveries expected", self.expected.to_string()),
            ("deliveries made", self.delivered.to_string()),
            ("doubled", self.doubled.to_string()),
            ("missed", self.missed.to_string()),
            ("copies per delivery", format!("{:.2}", self.copies_per_delivery())),
            ("hops", format!("{:.1} mean, {} most", self.mean_hops(), self.most_hops)),
            (
                "time to the last node",
                format!("{} mean, {} most, simulated", millis(self.mean_time), millis(self.longest_time)),
            ),
            ("seed", self.seed.to_string()),
            ("took", format!("{:.1} s", self.took.as_secs_f64())),
        ];
        if self.loss > 0.0 {
            let lost = format!("{} of {}", self.lost, self.copies);
            rows.insert(7, ("copies lost", lost));
        }
        if self.hostile > 0 {
            rows.insert(1, ("of them hostile", self.hostile.to_string()));
            rows.insert(5, ("forged, found out", self.forged.to_string()));
        }
        rows.iter().map(|(name, value)| format!("{name:<22} {value}\n")).collect()
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// To three digits behind the point, which is more than a simulation is good for.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// A line at a terminal that says how far a long run is.
struct Progress {
    terminal: bool,
    next: Instant,
    calls: u32,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let next = Instant::now() + PROGRESS_FIRST;
        Self { terminal: std::io::stderr().is_terminal(), next, calls: 0, shown: false }
    }

    fn show(&mut self, line: impl FnOnce() -> String) {
        // This is called for everything that happens, and even looking at the clock is work.
        self.calls = self.calls.wrapping_add(1);
        if !self.terminal || !self.calls.is_multiple_of(1024) || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + PROGRESS;
        self.shown = true;
        eprint!("\r\x1b[K{}", line());
        // Without it the line comes late; no harm is done.
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
