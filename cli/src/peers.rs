//! `peernet peers`: the peer book of a node that is not running.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peernet::{Builder, Encryption, Error, Mesh, PeerBook, PeerStats, SyncTable};
use serde_json::json;

use crate::failure::Failure;

/// What `peernet peers` takes.
#[derive(clap::Args)]
#[command(after_help = "\
No node may be running on the directory. Each of its networks has a book of its own.

  peernet peers add --data DIR example.org:4444
  peernet peers list --data DIR")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show all known addresses
    List {
        #[command(flatten)]
        node: Node,
    },
    /// Save addresses: the node dials them when it wants links
    Add {
        #[command(flatten)]
        node: Node,
        #[arg(required = true, value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
    /// Remove addresses: for a day the node does not take them from others either
    Remove {
        #[command(flatten)]
        node: Node,
        #[arg(required = true, value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
    /// Show everything that is known of addresses
    Stats {
        #[command(flatten)]
        node: Node,
        #[arg(required = true, value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Network {
    Mesh,
    Sync,
}

/// Whose book.
#[derive(clap::Args)]
struct Node {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Kind of network
    #[arg(long, value_enum, default_value = "mesh")]
    network: Network,
    /// Name of the network [default: its kind]
    #[arg(long, value_name = "NAME")]
    subnet: Option<String>,
    /// How links are encrypted: tls, plaintext, ssl, ws or wss [default: tls]
    #[arg(long, value_name = "ENCRYPTION", value_parser = read_encryption)]
    encryption: Option<Encryption>,
    /// In networks whose authors do not sign
    #[arg(long)]
    unsigned: bool,
    /// Of a sync table without leases
    #[arg(long)]
    no_leases: bool,
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
}

fn read_encryption(name: &str) -> Result<Encryption, String> {
    name.parse().map_err(|error: Error| error.to_string())
}

impl Node {
    fn book(&self) -> Result<PeerBook, Failure> {
        let book = match self.network {
            Network::Mesh if self.no_leases => {
                return Err(Failure::usage("--no-leases belongs to --network sync"));
            }
            Network::Mesh => self.configured(Mesh::builder()).peer_book(),
            Network::Sync => self.configured(SyncTable::builder().leases(!self.no_leases)).peer_book(),
        };
        book.map_err(|error| match error {
            Error::Config(_) => Failure::usage(error),
            error => Failure::failed(error),
        })
    }

    fn configured<N>(&self, builder: Builder<N>) -> Builder<N> {
        let mut builder = builder.data_dir(&self.data).encryption(self.encryption.unwrap_or_default());
        if let Some(subnet) = &self.subnet {
            builder = builder.subnet(subnet);
        }
        if self.unsigned {
            builder = builder.sign(false);
        }
        builder
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::List { node } => list(&node),
        What::Add { node, addresses } => change(&node, &addresses, PeerBook::save),
        What::Remove { node, addresses } => change(&node, &addresses, PeerBook::remove),
        What::Stats { node, addresses } => stats(&node, &addresses),
    }
}

/// All addresses are read before any is changed.
fn change(
    node: &Node,
    addresses: &[String],
    change: fn(&mut PeerBook, &str) -> Result<(), Error>,
) -> Result<(), Failure> {
    for address in addresses {
        address.parse::<peernet::Address>().map_err(Failure::usage)?;
    }
    let mut book = node.book()?;
    for address in addresses {
        change(&mut book, address).map_err(Failure::failed)?;
    }
    Ok(())
}

fn list(node: &Node) -> Result<(), Failure> {
    let known = node.book()?.known();
    let mut out = io::stdout().lock();
    if node.json {
        for peer in &known {
            writeln!(out, "{}", as_json(peer))?;
        }
        return Ok(());
    }
    if known.is_empty() {
        return Ok(writeln!(out, "no address is known")?);
    }
    let rows = known.iter().map(|peer| {
        let id = peer.id.as_ref().map_or("-".to_owned(), ToString::to_string);
        let seen = ago(peer.last_seen);
        let saved = if peer.saved { "saved" } else { "" };
        [
            peer.address.to_string(),
            peer.connections_ok.to_string(),
            peer.connections_failed.to_string(),
            seen,
            saved.to_owned(),
            id,
        ]
    });
    let titles = ["address", "ok", "failed", "seen", "", "id"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(titles).chain(rows).collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for row in &rows {
        let [address, ok, failed, seen, saved, id] = row;
        let [w0, w1, w2, w3, w4] = widths;
        writeln!(out, "{address:w0$}  {ok:>w1$}  {failed:>w2$}  {seen:>w3$}  {saved:w4$}  {id}")?;
    }
    Ok(())
}

fn stats(node: &Node, addresses: &[String]) -> Result<(), Failure> {
    for address in addresses {
        address.parse::<peernet::Address>().map_err(Failure::usage)?;
    }
    let book = node.book()?;
    let mut out = io::stdout().lock();
    for address in addresses {
        let stats = book.peer_stats(address).map_err(Failure::failed)?;
        let peer = stats.ok_or_else(|| Failure::failed(format!("{address} is not known")))?;
        if node.json {
            writeln!(out, "{}", as_json(&peer))?;
            continue;
        }
        writeln!(out, "{}", peer.address)?;
        writeln!(out, "  id                  {}", peer.id.as_ref().map_or("-", |id| id.as_str()))?;
        writeln!(out, "  connections ok      {}", peer.connections_ok)?;
        writeln!(out, "  connections failed  {}", peer.connections_failed)?;
        writeln!(out, "  addresses received  {}", peer.addresses_received)?;
        writeln!(out, "  addresses sent      {}", peer.addresses_sent)?;
        writeln!(out, "  last seen           {}", ago(peer.last_seen))?;
        let latency = peer.latency.map_or("-".to_owned(), |latency| format!("{latency:.1?}"));
        writeln!(out, "  latency             {latency}")?;
        writeln!(out, "  saved               {}", if peer.saved { "yes" } else { "no" })?;
    }
    Ok(())
}

fn as_json(peer: &PeerStats) -> serde_json::Value {
    json!({
        "address": peer.address.to_string(),
        "id": peer.id.as_ref().map(|id| id.as_str()),
        "connections": { "ok": peer.connections_ok, "failed": peer.connections_failed },
        "addresses": { "received": peer.addresses_received, "sent": peer.addresses_sent },
        "last_seen": peer.last_seen,
        "latency_us": peer.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        "saved": peer.saved,
    })
}

/// How long ago a second since 1970 was.
fn ago(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds else { return "never".to_owned() };
    let then = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let passed = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    match passed {
        0..120 => format!("{passed} s ago"),
        120..7200 => format!("{} min ago", passed / 60),
        7200..172_800 => format!("{} h ago", passed / 3600),
        _ => format!("{} d ago", passed / 86_400),
    }
}
