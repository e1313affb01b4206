//! `peernet node`: one node in the foreground, a chat for people or JSON lines for programs.

pub(crate) mod asked;
mod chat;
mod command;
mod input;
mod member;
mod output;
mod script;
mod session;
pub(crate) mod signals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use peernet::identity::NodeId;
use peernet::{Builder, Config, Encryption, Error, Mesh, Origins, SyncTable};

use self::member::Member;
use crate::failure::Failure;
use crate::secret;

/// Worker threads of the node: one link can be read while another is written; more would only take
/// cores from the programs beside it.
const WORKERS: usize = 2;
/// How long leaving waits for what is queued: most of the ten seconds that supervisors commonly give a
/// program between the signals to end and to die.
const LEAVE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Network {
    Mesh,
    Sync,
    Chord,
}

/// What `peernet node` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Without --json it is a chat: a typed line is broadcast, what arrives is printed.
With --json it reads commands and writes events, one JSON object a line:
  {\"do\":\"broadcast\",\"payload\":[\"hello\"],\"ref\":1}
  {\"event\":\"result\",\"ref\":1,\"value\":{\"id\":\"…\",\"links\":1}}
There are connect, disconnect, peers, broadcast, send, reply, request, respond, search, found, ban, unban, bans, stats and close; with
--network sync also set, get, delta, delete and keys.

Two nodes that talk:
  peernet node --listen 127.0.0.1:4444
  peernet node --connect 127.0.0.1:4444")]
pub(crate) struct Args {
    /// Kind of network
    #[arg(long, value_enum, default_value = "mesh")]
    network: Network,
    /// Name of the network [default: its kind]
    #[arg(long, value_name = "NAME")]
    subnet: Option<String>,
    /// How links are encrypted: tls, plaintext, ssl, ws or wss [default: tls]
    #[arg(long, value_name = "ENCRYPTION", value_parser = read_encryption)]
    encryption: Option<Encryption>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The address others are told [default: the one listened on]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// A node to connect to, any number; with an id, anyone else at that address is refused
    #[arg(long, value_name = "[ID@]HOST:PORT")]
    connect: Vec<String>,
    /// Keep here what the node must know again when it starts anew: its identity (tls), bans, what it has heard
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What is acknowledged is on the disk, and survives whatever ends the process
    #[arg(long, requires = "data")]
    durable: bool,
    /// A sync table without leases
    #[arg(long)]
    no_leases: bool,
    /// A secret that all nodes of the network share; nobody joins without it (tls only, see `peernet
    /// secret`)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Broadcasts are not signed: faster, and only for closed networks, all nodes of which say so (tls only)
    #[arg(long)]
    unsigned: bool,
    /// A node that may join, any number; then no others may (tls only)
    #[arg(long, value_name = "ID", value_parser = read_id)]
    allow: Vec<NodeId>,
    /// Send to nodes that are no neighbours although the network proves no ids: whoever answers in
    /// their name gets it
    #[arg(long)]
    trust_lookups: bool,
    /// An origin whose web pages may connect to ws and wss, any number; any for all [default: none]
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// A certificate that browsers trust, for wss, with those that lead to it, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Speak JSON lines
    #[arg(long)]
    json: bool,
    /// Go on when standard input ends, until SIGINT or SIGTERM
    #[arg(long)]
    serve: bool,
}

fn read_id(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).map_err(|error| error.to_string())
}

fn read_encryption(name: &str) -> Result<Encryption, String> {
    name.parse().map_err(|error: Error| error.to_string())
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    refuse_later_features(&args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(async {
        // Before anything is said to the outside: whoever hears of us may send a signal.
        let signals = signals::Signals::new()?;
        let invitation = invitation(&args);
        let (json, serve) = (args.json, args.serve);
        let member = open(args).await?;
        if json {
            script::run(member, serve, signals).await
        } else {
            chat::run(member, serve, signals, &invitation).await
        }
    });
    // Nothing that still runs may hold up the end.
    runtime.shutdown_background();
    result
}

/// What this version does not offer is said in one line before anything is opened.
fn refuse_later_features(args: &Args) -> Result<(), Failure> {
    if args.network == Network::Chord {
        let text = "--network chord is not available in this version; there are mesh and sync";
        return Err(Failure::usage(text));
    }
    if args.no_leases && args.network != Network::Sync {
        return Err(Failure::usage("--no-leases belongs to --network sync"));
    }
    Ok(())
}

async fn open(args: Args) -> Result<Member, Failure> {
    let opened = match args.network {
        Network::Sync => {
            let builder = SyncTable::builder().leases(!args.no_leases);
            configured(builder, args)?.open().await.map(Member::of_table)
        }
        Network::Mesh | Network::Chord => {
            configured(Mesh::builder(), args)?.open().await.map(Member::of_mesh)
        }
    };
    opened.map_err(|error| match error {
        Error::Listen { .. } => {
            Failure::failed(format!("{error}; give another address with --listen, or port 0 for a free one"))
        }
        Error::Data(_) | Error::Store(_) => Failure::failed(error),
        error => Failure::usage(error),
    })
}

fn configured<N>(builder: Builder<N>, args: Args) -> Result<Builder<N>, Failure> {
    let config = Config { close_timeout: LEAVE, trust_lookups: args.trust_lookups, ..Config::default() };
    let mut builder =
        builder.encryption(args.encryption.unwrap_or_default()).listen(args.listen).config(config);
    if let Some(subnet) = args.subnet {
        builder = builder.subnet(subnet);
    }
    if let Some(advertise) = args.advertise {
        builder = builder.advertise(advertise);
    }
    if let Some(path) = args.data {
        builder = builder.data_dir(path).durable(args.durable);
    }
    if let Some(file) = args.secret_file {
        builder = builder.secret(secret::read(&file)?);
    }
    if args.unsigned {
        builder = builder.sign(false);
    }
    if !args.allow.is_empty() {
        builder = builder.allow(args.allow);
    }
    for target in args.connect {
        builder = builder.connect(target);
    }
    if !args.origin.is_empty() {
        let any = args.origin.iter().any(|origin| origin == "any");
        builder = builder.origins(if any { Origins::Any } else { Origins::only(args.origin) });
    }
    if let (Some(certificate), Some(key)) = (args.certificate, args.key) {
        builder = builder.certificate(read(&certificate)?, read(&key)?);
    }
    Ok(builder)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))
}

/// What others type to join, but for the address.
fn invitation(args: &Args) -> String {
    let mut command = "peernet node".to_owned();
    if args.network == Network::Sync {
        command.push_str(" --network sync");
    }
    if args.no_leases {
        command.push_str(" --no-leases");
    }
    if let Some(encryption) = args.encryption.filter(|encryption| *encryption != Encryption::Tls) {
        command.push_str(&format!(" --encryption {}", encryption.protocol_name().to_lowercase()));
    }
    if args.unsigned {
        command.push_str(" --unsigned");
    }
    if args.secret_file.is_some() {
        command.push_str(" --secret-file FILE");
    }
    if let Some(subnet) = &args.subnet {
        let plain = !subnet.is_empty() && subnet.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
        if plain && !subnet.starts_with('-') {
            command.push_str(&format!(" --subnet {subnet}"));
        } else {
            command.push_str(&format!(" --subnet='{}'", subnet.replace('\'', r"'\''")));
        }
    }
    command
}
