//! The one queue of a node, from threads that wait.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use peernet::wire::{Limits, Packed};
use peernet::{ErrorCode, Mesh, SyncTable};
use peernet_bindings::{Event, Node, Wait};

const PATIENCE: Wait = Wait::AtMost(Duration::from_secs(30));

fn packed(bytes: &[u8]) -> Packed<'_> {
    Packed::new(bytes, &Limits::default()).unwrap()
}

/// Reads up to an event, which is the last.
fn read(node: &Node, most: usize, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    while !events.last().is_some_and(&is_last) {
        node.events().drain(most, PATIENCE, &mut events).unwrap();
    }
    events
}

fn is_connected(event: &Event) -> bool {
    matches!(event, Event::Node(peernet::Event::Connected { .. }))
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Node(peernet::Event::Message(_)))
}

fn meshes() -> (Node, Node) {
    let open = || Node::open_mesh(Mesh::builder()).unwrap();
    join(open(), open())
}

fn tables() -> (Node, Node) {
    let open = || Node::open_table(SyncTable::builder()).unwrap();
    join(open(), open())
}

fn join(a: Node, b: Node) -> (Node, Node) {
    b.connect(&a.mesh().address().to_string(), PATIENCE).unwrap();
    read(&a, 1, is_connected);
    read(&b, 1, is_connected);
    (a, b)
}

#[test]
fn who_waits_is_told_of_time_news_and_the_end() {
    let (a, b) = meshes();
    let mut events = Vec::new();
    for wait in [Wait::Never, Wait::AtMost(Duration::from_millis(1))] {
        let error = a.events().drain(64, wait, &mut events).unwrap_err();
        assert_eq!(error.code(), ErrorCode::TimedOut);
    }
    thread::scope(|scope| {
        // More than one may wait; each event goes to one of them, and the end to all.
        let read = || {
            let mut events = Vec::new();
            let error = loop {
                if let Err(error) = a.events().drain(64, Wait::Forever, &mut events) {
                    break error;
                }
            };
            assert_eq!(error.code(), ErrorCode::Closed);
            events.iter().filter(|event| is_message(event)).count()
        };
        let (first, second) = (scope.spawn(read), scope.spawn(read));
        for number in 0..100_u8 {
            b.send(a.mesh().id(), None, &packed(&[number]), PATIENCE).unwrap();
        }
        while a.mesh().stats().delivered < 100 {
            thread::yield_now();
        }
        a.close().unwrap();
        assert_eq!(first.join().unwrap() + second.join().unwrap(), 100);
    });
    assert_eq!(a.events().try_drain(64, &mut events).unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(a.broadcast(None, &packed(b"\x05"), PATIENCE).unwrap_err().code(), ErrorCode::Closed);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_is_woken_once_until_it_is_armed_again() {
    let (a, b) = meshes();
    let count = Arc::new(Count::default());
    let arm = || a.events().arm(Waker::from(count.clone()));
    arm();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    for number in 0..100_u8 {
        b.broadcast(None, &packed(&[number]), PATIENCE).unwrap();
    }
    let mut events = Vec::new();
    while events.len() < 100 {
        a.events().drain(7, PATIENCE, &mut events).unwrap();
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    // At once, as something waits.
    b.broadcast(None, &packed(b"\xc0"), PATIENCE).unwrap();
    while !a.events().is_ready() {
        thread::yield_now();
    }
    arm();
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    read(&a, 64, is_message);
    arm();
    a.close().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 3);
}

#[test]
fn changes_and_messages_share_the_queue_and_neither_waits_for_the_other() {
    let (a, b) = tables();
    assert_eq!(meshes().0.events().watch().unwrap_err().code(), ErrorCode::NoTable);
    a.events().watch().unwrap();
    let table = b.table().unwrap();
    for number in 0..100_u8 {
        b.block_on(PATIENCE, table.set([b'k', number], number)).unwrap();
        b.broadcast(None, &packed(&[number]), PATIENCE).unwrap();
    }
    let is_ready = || a.mesh().stats().delivered >= 100 && a.table().unwrap().len() == 100;
    while !is_ready() {
        thread::yield_now();
    }
    let (mut changes, mut messages) = (Vec::new(), 0_usize);
    // One at a time they take turns.
    for round in 1..=200 {
        match read(&a, 1, |_| true).pop().unwrap() {
            Event::Change(change) => changes.push(change),
            event if is_message(&event) => messages += 1,
            other => panic!("{other:?}"),
        }
        assert!(messages.abs_diff(changes.len()) <= 1, "after {round}: {messages}");
    }
    let keys: Vec<_> = changes.iter().map(|change| change.key.to_vec()).collect();
    assert_eq!(keys, (0..100).map(|number| vec![b'k', number]).collect::<Vec<_>>());
    assert_eq!(changes.last().unwrap().value.as_deref(), Some(&[99][..]));
    // Who waits for messages is woken by a change.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| read(&a, 64, |event| matches!(event, Event::Change(_))));
        b.block_on(PATIENCE, table.delete([b'k', 0])).unwrap();
        assert_eq!(waiting.join().unwrap().len(), 1);
    });
    a.close().unwrap();
    let error = loop {
        if let Err(error) = a.events().try_drain(64, &mut Vec::new()) {
            break error;
        }
    };
    assert_eq!(error.code(), ErrorCode::Closed);
}

