//! What waits to be written on one link: three classes, bounded, coalesced.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::protocol::{Class, LinkId};
use crate::wire::compression::{self, Opportunist};
use crate::wire::{LENGTH_LEN, Method, frame};

/// Frames up to this size are copied into one buffer and written together; larger ones are written
/// from where they are. Around here a copy and a separate slice cost the same.
const COPY_UP_TO: usize = 2 << 10;
/// A buffer of small frames is closed at this size.
const SMALL_BUFFER: usize = 64 << 10;
/// The most a writer takes at once. More would not make its writes cheaper, and would let control
/// messages wait behind it.
const TAKE_BYTES: usize = 256 << 10;
/// Slices of one write; far below the system's bound of 1,024.
const TAKE_PIECES: usize = 64;
/// Written buffers that are kept for the next frames while there is traffic; one is kept while
/// there is none, if it is no larger than this.
const SPARES: usize = 16;
const IDLE_SPARE: usize = 4 << 10;

/// Traffic of one node over all its links. Relaxed counters, written by readers and writers.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    pub(crate) frames_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) relays_dropped: AtomicU64,
    pub(crate) searches_dropped: AtomicU64,
    pub(crate) answers_dropped: AtomicU64,
    pub(crate) slow_peers: AtomicU64,
    /// Connections that others made and that came to no link.
    pub(crate) strangers: AtomicU64,
    /// Connections that the program refused.
    pub(crate) refused: AtomicU64,
    /// Connections closed unheard because of where they came from.
    pub(crate) turned_away: AtomicU64,
    /// Connections closed for a newer one while their transport was not ready.
    pub(crate) crowded_out: AtomicU64,
    /// Times that a reader waited because its peer sends too much.
    pub(crate) throttled: AtomicU64,
    pub(crate) compression_tried: AtomicU64,
    pub(crate) compression_kept: AtomicU64,
    pub(crate) compression_skipped: AtomicU64,
}

impl TrafficCounters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// How many links of a node are full, so that senders and readers need not ask each.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Links whose own messages have reached their bound.
    pub(crate) own: AtomicUsize,
    /// Links whose relayed messages have reached their bound and that are not yet known to be slow.
    pub(crate) relay: AtomicUsize,
    /// Told when one of the two falls.
    pub(crate) room: tokio::sync::Notify,
}

/// A body on its way to links with compression: packed at most once per method, by whichever link's
/// writer comes first.
#[derive(Debug)]
pub(crate) struct Variants {
    body: Bytes,
    packed: [OnceLock<Option<Bytes>>; Method::ALL.len()],
}

impl Variants {
    fn new(body: Bytes) -> Self {
        Self { body, packed: Default::default() }
    }

    /// The body compressed by `method`, or as it is where that is not smaller.
    fn get(&self, method: Method) -> (Bytes, bool) {
        let place = Method::ALL.iter().position(|known| *known == method);
        let packed = place.and_then(|place| self.packed.get(place)).and_then(|place| {
            place
                .get_or_init(|| {
                    // What begins like a compressed stream must not go as it is: a peer that shares
                    // that method would misread it (W-12). The one copy serves peers that do not, too.
                    match compression::must_compress(&self.body, &Method::ALL) {
                        true => Some(method.compress(&self.body).into()),
                        false => compression::compress_if_smaller(method, &self.body).map(Bytes::from),
                    }
                })
                .clone()
        });
        match packed {
            Some(packed) => (packed, true),
            None => (self.body.clone(), false),
        }
    }
}

#[derive(Debug)]
enum Segment {
    /// Small frames, length fields included, one after the other.
    Small { bytes: Vec<u8>, frames: usize },
    /// The body of one frame.
    Large(Bytes),
    /// A body that may be worth compressing.
    Pack(Arc<Variants>),
    /// Nothing: somebody wants to know when what stands before it is written.
    TellWritten,
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Small { bytes, .. } => bytes.len(),
            Self::Large(body) => LENGTH_LEN + body.len(),
            Self::Pack(variants) => LENGTH_LEN + variants.body.len(),
            Self::TellWritten => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    segments: VecDeque<Segment>,
    bytes: usize,
    full: bool,
}

#[derive(Debug, Default)]
struct State {
    lanes: [Lane; 3],
    writer: Option<Waker>,
    /// Nothing more is taken in; the writer ends when all is written.
    closing: bool,
    /// The writer ends now.
    dead: bool,
    /// The link takes nothing; see `Config::slow_after`.
    slow: bool,
    spares: Vec<Vec<u8>>,
    write: Option<Method>,
    opportunist: Opportunist,
}

