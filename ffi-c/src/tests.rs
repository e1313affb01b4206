//! The functions as a C program calls them, two nodes at a time.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::slice;
use std::thread;

use crate::events::*;
use crate::mesh::*;
use crate::options::*;
use crate::status::*;
use crate::value::*;
use crate::wire::*;

const PATIENCE: i32 = 30_000;

const OPTIONS: peernet_options = peernet_options::DEFAULT;

fn open(options: &peernet_options) -> peernet_mesh {
    let mut mesh = 0;
    // SAFETY: both live.
    assert_eq!(unsafe { peernet_mesh_open(options, &mut mesh) }, PEERNET_OK, "{}", message());
    assert_ne!(mesh, 0);
    mesh
}

fn message() -> String {
    // SAFETY: the text is this thread's.
    unsafe { CStr::from_ptr(peernet_error_message()) }.to_str().unwrap().to_owned()
}

type Text = unsafe extern "C" fn(peernet_mesh, *mut c_char, usize) -> peernet_status;

fn text(mesh: peernet_mesh, of: Text) -> CString {
    let mut place: [c_char; PEERNET_ADDRESS_SIZE] = [0; _];
    // SAFETY: the place has this size, and a text with its NUL then.
    unsafe {
        assert_eq!(of(mesh, place.as_mut_ptr(), place.len()), PEERNET_OK);
        CStr::from_ptr(place.as_ptr()).to_owned()
    }
}

fn connect(from: peernet_mesh, to: peernet_mesh) {
    let address = text(to, peernet_mesh_address);
    let mut id: [c_char; PEERNET_ID_SIZE] = [0; _];
    // SAFETY: all live, with these sizes.
    unsafe {
        let status = peernet_mesh_connect(from, address.as_ptr(), PATIENCE, id.as_mut_ptr(), id.len());
        assert_eq!(status, PEERNET_OK, "{}", message());
        assert_eq!(CStr::from_ptr(id.as_ptr()), &*text(to, peernet_mesh_id));
    }
}

struct Batch(*mut peernet_batch);

impl Batch {
    fn poll(mesh: peernet_mesh, most: usize, timeout_ms: i32) -> Result<Self, peernet_status> {
        let mut batch = ptr::dangling_mut();
        // SAFETY: the place lives.
        let status = unsafe { peernet_mesh_poll(mesh, most, timeout_ms, &mut batch) };
        assert_eq!(batch.is_null(), status != PEERNET_OK);
        if status == PEERNET_OK { Ok(Self(batch)) } else { Err(status) }
    }

    fn events(&self) -> &[peernet_event] {
        // SAFETY: the batch was not freed; its events stand one behind the other.
        unsafe { slice::from_raw_parts(peernet_batch_at(self.0, 0), peernet_batch_len(self.0)) }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: once.
        unsafe { peernet_batch_free(self.0) };
    }
}

/// Reads up to the first event of a type, which is given to `see`.
fn next<T>(mesh: peernet_mesh, kind: u32, see: impl FnOnce(&peernet_event) -> T) -> T {
    loop {
        let batch = Batch::poll(mesh, 1, PATIENCE).unwrap();
        assert_eq!(batch.events().len(), 1);
        if let Some(event) = batch.events().iter().find(|event| event.r#type == kind) {
            return see(event);
        }
    }
}

fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: as of an event whose batch lives.
    unsafe { slice::from_raw_parts(data, len) }
}

fn pair() -> (peernet_mesh, peernet_mesh) {
    let (a, b) = (open(&OPTIONS), open(&OPTIONS));
    connect(b, a);
    for mesh in [a, b] {
        next(mesh, PEERNET_EVENT_CONNECTED, |event| assert!(!event.peer.is_null()));
    }
    (a, b)
}

fn stat(mesh: peernet_mesh, name: &CStr) -> u64 {
    let mut value = 0;
    // SAFETY: all live.
    assert_eq!(unsafe { peernet_mesh_stat(mesh, name.as_ptr(), &mut value) }, PEERNET_OK);
    value
}

