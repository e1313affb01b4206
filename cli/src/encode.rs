//! `peernet encode`.

use crate::failure::Failure;

/// What `peernet encode` takes.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::usage("not available yet"))
}
