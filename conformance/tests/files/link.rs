//! C-15, C-16 and C-50 to C-58, and what bytes do to a link.

use serde_json::{Value as Json, json};

use crate::pack::{Parts, TIME, body, broadcast_head, frame as framed, pack_all};
use crate::play::*;
use crate::streams::{Blocks, zlib};

pub(crate) fn file() -> String {
    let mut plays = vec![
        asked_for_life(&ANNA, control(1, vec![int(3)])),
        asked_for_life(&PYTHON, request_peers(1)),
        asked_for_life(&SCRIPT, request_peers(1)),
        silent(),
        silent_dialled(),
        signs_of_life(),
        pinged(),
        whispered(),
        unknown(),
        other_types(),
        methods_again(),
        methods_changed(),
        methods_that_are_none(),
        resent(),
        resent_to_one(),
        not_resent(),
        compressed(),
    ];
    plays.extend(unreadable());
    plays.push(unacceptable());
    transcript_file("what else is said on a link: signs of life, whispers, renegotiations, bad bytes", plays)
}

fn asked_for_life(peer: &Peer, question: Json) -> Play {
    let name = format!("a {} that says nothing is asked", format!("{:?}", peer.dialect).to_lowercase());
    Play::new(&name, &["C-15", "L-14", "C-52"])
        .joined(1, peer)
        .at(29_999)
        .quiet(tick())
        .at(30_000)
        .step(tick(), vec![question.clone()])
        .at(40_000)
        .quiet(peer.whispers(1, vec![int(4)]))
        .at(69_999)
        .quiet(tick())
        .at(70_000)
        .step(tick(), vec![question])
}

fn silent() -> Play {
    Play::new("who does not answer either is given up, and its address learned", &["C-16", "L-14"])
        .joined(1, &ANNA)
        .at(59_999)
        .step(tick(), vec![made_at(control(1, vec![int(3)]), 30)])
        .at(60_000)
        .step(
            tick(),
            vec![closes(1, "silent"), disconnected(&ANNA, "silent"), dials("$again", ANNA.host, ANNA.port)],
        )
}

fn silent_dialled() -> Play {
    Play::new("who was dialled and falls silent is dialled again with a pause", &["C-16", "C-32", "C-33"])
        .dialled(1, 1, &ANNA)
        .at(60_000)
        .step(
            tick(),
            vec![
                made_at(control(1, vec![int(3)]), 30),
                closes(1, "silent"),
                disconnected(&ANNA, "silent"),
                redials(ANNA.host, ANNA.port, 500),
            ],
        )
}

fn signs_of_life() -> Play {
    let ping = || control(1, vec![int(3)]);
    let stale = ANNA.says(1, BROADCAST, -1000, vec![int(0), str("old")]);
    let extension = [&broadcast_head(5), &[0xd4, 5, 0][..]].concat();
    Play::new("whatever can be read is a sign of life, handled or dropped", &["C-15", "W-21"])
        .joined(1, &ANNA)
        .at(20_000)
        .quiet(ANNA.whispers(1, vec![int(0x20)]))
        .at(40_000)
        .quiet(stale)
        .at(60_000)
        .quiet(frame(1, &framed(&body(&extension))))
        .at(80_000)
        .quiet(frame(1, &framed(&body(b"\xa5hello"))))
        .at(109_999)
        .quiet(tick())
        .at(110_000)
        .step(tick(), vec![ping()])
}

fn pinged() -> Play {
    let pong = |link| control(link, vec![int(4)]);
    Play::new("pings are answered, pongs are not", &["C-52"])
        .joined(1, &ANNA)
        .joined(2, &PYTHON)
        .step(ANNA.whispers(1, vec![int(3)]), vec![pong(1)])
        .step(ANNA.whispers(1, vec![int(3), str("and"), array(vec![str("more")])]), vec![pong(1)])
        .step(PYTHON.whispers(2, vec![int(3)]), vec![pong(2)])
        .quiet(ANNA.whispers(1, vec![int(4)]))
        .quiet(ANNA.whispers(1, vec![int(4), str("more")]))
}

