//! `peernet bench`: throughput and latency between separate processes of this machine, with a
//! raw-socket floor in the same run.

mod connect;
mod contract;
mod driver;
mod floor;
mod harness;
mod monotonic;
mod table;

use clap::Subcommand;

use crate::failure::Failure;

/// What `peernet bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One sender, one receiver: messages and bytes per second
    Stream(harness::Options),
    /// One author, seven receivers, all linked to each other: deliveries per second
    Broadcast(harness::Options),
    /// Two nodes, ping-pong: microseconds per round trip
    Latency(harness::Options),
    /// Two nodes: milliseconds until a connection stands
    Connect(connect::Options),
    /// A new node that takes over a whole table: milliseconds, and bytes for each key
    Table(table::Options),
    /// One node under an outside harness, told what to do on stdin
    Driver(contract::Role),
    /// The floor under the same harness: our frames over bare sockets, checked, no node
    #[command(hide = true)]
    Floor(contract::Role),
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Stream(options) => harness::stream(&options),
        What::Broadcast(options) => harness::broadcast(&options),
        What::Latency(options) => harness::latency(&options),
        What::Connect(options) => connect::run(&options),
        What::Table(options) => table::run(&options),
        What::Driver(role) => driver::run(&role),
        What::Floor(role) => floor::run(&role),
    }
}
