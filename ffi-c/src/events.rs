//! Events, in batches that the program owns.

use std::ffi::{CString, c_char};
use std::ptr;

use node::protocol::Change;
use node::wire::Pack;
use node::{Event, Kind, Message, Value};
use peernet_bindings::{Error, Node};

use crate::args;
use crate::guard::{Does, c_text, guard, guard_or};
use crate::mesh::{find, peernet_mesh};
use crate::status::peernet_status;

mod poll_fd;

pub(crate) use poll_fd::PollFd;

/// A message: `kind`, `code`, `id`, `peer` (its author), `time`, `payload`, `verified`.
pub const PEERNET_EVENT_MESSAGE: u32 = 1;
/// A peer is a neighbour from now on: `peer`, `address` (null if it has none).
pub const PEERNET_EVENT_CONNECTED: u32 = 2;
/// A peer is no neighbour any more: `peer`, `reason`, `text`.
pub const PEERNET_EVENT_DISCONNECTED: u32 = 3;
/// Messages were dropped because the program read too slowly: `count`.
pub const PEERNET_EVENT_LAGGED: u32 = 4;
/// A peer takes nothing of what is sent to it: `peer`.
pub const PEERNET_EVENT_SLOW_PEER: u32 = 5;
/// A key of the table got another value: `key`, `payload` (the value, packed), `old` (the value before, null if
/// there was none), `peer` (who set it), `time`. Once asked for with peernet_mesh_want.
pub const PEERNET_EVENT_UPDATE: u32 = 6;
/// A key of the table lost its value: `key`, `old`, `peer`, `time`. Once asked for.
pub const PEERNET_EVENT_DELETE: u32 = 7;
/// Another node asks something: `peer`, `payload`, `token` (to answer it by). Once asked for.
pub const PEERNET_EVENT_REQUEST: u32 = 8;
/// Somebody asks everyone something: `peer`, `key` (the question's type), `payload` (its data, bytes and not
/// packed), `old` (its id, bytes), `count` (the links it came over before the last one), `kind` (the links it may go
/// over), `verified`, `token` (to answer it by). Once asked for.
pub const PEERNET_EVENT_SEARCH: u32 = 9;
/// A link that is to be kept up could not be made, and will be tried again: `address`, `text` (why not), `count`
/// (in how many milliseconds).
pub const PEERNET_EVENT_REDIAL: u32 = 10;
/// The store was damaged, and an empty one has its place: `address` (the path where the damaged one is), `text`.
pub const PEERNET_EVENT_STORE_REPLACED: u32 = 11;
/// Records in the store do not read: `count`, `text` (what is wrong with the first).
pub const PEERNET_EVENT_RECORDS_DAMAGED: u32 = 12;
/// Records cannot be written to the store: `text`.
pub const PEERNET_EVENT_STORE_FAILED: u32 = 13;
/// Another's write has taken the place of one of this node's in the table: `key`, `old` (what this node had
/// written, packed; null if it had deleted the key), `peer` (who wrote what stands now).
pub const PEERNET_EVENT_SUPERSEDED: u32 = 14;
/// Changes of the table were dropped because the program read too slowly: `count`. Whoever keeps a copy of the
/// table reads it anew.
pub const PEERNET_EVENT_CHANGES_LAGGED: u32 = 15;

/// A message to everyone, as `kind`.
pub const PEERNET_BROADCAST: u32 = 0;
/// A message to this node alone, as `kind`.
pub const PEERNET_WHISPER: u32 = 2;

/// Requests of others, for peernet_mesh_want.
pub const PEERNET_WANT_REQUESTS: u32 = 1;
/// Searches of others, for peernet_mesh_want.
pub const PEERNET_WANT_SEARCHES: u32 = 2;
/// Changes of the table, for peernet_mesh_want.
pub const PEERNET_WANT_CHANGES: u32 = 4;

