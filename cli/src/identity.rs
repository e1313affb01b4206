//! `peernet identity`: who a node with a data directory is.

use std::io::{self, Write};
use std::path::PathBuf;

use peernet::DataDir;
use peernet::identity::{KeyPair, NodeId, ProtocolId};
use peernet::store::read_owners_text;

use crate::failure::Failure;
use crate::secret;

/// The longest file that is read as a key pair.
const MAX_FILE: u64 = 1024;

/// What `peernet identity` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Prints the node id, which is another in each subnet. No node may be running on the directory.")]
pub(crate) struct Args {
    /// The node's data directory; made, and an identity in it, if there is none
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A subnet to show the id for, any number [default: mesh]
    #[arg(long, value_name = "NAME")]
    subnet: Vec<String>,
    /// In subnets whose authors do not sign
    #[arg(long)]
    unsigned: bool,
    /// Write the keys to a new file that only you can read: whoever has it is this node
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Keep the keys in this file from now on
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    import: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let imported = args.import.map(|file| {
        let text = read_owners_text(&file, MAX_FILE).map_err(Failure::failed)?;
        text.parse::<KeyPair>().map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
    });
    let imported = imported.transpose()?;
    let data = DataDir::open(&args.data).map_err(Failure::failed)?;
    if let Some(keys) = imported {
        data.set_identity(&keys).map_err(Failure::failed)?;
    }
    let keys = data.identity().map_err(Failure::failed)?;
    if let Some(file) = args.export {
        secret::write(&file, &keys.to_text())?;
    }
    let encryption = if args.unsigned { "tls/mesh/unsigned" } else { "tls/mesh" };
    let subnets = if args.subnet.is_empty() { vec!["mesh".to_owned()] } else { args.subnet };
    for subnet in subnets {
        let id = NodeId::of_key(&keys.public(), &ProtocolId::derive(&subnet, encryption));
        writeln!(io::stdout(), "{id}")?;
    }
    Ok(())
}
