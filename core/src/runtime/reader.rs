//! Reads one link: bytes to verified messages, in batches.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout, timeout_at};

use super::node::Runtime;
use super::pace::Pace;
use super::queue::{LinkQueue, TrafficCounters};
use super::seals::verified;
use super::writer::REST_AFTER;
use crate::protocol::{CloseReason, Handshake, Input};
use crate::wire::codes::kind;
use crate::wire::{DIGEST_LEN, Decoder, Envelope, Header, LENGTH_LEN, Limits, Message, MessageError, Method};

/// Largest frame taken before the handshake: a stranger gets no more memory than this.
const OPENING_FRAME: usize = 64 << 10;
/// Frames handed on at once: enough to make the lock cheap, few enough to keep others waiting for a
/// fraction of a millisecond only.
const BATCH: usize = 128;
/// Bytes of bodies handed on at once, not counting the last. What was read is less than this, but
/// frames of a few bytes may unpack to the largest size each, and take their time to do so.
const BATCH_BYTES: usize = 1 << 20;
/// After so many bytes of bodies, others have their turn: among them the writer of the same link, if its
/// peer waits for an answer before it sends more.
const TURN_BYTES: usize = 48 << 10;

/// Frames cut from what was read, ready for the state machine.
#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    /// For each frame, the header that it seems to have if it is not compressed.
    headers: Vec<Option<Header>>,
    /// What the frames claim to be (a stamp that is out of all bounds where they claim nothing), and
    /// which of that is known.
    claims: Vec<(i64, [u8; DIGEST_LEN])>,
    known: Vec<bool>,
    duplicates: u64,
    refused: u64,
    /// Messages that are not by the author they name.
    forged: u64,
    frames: u64,
    bytes: usize,
}

/// Runs until the link ends; then the node is told why.
pub(super) async fn run(runtime: Arc<Runtime>, queue: Arc<LinkQueue>, stream: impl AsyncRead + Unpin) {
    let reason = read(&runtime, &queue, stream).await;
    runtime.link_down(queue.link, reason);
}

async fn read(runtime: &Arc<Runtime>, queue: &LinkQueue, mut stream: impl AsyncRead + Unpin) -> CloseReason {
    let mut decoder = Decoder::new(OPENING_FRAME.min(runtime.config.max_frame));
    let mut batch = Batch::default();
    let mut methods: Option<Arc<[Method]>> = None;
    let mut begun: Option<Instant> = None;
    let mut pace = Pace::new(&runtime.config);
    let mut unpaid = 0;
    loop {
        let resting = !decoder.has_spare();
        let read = stream.read_buf(decoder.room());
        let read = match begun {
            None if resting => read.await,
            None => match timeout(REST_AFTER, read).await {
                Ok(read) => read,
                Err(_) => {
                    decoder.rest();
                    continue;
                }
            },
            Some(begun) => match timeout_at((begun + runtime.config.frame_timeout).into(), read).await {
                Ok(read) => read,
                Err(_) => return CloseReason::SlowFrame,
            },
        };
        match read {
            Ok(0) => return decoder.finish().map_or_else(CloseReason::from, |()| CloseReason::Remote),
            Ok(n) => {
                decoder.filled(n);
                unpaid += n as u64;
                TrafficCounters::add(&runtime.traffic.bytes_in, n as u64);
            }
            Err(error) => return CloseReason::Broken(error.to_string()),
        }
        let mut any = false;
        loop {
            let cut = cut(runtime, &mut decoder, methods.as_deref(), &mut batch);
            if batch.frames == 0 && cut.is_ok() {
                break;
            }
            any = true;
            TrafficCounters::add(&runtime.traffic.frames_in, batch.frames);
            let pause = pace.read(runtime.now().mono, batch.frames, std::mem::take(&mut unpaid));
            hand_in(runtime, queue, &mut batch).await;
            if !pause.is_zero() {
                TrafficCounters::add(&runtime.traffic.throttled, 1);
                sleep(pause).await;
            }
            if let Err(reason) = cut {
                return reason;
            }
            let agreed = queue.agreed();
            if methods.is_none() && agreed.is_some() {
                decoder.set_limit(runtime.config.max_frame);
            }
            methods = agreed;
        }
        begun = match (decoder.is_partial(), any) {
            (false, _) => None,
            (true, true) => Some(Instant::now()),
            (true, false) => Some(begun.unwrap_or_else(Instant::now)),
        };
    }
}