fn whispered() -> Play {
    let mut play = Play::new(
        "whispers are handed up, as from the neighbour that brought them",
        &["C-50", "C-51", "W-17", "W-31"],
    )
    .joined(1, &ANNA)
    .joined(2, &BERT);
    for payload in [
        vec![int(2), str("hello")],
        vec![int(2)],
        vec![int(0), str("under a broadcast's code"), nil()],
        vec![int(0x31), json!({ "bin": "00ff" })],
        vec![int(0xffff_ffff_u32), array(vec![])],
        vec![int(u64::MAX)],
    ] {
        let input = ANNA.whispers(1, payload.clone());
        play = play.step(input, vec![hands_up("whisper", ANNA.id, 1, payload)]);
    }
    let payload = vec![int(2), str("who says that?")];
    for (sender, time) in [
        (str(BERT.id), TIME),
        (str(NODE), TIME),
        (bin("no id 0"), TIME),
        (str(ANNA.id), 0),
        (str(ANNA.id), i64::MAX),
    ] {
        let input = message(1, WHISPER, sender, time, payload.clone());
        play = play.step(input, vec![hands_up("whisper", ANNA.id, 1, payload.clone())]);
    }
    play.step(ANNA.whispers(1, payload.clone()), vec![hands_up("whisper", ANNA.id, 1, payload.clone())])
        .step(ANNA.whispers(1, payload.clone()), vec![hands_up("whisper", ANNA.id, 1, payload)])
}

fn unknown() -> Play {
    let mut play = Play::new("whispers that mean nothing here are dropped", &["C-58", "W-22", "W-30"])
        .joined(1, &ANNA)
        .joined(2, &BERT);
    for code in [0x01_u8, 0x06, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x30] {
        play = play.quiet(ANNA.whispers(1, vec![int(code), str("x"), str("y")]));
    }
    for payload in [
        vec![],
        vec![nil()],
        vec![int(-1), str("x")],
        vec![str("2"), str("x")],
        vec![json!({ "bin": "02" })],
        vec![json!({ "float64": "4000000000000000" }), str("x")],
        vec![array(vec![int(2)]), str("x")],
    ] {
        play = play.quiet(ANNA.whispers(1, payload));
    }
    play.step(ANNA.whispers(1, vec![int(3)]), vec![control(1, vec![int(4)])])
}

fn other_types() -> Play {
    let payload = vec![int(2), str("x")];
    let mut play = Play::new("every type but two is a whisper", &["W-17"]).joined(1, &ANNA).joined(2, &BERT);
    for kind in [3, 4, 5, 255, u64::MAX] {
        let up = vec![hands_up("whisper", ANNA.id, 1, payload.clone())];
        play = play.step(ANNA.says(1, kind, 0, payload.clone()), up);
    }
    play.step(ANNA.says(1, 3, 0, vec![int(3)]), vec![control(1, vec![int(4)])])
}

fn renegotiates(payload: Vec<Json>) -> Json {
    ANNA.says(1, RENEGOTIATE, 0, payload)
}

fn answer(list: &[u8]) -> Json {
    sends(&[1], "control", RENEGOTIATE, vec![int(1), codes(list)])
}

fn methods_again() -> Play {
    Play::new("the same list of methods again says nothing new", &["C-53"])
        .joined(1, &ANNA)
        .quiet(renegotiates(vec![int(1), codes(&[ZLIB, GZIP])]))
        .quiet(renegotiates(vec![int(1), array(vec![int(ZLIB), nil(), int(0x14), int(GZIP), int(ZLIB)])]))
}

fn methods_changed() -> Play {
    Play::new("another list of methods is adopted and answered", &["C-53", "W-8", "W-9"])
        .joined(1, &ANNA)
        .step(
            renegotiates(vec![int(1), codes(&[GZIP])]),
            vec![answer(&[GZIP]), agrees(1, &[GZIP], Some(GZIP))],
        )
        .quiet(renegotiates(vec![int(1), codes(&[GZIP])]))
        .step(renegotiates(vec![int(1), codes(&[])]), vec![answer(&[]), agrees(1, &[], None)])
        .step(
            renegotiates(vec![int(1), codes(&[GZIP, 0x20, ZLIB])]),
            vec![answer(&[ZLIB, GZIP]), agrees(1, &[GZIP, ZLIB], Some(ZLIB))],
        )
}

