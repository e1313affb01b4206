//! `peernet table`: a table out of a network or a data directory as JSON lines, and into one.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use peernet::{Config, Encryption, Error, SyncTable, Value};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::json::{Json, Object, read_key, read_value, write_key, write_value};
use crate::secret;

/// How long leaving waits for what is queued.
const LEAVE: Duration = Duration::from_secs(8);

/// What `peernet table` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print every key with its value, one JSON object a line
    #[command(after_help = "\
  peernet table dump --connect 127.0.0.1:4444
  {\"key\":\"colour\",\"value\":\"green\",\"owner\":\"…\",\"time\":1700000000}")]
    Dump(Dump),
    /// Set every key of such lines on standard input; what owner and time they name does not count
    #[command(after_help = "\
  peernet table dump --data OLD | peernet table load --connect 127.0.0.1:4444
A key that cannot be set is named on standard error, and the rest is; then the exit code is 1.")]
    Load(Place),
}

#[derive(clap::Args)]
struct Dump {
    #[command(flatten)]
    place: Place,
    /// With --connect: print when nothing new has come for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = read_seconds)]
    quiet: f64,
}

/// Where the table is.
#[derive(clap::Args)]
struct Place {
    /// A node to join, any number: the network's table
    #[arg(long, value_name = "[ID@]HOST:PORT", required_unless_present = "data")]
    connect: Vec<String>,
    /// A data directory that no node is running on: the table that is kept there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Name of the network
    #[arg(long, value_name = "NAME", default_value = "sync")]
    subnet: String,
    /// How its links are encrypted: tls, plaintext, ssl, ws or wss [default: tls]
    #[arg(long, value_name = "ENCRYPTION", value_parser = read_encryption)]
    encryption: Option<Encryption>,
    /// Its table is without leases
    #[arg(long)]
    no_leases: bool,
    /// Its secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Its broadcasts are not signed
    #[arg(long)]
    unsigned: bool,
}

fn read_encryption(name: &str) -> Result<Encryption, String> {
    name.parse().map_err(|error: Error| error.to_string())
}

fn read_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds, 3600 at most".to_owned()),
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        match args.command {
            Command::Dump(args) => dump(args).await,
            Command::Load(place) => load(place).await,
        }
    });
    // Nothing that still runs may hold up the end.
    runtime.shutdown_background();
    result
}

/// Opens the table, and connects to all that are named.
async fn open(place: Place) -> Result<SyncTable, Failure> {
    // Whoever only looks needs no more neighbours than are named.
    let config = Config { close_timeout: LEAVE, max_outgoing: 0, ..Config::default() };
    let builder = SyncTable::builder().leases(!place.no_leases).config(config);
    let mut builder = builder.subnet(place.subnet).encryption(place.encryption.unwrap_or_default());
    if let Some(path) = place.data {
        builder = builder.data_dir(path);
    }
    if let Some(file) = place.secret_file {
        builder = builder.secret(secret::read(&file)?);
    }
    if place.unsigned {
        builder = builder.sign(false);
    }
    let table = builder.open().await.map_err(|error| match error {
        Error::Data(_) => Failure::failed(error),
        error => Failure::usage(error),
    })?;
    for address in &place.connect {
        table.connect(address).await.map_err(Failure::failed)?;
    }
    Ok(table)
}

async fn dump(args: Dump) -> Result<(), Failure> {
    let joins = !args.place.connect.is_empty();
    let table = open(args.place).await?;
    if joins {
        // Tables do not say that there is nothing more to tell.
        let mut changes = table.watch();
        let quiet = Duration::from_secs_f64(args.quiet);
        while timeout(quiet, changes.recv()).await.is_ok() {}
    }
    let mut items = table.items();
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut output = io::BufWriter::new(io::stdout().lock());
    for (key, value) in items {
        let (mut shown_key, mut shown_value) = (String::new(), String::new());
        write_key(&key, &mut shown_key);
        write_value(&value, &mut shown_value);
        let mut line = Object::empty().raw("key", &shown_key).raw("value", &shown_value);
        if let (Some(owner), Some(time)) = (table.owner(&key), table.time(&key)) {
            line = line.text("owner", owner.as_str()).number("time", time);
        }
        output.write_all(line.line().as_bytes())?;
    }
    output.flush()?;
    table.close().await;
    Ok(())
}

async fn load(place: Place) -> Result<(), Failure> {
    let table = open(place).await?;
    let mut failed = false;
    for (number, line) in io::stdin().lock().split(b'\n').enumerate() {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let set = match read_pair(&line) {
            Ok((key, value)) => table.set(key, value).await.map(drop).map_err(|error| error.to_string()),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = set {
            failed = true;
            eprintln!("peernet: line {}: {problem}", number + 1);
        }
    }
    table.close().await;
    if failed { Err(Failure::told()) } else { Ok(()) }
}

fn read_pair(line: &[u8]) -> Result<(Vec<u8>, Value), String> {
    let json = Json::parse_bytes(line).map_err(|error| error.to_string())?;
    let key = json.get("key").ok_or("it has no \"key\"")?;
    let key = read_key(key).ok_or("its \"key\" is neither text nor bytes")?;
    let value = json.get("value").ok_or("it has no \"value\"")?;
    let value = read_value(value).map_err(|error| error.inside("value").to_string())?;
    Ok((key, value))
}
