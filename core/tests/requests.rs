//! Requests and their answers (`spec/12-requests.md`), over sockets.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peernet::identity::NodeId;
use peernet::{Config, Encryption, Error, Event, Mesh, Request, Value};

mod support;

use support::{PATIENCE, eventually, soon};

fn config() -> Config {
    Config { max_outgoing: 0, ..Config::lan() }
}

async fn open_with(config: Config) -> Arc<Mesh> {
    Arc::new(Mesh::builder().config(config).open().await.unwrap())
}

async fn open() -> Arc<Mesh> {
    open_with(config()).await
}

async fn join(from: &Mesh, to: &Mesh) {
    soon("two nodes join", from.connect(&to.address().to_string())).await.unwrap();
    eventually("both know it", || to.peers().iter().any(|peer| peer.id == *from.id()).then_some(())).await;
}

/// Answers with what was asked, and who asked it.
fn echo(mesh: &Mesh) {
    mesh.on_request(|request| {
        tokio::spawn(async move {
            let payload = [vec![request.sender().as_str().into()], request.payload()].concat();
            request.respond(&payload).await.unwrap();
        });
    });
}

async fn ask(mesh: &Mesh, peer: &NodeId, payload: &[Value]) -> Result<Vec<Value>, Error> {
    let answer = soon("an answer or none", mesh.request(peer, payload, PATIENCE)).await?;
    assert_eq!(answer.sender(), peer);
    Ok(answer.payload())
}

fn why(error: &Error) -> String {
    format!("{}: {error}", error.code())
}

