//! How a node in the foreground comes to its end.

use std::time::Duration;

use peernet::Mesh;
use tokio::sync::watch;
use tokio::time::timeout;

use super::LEAVE;
use super::output::Output;
use super::signals::Signals;
use crate::failure::Failure;

/// After a signal, a reader that takes nothing of what we write is waited for this much longer than
/// peers are.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells a conversation that it is over.
#[derive(Clone, Debug)]
pub(super) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Waits until it is.
    pub(super) async fn wait(&mut self) {
        // Without a sender, nobody is left to go on for.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Runs a conversation and beside it whatever shows the node's events, until the conversation is
/// over, a signal comes, or nobody reads any more. Then the node leaves: its queues are drained, and
/// what is to be shown is written.
///
/// `talk` must end when it is told that it is stopped, `show` when the node is closed.
pub(super) async fn run(
    mesh: &Mesh,
    output: &Output,
    mut signals: Signals,
    talk: impl AsyncFnOnce(Stopped),
    show: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(false);
    let talk_and_leave = async {
        talk(Stopped(stopped)).await;
        mesh.close().await;
    };
    let all = async {
        tokio::join!(talk_and_leave, show);
        output.finish().await
    };
    tokio::pin!(all);
    tokio::select! {
        written = &mut all => return Ok(written?),
        broken = output.ended() => {
            mesh.close().await;
            return Ok(broken?);
        }
        () = signals.next() => {}
    }
    // Closing the node ends what the conversation may be waiting for.
    let _ = stop.send(true);
    let leave = async {
        let (written, ()) = tokio::join!(&mut all, mesh.close());
        written
    };
    tokio::select! {
        left = timeout(LEAVE + LAST_WORDS, leave) => match left {
            Ok(written) => Ok(written?),
            Err(_) => Err(Failure::failed("gave up leaving: nobody reads standard output")),
        },
        () = signals.next() => Err(Failure::failed("interrupted while leaving")),
    }
}
