//! Sync tables that are held by real nodes of 0.7 and ours together.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::each_way;
use crate::peer::{Dialler, Kind, Peer, both_ways, part};
use crate::support::PATIENCE;

/// Stamps count seconds. Behind this, what is written is later than what was written before.
const NEXT_SECOND: Duration = Duration::from_millis(1100);

fn start(kind: Kind, leases: bool) -> Peer {
    let options: &[&str] =
        if leases { &["--network", "sync"] } else { &["--network", "sync", "--no-leases"] };
    Peer::start(kind, options)
}

fn join(ours: &mut Peer, theirs: &mut Peer, dialler: Dialler) {
    match dialler {
        Dialler::We => ours.join(theirs),
        Dialler::They => theirs.join(ours),
    }
}

fn set(peer: &mut Peer, key: &str, value: &Json) {
    peer.must(json!({"do": "set", "key": key, "value": value}));
}

fn get(peer: &mut Peer, key: &str) -> Json {
    peer.must(json!({"do": "get", "key": key}))
}

/// Waits until a node has this value under a key, null for none.
fn until(peer: &mut Peer, key: &str, value: &Json) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = get(peer, key);
        if found == *value {
            return;
        }
        if Instant::now() > deadline {
            peer.node.fail(&format!("{:?} has {found} under {key}, not {value}", peer.kind));
        }
        sleep(Duration::from_millis(20));
    }
}

/// One sets a key, and all have it.
fn set_for_all(peers: &mut [&mut Peer], from: usize, key: &str, value: &Json) {
    set(peers[from], key, value);
    for peer in peers {
        until(peer, key, value);
    }
}

fn delta(peer: &mut Peer, key: &str, map: &Json) {
    peer.must(json!({"do": "delta", "key": key, "value": map}));
}

/// What a node of 0.7 has noted of exceptions, which must be none; and the link stands.
fn is_well(ours: &mut Peer, theirs: &mut Peer) {
    assert_eq!(theirs.must(json!({"do": "status"})), "Nominal", "{:?}", theirs.kind);
    assert_eq!(ours.node.peers(), [theirs.id()]);
}

each_way! {
    /// What either sets before they meet and after is on both, and so is what either makes of it.
    /// S-2, S-4, S-5, S-6, S-15, S-16
    fn both_have_everything(kind, dialler) {
        for leases in [true, false] {
            let (mut ours, mut theirs) = (start(Kind::Ours, leases), start(kind, leases));
            assert_eq!(ours.node.protocol, theirs.node.protocol);
            let values = [json!("é"), json!(-5), json!([1, [null, true]]), json!({"a": 1.5, "b": {"c": "d"}})];
            for (at, value) in values.iter().enumerate() {
                set(&mut ours, &format!("ours {at}"), value);
                set(&mut theirs, &format!("theirs {at}"), value);
            }
            join(&mut ours, &mut theirs, dialler);
            for (at, value) in values.iter().enumerate() {
                until(&mut theirs, &format!("ours {at}"), value);
                until(&mut ours, &format!("theirs {at}"), value);
            }
            set_for_all(&mut [&mut ours, &mut theirs], 0, "ours 0", &json!("changed"));
            set_for_all(&mut [&mut ours, &mut theirs], 1, "theirs 0", &json!("changed too"));
            set_for_all(&mut [&mut ours, &mut theirs], 0, "later", &json!({"x": 1}));
            set_for_all(&mut [&mut ours, &mut theirs], 1, "later still", &json!(["y"]));
            let count = 2 * values.len() + 2;
            for peer in [&mut ours, &mut theirs] {
                assert_eq!(peer.must(json!({"do": "keys"})).as_array().unwrap().len(), count);
            }
            is_well(&mut ours, &mut theirs);
            part([ours, theirs]);
        }
    }
}

/// A js2p is told a table as fast as it reads, however much there is of it (S-20).
fn a_large_table_is_told(dialler: Dialler) {
    const KEYS: usize = 1000;
    let (mut ours, mut theirs) = (start(Kind::Ours, true), start(Kind::Js2p, true));
    let value = json!("x".repeat(5000));
    for at in 0..KEYS {
        set(&mut ours, &format!("key {at:04}"), &value);
    }
    join(&mut ours, &mut theirs, dialler);
    until(&mut theirs, &format!("key {:04}", KEYS - 1), &value);
    assert_eq!(theirs.must(json!({"do": "keys"})).as_array().unwrap().len(), KEYS);
    set_for_all(&mut [&mut ours, &mut theirs], 1, "later", &json!(["y"]));
    is_well(&mut ours, &mut theirs);
    part([ours, theirs]);
}

#[test]
fn a_large_table_is_told_to_js2p_we_dial() {
    a_large_table_is_told(Dialler::We);
}