/// What a program is told. Which fields have a meaning depends on `type`; the others are 0 or null. It belongs to
/// its batch, and all that it points to lives as long. Texts end with a NUL.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_event {
    /// The size of this struct, as the library has it: fields beyond are not there.
    pub struct_size: usize,
    /// What happened: one of PEERNET_EVENT_... Pass over those that you do not know.
    pub r#type: u32,
    /// Of a message: PEERNET_BROADCAST or PEERNET_WHISPER.
    pub kind: u32,
    /// The code of a message: 0 or 2, or the user's own.
    pub code: u64,
    /// When, in seconds since 1970 UTC by the author's clock.
    pub time: i64,
    /// How many.
    pub count: u64,
    /// What an answer names.
    pub token: u64,
    /// Whether it is proven that the author wrote it: 1 or 0.
    pub verified: u32,
    /// 0.
    pub reserved: u32,
    /// The id of a message: the same on every node.
    pub id: [u8; 32],
    /// The id of a node.
    pub peer: *const c_char,
    /// An address, as host:port.
    pub address: *const c_char,
    /// A stable word for why.
    pub reason: *const c_char,
    /// Words for people.
    pub text: *const c_char,
    /// Packed values, one after the other: read them with a peernet_reader.
    pub payload: *const u8,
    /// Bytes of `payload`.
    pub payload_len: usize,
    /// A key of the table.
    pub key: *const u8,
    /// Bytes of `key`.
    pub key_len: usize,
    /// The value before, packed.
    pub old: *const u8,
    /// Bytes of `old`.
    pub old_len: usize,
}

impl peernet_event {
    const NOTHING: Self = Self {
        struct_size: size_of::<Self>(),
        r#type: 0,
        kind: 0,
        code: 0,
        time: 0,
        count: 0,
        token: 0,
        verified: 0,
        reserved: 0,
        id: [0; 32],
        peer: ptr::null(),
        address: ptr::null(),
        reason: ptr::null(),
        text: ptr::null(),
        payload: ptr::null(),
        payload_len: 0,
        key: ptr::null(),
        key_len: 0,
        old: ptr::null(),
        old_len: 0,
    };

    fn of(kind: u32) -> Self {
        Self { r#type: kind, ..Self::NOTHING }
    }

    fn with_payload(mut self, bytes: &[u8]) -> Self {
        (self.payload, self.payload_len) = (bytes.as_ptr(), bytes.len());
        self
    }

    fn with_key(mut self, bytes: &[u8]) -> Self {
        (self.key, self.key_len) = (bytes.as_ptr(), bytes.len());
        self
    }

    fn with_old(mut self, bytes: &[u8]) -> Self {
        (self.old, self.old_len) = (bytes.as_ptr(), bytes.len());
        self
    }
}

/// Events that were taken out of a node's queue, in order. It belongs to the program, which frees it with
/// peernet_batch_free. One thread at a time may use it, and it may outlive its node.
pub struct peernet_batch {
    views: Vec<peernet_event>,
    /// What the views point into.
    _kept: Kept,
}

impl peernet_batch {
    pub(crate) fn views(&self) -> &[peernet_event] {
        &self.views
    }
}

/// What the views of a batch point into. None of it moves while there are views.
#[derive(Default)]
struct Kept {
    /// The events. Views point to what these share or have allocated, never into this.
    events: Vec<peernet_bindings::Event>,
    /// Ids of nodes, each with its NUL. Never larger than it was made.
    ids: Vec<u8>,
    texts: Vec<CString>,
    bytes: Vec<Vec<u8>>,
    searches: Vec<node::Search>,
}

impl peernet_batch {
    /// Makes views of events. Requests and searches stay with their node, to be answered.
    fn new(node: &Node, events: Vec<peernet_bindings::Event>) -> Self {
        let mut kept = Kept { ids: Vec::with_capacity(room_for_ids(&events)), ..Kept::default() };
        let mut views = Vec::with_capacity(events.len());
        let mut rest = Vec::new();
        let mut last: Option<(node::identity::NodeId, *const c_char)> = None;
        let mut events = events;
        // Messages stay where they are; the others, which are rare, go apart when they are taken to pieces.
        for event in &mut events {
            if let peernet_bindings::Event::Node(Event::Message(message)) = event {
                let peer = match &last {
                    Some((id, text)) if id == message.sender() => *text,
                    _ => {
                        let text = kept.id(message.sender().as_str());
                        last = Some((message.sender().clone(), text));
                        text
                    }
                };
                views.push(message_view(message, peer));
                continue;
            }
            let event = std::mem::replace(event, peernet_bindings::Event::ChangesLagged(0));
            views.extend(kept.view(node, event, &mut rest));
        }
        events.append(&mut rest);
        kept.events = events;
        Self { views, _kept: kept }
    }
}

/// Bytes that the ids of the authors take at most, so that they never move.
fn room_for_ids(events: &[peernet_bindings::Event]) -> usize {
    let id = |event: &peernet_bindings::Event| match event {
        peernet_bindings::Event::Node(Event::Message(message)) => message.sender().as_str().len() + 1,
        _ => 0,
    };
    events.iter().map(id).sum()
}

#[inline]
pub(crate) fn message_view(message: &Message, peer: *const c_char) -> peernet_event {
    let kind = match message.kind() {
        Kind::Broadcast => PEERNET_BROADCAST,
        Kind::Whisper => PEERNET_WHISPER,
    };
    let view = peernet_event {
        kind,
        code: message.code(),
        time: message.time(),
        verified: message.verified().into(),
        id: *message.id().as_bytes(),
        peer,
        ..peernet_event::of(PEERNET_EVENT_MESSAGE)
    };
    view.with_payload(message.packed())
}

impl Kept {
    /// Keeps an id where there is room for it.
    fn id(&mut self, id: &str) -> *const c_char {
        if self.ids.capacity() - self.ids.len() <= id.len() {
            return self.text(id);
        }
        let at = self.ids.len();
        self.ids.extend_from_slice(id.as_bytes());
        self.ids.push(0);
        self.ids.get(at..).unwrap_or_default().as_ptr().cast()
    }

