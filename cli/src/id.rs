//! `peernet id`: protocol ids and node ids.

use std::io::{self, Write};

use peernet::Address;
use peernet::identity::{NodeId, ProtocolId, PublicKey};

use crate::failure::Failure;
use crate::hex;

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
        /// The encryption's name, exactly as hashed: Plaintext, SSL, ws, wss or tls/mesh
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
    /// The id of a node whose subnet proves who is who
    Key {
        /// Its public key, in hexadecimal digits
        #[arg(value_parser = read_key)]
        key: PublicKey,
        /// Its subnet's protocol id
        protocol_id: ProtocolId,
    },
}

fn read_key(digits: &str) -> Result<PublicKey, String> {
    let key = hex::read(digits.as_bytes()).and_then(|bytes| bytes.try_into().ok());
    key.map(PublicKey::from_bytes).ok_or_else(|| "a public key is 64 hexadecimal digits".to_owned())
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let id = match args.of {
        Of::Protocol { subnet, encryption } => ProtocolId::derive(&subnet, &encryption).to_string(),
        Of::Node { address, protocol_id, salt } => {
            NodeId::derive(&address.host, address.port, &protocol_id, &salt).to_string()
        }
        Of::Key { key, protocol_id } => NodeId::of_key(&key, &protocol_id).to_string(),
    };
    Ok(writeln!(io::stdout(), "{id}")?)
}