#[test]
fn requests_are_answered_by_number_and_once() {
    let (a, b) = meshes();
    a.events().take_requests();
    let ask = || b.block_on(PATIENCE, b.mesh().request(a.mesh().id(), &("?",), Duration::from_secs(30)));
    let next = || match read(&a, 64, |_| true).pop().unwrap() {
        Event::Node(peernet::Event::Request(request)) => a.asked().keep_request(request),
        other => panic!("{other:?}"),
    };
    thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let number = next();
        let request = a.asked().take_request(number).unwrap();
        assert!(a.asked().take_request(number).is_none());
        a.block_on(PATIENCE, request.respond(&packed(b"\xa2me"))).unwrap();
        assert_eq!(asking.join().unwrap().unwrap().packed(), b"\xa2me");
        // One that the end finds unanswered is let go.
        let asking = scope.spawn(ask);
        let number = next();
        a.asked().close();
        assert!(a.asked().take_request(number).is_none());
        assert_eq!(asking.join().unwrap().unwrap_err().code(), ErrorCode::Unanswered);
        // And so are all behind it.
        let asking = scope.spawn(ask);
        next();
        assert_eq!(asking.join().unwrap().unwrap_err().code(), ErrorCode::Unanswered);
    });
}

#[test]
fn sending_without_waiting_says_what_it_would_wait_for() {
    let (a, b) = meshes();
    let report = b.send(a.mesh().id(), None, &packed(b"\x05"), Wait::Never).unwrap();
    assert_eq!(report.links, 1);
    let (c, _) = meshes();
    let error = b.send(c.mesh().id(), None, &packed(b"\x05"), Wait::Never).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotConnected);
    let error = b.send(c.mesh().id(), None, &packed(b"\x05"), Wait::AtMost(Duration::from_millis(10)));
    assert_eq!(error.unwrap_err().code(), ErrorCode::TimedOut);
    // From where messages are read, nothing can be waited for.
    let b = Arc::new(b);
    let (told, hear) = std::sync::mpsc::channel();
    let hooked = Arc::downgrade(&b);
    let hook = move |_: &peernet::Message| {
        let node = hooked.upgrade().unwrap();
        told.send(node.close().unwrap_err().code()).unwrap();
        true
    };
    b.mesh().on_code(0x31, hook).unwrap();
    a.broadcast(Some(0x31), &packed(b""), PATIENCE).unwrap();
    assert_eq!(hear.recv_timeout(Duration::from_secs(30)).unwrap(), ErrorCode::Reentrant);
}