#[test]
fn a_large_table_is_told_to_js2p_they_dial() {
    a_large_table_is_told(Dialler::They);
}

each_way! {
    /// Maps are merged on both sides; without leases, whoever owns them.
    /// S-9
    fn deltas_both_ways(kind, dialler) {
        for leases in [true, false] {
            let (mut ours, mut theirs) = (start(Kind::Ours, leases), start(kind, leases));
            set(&mut ours, "ours", &json!({"a": 1}));
            join(&mut ours, &mut theirs, dialler);
            until(&mut theirs, "ours", &json!({"a": 1}));
            both_ways(&mut ours, &mut theirs, |from, to| {
                let key = format!("of {:?}", from.kind);
                delta(from, &key, &json!({"a": 1, "b": [2]}));
                delta(from, &key, &json!({"b": 3, "c": {"d": 4}}));
                for peer in [from, to] {
                    until(peer, &key, &json!({"a": 1, "b": 3, "c": {"d": 4}}));
                }
            });
            delta(&mut ours, "ours", &json!({"b": 2}));
            until(&mut theirs, "ours", &json!({"a": 1, "b": 2}));
            if !leases {
                delta(&mut theirs, "ours", &json!({"b": 3}));
                until(&mut ours, "ours", &json!({"a": 1, "b": 3}));
                delta(&mut ours, &format!("of {kind:?}"), &json!({"a": "ours"}));
                until(&mut theirs, &format!("of {kind:?}"), &json!({"a": "ours", "b": 3, "c": {"d": 4}}));
            }
            let text = json!({"do": "delta", "key": "text", "value": {}});
            set_for_all(&mut [&mut ours, &mut theirs], 0, "text", &json!("text"));
            assert_eq!(ours.must_fail(text)["code"], "not_a_map");
            is_well(&mut ours, &mut theirs);
            part([ours, theirs]);
        }
    }
}

each_way! {
    /// With leases, neither can take what is the other's; without, the later write wins.
    /// S-8, S-11
    fn whose_it_is(kind, dialler) {
        for leases in [true, false] {
            let (mut ours, mut theirs) = (start(Kind::Ours, leases), start(kind, leases));
            join(&mut ours, &mut theirs, dialler);
            set_for_all(&mut [&mut ours, &mut theirs], 0, "ours", &json!(1));
            set_for_all(&mut [&mut ours, &mut theirs], 1, "theirs", &json!(1));
            sleep(NEXT_SECOND);
            let taken = |key: &str| json!({"do": "set", "key": key, "value": 2});
            if leases {
                assert_eq!(ours.must_fail(taken("theirs"))["code"], "lease");
                assert_eq!(theirs.must_fail(taken("ours"))["code"], "lease");
                for peer in [&mut ours, &mut theirs] {
                    assert_eq!((get(peer, "ours"), get(peer, "theirs")), (json!(1), json!(1)));
                }
                // Their owners still can.
                set_for_all(&mut [&mut ours, &mut theirs], 0, "ours", &json!(3));
                set_for_all(&mut [&mut ours, &mut theirs], 1, "theirs", &json!(3));
            } else {
                set_for_all(&mut [&mut ours, &mut theirs], 0, "theirs", &json!(2));
                set_for_all(&mut [&mut ours, &mut theirs], 1, "ours", &json!(2));
                sleep(2 * NEXT_SECOND);
                set_for_all(&mut [&mut ours, &mut theirs], 0, "ours", &json!(3));
                set_for_all(&mut [&mut ours, &mut theirs], 1, "theirs", &json!(3));
            }
            is_well(&mut ours, &mut theirs);
            part([ours, theirs]);
        }
    }
}

/// Either deletes what it has set, and the key is gone on both and free for both.
/// S-10, S-21
fn deletes_with_py2p(dialler: Dialler) {
    for leases in [true, false] {
        let (mut ours, mut theirs) = (start(Kind::Ours, leases), start(Kind::Py2p, leases));
        set(&mut theirs, "before", &json!(1));
        join(&mut ours, &mut theirs, dialler);
        until(&mut ours, "before", &json!(1));
        set_for_all(&mut [&mut ours, &mut theirs], 0, "ours", &json!(1));
        set_for_all(&mut [&mut ours, &mut theirs], 1, "theirs", &json!(1));
        // Without leases, a delete is a later write like any other.
        sleep(NEXT_SECOND);
        for (from, key) in [(0, "ours"), (1, "theirs"), (1, "before")] {
            let both = [&mut ours, &mut theirs];
            both[from].must(json!({"do": "delete", "key": key}));
            for peer in both {
                until(peer, key, &Json::Null);
            }
        }
        // They have changed hands.
        set_for_all(&mut [&mut ours, &mut theirs], 1, "ours", &json!(2));
        set_for_all(&mut [&mut ours, &mut theirs], 0, "theirs", &json!(2));
        // What is not there on either side is no reason to part.
        ours.must(json!({"do": "delete", "key": "never"}));
        is_well(&mut ours, &mut theirs);
        part([ours, theirs]);
    }
}