    fn text(&mut self, text: &str) -> *const c_char {
        let text = c_text(text);
        let place = text.as_ptr();
        self.texts.push(text);
        place
    }

    fn bytes(&mut self, bytes: Vec<u8>) -> &[u8] {
        self.bytes.push(bytes);
        self.bytes.last().map(Vec::as_slice).unwrap_or_default()
    }

    /// The view of an event that is no message, or none if this library's header has no kind for it.
    fn view(
        &mut self,
        node: &Node,
        event: peernet_bindings::Event,
        rest: &mut Vec<peernet_bindings::Event>,
    ) -> Option<peernet_event> {
        let event = match event {
            peernet_bindings::Event::Node(event) => event,
            peernet_bindings::Event::Change(change) => return Some(self.change(change, rest)),
            peernet_bindings::Event::ChangesLagged(count) => {
                return Some(peernet_event { count, ..peernet_event::of(PEERNET_EVENT_CHANGES_LAGGED) });
            }
        };
        Some(match event {
            Event::Connected { peer, address } => {
                let address = address.map(|address| self.text(&address.to_string()));
                peernet_event {
                    peer: self.text(peer.as_str()),
                    address: address.unwrap_or(ptr::null()),
                    ..peernet_event::of(PEERNET_EVENT_CONNECTED)
                }
            }
            Event::Disconnected { peer, reason } => peernet_event {
                peer: self.text(peer.as_str()),
                reason: self.text(reason.code()),
                text: self.text(&reason.to_string()),
                ..peernet_event::of(PEERNET_EVENT_DISCONNECTED)
            },
            Event::Lagged { count } => peernet_event { count, ..peernet_event::of(PEERNET_EVENT_LAGGED) },
            Event::SlowPeer { peer } => {
                let peer = self.text(peer.as_str());
                peernet_event { peer, ..peernet_event::of(PEERNET_EVENT_SLOW_PEER) }
            }
            Event::Request(request) => {
                let view = peernet_event {
                    peer: self.text(request.sender().as_str()),
                    verified: 1,
                    ..peernet_event::of(PEERNET_EVENT_REQUEST)
                };
                let view = view.with_payload(self.bytes(request.packed().to_vec()));
                peernet_event { token: node.asked().keep_request(request), ..view }
            }
            Event::Search(search) => {
                let view = peernet_event {
                    peer: self.text(search.sender().as_str()),
                    count: search.hops(),
                    kind: u32::try_from(search.limit()).unwrap_or(u32::MAX),
                    verified: search.verified().into(),
                    ..peernet_event::of(PEERNET_EVENT_SEARCH)
                };
                let view = view.with_key(search.kind()).with_payload(search.data()).with_old(search.id());
                // It shares what the view points to.
                self.searches.push(search.clone());
                peernet_event { token: node.asked().keep_search(search), ..view }
            }
            Event::Redial { address, problem, pause } => peernet_event {
                address: self.text(&address.to_string()),
                text: self.text(&problem),
                count: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                ..peernet_event::of(PEERNET_EVENT_REDIAL)
            },
            Event::StoreReplaced { path, problem } => peernet_event {
                address: self.text(&path.to_string_lossy()),
                text: self.text(&problem),
                ..peernet_event::of(PEERNET_EVENT_STORE_REPLACED)
            },
            Event::RecordsDamaged { count, problem } => peernet_event {
                count,
                text: self.text(&problem),
                ..peernet_event::of(PEERNET_EVENT_RECORDS_DAMAGED)
            },
            Event::StoreFailed { problem } => {
                peernet_event { text: self.text(&problem), ..peernet_event::of(PEERNET_EVENT_STORE_FAILED) }
            }
            Event::Superseded { key, value, by } => {
                let view = peernet_event {
                    peer: self.text(by.as_str()),
                    ..peernet_event::of(PEERNET_EVENT_SUPERSEDED)
                };
                let view = view.with_key(self.bytes(key.to_vec()));
                match value {
                    Some(value) => view.with_old(self.bytes(packed(&value))),
                    None => view,
                }
            }
            _ => return None,
        })
    }