/// many at the same time, both ways, of any size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_asker_gets_its_own_answer() {
    let (a, b) = (open().await, open().await);
    join(&a, &b).await;
    echo(&a);
    echo(&b);
    let mut tasks = Vec::new();
    for number in 0..200_usize {
        let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let (from, to) = (from.clone(), to.id().clone());
        tasks.push(tokio::spawn(async move {
            let payload = [Value::from(number as u64), Value::Bin(vec![number as u8; number * 20])];
            let answer = ask(&from, &to, &payload).await.unwrap();
            assert_eq!(answer, [&[Value::from(from.id().as_str())], &payload[..]].concat());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(ask(&a, b.id(), &[]).await.unwrap(), [Value::from(a.id().as_str())]);
    // However long it is to wait.
    soon("an answer", a.request(b.id(), &(), Duration::MAX)).await.unwrap();
    let stats = (a.stats(), b.stats());
    assert_eq!((stats.0.requests_sent, stats.0.requests_received), (102, 100));
    assert_eq!((stats.1.requests_refused, stats.1.answers_late), (0, 0));
}

/// a node that is no neighbour is found first, and one that nobody has is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_neighbour_is_looked_for() {
    let (a, b, c) = (open().await, open().await, open().await);
    join(&a, &b).await;
    join(&c, &b).await;
    echo(&c);
    assert_eq!(ask(&a, c.id(), &["far".into()]).await.unwrap(), [a.id().as_str().into(), "far".into()]);
    let nobody = support::fresh_id(a.protocol());
    let error = a.request(&nobody, &(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.code(), "timed_out", "{error}");
    let error = ask(&a, a.id(), &[]).await.unwrap_err();
    assert_eq!(error.code(), "unreachable", "{error}");
}

/// a program that only reads messages is not disturbed, and its askers do not wait for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_refused_at_once() {
    let (a, b) = (open().await, open().await);
    join(&a, &b).await;
    for _ in 0..3 {
        let error = ask(&a, b.id(), &["hello".into()]).await.unwrap_err();
        assert!(
            why(&error).starts_with("unanswered: ") && why(&error).contains("takes no requests"),
            "{error}"
        );
    }
    assert_eq!((b.stats().requests_refused, b.stats().lagged), (3, 0));
    // One that reads events and does not care lets requests go.
    let reader = b.clone();
    let reading = tokio::spawn(async move { while reader.next_event().await.is_some() {} });
    eventually_async("it takes them", async || {
        let error = ask(&a, b.id(), &[]).await.unwrap_err();
        error.to_string().contains("go unanswered")
    })
    .await;
    reading.abort();
    // And so does a handler.
    b.on_request(drop);
    let error = ask(&a, b.id(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("go unanswered"), "{error}");
    // What goes by a program that has gone over to reading messages only is let go too.
    let c = open().await;
    join(&c, &a).await;
    soon("c reads events", c.next_event()).await;
    let reader = c.clone();
    let reading = tokio::spawn(async move { while reader.recv().await.is_ok() {} });
    let error = ask(&a, c.id(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("go unanswered"), "{error}");
    reading.abort();
}

async fn eventually_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A node whose requests come out of `next_event`.
fn requests_of(mesh: &Arc<Mesh>) -> tokio::sync::mpsc::UnboundedReceiver<Request> {
    let (found, requests) = tokio::sync::mpsc::unbounded_channel();
    mesh.on_request(move |request| drop(found.send(request)));
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_events() {
    let (a, b) = (open().await, open().await);
    join(&a, &b).await;
    let reader = b.clone();
    let reading = tokio::spawn(async move {
        while let Some(event) = reader.next_event().await {
            if let Event::Request(request) = event {
                request.respond(&("heard",)).await.unwrap();
                return;
            }
        }
    });
    eventually_async("it is answered", async || ask(&a, b.id(), &["?".into()]).await.is_ok()).await;
    reading.await.unwrap();
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_with_its_time_or_its_link() {
    let (a, b) = (open().await, open().await);
    join(&a, &b).await;
    let mut requests = requests_of(&b);
    let error = a.request(b.id(), &("slow",), Duration::from_millis(30)).await.unwrap_err();
    assert_eq!(error.code(), "timed_out", "{error}");
    let late = soon("it was asked", requests.recv()).await.unwrap();
    assert_eq!(late.payload(), ["slow".into()]);
    // Nobody waits any more, which is nobody's fault.
    late.respond(&("late",)).await.unwrap();
    eventually("the answer comes", || (a.stats().answers_late == 1).then_some(())).await;
    assert_eq!(a.stats().offences, 0);

    let (asker, id) = (a.clone(), b.id().clone());
    let asking = tokio::spawn(async move { ask(&asker, &id, &[]).await.unwrap_err() });
    let request = soon("it was asked", requests.recv()).await.unwrap();
    b.disconnect(a.id()).await.unwrap();
    let error = soon("the asker notices", asking).await.unwrap();
    assert!(why(&error).starts_with("unanswered: ") && error.to_string().contains("link"), "{error}");
    let error = request.respond(&()).await.unwrap_err();
    assert_eq!(error.code(), "not_connected", "{error}");

    join(&a, &b).await;
    let (asker, id) = (a.clone(), b.id().clone());
    let asking = tokio::spawn(async move { ask(&asker, &id, &[]).await.unwrap_err() });
    let request = soon("it was asked", requests.recv()).await.unwrap();
    a.close().await;
    assert_eq!(soon("the asker is told", asking).await.unwrap().code(), "closed");
    b.close().await;
    assert_eq!(request.respond(&()).await.unwrap_err().code(), "closed");
    assert_eq!(b.request(a.id(), &(), PATIENCE).await.unwrap_err().code(), "closed");
}

/// what cannot be sent is no answer, and the asker is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_large_is_none() {
    let (a, b) = (open().await, open_with(Config { max_frame: 2000, ..config() }).await);
    join(&a, &b).await;
    let failed = Arc::new(AtomicUsize::new(0));
    let count = failed.clone();
    b.on_request(move |request| {
        let count = count.clone();
        tokio::spawn(async move {
            let error = request.respond(&(vec![0_u8; 3000],)).await.unwrap_err();
            assert_eq!(error.code(), "too_large");
            count.fetch_add(1, Ordering::AcqRel);
        });
    });
    let error = ask(&a, b.id(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("go unanswered"), "{error}");
    eventually("it failed", || (failed.load(Ordering::Acquire) == 1).then_some(())).await;
    let error = b.request(a.id(), &(vec![0_u8; 3000],), PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), "too_large");
}

/// L-70, L-71
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_bounded() {
    let b = open_with(Config { max_requests: 6, max_requests_per_peer: 4, inbox_bytes: 40_000, ..config() })
        .await;
    let mut requests = requests_of(&b);
    let mut askers = Vec::new();
    for _ in 0..3 {
        let asker = open().await;
        join(&asker, &b).await;
        askers.push(asker);
    }
    let mut waiting = Vec::new();
    let mut begin = |asker: &Arc<Mesh>, size: usize| {
        let (asker, id) = (asker.clone(), b.id().clone());
        waiting.push(tokio::spawn(async move { ask(&asker, &id, &[vec![0; size].into()]).await }));
    };
    let is_busy = |error: &Error| error.to_string().contains("too many requests");
    let mut kept = Vec::new();
    for _ in 0..4 {
        begin(&askers[0], 10);
        kept.push(soon("it is asked", requests.recv()).await.unwrap());
    }
    assert!(is_busy(&ask(&askers[0], b.id(), &[]).await.unwrap_err()), "of one peer");
    for _ in 0..2 {
        begin(&askers[1], 10);
        kept.push(soon("it is asked", requests.recv()).await.unwrap());
    }
    assert!(is_busy(&ask(&askers[2], b.id(), &[]).await.unwrap_err()), "of all together");
    kept.clear();
    for task in waiting.drain(..) {
        assert!(task.await.unwrap().is_err());
    }
    // The first is taken whatever its size; then bytes count.
    let mut begin = |asker: &Arc<Mesh>, size: usize| {
        let (asker, id) = (asker.clone(), b.id().clone());
        waiting.push(tokio::spawn(async move { ask(&asker, &id, &[vec![0; size].into()]).await }));
    };
    begin(&askers[0], 30_000);
    kept.push(soon("it is asked", requests.recv()).await.unwrap());
    assert!(is_busy(&ask(&askers[0], b.id(), &[vec![0; 10].into()]).await.unwrap_err()), "a quarter for one");
    assert!(is_busy(&ask(&askers[1], b.id(), &[vec![0; 10_000].into()]).await.unwrap_err()), "all together");
    begin(&askers[1], 100);
    let small = soon("it is asked", requests.recv()).await.unwrap();
    small.respond(&("small",)).await.unwrap();
    kept.clear();
    let results: Vec<bool> = {
        let mut results = Vec::new();
        for task in waiting {
            results.push(task.await.unwrap().is_ok());
        }
        results
    };
    assert_eq!(results, [false, true]);
    // Of one's own.
    let c = open_with(Config { max_requests: 2, ..config() }).await;
    join(&c, &b).await;
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let (asker, id) = (c.clone(), b.id().clone());
            tokio::spawn(async move { ask(&asker, &id, &[]).await })
        })
        .collect();
    kept.push(soon("it is asked", requests.recv()).await.unwrap());
    kept.push(soon("it is asked", requests.recv()).await.unwrap());
    assert_eq!(ask(&c, b.id(), &[]).await.unwrap_err().code(), "too_many");
    for request in kept {
        request.respond(&()).await.unwrap();
    }
    for task in asking {
        task.await.unwrap().unwrap();
    }
    assert!(b.stats().requests_refused >= 4);
}

#[tokio::test]
async fn where_0_7_is_spoken_there_are_no_requests() {
    for encryption in [Encryption::Plaintext, Encryption::Ssl, Encryption::Ws, Encryption::Wss] {
        let open = async || Mesh::builder().encryption(encryption).config(config()).open().await.unwrap();
        let (a, b) = (open().await, open().await);
        join(&a, &b).await;
        b.on_request(|request| panic!("{request:?}"));
        let error = ask(&a, b.id(), &[]).await.unwrap_err();
        assert_eq!(error.code(), "needs_tls", "{error}");
        assert!(error.to_string().contains("tls"), "{error}");
    }
}