#[test]
fn messages_come_in_batches_and_are_answered() {
    let (a, b) = pair();
    let mut report = peernet_report { struct_size: size_of::<peernet_report>(), id: [0; 32], links: 7 };
    let mut ids = Vec::new();
    for number in 0..100_u8 {
        // SAFETY: the payload has one byte.
        let status = unsafe { peernet_mesh_broadcast(b, &number, 1, PATIENCE, &mut report) };
        assert_eq!((status, report.links), (PEERNET_OK, 1));
        ids.push(report.id);
    }
    while stat(a, c"delivered") < 100 {
        thread::yield_now();
    }
    let mut seen = Vec::new();
    for size in [64, 36] {
        let batch = Batch::poll(a, 64, 0).unwrap();
        assert_eq!(batch.events().len(), size);
        for event in batch.events() {
            assert_eq!((event.r#type, event.kind, event.code), (PEERNET_EVENT_MESSAGE, PEERNET_BROADCAST, 0));
            assert_eq!((event.struct_size, event.verified), (size_of::<peernet_event>(), 1));
            // SAFETY: a message has its author, whose id ends with a NUL.
            assert_eq!(unsafe { CStr::from_ptr(event.peer) }, &*text(b, peernet_mesh_id));
            seen.push((event.id, bytes(event.payload, event.payload_len).to_vec()));
        }
        // SAFETY: behind the end there is nothing.
        assert!(unsafe { peernet_batch_at(batch.0, size) }.is_null());
    }
    assert_eq!(seen, ids.into_iter().zip((0..100).map(|number| vec![number])).collect::<Vec<_>>());
    assert_eq!(Batch::poll(a, 64, 0).err(), Some(PEERNET_ERR_TIMED_OUT));
    // SAFETY: payloads have their lengths; the event is one of a batch.
    unsafe {
        assert_eq!(peernet_mesh_broadcast(b, b"\x05".as_ptr(), 1, 0, ptr::null_mut()), PEERNET_OK);
        next(a, PEERNET_EVENT_MESSAGE, |event| {
            let status = peernet_mesh_reply(a, event, b"\xa2me".as_ptr(), 3, PATIENCE, ptr::null_mut());
            assert_eq!(status, PEERNET_OK, "{}", message());
        });
        next(b, PEERNET_EVENT_MESSAGE, |event| {
            assert_eq!((event.kind, event.code), (PEERNET_WHISPER, 2));
            assert_eq!(bytes(event.payload, event.payload_len), b"\xa2me");
        });
        let wrong = [(&b"\xc1"[..], PEERNET_ERR_VALUE), (b"\xa2m", PEERNET_ERR_VALUE)];
        for (payload, status) in wrong {
            let sent = peernet_mesh_broadcast(b, payload.as_ptr(), payload.len(), 0, ptr::null_mut());
            assert_eq!(sent, status);
        }
        let sent = peernet_mesh_broadcast_as(b, 0x30, b"".as_ptr(), 0, 0, ptr::null_mut());
        assert_eq!(sent, PEERNET_ERR_CODE);
        let sent = peernet_mesh_send(b, c"not an id".as_ptr(), b"".as_ptr(), 0, 0, ptr::null_mut());
        assert_eq!(sent, PEERNET_ERR_ID);
    }
    assert_eq!([peernet_mesh_close(a), peernet_mesh_close(b)], [PEERNET_OK; 2]);
}

#[test]
fn closing_releases_those_who_wait_and_is_done_once() {
    let (a, b) = pair();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    loop {
                        if let Err(status) = Batch::poll(a, 64, -1) {
                            return status;
                        }
                    }
                })
            })
            .collect();
        let closing: Vec<_> = (0..3).map(|_| scope.spawn(move || peernet_mesh_close(a))).collect();
        let mut closed: Vec<_> = closing.into_iter().map(|thread| thread.join().unwrap()).collect();
        closed.sort_unstable();
        assert_eq!(closed, [PEERNET_ERR_CLOSED, PEERNET_ERR_CLOSED, PEERNET_OK]);
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), PEERNET_ERR_CLOSED);
        }
    });
    assert_eq!(Batch::poll(a, 64, -1).err(), Some(PEERNET_ERR_CLOSED));
    next(b, PEERNET_EVENT_DISCONNECTED, |event| {
        // SAFETY: such an event has a reason, which ends with a NUL.
        assert_eq!(unsafe { CStr::from_ptr(event.reason) }, c"remote");
    });
    assert_eq!(peernet_mesh_close(b), PEERNET_OK);
}

