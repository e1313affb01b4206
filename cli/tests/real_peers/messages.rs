//! What two neighbours say to each other.

use serde_json::{Value as Json, json};

use crate::each_way;
use crate::peer::{Dialler, Kind, Peer, both_ways, pair, part};

/// Values that all three hold alike.
fn common_values() -> Vec<Json> {
    let text = |length: usize| json!("ä".repeat(length / 2));
    let bytes = |length: usize| json!({"$bin": "00ff".repeat(length / 2)});
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0.5),
        json!(-1e300),
        json!(5e-324),
        json!({"$float64": "7ff0000000000000"}),
        json!({"$float64": "fff0000000000000"}),
        json!({"$float64": "7ff8000000000000"}),
        json!(""),
        json!("a\0b\"\\\n\u{1f600}"),
        json!([]),
        json!([[[[[[]]]], null, "x", 1]]),
        json!({}),
        json!({"b": 1, "a": {"c": [2, {"$bin": ""}]}}),
        json!({"$map": [["$bin", 1]]}),
    ];
    // Lengths and integers on both sides of the bounds between their forms.
    values.extend([0, 2, 30, 32, 254, 256, 65534, 65536].map(bytes));
    values.extend([30, 32, 254, 256, 65534, 65536].map(text));
    values.extend([15, 16, 65535, 65536].map(|length| json!(vec![7; length])));
    values.extend([15, 16].map(|length: usize| (0..length).map(|n| (format!("k{n}"), json!(n))).collect()));
    for bits in [5, 7, 8, 15, 16, 31, 32, 53] {
        let bound = 1_i64 << bits;
        values.extend([bound - 1, bound, -bound, -bound + 1].map(Json::from));
        if bits < 53 {
            values.push(json!(-bound - 1));
        }
    }
    values
}

/// Values that js2p does not hold.
fn further_values() -> Vec<Json> {
    vec![
        json!(1.0),
        json!(-0.0),
        json!(1e16),
        json!({"$int": "9007199254740993"}),
        json!({"$int": "-9223372036854775808"}),
        json!({"$int": "9223372036854775808"}),
        json!({"$int": "18446744073709551615"}),
        json!({"$map": [[1, "one"], [null, 2], [{"$bin": "00"}, 3], ["text", 4], [-1.5, 5], [[1, "k"], 6]]}),
        json!({"10": 1, "b": 2, "1": 3}),
    ]
}

/// What js2p makes of values that it does not hold.
fn as_js2p_reads() -> Vec<(Json, Json)> {
    vec![
        (json!(1.0), json!(1)),
        (json!(1e15), json!(1_000_000_000_000_000_i64)),
        (json!({"$int": "9007199254740993"}), json!(9007199254740992_i64)),
        (json!({"$int": "18446744073709551615"}), json!({"$int": "18446744073709551616"})),
        (json!({"$map": [[1, "one"], [2, 3]]}), json!({"1": "one", "2": 3})),
        (json!({"b": 2, "1": 3}), json!({"1": 3, "b": 2})),
    ]
}

/// Broadcasts the first value of each pair; the other must hear the second.
fn values_arrive(from: &mut Peer, to: &mut Peer, pairs: &[(Json, Json)]) {
    for (at, (value, expected)) in pairs.iter().enumerate() {
        let shown = format!("{value:.100}");
        let id = from.broadcast(json!([at, value]));
        let heard = to.hear_id(&id);
        // As text, because 1 and 1.0 must stay apart, and 0.0 and -0.0.
        assert_eq!(heard["payload"].to_string(), json!([at, expected]).to_string());
        assert_eq!((&heard["kind"], &heard["sender"]), (&json!("broadcast"), &json!(from.id())), "{shown}");
    }
}

each_way! {
    /// Values of every kind arrive as they were sent, in broadcasts whose ids both sides agree on.
    fn every_kind_of_value(kind, dialler) {
        let (mut ours, mut theirs) = pair(kind, dialler, &[]);
        let same = |value: Json| (value.clone(), value);
        let mut pairs: Vec<(Json, Json)> = common_values().into_iter().map(same).collect();
        if kind == Kind::Py2p {
            pairs.extend(further_values().into_iter().map(same));
        }
        values_arrive(&mut theirs, &mut ours, &pairs);
        if kind == Kind::Js2p {
            pairs.extend(as_js2p_reads());
        }
        values_arrive(&mut ours, &mut theirs, &pairs);

        // Nothing at all is a payload too.
        both_ways(&mut ours, &mut theirs, |from, to| {
            let id = from.broadcast(json!([]));
            assert_eq!(to.hear_id(&id)["payload"], json!([]));
        });
        part([ours, theirs]);
    }
}

/// Sends with `command`, and expects the other to hear it as a whisper; returns its id.
fn whisper(from: &mut Peer, to: &mut Peer, mut command: Json, text: &str) -> String {
    command["payload"] = json!([text, {"$bin": "00ff"}]);
    let value = from.must(command.clone());
    let heard = to.hear_payload(&command["payload"]);
    assert_eq!((&heard["kind"], &heard["id"]), (&json!("whisper"), &value["id"]), "{text}");
    assert_eq!(heard["sender"], from.id(), "{text}");
    heard["id"].as_str().unwrap().to_owned()
}

