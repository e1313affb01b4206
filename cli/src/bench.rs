//! `peernet bench`.

use crate::failure::Failure;

/// What `peernet bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::usage("not available yet"))
}