#[cfg(unix)]
#[test]
fn a_descriptor_is_readable_while_events_wait() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (a, b) = pair();
    let mut fd = -1;
    // SAFETY: the place lives.
    assert_eq!(unsafe { peernet_mesh_poll_fd(a, &mut fd) }, PEERNET_OK);
    let is_readable = |millis: i64| {
        // SAFETY: the descriptor is the node's, which is open.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let time = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        poll(&mut fds, Some(&time)).unwrap() > 0
    };
    let send = |count: usize| {
        for _ in 0..count {
            // SAFETY: the payload has one byte.
            let status = unsafe { peernet_mesh_broadcast(b, b"\x05".as_ptr(), 1, PATIENCE, ptr::null_mut()) };
            assert_eq!(status, PEERNET_OK);
        }
    };
    assert!(!is_readable(0));
    for _ in 0..10 {
        let before = stat(a, c"delivered");
        send(3);
        assert!(is_readable(PATIENCE.into()));
        while stat(a, c"delivered") < before + 3 {
            thread::yield_now();
        }
        // As many as were asked for: there may be more, and there are.
        assert_eq!(Batch::poll(a, 2, 0).unwrap().events().len(), 2);
        assert!(is_readable(0));
        assert_eq!(Batch::poll(a, 2, 0).unwrap().events().len(), 1);
        assert!(!is_readable(0));
    }
    let mut again = -1;
    // SAFETY: the place lives.
    assert_eq!(unsafe { peernet_mesh_poll_fd(a, &mut again) }, PEERNET_OK);
    assert_eq!(fd, again);
    assert_eq!([peernet_mesh_close(a), peernet_mesh_close(b)], [PEERNET_OK; 2]);
}

/// Sizes of structs as older and newer headers have them.
#[test]
fn options_grow() {
    #[repr(C)]
    struct Newer {
        known: peernet_options,
        unknown: u64,
    }
    let mut newer = Newer { known: OPTIONS, unknown: 0 };
    newer.known.struct_size = size_of::<Newer>();
    let mesh = open(&newer.known);
    assert_eq!(peernet_mesh_close(mesh), PEERNET_OK);
    newer.unknown = 1;
    let refused = |options: *const peernet_options, status| {
        let mut mesh = 7;
        // SAFETY: options begin with their size, and have that.
        assert_eq!((unsafe { peernet_mesh_open(options, &mut mesh) }, mesh), (status, 0), "{}", message());
    };
    refused(&raw const newer.known, PEERNET_ERR_UNSUPPORTED);
    // What stands behind an older caller's options is not looked at.
    let mut older = peernet_options { struct_size: size_of::<usize>(), preset: c"none".as_ptr(), ..OPTIONS };
    assert_eq!(peernet_mesh_close(open(&older)), PEERNET_OK);
    older.struct_size = size_of::<peernet_options>();
    refused(&older, PEERNET_ERR_CONFIG);
    for size in [0, 1, usize::MAX] {
        refused(&peernet_options { struct_size: size, ..OPTIONS }, PEERNET_ERR_ARGUMENT);
    }
    for (options, status) in [
        (peernet_options { listen: c"nowhere".as_ptr(), ..OPTIONS }, PEERNET_ERR_ADDRESS),
        (peernet_options { listen: c"\xff".as_ptr(), ..OPTIONS }, PEERNET_ERR_ARGUMENT),
        (peernet_options { encryption: c"none".as_ptr(), ..OPTIONS }, PEERNET_ERR_UNSUPPORTED),
        (peernet_options { durable: PEERNET_YES, ..OPTIONS }, PEERNET_ERR_CONFIG),
        (peernet_options { durable: 2, ..OPTIONS }, PEERNET_ERR_ARGUMENT),
        (peernet_options { connect_count: 1, ..OPTIONS }, PEERNET_ERR_ARGUMENT),
    ] {
        refused(&options, status);
    }
    // SAFETY: null options are defaults, and a null place is an error.
    assert_eq!(unsafe { peernet_mesh_open(ptr::null(), ptr::null_mut()) }, PEERNET_ERR_ARGUMENT);
}

