//! Waiting up to a time, and not at all.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use peernet::{Error, ErrorCode, Mesh, Query, SyncTable};
use peernet_bindings::{Node, Rows, Wait};

const PATIENCE: Wait = Wait::AtMost(Duration::from_secs(30));

fn code<T>(result: Result<T, peernet_bindings::Error>) -> ErrorCode {
    result.err().unwrap().code()
}

#[test]
fn what_needs_no_waiting_is_done_without() {
    let node = Node::open_table(SyncTable::builder()).unwrap();
    // Enough for those that let others go first now and then.
    for number in 0..1000 {
        node.block_on(Wait::Never, node.table().unwrap().set("key", number)).unwrap();
    }
    assert_eq!(node.table().unwrap().get("key"), Some(999.into()));
    let never = std::future::pending::<Result<(), Error>>();
    assert_eq!(code(node.block_on(Wait::Never, never)), ErrorCode::TimedOut);
    node.close().unwrap();
}

#[test]
fn threads_of_the_library_do_not_wait_but_need_not() {
    let open = || Node::open_table(SyncTable::builder()).unwrap();
    let (a, b) = (Arc::new(open()), open());
    let (told, tells) = channel();
    let weak = Arc::downgrade(&a);
    let hook = move |_: &peernet::Message| {
        let Some(node) = weak.upgrade() else { return true };
        let set =
            |wait| node.block_on(wait, node.table().unwrap().set("key", 5)).map_err(|error| error.code());
        told.send((set(PATIENCE).err(), set(Wait::Never).err())).is_ok()
    };
    a.mesh().on_code(0x40, hook).unwrap();
    b.connect(&a.mesh().address().to_string(), PATIENCE).unwrap();
    b.block_on(PATIENCE, b.mesh().broadcast_as(0x40, &("hello",))).unwrap();
    let (waiting, at_once) = tells.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!((waiting, at_once), (Some(ErrorCode::Reentrant), None));
    a.close().unwrap();
    b.close().unwrap();
}

#[test]
fn who_waits_for_rows_is_told_of_time_news_and_the_end() {
    let (a, b) = (Node::open_mesh(Mesh::builder()).unwrap(), Node::open_mesh(Mesh::builder()).unwrap());
    let (told, searches) = channel();
    a.mesh().on_search(move |search| drop(told.send(search)));
    b.connect(&a.mesh().address().to_string(), PATIENCE).unwrap();
    let rows = Rows::new(b.mesh().announce(Query::new("colour", "of the sky")).unwrap());
    for wait in [Wait::Never, Wait::AtMost(Duration::from_millis(1))] {
        assert_eq!(code(rows.next(wait)), ErrorCode::TimedOut);
    }
    let search = searches.recv_timeout(Duration::from_secs(30)).unwrap();
    let bytes = AtomicUsize::new(0);
    thread::scope(|scope| {
        // More than one may wait; each row goes to one of them, and the end to all.
        let read = || loop {
            match rows.next(Wait::Forever) {
                Ok(row) => _ = bytes.fetch_add(row.data.len(), Ordering::SeqCst),
                Err(error) => return error.code(),
            }
        };
        let (first, second) = (scope.spawn(read), scope.spawn(read));
        for data in ["b", "bl", "blu", "blue"] {
            search.reply(data).unwrap();
        }
        while bytes.load(Ordering::SeqCst) < 10 {
            thread::yield_now();
        }
        rows.end();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (ErrorCode::Closed, ErrorCode::Closed));
    });
    assert_eq!(code(rows.next(Wait::Forever)), ErrorCode::Closed);

    let rows = Rows::new(b.mesh().search("colour", "of the sea").unwrap());
    b.close().unwrap();
    assert_eq!(code(rows.next(Wait::Forever)), ErrorCode::End);
    a.close().unwrap();
}
