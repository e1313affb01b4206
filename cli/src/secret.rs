//! `peernet secret`: what the nodes of a closed subnet share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use peernet::identity::Secret;
use peernet::store::{read_owners_text, write_owners_text};

use crate::failure::Failure;

/// The longest file that is read as a secret.
const MAX_FILE: u64 = 1024;

/// What `peernet secret` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Every node of a closed subnet gets a copy of the file, readable by its owner alone:
  peernet secret --out mesh.secret
  peernet node --secret-file mesh.secret")]
pub(crate) struct Args {
    /// Write it to a new file that only you can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let secret = Secret::generate(&mut rand::rng()).to_text();
    match args.out {
        Some(file) => write(&file, &secret),
        None => Ok(writeln!(io::stdout(), "{secret}")?),
    }
}

/// The secret in a file.
pub(crate) fn read(file: &Path) -> Result<Secret, Failure> {
    let text = read_owners_text(file, MAX_FILE).map_err(Failure::failed)?;
    text.parse().map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

/// Writes a new file that only its owner can read.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    write_owners_text(file, text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))
}