fn methods_that_are_none() -> Play {
    let mut play =
        Play::new("renegotiations that say nothing are dropped", &["C-57", "C-53", "C-55", "W-28"])
            .joined(1, &ANNA);
    for payload in [
        vec![],
        vec![int(1)],
        vec![int(1), nil()],
        vec![int(1), str("zlib")],
        vec![int(1), codes(&[GZIP]), nil()],
        vec![int(2), codes(&[GZIP])],
        vec![str("1"), codes(&[GZIP])],
        vec![int(0x31), codes(&[GZIP])],
    ] {
        play = play.quiet(renegotiates(payload));
    }
    play
}

/// The last message again: `id` names it.
fn again(mut send: Json, id: &str, class: &str) -> Json {
    send["send"]["id"] = id.into();
    send["send"]["class"] = class.into();
    send
}

fn asks_again(payload: Vec<Json>) -> Json {
    PYTHON.says(1, RENEGOTIATE, 0, payload)
}

fn resent() -> Play {
    let said = sends(&[1, 2], "own", BROADCAST, vec![int(0), str("said")]);
    let mut heard = said.clone();
    heard["send"]["links"] = json!([1]);
    let first = made_at(peers_list(1, vec![]), 0);
    Play::new("the last message is sent again, in the same bytes", &["C-54", "M-14"])
        .joined(1, &PYTHON)
        .at(5_000)
        .step(asks_again(vec![int(9)]), vec![again(first, "$list", "control")])
        .joined(2, &ANNA)
        .at(6_000)
        .step(broadcast(vec![str("said")]), vec![again(made_at(said, 6), "$said", "own")])
        .at(9_000)
        .step(asks_again(vec![int(9)]), vec![again(made_at(heard.clone(), 6), "$said", "control")])
        .step(asks_again(vec![int(9), str("and more")]), vec![again(made_at(heard, 6), "$said", "control")])
}

fn resent_to_one() -> Play {
    let pong = control(1, vec![int(4)]);
    Play::new("what was sent to another alone is not what is sent again", &["C-54"])
        .joined(1, &PYTHON)
        .joined(2, &SCRIPT)
        .at(2_000)
        .step(broadcast(vec![str("said")]), vec![sends(&[1, 2], "own", BROADCAST, vec![int(0), str("said")])])
        .step(PYTHON.whispers(1, vec![int(3)]), vec![again(made_at(pong.clone(), 2), "$pong", "control")])
        .step(SCRIPT.whispers(2, vec![int(3)]), vec![control(2, vec![int(4)])])
        .step(asks_again(vec![int(9)]), vec![again(made_at(pong, 2), "$pong", "control")])
}

fn not_resent() -> Play {
    let large = str(&"x".repeat(17_000));
    let small = sends(&[1], "own", BROADCAST, vec![int(0), str("small")]);
    let is_small = |class: &str| vec![again(made_at(small.clone(), 1), "$small", class)];
    Play::new("a message over 16 KiB is not sent again, but the one before it", &["C-54", "L-27"])
        .joined(1, &PYTHON)
        .at(1_000)
        .step(broadcast(vec![str("small")]), is_small("own"))
        .step(
            broadcast(vec![large.clone()]),
            vec![sends(&[1], "own", BROADCAST, vec![int(0), large.clone()])],
        )
        .step(asks_again(vec![int(9)]), is_small("control"))
        .step(
            whisper(1, PYTHON.id, vec![large.clone()]),
            vec![sends(&[1], "own", WHISPER, vec![int(2), large]), done(1, PYTHON.id)],
        )
        .step(asks_again(vec![int(9)]), is_small("control"))
}

fn whisper_frame(payload: &[peernet::Value]) -> Parts {
    Parts { kind: 2.into(), sender: ANNA.id.into(), time: TIME, payload: payload.to_vec() }
}