each_way! {
    /// A broadcast is replied to in private, that reply too, and each can write to the other unasked.
    fn private_messages(kind, dialler) {
        let (mut ours, mut theirs) = pair(kind, dialler, &[]);

        let question = ours.broadcast(json!(["who is there?"]));
        theirs.hear_id(&question);
        let answer = json!({"do": "reply", "to": question});
        let answer = whisper(&mut theirs, &mut ours, answer, "their reply to our broadcast");
        let back = json!({"do": "reply", "to": answer});
        let back = whisper(&mut ours, &mut theirs, back, "our reply to their reply");
        let again = json!({"do": "reply", "to": back});
        whisper(&mut theirs, &mut ours, again, "their reply to that");

        let question = theirs.broadcast(json!(["and who are you?"]));
        ours.hear_id(&question);
        let answer = json!({"do": "reply", "to": question});
        whisper(&mut ours, &mut theirs, answer, "our reply to their broadcast");

        let send = json!({"do": "send", "peer": theirs.id()});
        whisper(&mut ours, &mut theirs, send, "unasked from us");
        let send = json!({"do": "send", "peer": ours.id()});
        whisper(&mut theirs, &mut ours, send, "unasked from them");
        part([ours, theirs]);
    }
}

/// With a peer that can do this one method, payloads of all sizes arrive, and large ones that
/// compress well take few bytes on the wire, both ways.
fn method_works(kind: Kind, method: &str) {
    const LARGE: usize = 100_000;
    for dialler in [Dialler::We, Dialler::They] {
        let (mut ours, mut theirs) = pair(kind, dialler, &["--compression", method]);
        for size in [0, 20, 100, 150, 199, 200, 201, 250, 1000, LARGE, 30] {
            both_ways(&mut ours, &mut theirs, |from, to| {
                let payload = json!([from.id(), "again and ".repeat(size / 10), "?".repeat(size % 10)]);
                let id = from.broadcast(payload.clone());
                assert_eq!(to.hear_id(&id)["payload"], payload, "{size}");
                let payload = json!(["whispered", from.id(), {"$bin": "00".repeat(size)}]);
                let sent = from.must(json!({"do": "send", "peer": to.id(), "payload": payload}));
                assert_eq!(to.hear_payload(&payload)["id"], sent["id"], "{size}");
            });
        }
        let stats = ours.must(json!({"do": "stats"}));
        for direction in ["bytes_out", "bytes_in"] {
            let bytes = usize::try_from(stats[direction].as_u64().unwrap()).unwrap();
            // Two large payloads went each way.
            match method {
                "none" => assert!(bytes > 2 * LARGE, "{direction}: {bytes}"),
                _ => assert!(bytes < LARGE / 2, "{direction}: {bytes}"),
            }
        }
        part([ours, theirs]);
    }
}

mod compression {
    use super::*;

    #[test]
    fn py2p_none() {
        method_works(Kind::Py2p, "none");
    }

    #[test]
    fn py2p_zlib() {
        method_works(Kind::Py2p, "zlib");
    }

    #[test]
    fn py2p_gzip() {
        method_works(Kind::Py2p, "gzip");
    }

    #[test]
    fn py2p_bz2() {
        method_works(Kind::Py2p, "bz2");
    }

    #[test]
    fn py2p_lzma() {
        method_works(Kind::Py2p, "lzma");
    }

    #[test]
    fn py2p_snappy() {
        method_works(Kind::Py2p, "snappy");
    }

    #[test]
    fn js2p_none() {
        method_works(Kind::Js2p, "none");
    }

    #[test]
    fn js2p_zlib() {
        method_works(Kind::Js2p, "zlib");
    }

    #[test]
    fn js2p_gzip() {
        method_works(Kind::Js2p, "gzip");
    }
}

each_way! {
    /// Small messages go uncompressed to peers that try every method on every frame: those that
    /// happen to begin like compressed ones must arrive all the same. One at a time, because py2p
    /// ends the link when a read ends just behind the length of a frame.
    fn many_small_messages(kind, dialler) {
        const COUNT: u64 = 500;
        let (mut ours, mut theirs) = pair(kind, dialler, &[]);
        for number in 0..COUNT {
            both_ways(&mut ours, &mut theirs, |from, to| {
                let id = from.broadcast(json!([number]));
                let heard = to.hear_next();
                assert_eq!((&heard["id"], &heard["payload"]), (&json!(id), &json!([number])));
            });
        }
        part([ours, theirs]);
    }
}

/// A burst of messages in both directions at once.
#[test]
fn burst_with_js2p() {
    const COUNT: u64 = 500;
    let (mut ours, mut theirs) = pair(Kind::Js2p, Dialler::We, &[]);
    for number in 0..COUNT {
        for peer in [&mut ours, &mut theirs] {
            peer.node.command(json!({"do": "broadcast", "payload": [number]}));
        }
    }
    for peer in [&mut ours, &mut theirs] {
        peer.hear_payload(&json!([COUNT - 1]));
    }
    for heard in part([ours, theirs]) {
        let numbers: Vec<_> = heard.iter().map(|message| message["payload"][0].as_u64()).collect();
        assert_eq!(numbers, (0..COUNT).map(Some).collect::<Vec<_>>());
    }
}