#[test]
fn texts_need_their_room() {
    let mesh = open(&OPTIONS);
    let id = text(mesh, peernet_mesh_id);
    let mut place = vec![7; id.as_bytes_with_nul().len()];
    // SAFETY: the place has at least the size that is given.
    unsafe {
        assert_eq!(peernet_mesh_id(mesh, place.as_mut_ptr(), place.len()), PEERNET_OK);
        assert_eq!(CStr::from_ptr(place.as_ptr()), &*id);
        assert_eq!(peernet_mesh_id(mesh, place.as_mut_ptr(), place.len() - 1), PEERNET_ERR_TOO_LARGE);
        assert_eq!(CStr::from_ptr(place.as_ptr()), c"");
        assert_eq!(peernet_mesh_id(mesh, place.as_mut_ptr(), 0), PEERNET_ERR_TOO_LARGE);
        assert_eq!(peernet_mesh_id(mesh, ptr::null_mut(), 100), PEERNET_ERR_ARGUMENT);
    }
    assert_eq!(peernet_mesh_close(mesh), PEERNET_OK);
}

#[test]
fn peers_and_counters_are_values() {
    let (a, b) = pair();
    let writer = peernet_writer_new();
    // SAFETY: everything lives until it is freed below.
    unsafe {
        assert_eq!(peernet_mesh_peers(b, writer), PEERNET_OK);
        let (mut reader, mut count, mut found) = (NO_READER, 0, NO_READER);
        peernet_reader_init(&mut reader, peernet_writer_data(writer), peernet_writer_len(writer));
        assert_eq!((peernet_reader_array(&mut reader, &mut count), count), (PEERNET_OK, 1));
        let (mut id, mut len, mut outgoing) = (ptr::null(), 0, 7);
        assert_eq!(peernet_reader_find(&reader, c"id".as_ptr(), &mut found), PEERNET_OK);
        assert_eq!(peernet_reader_text(&mut found, &mut id, &mut len), PEERNET_OK);
        assert_eq!(bytes(id.cast(), len), text(a, peernet_mesh_id).as_bytes());
        assert_eq!(peernet_reader_find(&reader, c"outgoing".as_ptr(), &mut found), PEERNET_OK);
        assert_eq!((peernet_reader_bool(&mut found, &mut outgoing), outgoing), (PEERNET_OK, 1));

        assert_eq!(peernet_writer_clear(writer), PEERNET_OK);
        assert_eq!(peernet_mesh_stats(b, writer), PEERNET_OK);
        peernet_reader_init(&mut reader, peernet_writer_data(writer), peernet_writer_len(writer));
        assert_eq!(peernet_reader_find(&reader, c"peers".as_ptr(), &mut found), PEERNET_OK);
        let mut peers = 0;
        assert_eq!((peernet_reader_uint(&mut found, &mut peers), peers), (PEERNET_OK, 1));
        assert_eq!(peernet_mesh_stat(b, c"nothing".as_ptr(), &mut peers), PEERNET_ERR_ARGUMENT);
        peernet_writer_free(writer);
    }
    assert_eq!([peernet_mesh_close(a), peernet_mesh_close(b)], [PEERNET_OK; 2]);
}

const NO_READER: peernet_reader = peernet_reader { data: ptr::null(), len: 0, at: 0 };