fn compressed() -> Play {
    let parts = whisper_frame(&[2.into(), "packed".into()]);
    let packed = framed(&zlib(&parts.body(), 0x78, Blocks::Fixed));
    let up = || hands_up("whisper", ANNA.id, 1, vec![int(2), str("packed")]);
    Play::new("frames are read by what was agreed last", &["W-7", "W-9", "C-12", "C-53"])
        .joined(1, &ANNA)
        .step(frame(1, &packed), vec![up()])
        .step(frame(1, &framed(&parts.body())), vec![up()])
        .step(
            renegotiates(vec![int(1), codes(&[GZIP])]),
            vec![answer(&[GZIP]), agrees(1, &[GZIP], Some(GZIP))],
        )
        .step(frame(1, &framed(&parts.body())), vec![up()])
        .step(frame(1, &packed), vec![closes(1, "bad_frame"), disconnected(&ANNA, "bad_frame")])
}

fn unreadable() -> Vec<Play> {
    let good = whisper_frame(&[2.into(), "x".into()]);
    let with = |bytes: &[u8]| framed(&body(&[&broadcast_head(5), bytes].concat()));
    let mut wrong = framed(&good.body());
    *wrong.last_mut().unwrap() ^= 1;
    [
        ("a wrong digest", "W-6", wrong, "bad_frame"),
        ("an empty frame", "W-6", framed(b""), "bad_frame"),
        ("31 bytes", "W-6", framed(&[0; 31]), "bad_frame"),
        ("a digest of nothing", "W-20", framed(&body(b"")), "bad_message"),
        ("a value cut short", "W-20", with(b"\xcd\x01"), "bad_message"),
        ("a text longer than all there is", "W-20", with(b"\xdb\xff\xff\xff\xffx"), "bad_message"),
        ("more elements than there are", "W-20", framed(&body(&broadcast_head(6))), "bad_message"),
        ("the byte c1", "W-20", with(b"\xc1"), "bad_message"),
        ("a head cut short", "W-20", framed(&body(&broadcast_head(5)[..6])), "bad_message"),
    ]
    .into_iter()
    .map(|(name, rule, bytes, reason)| {
        Play::new(&format!("{name} ends the link"), &[rule, "C-56", "W-4"])
            .joined(1, &ANNA)
            .joined(2, &BERT)
            .step(frame(1, &bytes), vec![closes(1, reason), disconnected(&ANNA, reason)])
            .quiet(ANNA.whispers(1, vec![int(2), str("behind it")]))
    })
    .collect()
}

fn unacceptable() -> Play {
    let mut play = Play::new(
        "what can be read but not taken is dropped, and not relayed",
        &["W-13", "W-20", "W-21", "C-55", "L-7", "L-8"],
    )
    .joined(1, &ANNA)
    .joined(2, &BERT);
    let head = broadcast_head(5);
    let deep = [vec![0x91; 65], vec![0xc0]].concat();
    let many = [&b"\xdd\x00\x10\x00\x00"[..], &vec![0xc0; 1 << 20]].concat();
    let time = &head[6..11];
    for packed in [
        b"\xa5hello".to_vec(),
        b"\x92\x00\xa1a".to_vec(),
        [&head[..], b"\xd4\x05\x00"].concat(),
        [&head[..], &deep].concat(),
        [&head[..], &many].concat(),
        [&head[..], b"\xa1\xff"].concat(),
        [&head[..], b"\x01\x02"].concat(),
        [&b"\x95\xff\xc4\x03abc"[..], time, b"\0\0"].concat(),
        [&b"\x95\xa10\xc4\x03abc"[..], time, b"\0\0"].concat(),
        [&b"\x95\0\xc0"[..], time, b"\0\0"].concat(),
        [&b"\x95\0\xc4\x03abc\xc0\0\0"[..]].concat(),
        [&b"\x95\0\xc4\x03abc\xcf\xff\xff\xff\xff\xff\xff\xff\xff\0\0"[..]].concat(),
        [&b"\x95\0\xa1\xff"[..], time, b"\0\0"].concat(),
    ] {
        play = play.quiet(frame(1, &framed(&body(&packed))));
    }
    let good = [&head[..], &pack_all(&["fine".into()])].concat();
    assert_eq!(&good[2..6], b"\xc4\x03ab");
    let up = hands_up("broadcast", "abc", 1, vec![int(0), str("fine")]);
    let relayed = json!({ "send": {
        "links": [2], "class": "relay", "type": int(0), "sender": bin("abc"), "time": TIME,
        "payload": [int(0), str("fine")],
    } });
    play.step(frame(1, &framed(&body(&good))), vec![relayed, up])
}
