//! `peernet sim`.

use crate::failure::Failure;

/// What `peernet sim` takes.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::usage("not available yet"))
}