    fn change(&mut self, change: Change, rest: &mut Vec<peernet_bindings::Event>) -> peernet_event {
        let kind = if change.value.is_some() { PEERNET_EVENT_UPDATE } else { PEERNET_EVENT_DELETE };
        let mut view = peernet_event {
            peer: self.text(change.owner.as_str()),
            time: change.time,
            ..peernet_event::of(kind)
        };
        view = view.with_key(&change.key);
        if let Some(value) = &change.value {
            view = view.with_payload(value);
        }
        if let Some(old) = &change.old {
            view = view.with_old(old);
        }
        // What it shares does not move with it.
        rest.push(peernet_bindings::Event::Change(change));
        view
    }
}

/// What was unpacked from the wire has a form there.
fn packed(value: &Value) -> Vec<u8> {
    let mut packed = Vec::new();
    value.pack(&mut packed).map(|()| packed).unwrap_or_default()
}

/// Makes these kinds of event come, from now on: an or of PEERNET_WANT_... Without it requests of others are
/// refused, as nobody would answer them. A node that has asked for requests answers each, or lets it go.
///
/// Errors: PEERNET_ERR_NO_TABLE for changes of a node that has none, PEERNET_ERR_ARGUMENT for a kind that this
/// library does not know, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn peernet_mesh_want(mesh: peernet_mesh, wanted: u32) -> peernet_status {
    guard(Does::Use, || {
        let open = find(mesh)?;
        let events = open.node.events();
        if wanted & !(PEERNET_WANT_REQUESTS | PEERNET_WANT_SEARCHES | PEERNET_WANT_CHANGES) != 0 {
            return Err(args::wrong("wanted has kinds that this library does not know"));
        }
        if wanted & PEERNET_WANT_CHANGES != 0 {
            events.watch()?;
        }
        if wanted & PEERNET_WANT_REQUESTS != 0 {
            events.take_requests();
        }
        if wanted & PEERNET_WANT_SEARCHES != 0 {
            events.take_searches();
        }
        Ok(())
    })
}