/// Cuts up to a batch of frames out of what was read. What stands before a bad frame is still good.
fn cut(
    runtime: &Runtime,
    decoder: &mut Decoder,
    methods: Option<&[Method]>,
    batch: &mut Batch,
) -> Result<(), CloseReason> {
    let most = if methods.is_some() { BATCH } else { 1 };
    read_claims(runtime, decoder, most, batch);
    let methods = methods.unwrap_or_default();
    let limits = Limits::default();
    let mut run = Run::default();
    for at in 0..most {
        if batch.bytes >= BATCH_BYTES {
            break;
        }
        let Some(frame) = decoder.peek()? else { break };
        let len = frame.len();
        batch.frames += 1;
        if batch.known.get(at).copied().unwrap_or(false) {
            batch.duplicates += 1;
            decoder.skip(len);
            run.skip(len);
            continue;
        }
        let Batch { messages, headers, bytes, .. } = &mut *batch;
        let frame = run.take(decoder, len);
        let read = match headers.get(at) {
            // With the header that its bytes show when taken as they are, nothing is read twice.
            Some(Some(header)) if runtime.envelope.holds(&frame) => {
                *bytes += len;
                runtime.envelope.read_behind(header, frame, &limits, messages)
            }
            _ => {
                let body = runtime.envelope.open(frame, methods, runtime.config.max_frame)?;
                *bytes += body.len();
                runtime.envelope.read(body, &limits).map(|message| messages.push(message))
            }
        };
        match read {
            Ok(()) if messages.last().is_some_and(changes_methods) => break,
            Ok(()) => {}
            Err(MessageError::Seal(_)) => {
                batch.forged += 1;
                // Mostly the last of this neighbour, and verifying is dear.
                break;
            }
            Err(error) if error.is_malformed() => return Err(error.into()),
            Err(_) => batch.refused += 1,
        }
    }
    Ok(())
}

/// Whether frames behind this message may be compressed otherwise than those before it.
fn changes_methods(message: &Message) -> bool {
    message.header().kind == kind::RENEGOTIATE || Handshake::is_one(message)
}

/// A copy of frames that stand one behind the other, from which each takes its share.
#[derive(Default)]
struct Run {
    bytes: Bytes,
    at: usize,
}

/// Bytes of such a copy, and so the most that a message keeps alive besides itself.
const RUN: usize = 16 << 10;

impl Run {
    /// The next frame, of `len` bytes, is not wanted.
    fn skip(&mut self, len: usize) {
        self.at = (self.at + LENGTH_LEN + len).min(self.bytes.len());
    }

    /// Takes the next frame, of `len` bytes, out of the decoder.
    fn take(&mut self, decoder: &mut Decoder, len: usize) -> Bytes {
        if len > RUN / 8 {
            *self = Self::default();
            return decoder.take(len);
        }
        if self.at >= self.bytes.len() {
            *self = Self { bytes: decoder.copy_run(RUN), at: 0 };
        }
        decoder.skip(len);
        let start = self.at + LENGTH_LEN;
        self.at = start + len;
        self.bytes.slice(start..self.at)
    }
}

/// Asks which of the next frames are broadcasts that are known, before anything is hashed.
fn read_claims(runtime: &Runtime, decoder: &Decoder, most: usize, batch: &mut Batch) {
    batch.headers.clear();
    batch.claims.clear();
    for frame in decoder.whole_frames().take(most) {
        batch.headers.push(Header::read(frame).ok());
        let header = batch.headers.last().and_then(Option::as_ref);
        let claim = header.filter(|header| header.kind == kind::BROADCAST).zip(frame.first_chunk());
        batch
            .claims
            .push(claim.map_or((i64::MIN, [0; DIGEST_LEN]), |(header, digest)| (header.time, *digest)));
    }
    batch.known.clear();
    if !batch.claims.is_empty() {
        runtime.are_known(&batch.claims, &mut batch.known);
    }
}

/// Gives a batch to the state machine, and waits while what came of it finds no room.
async fn hand_in(runtime: &Arc<Runtime>, queue: &LinkQueue, batch: &mut Batch) {
    let link = queue.link;
    let duplicates = std::mem::take(&mut batch.duplicates);
    let refused = std::mem::take(&mut batch.refused);
    let forged = std::mem::take(&mut batch.forged);
    let heavy = std::mem::take(&mut batch.bytes) >= TURN_BYTES;
    batch.frames = 0;
    let sealed = matches!(runtime.envelope, Envelope::Sealed(_));
    let verified = match sealed && batch.messages.iter().any(Message::is_entries) {
        true => verified(runtime, link, &mut batch.messages).await,
        false => Vec::new(),
    };
    let inputs = (verified.into_iter())
        .chain(batch.messages.drain(..).map(|message| Input::Message { link, message }))
        .chain((duplicates > 0).then_some(Input::Duplicates { link, count: duplicates }))
        .chain((0..refused).map(|_| Input::Refused { link }))
        .chain((0..forged).map(|_| Input::Forged { link }));
    let crowded = runtime.feed(inputs);
    if crowded {
        runtime.wait_for_room(queue).await;
    } else if heavy || runtime.inbox.has_plenty() {
        yield_now().await;
    }
}