/// What a writer takes to write at once.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) list: Vec<Piece>,
    pub(crate) frames: u64,
    pub(crate) bytes: usize,
    /// Whether somebody wants to know when it is written.
    pub(crate) tell_written: bool,
}

#[derive(Debug)]
pub(crate) enum Piece {
    /// Whole frames.
    Frames(Vec<u8>),
    /// A length field and a body.
    Frame([u8; LENGTH_LEN], Bytes),
    /// To be packed by [`LinkQueue::pack`] before writing.
    Pack(Arc<Variants>),
}

#[derive(Debug)]
pub(crate) struct LinkQueue {
    pub(crate) link: LinkId,
    state: Mutex<State>,
    bounds: [usize; 3],
    pressure: Arc<Pressure>,
    traffic: Arc<TrafficCounters>,
    /// Methods to try on frames that arrive; replaced when agreed anew.
    read: Mutex<Option<Arc<[Method]>>>,
}

impl LinkQueue {
    pub(crate) fn new(
        link: LinkId,
        own: usize,
        relay: usize,
        pressure: Arc<Pressure>,
        traffic: Arc<TrafficCounters>,
    ) -> Self {
        // Control messages answer the peer's and are bounded by its own rate; the bound is for a
        // peer that asks and never reads.
        Self {
            link,
            state: Mutex::default(),
            bounds: [own, own, relay],
            pressure,
            traffic,
            read: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one body. `variants` is shared between the links that get the same body.
    /// Returns whether it was taken.
    pub(crate) fn push(&self, class: Class, body: &Bytes, variants: &mut Option<Arc<Variants>>) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        if state.closing || state.dead {
            return false;
        }
        let place = class as usize;
        let (Some(lane), Some(bound)) = (state.lanes.get_mut(place), self.bounds.get(place)) else {
            return false;
        };
        if lane.full && (class == Class::Control || (class == Class::Relay && state.slow)) {
            let dropped = match class {
                Class::Relay => &self.traffic.relays_dropped,
                _ => &self.traffic.answers_dropped,
            };
            TrafficCounters::add(dropped, 1);
            return false;
        }
        let before = lane.bytes;
        let pack = state.write.is_some() && {
            // By any method that the peer may try, not only the one we would use.
            compression::must_compress(body, &Method::ALL) || {
                let worth = state.opportunist.worth_trying(body);
                if !worth {
                    TrafficCounters::add(&self.traffic.compression_skipped, 1);
                }
                worth
            }
        };
        if pack {
            let variants = variants.get_or_insert_with(|| Arc::new(Variants::new(body.clone())));
            lane.segments.push_back(Segment::Pack(variants.clone()));
            lane.bytes += LENGTH_LEN + body.len();
        } else if body.len() <= COPY_UP_TO {
            append_small(lane, &mut state.spares, body);
        } else {
            lane.segments.push_back(Segment::Large(body.clone()));
            lane.bytes += LENGTH_LEN + body.len();
        }
        if lane.bytes >= *bound && before < *bound {
            lane.full = true;
            self.raise(class, state.slow);
        }
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
        true
    }

    /// Wants to know when the own messages that are queued are written ([`Pieces::tell_written`]).
    pub(crate) fn tell_written(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(lane) = state.lanes.get_mut(Class::Own as usize).filter(|_| !state.closing) {
            lane.segments.push_back(Segment::TellWritten);
        }
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }

    fn raise(&self, class: Class, slow: bool) {
        match class {
            Class::Own => self.pressure.own.fetch_add(1, Ordering::AcqRel),
            Class::Relay if !slow => self.pressure.relay.fetch_add(1, Ordering::AcqRel),
            _ => 0,
        };
    }

    fn lower(&self, class: Class, slow: bool) {
        match class {
            Class::Own => self.pressure.own.fetch_sub(1, Ordering::AcqRel),
            Class::Relay if !slow => self.pressure.relay.fetch_sub(1, Ordering::AcqRel),
            _ => 0,
        };
        self.pressure.room.notify_waiters();
    }

    /// Takes what is to be written next, or waits for it; `None` when the writer should end.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, pieces: &mut Pieces) -> Poll<Option<()>> {
        let mut state = self.lock();
        if state.dead {
            return Poll::Ready(None);
        }
        // Buffers that were written are used again.
        for piece in pieces.list.drain(..) {
            if let Piece::Frames(mut bytes) = piece {
                bytes.clear();
                if state.spares.len() < SPARES {
                    state.spares.push(bytes);
                }
            }
        }
        (pieces.frames, pieces.bytes, pieces.tell_written) = (0, 0, false);
        for class in [Class::Control, Class::Own, Class::Relay] {
            self.take_lane(class, &mut state, pieces);
        }
        if !pieces.list.is_empty() || pieces.tell_written {
            return Poll::Ready(Some(()));
        }
        if state.closing {
            return Poll::Ready(None);
        }
        let known = state.writer.as_ref().is_some_and(|writer| writer.will_wake(cx.waker()));
        if !known {
            state.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn take_lane(&self, class: Class, state: &mut State, pieces: &mut Pieces) {
        let slow = state.slow;
        let place = class as usize;
        let (Some(lane), Some(bound)) = (state.lanes.get_mut(place), self.bounds.get(place)) else {
            return;
        };
        while pieces.bytes < TAKE_BYTES && pieces.list.len() < TAKE_PIECES {
            let Some(segment) = lane.segments.pop_front() else { break };
            lane.bytes -= segment.len();
            pieces.bytes += segment.len();
            match segment {
                Segment::Small { bytes, frames } => {
                    pieces.frames += frames as u64;
                    pieces.list.push(Piece::Frames(bytes));
                }
                Segment::Large(body) => {
                    pieces.frames += 1;
                    let length = frame::length_field(body.len()).unwrap_or_default();
                    pieces.list.push(Piece::Frame(length, body));
                }
                Segment::Pack(variants) => {
                    pieces.frames += 1;
                    pieces.list.push(Piece::Pack(variants));
                }
                Segment::TellWritten => pieces.tell_written = true,
            }
        }
        if lane.full && lane.bytes <= bound / 2 {
            lane.full = false;
            self.lower(class, slow);
        }
    }

    /// Whether more memory is kept for the next frames than an idle link should keep.
    pub(crate) fn has_spares(&self) -> bool {
        let state = self.lock();
        state.spares.len() > 1 || state.spares.iter().any(|spare| spare.capacity() > IDLE_SPARE)
    }

    /// Gives back memory: nothing has been sent for a while.
    pub(crate) fn rest(&self) {
        let mut state = self.lock();
        state.spares.retain(|spare| spare.capacity() <= IDLE_SPARE);
        state.spares.truncate(1);
        state.spares.shrink_to_fit();
    }

    /// Packs what is to be packed among the pieces. May take a while for large bodies.
    pub(crate) fn pack(&self, pieces: &mut Pieces) {
        let method = self.lock().write;
        let mut packed: Vec<Piece> = Vec::with_capacity(pieces.list.len());
        pieces.bytes = 0;
        for piece in pieces.list.drain(..) {
            let piece = match piece {
                Piece::Pack(variants) => {
                    let (body, kept) = match method {
                        Some(method) => variants.get(method),
                        None => (variants.body.clone(), false),
                    };
                    TrafficCounters::add(&self.traffic.compression_tried, 1);
                    TrafficCounters::add(&self.traffic.compression_kept, kept.into());
                    self.lock().opportunist.outcome(variants.body.len(), kept);
                    let length = frame::length_field(body.len()).unwrap_or_default();
                    if let Some(Piece::Frames(bytes)) = packed.last_mut()
                        && body.len() <= COPY_UP_TO
                        && bytes.len() < SMALL_BUFFER
                    {
                        bytes.extend_from_slice(&length);
                        bytes.extend_from_slice(&body);
                        pieces.bytes += LENGTH_LEN + body.len();
                        continue;
                    }
                    if body.len() <= COPY_UP_TO {
                        Piece::Frames([&length[..], &body].concat())
                    } else {
                        Piece::Frame(length, body)
                    }
                }
                other => other,
            };
            pieces.bytes += match &piece {
                Piece::Frames(bytes) => bytes.len(),
                Piece::Frame(length, body) => length.len() + body.len(),
                Piece::Pack(_) => 0,
            };
            packed.push(piece);
        }
        pieces.list = packed;
    }

    /// The link takes nothing. Returns whether that is news.
    pub(crate) fn mark_slow(&self) -> bool {
        let mut state = self.lock();
        if state.slow {
            return false;
        }
        if state.lanes.get(Class::Relay as usize).is_some_and(|lane| lane.full) {
            self.lower(Class::Relay, false);
        }
        state.slow = true;
        true
    }

    /// The link takes something again.
    pub(crate) fn mark_moving(&self) {
        let mut state = self.lock();
        if !state.slow {
            return;
        }
        state.slow = false;
        if state.lanes.get(Class::Relay as usize).is_some_and(|lane| lane.full) {
            self.raise(Class::Relay, false);
        }
    }

    /// Whether relayed messages of other links must wait for this one.
    pub(crate) fn holds_up_relays(&self) -> bool {
        let state = self.lock();
        !state.slow && state.lanes.get(Class::Relay as usize).is_some_and(|lane| lane.full)
    }

    /// Whether own messages must wait for this link.
    pub(crate) fn holds_up_own(&self) -> bool {
        self.lock().lanes.get(Class::Own as usize).is_some_and(|lane| lane.full)
    }

    /// Nothing more is taken in; what is there is still written.
    pub(crate) fn close(&self) {
        self.end(false);
    }

    /// Nothing more is taken in or written.
    pub(crate) fn kill(&self) {
        self.end(true);
    }

    fn end(&self, now: bool) {
        let mut state = self.lock();
        let state = &mut *state;
        let slow = state.slow;
        state.closing = true;
        state.dead |= now;
        // Nobody waits for a link that is going.
        for (class, lane) in [Class::Control, Class::Own, Class::Relay].iter().zip(&mut state.lanes) {
            if std::mem::take(&mut lane.full) {
                self.lower(*class, slow);
            }
            if now {
                *lane = Lane::default();
            }
        }
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
        self.pressure.room.notify_waiters();
    }

    /// How frames are compressed from now on.
    pub(crate) fn agree(&self, read: Vec<Method>, write: Option<Method>) {
        self.lock().write = write;
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.into());
    }

    /// The methods to try on frames that arrive; `None` before the handshake.
    pub(crate) fn agreed(&self) -> Option<Arc<[Method]>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn append_small(lane: &mut Lane, spares: &mut Vec<Vec<u8>>, body: &Bytes) {
    let length = frame::length_field(body.len()).unwrap_or_default();
    let need = LENGTH_LEN + body.len();
    lane.bytes += need;
    if let Some(Segment::Small { bytes, frames }) = lane.segments.back_mut()
        && bytes.len() + need <= SMALL_BUFFER
    {
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(body);
        *frames += 1;
        return;
    }
    let mut bytes = spares.pop().unwrap_or_default();
    if lane.bytes > need {
        // Not the first: the traffic fills whole buffers.
        bytes.reserve(SMALL_BUFFER);
    }
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(body);
    lane.segments.push_back(Segment::Small { bytes, frames: 1 });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn queue() -> LinkQueue {
        LinkQueue::new(LinkId(1), 1 << 20, 1 << 20, Arc::default(), Arc::default())
    }

    /// Everything that waits, as it would be written.
    fn written(queue: &LinkQueue) -> Vec<u8> {
        let mut pieces = Pieces::default();
        let taken = queue.poll_take(&mut Context::from_waker(Waker::noop()), &mut pieces);
        assert_eq!(taken, Poll::Ready(Some(())));
        queue.pack(&mut pieces);
        let bytes = |piece: &Piece| match piece {
            Piece::Frames(bytes) => bytes.clone(),
            Piece::Frame(length, body) => [&length[..], body].concat(),
            Piece::Pack(_) => Vec::new(),
        };
        pieces.list.iter().flat_map(bytes).collect()
    }

    /// W-12
    #[test]
    fn what_looks_like_any_shared_stream_goes_compressed() {
        // In this order the method we use is zlib; a gzip head would be misread all the same.
        for head in [[0x78, 0x9c], [0x1f, 0x8b]] {
            let queue = queue();
            queue.agree(vec![Method::Zlib, Method::Gzip], Some(Method::Zlib));
            let body = Bytes::from([&head[..], b"too short to be worth it"].concat());
            assert!(queue.push(Class::Own, &body, &mut None));
            let frame = written(&queue);
            let content = &frame[LENGTH_LEN..];
            assert_ne!(content, body);
            assert_eq!(Method::Zlib.decompress(content, 1 << 10), Ok(body.to_vec()));
        }
        let queue = queue();
        let body = Bytes::from_static(b"\x1f\x8b nothing agreed yet");
        assert!(queue.push(Class::Own, &body, &mut None));
        assert_eq!(written(&queue)[LENGTH_LEN..], body);
    }
    /// A body of `len` bytes that nobody would take for a compressed one.
    fn body(mark: u8, len: usize) -> Bytes {
        vec![mark; len].into()
    }

    /// The first bytes of the frames that wait, as they would be written.
    fn marks(queue: &LinkQueue) -> Vec<u8> {
        let mut decoder = crate::wire::Decoder::new(1 << 20);
        decoder.push(&written(queue));
        std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| frame[0]).collect()
    }

    /// L-30, C-59
    #[test]
    fn classes_are_written_in_order_and_each_keeps_its_own() {
        let queue = queue();
        let sizes = [10, COPY_UP_TO + 1, 20];
        for (at, size) in (0..).zip(sizes) {
            for (class, mark) in [(Class::Relay, 30), (Class::Own, 20), (Class::Control, 10)] {
                assert!(queue.push(class, &body(mark + at, size), &mut None));
            }
        }
        assert_eq!(marks(&queue), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
    }

    /// S-20: not before the last of them, and only once.
    #[test]
    fn it_is_told_when_what_was_queued_is_written() {
        let queue = queue();
        for mark in 0..3 {
            assert!(queue.push(Class::Own, &body(mark, TAKE_BYTES - 10), &mut None));
        }
        queue.tell_written();
        assert!(queue.push(Class::Own, &body(3, 10), &mut None));
        assert!(queue.push(Class::Control, &body(4, 10), &mut None));
        let mut pieces = Pieces::default();
        let mut take = || {
            let taken = queue.poll_take(&mut Context::from_waker(Waker::noop()), &mut pieces);
            taken.map(|_| (pieces.frames, pieces.tell_written))
        };
        let taken = std::array::from_fn(|_| take());
        let told = |frames, told| Poll::Ready((frames, told));
        assert_eq!(taken, [told(2, false), told(2, false), told(1, true), Poll::Pending]);
        queue.tell_written();
        assert_eq!([take(), take()], [told(0, true), Poll::Pending], "there was nothing to write");
        queue.close();
        queue.tell_written();
        assert_eq!(take(), told(0, false), "the writer ends");
    }

    /// L-31, L-33
    #[test]
    fn a_full_queue_is_told_and_only_answers_are_dropped() {
        let (pressure, traffic) = (Arc::new(Pressure::default()), Arc::default());
        let queue = LinkQueue::new(LinkId(1), 1000, 1000, pressure.clone(), traffic);
        for class in [Class::Own, Class::Control] {
            assert!(queue.push(class, &body(0, 500), &mut None));
            assert!(queue.push(class, &body(1, 500), &mut None), "the one that reaches the bound is taken");
        }
        // Who sends waits; what was sent all the same is not lost.
        assert_eq!(pressure.own.load(Ordering::Acquire), 1);
        assert!(queue.push(Class::Own, &body(2, 500), &mut None));
        assert!(!queue.push(Class::Control, &body(2, 500), &mut None));
        assert_eq!(marks(&queue), [0, 1, 0, 1, 2]);
        assert_eq!(pressure.own.load(Ordering::Acquire), 0);
        assert!(queue.push(Class::Control, &body(3, 500), &mut None));
    }

    /// L-32, L-34
    #[test]
    fn relayed_messages_wait_for_a_link_until_it_is_slow() {
        let (pressure, traffic) = (Arc::new(Pressure::default()), Arc::new(TrafficCounters::default()));
        let queue = LinkQueue::new(LinkId(1), 1000, 1000, pressure.clone(), traffic.clone());
        for _ in 0..3 {
            assert!(queue.push(Class::Relay, &body(0, 500), &mut None));
        }
        assert_eq!(pressure.relay.load(Ordering::Acquire), 1, "the others are read no further");
        assert!(queue.mark_slow());
        assert_eq!(pressure.relay.load(Ordering::Acquire), 0, "nobody waits for a slow link");
        assert!(!queue.push(Class::Relay, &body(1, 500), &mut None));
        assert_eq!(traffic.relays_dropped.load(Ordering::Relaxed), 1);
        assert!(queue.push(Class::Own, &body(2, 10), &mut None));
        assert_eq!(marks(&queue), [2, 0, 0, 0]);
    }
}