/// Waits for events, and takes those that wait, `most` at most, out of the node's queue.
///
/// On success `*batch` has at least one, and is to be freed with peernet_batch_free; otherwise it is null.
/// `timeout_ms` in milliseconds, negative waits as long as it takes, 0 not at all. Any number of threads may wait;
/// each event goes to one of them. Batches of some dozens cost least for each.
///
/// Errors: PEERNET_ERR_TIMED_OUT if nothing came in time, PEERNET_ERR_CLOSED when the node is closed, by whichever
/// thread, PEERNET_ERR_BUSY if events go to a callback. Not within a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_poll(
    mesh: peernet_mesh,
    most: usize,
    timeout_ms: i32,
    batch: *mut *mut peernet_batch,
) -> peernet_status {
    // Also for those that are refused: programs free what they find there.
    // SAFETY: null or a place for a pointer.
    unsafe { args::clear(batch, ptr::null_mut()) };
    guard(Does::Receive, || {
        let place = args::out(batch, "batch")?;
        if most == 0 {
            return Err(args::wrong("most is 0"));
        }
        let open = find(mesh)?;
        let _polls = open.callbacks.poll()?;
        let filled = drain(&open.node, most, timeout_ms);
        if let Some(fd) = open.fd.get() {
            // All was taken, so far as can be told.
            if !filled.as_ref().is_ok_and(|batch| batch.views.len() == most) {
                fd.settle(open.node.events());
            }
        }
        let filled = Box::new(filled?);
        // SAFETY: checked above.
        unsafe { place.put(Box::into_raw(filled)) };
        Ok(())
    })
}

/// Events of which none has a view in this version are passed over.
pub(crate) fn drain(node: &Node, most: usize, timeout_ms: i32) -> Result<peernet_batch, Error> {
    // Most batches are no larger, whatever is asked for.
    const USUAL: usize = 64;
    loop {
        let mut events = Vec::with_capacity(most.min(USUAL));
        node.events().drain(most, args::wait(timeout_ms), &mut events)?;
        let batch = peernet_batch::new(node, events);
        if !batch.views.is_empty() {
            return Ok(batch);
        }
    }
}

/// A file descriptor that is readable while events wait, and once the node is closed by another thread: for
/// select, poll, epoll, and the loops built on them. When it is readable, call peernet_mesh_poll with a time-out
/// of 0 until it gives PEERNET_ERR_TIMED_OUT, or once each time. It may be readable although another thread was
/// faster.
///
/// It belongs to the node: do not read, write or close it. It is gone when peernet_mesh_close returns, so take it
/// out of your loop before. The same one is given every time.
///
/// Errors: PEERNET_ERR_UNSUPPORTED where there are none (Windows), PEERNET_ERR_BUSY if events go to a callback,
/// PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_poll_fd(mesh: peernet_mesh, fd: *mut i32) -> peernet_status {
    guard(Does::Use, || {
        let place = args::out(fd, "fd")?;
        let open = find(mesh)?;
        let _polls = open.callbacks.poll()?;
        let fd = match open.fd.get() {
            Some(fd) => fd,
            None => {
                let made = PollFd::new()?;
                let fd = open.fd.get_or_init(|| made);
                fd.settle(open.node.events());
                fd
            }
        };
        // SAFETY: checked above.
        unsafe { place.put(fd.number()) };
        Ok(())
    })
}

/// The number of events in a batch; 0 for null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_batch_len(batch: *const peernet_batch) -> usize {
    // SAFETY: null or a batch that was not freed.
    guard_or(0, Does::Pure, || Ok(unsafe { batch.as_ref() }.map_or(0, |batch| batch.views.len())))
}

/// An event of a batch, from 0; null behind the last one. It lives until the batch is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_batch_at(batch: *const peernet_batch, at: usize) -> *const peernet_event {
    guard_or(ptr::null(), Does::Pure, || {
        // SAFETY: null or a batch that was not freed.
        let view = unsafe { batch.as_ref() }.and_then(|batch| batch.views.get(at));
        Ok(view.map_or(ptr::null(), ptr::from_ref))
    })
}

/// Frees a batch, with all that its events point to. Null does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_batch_free(batch: *mut peernet_batch) {
    guard_or((), Does::Pure, || {
        if !batch.is_null() {
            // SAFETY: not null, and so one that peernet_mesh_poll gave and that was not freed.
            drop(unsafe { Box::from_raw(batch) });
        }
        Ok(())
    });
}