#[test]
fn deletes_with_py2p_we_dial() {
    deletes_with_py2p(Dialler::We);
}

#[test]
fn deletes_with_py2p_they_dial() {
    deletes_with_py2p(Dialler::They);
}

/// A js2p hears of no delete, keeps its link, and does not bring the key back when it tells what it has.
/// S-19, S-21
#[test]
fn js2p_keeps_what_was_deleted_to_itself() {
    let (mut ours, mut theirs) = (start(Kind::Ours, true), start(Kind::Js2p, true));
    ours.join(&mut theirs);
    set_for_all(&mut [&mut ours, &mut theirs], 0, "k", &json!(1));
    ours.must(json!({"do": "delete", "key": "k"}));
    set_for_all(&mut [&mut ours, &mut theirs], 1, "behind", &json!(1));
    assert_eq!((get(&mut ours, "k"), get(&mut theirs, "k")), (Json::Null, json!(1)));
    is_well(&mut ours, &mut theirs);

    theirs.must(json!({"do": "break"}));
    ours.node.disconnected(theirs.id());
    // Told behind "k", once there is a link again.
    set(&mut theirs, "meanwhile", &json!(2));
    ours.connected(&theirs);
    until(&mut ours, "meanwhile", &json!(2));
    assert_eq!((get(&mut ours, "k"), get(&mut theirs, "k")), (Json::Null, json!(1)));
    set_for_all(&mut [&mut ours, &mut theirs], 0, "k", &json!(3));
    is_well(&mut ours, &mut theirs);
    part([ours, theirs]);
}

/// A py2p, one of ours and a js2p in a line, and with `between` another of ours: what anyone sets
/// before they meet and after is on all of them, although the two at the ends can never meet.
/// S-17, S-25
fn in_a_line(leases: bool, between: bool) {
    let (mut py2p, mut js2p) = (start(Kind::Py2p, leases), start(Kind::Js2p, leases));
    let (mut left, mut right) = (start(Kind::Ours, leases), between.then(|| start(Kind::Ours, leases)));
    let early = |peer: &Peer| format!("early {:?} {}", peer.kind, peer.place);
    let mut keys = Vec::new();
    for peer in [&mut py2p, &mut js2p, &mut left].into_iter().chain(&mut right) {
        let key = early(peer);
        set(peer, &key, &json!(key));
        keys.push(key);
    }
    js2p.join(right.as_mut().unwrap_or(&mut left));
    if let Some(right) = &mut right {
        left.join(right);
    }
    py2p.join(&mut left);
    let mut all: Vec<&mut Peer> = [&mut py2p, &mut js2p, &mut left].into_iter().chain(&mut right).collect();
    for key in &keys {
        for peer in &mut all {
            until(peer, key, &json!(key));
        }
    }
    for from in 0..all.len() {
        set_for_all(&mut all, from, &format!("late {from}"), &json!({"from": from}));
    }
    for from in 0..all.len() {
        let key = format!("late {from}");
        if leases {
            delta(all[from], &key, &json!({"again": true}));
            for peer in &mut all {
                until(peer, &key, &json!({"from": from, "again": true}));
            }
        } else {
            // The next one's.
            sleep(NEXT_SECOND);
            let next = (from + 1) % all.len();
            set_for_all(&mut all, next, &key, &json!(next + 1));
        }
    }
    if leases {
        sleep(NEXT_SECOND);
        for (from, peer) in all.iter_mut().enumerate() {
            let other = format!("late {}", usize::from(from == 0));
            let error = peer.must_fail(json!({"do": "set", "key": other, "value": 0}));
            assert_eq!(error["code"], "lease");
        }
    }
    let everything = |peer: &mut Peer| {
        let mut keys: Vec<String> = (peer.must(json!({"do": "keys"})).as_array().unwrap().iter())
            .map(|key| key.as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys.into_iter().map(|key| (get(peer, &key), key)).collect::<Vec<_>>()
    };
    let tables: Vec<_> = all.into_iter().map(everything).collect();
    assert!(tables.iter().all(|table| *table == tables[0]), "{tables:#?}");
    assert_eq!(tables[0].len(), 2 * tables.len());
    part([py2p, js2p, left].into_iter().chain(right));
}

#[test]
fn three_kinds_in_a_line_agree() {
    in_a_line(true, false);
}

#[test]
fn three_kinds_in_a_line_agree_without_leases() {
    in_a_line(false, false);
}

#[test]
fn four_in_a_line_agree() {
    in_a_line(true, true);
}
