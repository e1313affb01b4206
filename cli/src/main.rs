//! The `peernet` command. Each subcommand has a file of its own; `json` has the forms that values
//! take in all of them.

// A command's business is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod failure;
mod hex;
mod json;
mod lines;
mod style;

mod bench;
mod conformance;
mod decode;
mod demo;
mod encode;
mod id;
mod identity;
mod node;
mod peers;
mod search;
mod secret;
mod sim;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Peer-to-peer meshes from the command line: run a node, encode and decode messages, simulate
/// thousands of nodes, measure.
#[derive(Parser)]
#[command(name = "peernet", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one node: a chat for people, JSON lines for programs
    Node(node::Args),
    /// JSON messages in, frames in hex out
    Encode(encode::Args),
    /// Frames in hex in, JSON messages out
    Decode(decode::Args),
    /// Print a protocol id or a node id
    Id(id::Args),
    /// Show who a node with a data directory is, export or import its keys
    Identity(identity::Args),
    /// Show or change whom a node with a data directory knows
    Peers(peers::Args),
    /// Make a secret for a subnet that only those who have it can join
    Secret(secret::Args),
    /// Run the conformance suite on this build or on any program
    Conformance(conformance::Args),
    /// Print a sync table, or set it from lines
    Table(table::Args),
    /// Ask the nodes of a network for something, and show what they find
    Search(search::SearchArgs),
    /// Stay in a network and answer searches of one type
    Announce(search::AnnounceArgs),
    /// Simulate a mesh of many nodes
    Sim(sim::Args),
    /// Watch several nodes of this machine form a mesh
    Demo(demo::Args),
    /// Measure throughput and latency between processes of this machine
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Node(args) => node::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Decode(args) => decode::run(args),
        Command::Id(args) => id::run(args),
        Command::Identity(args) => identity::run(args),
        Command::Peers(args) => peers::run(args),
        Command::Secret(args) => secret::run(args),
        Command::Conformance(args) => conformance::run(args),
        Command::Table(args) => table::run(args),
        Command::Search(args) => search::search(args),
        Command::Announce(args) => search::announce(args),
        Command::Sim(args) => sim::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