/// W-1, W-13: with the golden frame of the specification's example.
#[test]
fn frames_are_those_of_the_vectors() {
    let vectors = include_str!("../../conformance/vectors/p2p-today-0.7.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let case =
        vectors["encode"].as_array().unwrap().iter().find(|case| case["name"] == "text broadcast").unwrap();
    let unhex = |text: &serde_json::Value| -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let (golden, sender) = (unhex(&case["frame"]), unhex(&case["sender"]["bin"]));
    let payload = b"\x00\xa5hello";
    let message = peernet_message {
        time: case["time"].as_i64().unwrap(),
        sender: sender.as_ptr(),
        sender_len: sender.len(),
        sender_form: PEERNET_FORM_BYTES,
        payload: payload.as_ptr(),
        payload_len: payload.len(),
        ..NO_MESSAGE
    };
    let (frame, body) = (peernet_writer_new(), peernet_writer_new());
    // SAFETY: everything lives until it is freed below.
    unsafe {
        assert_eq!(peernet_encode(&message, ptr::null(), frame), PEERNET_OK, "{}", self::message());
        assert_eq!((*frame).bytes(), golden);
        let mut id = [0; 32];
        assert_eq!(peernet_message_id(&message, id.as_mut_ptr()), PEERNET_OK);
        assert_eq!(id[..], golden[4..36]);
        assert_eq!(peernet_message_id(&message, ptr::null_mut()), PEERNET_ERR_ARGUMENT);
        assert_eq!(peernet_message_id(ptr::null(), id.as_mut_ptr()), PEERNET_ERR_ARGUMENT);
        let (mut read, mut used) = (NO_MESSAGE, 0);
        let whole = golden.len();
        let mut decode = |len: usize, used: *mut usize| {
            let mut more = golden.clone();
            more.resize(len, 0);
            (peernet_decode(more.as_ptr(), len, ptr::null(), body, &mut read, used), read)
        };
        for (status, read) in [decode(whole, ptr::null_mut()), decode(whole + 1, &mut used)] {
            assert_eq!((status, read.time, read.sender_form), (PEERNET_OK, message.time, PEERNET_FORM_BYTES));
            assert_eq!(bytes(read.sender, read.sender_len), sender);
            assert_eq!(bytes(read.payload, read.payload_len), payload);
            assert_eq!(read.id[..], golden[4..36]);
        }
        assert_eq!(used, whole);
        assert_eq!(decode(whole + 1, ptr::null_mut()).0, PEERNET_ERR_MESSAGE);
        assert_eq!(decode(whole - 1, ptr::null_mut()).0, PEERNET_ERR_MESSAGE);
        for (len, need) in [(0, 4), (3, 4), (4, whole), (whole - 1, whole)] {
            assert_eq!((decode(len, &mut used).0, used), (PEERNET_ERR_END, need));
        }
        let small = peernet_codec { max_frame: 16, ..CODEC };
        assert_eq!(peernet_encode(&message, &small, frame), PEERNET_ERR_TOO_LARGE);
        assert_eq!((*frame).bytes(), golden);
        peernet_writer_free(frame);
        peernet_writer_free(body);
    }
}

/// I-5, I-8
#[test]
fn ids_are_those_of_the_core() {
    let protocol = node::identity::ProtocolId::derive("mesh", "Plaintext");
    let id = node::identity::NodeId::derive("127.0.0.1", 4444, &protocol, "salt");
    let mut place: [c_char; PEERNET_ID_SIZE] = [0; _];
    let size = place.len();
    let place = place.as_mut_ptr();
    let protocol = CString::new(protocol.as_str()).unwrap();
    // SAFETY: texts end with a NUL, and the place has its size.
    unsafe {
        assert_eq!(peernet_protocol_id(c"mesh".as_ptr(), c"Plaintext".as_ptr(), place, size), PEERNET_OK);
        assert_eq!(CStr::from_ptr(place), &*protocol);
        let (host, salt) = (c"127.0.0.1".as_ptr(), c"salt".as_ptr());
        assert_eq!(peernet_node_id(host, 4444, protocol.as_ptr(), salt, place, size), PEERNET_OK);
        assert_eq!(CStr::from_ptr(place).to_str().unwrap(), id.as_str());
        assert_eq!(peernet_id_check(place), PEERNET_OK);
        assert_eq!(peernet_id_check(c"0".as_ptr()), PEERNET_ERR_ID);
        assert_eq!(peernet_node_id(host, 4444, c"0".as_ptr(), salt, place, size), PEERNET_ERR_ID);
        let (mut bytes, mut len) = ([0; 8], 0);
        assert_eq!(peernet_base58_encode(b"\x01\x02".as_ptr(), 2, place, size), PEERNET_OK);
        assert_eq!(peernet_base58_decode(place, bytes.as_mut_ptr(), bytes.len(), &mut len), PEERNET_OK);
        assert_eq!(bytes[..len], [1, 2]);
        assert_eq!(peernet_base58_decode(place, bytes.as_mut_ptr(), 1, &mut len), PEERNET_ERR_TOO_LARGE);
    }
}
