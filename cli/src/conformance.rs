//! `peernet conformance`.

use crate::failure::Failure;

/// What `peernet conformance` takes.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::usage("not available yet"))
}
