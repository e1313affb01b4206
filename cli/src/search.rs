//! `peernet search` and `peernet announce`: asks a network something, and answers what others ask.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use peernet::{Config, Mesh, Query, Row, Search};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::json::{Object, write_key};
use crate::node::asked;
use crate::node::signals::Signals;
use crate::secret;
use crate::style;

/// Searches that wait to be shown, at most; what comes meanwhile is answered and not shown.
const SHOWN: usize = 1024;

/// How to get into a network.
#[derive(clap::Args)]
struct Join {
    /// A node to connect to, any number; with an id, anyone else at that address is refused
    #[arg(long, value_name = "[ID@]HOST:PORT", required = true)]
    connect: Vec<String>,
    /// Name of the network
    #[arg(long, value_name = "NAME", default_value = "mesh")]
    subnet: String,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Keep the identity here, so that the node has the same id each time
    #[arg(long = "data", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The secret that all nodes of the network share
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Join a network whose authors do not sign
    #[arg(long)]
    unsigned: bool,
}

impl Join {
    /// Opens a node that is connected to at least one of those named.
    async fn open(self, config: Config) -> Result<Mesh, Failure> {
        let mut builder = Mesh::builder().subnet(self.subnet).listen(self.listen).config(config);
        if let Some(path) = self.data_dir {
            builder = builder.data_dir(path);
        }
        if let Some(file) = self.secret_file {
            builder = builder.secret(secret::read(&file)?);
        }
        if self.unsigned {
            builder = builder.sign(false);
        }
        let mesh = builder.open().await.map_err(Failure::usage)?;
        let mut problem = None;
        for address in &self.connect {
            match mesh.connect(address).await {
                Ok(_) => {}
                Err(error) => problem = Some(error),
            }
        }
        match problem {
            Some(error) if mesh.peers().is_empty() => Err(Failure::failed(error)),
            _ => Ok(mesh),
        }
    }
}

/// What `peernet search` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit 0 if anything was found, 1 if nothing was.

  peernet search colour 'of the sky' --connect 127.0.0.1:4444")]
pub(crate) struct SearchArgs {
    /// What kind of thing is searched for, up to 64 bytes
    #[arg(value_name = "TYPE")]
    kind: String,
    /// What is said of it, up to 1024 bytes
    #[arg(default_value = "")]
    data: String,
    #[command(flatten)]
    join: Join,
    /// Links that the search may go over
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..=15))]
    limit: u8,
    /// End after so many finds
    #[arg(long, value_name = "N", default_value_t = u32::MAX, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How long to wait for finds, in seconds; others send them for ten
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    time: u64,
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn search(args: SearchArgs) -> Result<(), Failure> {
    block_on(async {
        let mut signals = Signals::new()?;
        let time = Duration::from_secs(args.time);
        let mesh = args.join.open(Config { search_time: time, ..Config::default() }).await?;
        let query = Query::new(args.kind, args.data).limit(args.limit);
        let mut rows = mesh.announce(query).map_err(Failure::usage)?;
        let mut found = 0;
        while found < args.count {
            let row = tokio::select! {
                row = rows.next() => row,
                () = signals.next() => None,
            };
            let Some(row) = row else { break };
            show(&row_line(&row, args.json))?;
            found += 1;
        }
        mesh.close().await;
        match found {
            0 => Err(Failure::failed(
                "nothing was found; see whether the other nodes are reached, or wait longer with --time",
            )),
            _ => Ok(()),
        }
    })
}

/// What `peernet announce` takes.
#[derive(clap::Args)]
#[command(after_help = "\
It answers until SIGINT or SIGTERM.

  peernet announce colour blue --connect 127.0.0.1:4444")]
pub(crate) struct AnnounceArgs {
    /// What kind of searches to answer, up to 64 bytes
    #[arg(value_name = "TYPE")]
    kind: String,
    /// What to answer, up to 1024 bytes
    data: String,
    #[command(flatten)]
    join: Join,
    /// Write JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn announce(args: AnnounceArgs) -> Result<(), Failure> {
    // So that no search finds out that it cannot be answered.
    if args.kind.len() > peernet::protocol::MAX_TYPE || args.data.len() > peernet::protocol::MAX_DATA {
        return Err(Failure::usage("a type may have up to 64 bytes, and data up to 1024"));
    }
    block_on(async {
        let mut signals = Signals::new()?;
        let mesh = args.join.open(Config::default()).await?;
        let (shown, mut searches) = mpsc::channel(SHOWN);
        let (kind, data) = (args.kind, args.data);
        mesh.on_search(move |search| {
            if search.kind() == kind.as_bytes() && search.reply(data.as_str()).is_ok() {
                let _ = shown.try_send(search);
            }
        });
        show(&listening_line(&mesh, args.json))?;
        loop {
            tokio::select! {
                search = searches.recv() => match search {
                    Some(search) => show(&search_line(&search, args.json))?,
                    None => break,
                },
                () = signals.next() => break,
            }
        }
        mesh.close().await;
        Ok(())
    })
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(command);
    // Nothing that still runs may hold up the end.
    runtime.shutdown_background();
    result
}

fn show(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

/// Bytes as JSON: text where they are text.
fn json(bytes: &[u8]) -> String {
    let mut out = String::new();
    write_key(bytes, &mut out);
    out
}

/// Bytes for people, who are not to have their terminal rearranged by strangers.
fn plain(bytes: &[u8]) -> String {
    style::printable(&String::from_utf8_lossy(bytes))
}

fn listening_line(mesh: &Mesh, as_json: bool) -> String {
    let (address, id) = (mesh.listening().to_string(), mesh.id());
    match as_json {
        true => Object::new("event", "listening").text("address", &address).text("id", id.as_str()).line(),
        false => format!("listening on {address} as {id}; answering until Ctrl-C\n"),
    }
}

fn row_line(row: &Row, as_json: bool) -> String {
    if !as_json {
        let doubt = if row.verified { "" } else { ", unproven" };
        let hops = if row.hops == 1 { "hop" } else { "hops" };
        return format!("{}  ({}, {} {hops}{doubt})\n", plain(&row.data), row.sender, row.hops);
    }
    asked::row(Object::new("event", "found"), row).line()
}

fn search_line(search: &Search, as_json: bool) -> String {
    if !as_json {
        return format!("{} asked: {}\n", search.sender(), plain(search.data()));
    }
    Object::new("event", "search")
        .raw("id", &json(search.id()))
        .raw("type", &json(search.kind()))
        .raw("data", &json(search.data()))
        .number("limit", search.limit())
        .number("hops", search.hops())
        .text("sender", search.sender().as_str())
        .json("verified", &crate::json::Json::Bool(search.verified()))
        .line()
}
