//! `peernet id`: protocol ids and node ids.

use std::io::{self, Write};

use peernet::Address;
use peernet::identity::{NodeId, ProtocolId};

use crate::failure::Failure;

/// What `peernet id` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    of: Of,
}

#[derive(clap::Subcommand)]
enum Of {
    /// The id of a subnet: only nodes with the same one join each other
    Protocol {
        /// The subnet's name, exactly as hashed (a sync table's ends with 0 or 1)
        #[arg(allow_hyphen_values = true)]
        subnet: String,
        /// The encryption's name, exactly as hashed: Plaintext, SSL, ws, wss or tls
        #[arg(allow_hyphen_values = true)]
        encryption: String,
    },
    /// The id of a node
    Node {
        /// Its outward address, as host:port
        address: Address,
        /// Its subnet's protocol id
        protocol_id: ProtocolId,
        /// What tells nodes of the same address apart: 0.7 uses the text of a random UUID
        #[arg(allow_hyphen_values = true)]
        salt: String,
    },
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let id = match args.of {
        Of::Protocol { subnet, encryption } => ProtocolId::derive(&subnet, &encryption).to_string(),
        Of::Node { address, protocol_id, salt } => {
            NodeId::derive(&address.host, address.port, &protocol_id, &salt).to_string()
        }
    };
    Ok(writeln!(io::stdout(), "{id}")?)
}
