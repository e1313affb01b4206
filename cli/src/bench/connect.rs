//! How long it takes until a connection stands: from the call to the handshake's end.

use std::time::{Duration, Instant};

use peernet::{Config, Encryption, Event, Mesh};
use tokio::time::timeout;

use crate::failure::Failure;

/// What can be set.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Connections made, one after the other
    #[arg(long, default_value_t = 1000)]
    rounds: usize,
    /// Encryption of the subnet (default: plaintext and tls)
    #[arg(long)]
    encryption: Option<Encryption>,
}

/// Nothing here takes longer unless it fails.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let both = [Encryption::Plaintext, Encryption::Tls];
    let encryptions = options.encryption.map_or(both.to_vec(), |one| vec![one]);
    println!("Connections between two nodes of one process over loopback, milliseconds until each stands.");
    println!("{:<10} {:>7} {:>8} {:>8} {:>8}", "", "rounds", "p50", "p99", "most");
    // A thread for each of the two.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for encryption in encryptions {
        let mut times = runtime.block_on(measure(encryption, options.rounds.max(1)))?;
        times.sort_unstable();
        let at = |share: f64| {
            let place = ((times.len() - 1) as f64 * share).round() as usize;
            times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        let name = encryption.protocol_name().to_lowercase();
        println!("{name:<10} {:>7} {:>8.3} {:>8.3} {:>8.3}", times.len(), at(0.5), at(0.99), at(1.0));
    }
    Ok(())
}

async fn measure(encryption: Encryption, rounds: usize) -> Result<Vec<Duration>, Failure> {
    let open = async || {
        // Nobody is refused here for coming again and again.
        let config = Config { max_outgoing: 0, ..Config::local() };
        Mesh::builder().encryption(encryption).config(config).open().await.map_err(Failure::failed)
    };
    let (called, caller) = (open().await?, open().await?);
    let address = called.address().to_string();
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        caller.connect(&address).await.map_err(Failure::failed)?;
        times.push(begun.elapsed());
        caller.disconnect(called.id()).await.map_err(Failure::failed)?;
        let parted =
            async { while !matches!(called.next_event().await, Some(Event::Disconnected { .. }) | None) {} };
        timeout(PATIENCE, parted).await.map_err(|_| Failure::failed("the called node noticed no end"))?;
    }
    Ok(times)
}
