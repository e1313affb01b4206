//! Writes what waits on one link: many frames a write, as fast as the peer takes them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::node::Runtime;
use super::queue::{LinkQueue, Piece, Pieces, TrafficCounters};
use crate::protocol::{CloseReason, Input};

/// Bodies from this size on are compressed on a thread of their own, because it takes longer than
/// other links should wait.
const PACK_APART: usize = 64 << 10;
/// A link on which nothing goes, or comes, for this long gives back the memory that traffic took.
pub(super) const REST_AFTER: Duration = Duration::from_millis(200);
/// After the last byte, the peer gets this long to take it before the link is dropped.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Runs until the link is closed and everything queued is written, or it breaks.
pub(super) async fn run(runtime: Arc<Runtime>, queue: Arc<LinkQueue>, mut stream: impl AsyncWrite + Unpin) {
    let mut pieces = Pieces::default();
    while take(&queue, &mut pieces).await.is_some() {
        if pieces.list.iter().any(|piece| matches!(piece, Piece::Pack(_))) {
            pieces = pack(&queue, pieces).await;
        }
        let written = write_all(&runtime, &queue, &mut stream, &pieces.list).await;
        TrafficCounters::add(&runtime.traffic.frames_out, pieces.frames);
        TrafficCounters::add(&runtime.traffic.bytes_out, pieces.bytes as u64);
        if let Err(reason) = written {
            queue.kill();
            return runtime.write_failed(queue.link, reason);
        }
        if pieces.tell_written {
            runtime.feed_one(Input::Written { link: queue.link });
        }
    }
    let _ = timeout(SHUTDOWN, stream.shutdown()).await;
}

/// Waits for something to write. After a while without, the link gives back memory.
async fn take(queue: &LinkQueue, pieces: &mut Pieces) -> Option<()> {
    if !queue.has_spares() {
        return poll_fn(|cx| queue.poll_take(cx, pieces)).await;
    }
    match timeout(REST_AFTER, poll_fn(|cx| queue.poll_take(cx, pieces))).await {
        Ok(taken) => taken,
        Err(_) => {
            queue.rest();
            poll_fn(|cx| queue.poll_take(cx, pieces)).await
        }
    }
}

async fn pack(queue: &Arc<LinkQueue>, mut pieces: Pieces) -> Pieces {
    if pieces.bytes < PACK_APART {
        queue.pack(&mut pieces);
        return pieces;
    }
    let queue = queue.clone();
    let apart = tokio::task::spawn_blocking(move || {
        queue.pack(&mut pieces);
        pieces
    });
    apart.await.unwrap_or_default()
}

/// Writes all pieces. A peer that takes nothing for long is first reported, then given up.
async fn write_all(
    runtime: &Runtime,
    queue: &LinkQueue,
    stream: &mut (impl AsyncWrite + Unpin),
    pieces: &[Piece],
) -> Result<(), CloseReason> {
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(pieces.len() * 2);
    for piece in pieces {
        match piece {
            Piece::Frames(bytes) => slices.push(IoSlice::new(bytes)),
            Piece::Frame(length, body) => slices.extend([IoSlice::new(length), IoSlice::new(body)]),
            Piece::Pack(_) => {}
        }
    }
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let n =
            while_it_moves(runtime, queue, |cx| Pin::new(&mut *stream).poll_write_vectored(cx, rest)).await?;
        if n == 0 {
            return Err(CloseReason::Broken(io::ErrorKind::WriteZero.to_string()));
        }
        queue.mark_moving();
        IoSlice::advance_slices(&mut rest, n);
    }
    // Transports that encrypt or mask hold some of it, which would otherwise wait for the next write.
    while_it_moves(runtime, queue, |cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

/// Waits for the stream to do something, for as long as a peer may take nothing.
async fn while_it_moves<T>(
    runtime: &Runtime,
    queue: &LinkQueue,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> Result<T, CloseReason> {
    let config = &runtime.config;
    let patience = [config.slow_after, config.stall_timeout.saturating_sub(config.slow_after)];
    for (step, wait) in patience.into_iter().enumerate() {
        if let Ok(done) = timeout(wait, poll_fn(&mut poll)).await {
            return done.map_err(|error| CloseReason::Broken(error.to_string()));
        }
        if step == 0 && queue.mark_slow() {
            runtime.slow_peer(queue.link);
        }
    }
    Err(CloseReason::Stalled)
}
