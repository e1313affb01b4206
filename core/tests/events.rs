//! Events for programs that look for themselves, and are woken: what other languages are built on.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use peernet::{Encryption, Error, Event, Mesh};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn pair() -> (Mesh, Mesh) {
    let (a, b) = (Mesh::builder().open().await.unwrap(), Mesh::builder().open().await.unwrap());
    b.connect(&a.address().to_string()).await.unwrap();
    let mut events = Vec::<Event>::new();
    read(&a, &mut events, |event| matches!(event, Event::Connected { .. })).await;
    read(&b, &mut events, |event| matches!(event, Event::Connected { .. })).await;
    (a, b)
}

/// Reads up to an event, which is the last.
async fn read(mesh: &Mesh, events: &mut Vec<Event>, is_last: impl Fn(&Event) -> bool) {
    let reading = async {
        while mesh.try_events(events, 1).unwrap() == 0 || !events.last().is_some_and(&is_last) {
            if !events.last().is_some_and(&is_last) {
                std::future::poll_fn(|cx| mesh.poll_ready(cx)).await;
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Message(message) if message.bytes() == Some(b"end"))
}

#[tokio::test]
async fn events_come_in_order_and_as_many_as_wanted() {
    let (a, b) = pair().await;
    for number in 0..100 {
        b.broadcast(&(number,)).await.unwrap();
    }
    b.broadcast(&("end",)).await.unwrap();
    let mut events = Vec::<Event>::new();
    assert_eq!(a.try_events(&mut events, 0).unwrap(), 0);
    read(&a, &mut events, is_end).await;
    let numbers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message(message) => message.payload()[0].as_u64(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_asked_last_is_woken_once() {
    let (a, b) = pair().await;
    let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
    for count in [&first, &last] {
        let waker = Waker::from(count.clone());
        assert_eq!(a.poll_ready(&Context::from_waker(&waker)), Poll::Pending);
    }
    for _ in 0..10 {
        b.broadcast(&("more",)).await.unwrap();
    }
    b.broadcast(&("end",)).await.unwrap();
    let mut events = Vec::<Event>::new();
    while !events.last().is_some_and(is_end) {
        a.try_events(&mut events, 64).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(last.0.load(Ordering::SeqCst), 1);
    // What waits is told at once, and nobody needs to be woken for it.
    b.broadcast(&("end",)).await.unwrap();
    timeout(PATIENCE, std::future::poll_fn(|cx| a.poll_ready(cx))).await.unwrap();
    let waker = Waker::from(first.clone());
    assert_eq!(a.poll_ready(&Context::from_waker(&waker)), Poll::Ready(()));
}

#[tokio::test]
async fn the_end_wakes_and_comes_behind_everything() {
    let (a, b) = pair().await;
    b.broadcast(&("end",)).await.unwrap();
    timeout(PATIENCE, std::future::poll_fn(|cx| a.poll_ready(cx))).await.unwrap();
    let waiting = async {
        loop {
            let mut events = Vec::<Event>::new();
            match b.try_events(&mut events, 64) {
                Ok(0) => std::future::poll_fn(|cx| b.poll_ready(cx)).await,
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let (error, ()) = tokio::join!(timeout(PATIENCE, waiting), b.close());
    assert!(matches!(error.unwrap(), Error::Closed));
    a.close().await;
    let mut events = Vec::<Event>::new();
    assert!(a.try_events(&mut events, 64).unwrap() > 0);
    assert!(events.iter().any(is_end));
    assert!(matches!(a.try_events(&mut events, 64), Err(Error::Closed)));
    assert_eq!(a.poll_ready(&Context::from_waker(Waker::noop())), Poll::Ready(()));
}

/// requests are refused by programs that did not ask for any, whatever else these read.
#[tokio::test]
async fn requests_come_to_programs_that_asked_for_them() {
    let (a, b) = pair().await;
    let mut events = Vec::<Event>::new();
    a.try_events(&mut events, 64).unwrap();
    let refused = b.request(a.id(), &("anyone?",), PATIENCE).await;
    assert!(matches!(refused, Err(Error::Unanswered(_))), "{refused:?}");
    a.take_requests();
    let answering = async {
        let mut events = Vec::<Event>::new();
        read(&a, &mut events, |event| matches!(event, Event::Request(_))).await;
        let Some(Event::Request(request)) = events.pop() else { panic!("no request") };
        assert_eq!(request.packed(), b"\xa7anyone?\x05");
        request.respond(&("me",)).await.unwrap();
    };
    let (answer, ()) = tokio::join!(b.request(a.id(), &("anyone?", 5), PATIENCE), answering);
    let answer = answer.unwrap();
    assert_eq!((answer.packed(), answer.payload()), (&b"\xa2me"[..], vec!["me".into()]));
}

#[tokio::test]
async fn sending_without_waiting_is_to_neighbours() {
    let (a, b) = pair().await;
    let report = b.try_send(a.id(), &("end",)).unwrap();
    let mut events = Vec::<Event>::new();
    read(&a, &mut events, is_end).await;
    assert!(matches!(events.last(), Some(Event::Message(message)) if message.id() == report.id));
    let stranger = Mesh::builder().encryption(Encryption::Plaintext).open().await.unwrap();
    assert!(matches!(b.try_send(stranger.id(), &("end",)), Err(Error::NotConnected(_))));
    assert!(matches!(b.try_send_as(a.id(), 0x30, &("end",)), Err(Error::Code { code: 0x30 })));
    assert!(matches!(b.try_broadcast_as(0x30, &("end",)), Err(Error::Code { code: 0x30 })));
    assert!(b.try_broadcast_as(0x31, &("end",)).is_ok());
    b.close().await;
    assert!(matches!(b.try_send(a.id(), &("end",)), Err(Error::Closed)));
}
