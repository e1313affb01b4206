//! C-1 to C-14.

use peernet::wire::body::digest;
use serde_json::{Value as Json, json};

use crate::pack::{Parts, TIME, body, frame as framed};
use crate::play::*;

pub(crate) fn file() -> String {
    let mut plays = Vec::new();
    plays.extend(accepted_ones());
    plays.extend(refused_subnets());
    plays.extend(refused_ids());
    plays.extend(addresses());
    plays.extend(methods());
    plays.extend(not_a_handshake());
    plays.extend(late());
    plays.extend(repeated());
    transcript_file("handshakes: which are accepted, what follows, and which end the link", plays)
}

/// `introduction` with another element in place of one.
fn altered(peer: &Peer, at: usize, value: Json) -> Json {
    let mut payload = peer.introduction();
    payload[at] = value;
    peer.whispers(1, payload)
}

fn accepted_ones() -> Vec<Play> {
    let mut all = Vec::new();
    for peer in [ANNA, PYTHON, SCRIPT] {
        let dialect = format!("{:?}", peer.dialect).to_lowercase();
        all.push(
            Play::new(
                &format!("a {dialect} dials"),
                &["C-1", "C-2", "C-3", "C-4", "C-11", "C-12", "C-20", "C-25", "W-27"],
            )
            .joined(1, &peer),
        );
        all.push(
            Play::new(
                &format!("a {dialect} is dialled"),
                &["C-1", "C-2", "C-3", "C-11", "C-12", "C-20", "C-30"],
            )
            .dialled(1, 1, &peer),
        );
    }
    let mut early = Play::new("a py2p that is dialled speaks first", &["C-1"])
        .step(connect(1, &PYTHON.at()), vec![dials("$dial", PYTHON.host, PYTHON.port)])
        .step(dialled(1, "$dial"), vec![own_handshake(1)]);
    let mut welcome = early.settled(1, &PYTHON);
    welcome.extend([connected(&PYTHON, 1), done(1, PYTHON.id)]);
    early = early.step(PYTHON.shakes_hands(1), welcome).step(
        PYTHON.whispers(1, vec![int(2), str("hello")]),
        vec![hands_up("whisper", PYTHON.id, 1, vec![int(2), str("hello")])],
    );
    all.push(early);

    let welcome = |peer: &Peer| Play::new("", &[]).welcome(1, peer);
    let mixed = Play::new("node id as bin and protocol id as str is read as py2p", &["C-4", "C-11"])
        .quiet(accepted(1))
        .step(altered(&PYTHON, 2, str(PROTOCOL)), welcome(&PYTHON));
    all.push(mixed);
    all.push(
        Play::new("the sender and the time of a handshake mean nothing", &["C-4"])
            .quiet(accepted(1))
            .step(message(1, WHISPER, bin("anything, even no id!"), 1, ANNA.introduction()), welcome(&ANNA)),
    );
    all.push(
        Play::new("a host as bin", &["C-4", "C-8", "W-27"])
            .quiet(accepted(1))
            .step(altered(&ANNA, 3, array(vec![bin(ANNA.host), int(ANNA.port)])), welcome(&ANNA)),
    );
    all.push(
        Play::new("a handshake of type 3 is read as a whisper", &["W-17", "C-5"])
            .quiet(accepted(1))
            .step(ANNA.says(1, 3, 0, ANNA.introduction()), welcome(&ANNA)),
    );
    // 128 characters, the most there may be.
    let long: &'static str = "4444444444444444444444444444444444444444444444444444444444444444\
        4444444444444444444444444444444444444444444444444444444444444444";
    let long = Peer { id: long, ..ANNA };
    all.push(Play::new("a node id of 128 characters", &["C-7", "I-10", "L-28"]).joined(1, &long));
    all
}

fn refused_subnets() -> Vec<Play> {
    let mut all = Vec::new();
    let refused = || vec![own_handshake(1), closes(1, "wrong_subnet")];
    for (name, protocol) in [
        ("another subnet, as bin", bin(OTHER_PROTOCOL)),
        ("another subnet, as str", str(OTHER_PROTOCOL)),
        ("its own subnet and more behind it", bin(&format!("{PROTOCOL}2"))),
        ("a part of the subnet", bin(&PROTOCOL[..40])),
        ("no subnet, but nil", nil()),
        ("no subnet, but an integer", int(5)),
        ("no subnet, but bytes that are no text", json!({ "bin": "ff00" })),
        ("no subnet, but an array", array(vec![bin(PROTOCOL)])),
    ] {
        all.push(
            Play::new(&format!("who dials is of {name}"), &["C-6", "C-10", "I-7"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 2, protocol), refused())
                .quiet(ANNA.whispers(1, vec![int(2), str("still there")])),
        );
    }
    all.push(
        Play::new("the subnet is judged before the rest", &["C-6"])
            .quiet(accepted(1))
            .step(ANNA.whispers(1, vec![int(5), nil(), str(OTHER_PROTOCOL), nil(), nil()]), refused()),
    );
    all.push(
        Play::new("who is dialled is of another subnet", &["C-6", "C-30"])
            .step(connect(7, &ANNA.at()), vec![dials("$dial", ANNA.host, ANNA.port)])
            .step(dialled(1, "$dial"), vec![own_handshake(1)])
            .step(
                altered(&ANNA, 2, bin(OTHER_PROTOCOL)),
                vec![closes(1, "wrong_subnet"), fails(7, "connect")],
            ),
    );
    all
}

fn refused_ids() -> Vec<Play> {
    let mut all = Vec::new();
    let long = "4".repeat(129);
    for (name, id) in [
        ("an empty text", str("")),
        ("text that is no base58", str("4Anna0")),
        ("bytes that are no text", json!({ "bin": "ff00" })),
        ("129 characters", str(&long)),
        ("129 characters as bin", bin(&long)),
        ("an integer", int(4)),
        ("nil", nil()),
        ("an array", array(vec![str("4Anna")])),
    ] {
        all.push(
            Play::new(&format!("the node id is {name}"), &["C-7", "I-10", "L-28"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 1, id), vec![closes(1, "bad_handshake")]),
        );
    }
    for (form, id) in [("str", str(NODE)), ("bin", bin(NODE))] {
        all.push(
            Play::new(&format!("who dials has our own id, as {form}"), &["C-10", "I-11"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 1, id), vec![own_handshake(1), closes(1, "itself")]),
        );
    }
    all.push(
        Play::new("who is dialled is the node itself, and not dialled again", &["C-10", "C-32"])
            .step(
                json!({ "connect": { "token": 1, "target": ANNA.at(), "persist": true } }),
                vec![dials("$dial", ANNA.host, ANNA.port)],
            )
            .step(dialled(1, "$dial"), vec![own_handshake(1)])
            .step(altered(&ANNA, 1, str(NODE)), vec![closes(1, "itself"), fails(1, "connect")])
            .at(200_000)
            .quiet(tick()),
    );
    all.push(
        Play::new("someone else is where one certain node was dialled", &["C-10", "C-30"])
            .step(
                connect(3, &format!("{}@{}", BERT.id, ANNA.at())),
                vec![dials("$dial", ANNA.host, ANNA.port)],
            )
            .step(dialled(1, "$dial"), vec![own_handshake(1)])
            .step(ANNA.shakes_hands(1), vec![closes(1, "wrong_peer"), fails(3, "connect")]),
    );
    for (form, id) in [("str", str(ANNA.id)), ("bin", bin(ANNA.id))] {
        let peer = Peer { dialect: if form == "bin" { Dialect::Py2p } else { Dialect::Peernet }, ..ANNA };
        let play = Play::new(
            &format!("the very node that was dialled is there, its id as {form}"),
            &["C-10", "C-30", "I-11"],
        )
        .step(connect(3, &format!("{}@{}", ANNA.id, ANNA.at())), vec![dials("$dial", ANNA.host, ANNA.port)])
        .step(dialled(1, "$dial"), vec![own_handshake(1)]);
        let mut welcome = play.settled(1, &peer);
        welcome.extend([connected(&peer, 1), done(3, ANNA.id)]);
        all.push(play.step(altered(&peer, 1, id), welcome));
    }
    all.push(
        Play::new("the table of neighbours is full", &["C-10", "L-10"])
            .config("max_peers", 1)
            .joined(1, &ANNA)
            .quiet(accepted(2))
            .step(BERT.shakes_hands(2), vec![closes(2, "full")])
            .step(link_down(1), vec![disconnected(&ANNA, "remote")])
            .without(&ANNA)
            .joined(3, &BERT),
    );
    all
}

fn addresses() -> Vec<Play> {
    let long = "a".repeat(256);
    let unusable = [
        ("nil", nil()),
        ("text", str("127.0.0.2:4002")),
        ("two nils", array(vec![nil(), nil()])),
        ("one element", array(vec![str("127.0.0.2")])),
        ("three elements", array(vec![str("127.0.0.2"), int(4002), int(0)])),
        ("an empty host", address("", 4002)),
        ("a host of 256 bytes", address(&long, 4002)),
        ("a host with a space", address("127.0.0.2 ", 4002)),
        ("a host with an escape character", address("\u{1b}[2J", 4002)),
        ("a host that is no text", array(vec![json!({ "bin": "ff" }), int(4002)])),
        ("a port of 0", address("127.0.0.2", 0)),
        ("a port of 65536", array(vec![str("127.0.0.2"), int(65536)])),
        ("a negative port", array(vec![str("127.0.0.2"), int(-1)])),
        ("a port as text", array(vec![str("127.0.0.2"), str("4002")])),
        ("a port as a float", array(vec![str("127.0.0.2"), json!({ "float64": "40af440000000000" })])),
    ];
    let welcome = |address: Json| {
        let play = Play::new("", &[]);
        let mut all = play.welcome(1, &ANNA);
        all[3]["connected"]["address"] = address;
        all
    };
    let mut all: Vec<Play> = unusable
        .into_iter()
        .map(|(name, address)| {
            Play::new(&format!("an address that is {name} is none"), &["C-8"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 3, address), welcome(Json::Null))
                .quiet(accepted(2))
                .step(BERT.shakes_hands(2), Play::new("", &[]).welcome(2, &BERT))
        })
        .collect();
    for (name, host) in [("an IPv6 address", "::1".to_owned()), ("a name of 255 bytes", "a".repeat(255))] {
        all.push(
            Play::new(&format!("a host that is {name}"), &["C-2", "C-8", "L-28"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 3, address(&host, 65535)), welcome(json!([host, 65535]))),
        );
    }
    all
}

fn methods() -> Vec<Play> {
    let mut all = Vec::new();
    for (name, methods) in
        [("nil", nil()), ("an integer", int(0x13)), ("text", str("zlib")), ("a map", json!({"map": []}))]
    {
        all.push(
            Play::new(&format!("the methods are {name}"), &["C-9"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 4, methods), vec![closes(1, "bad_handshake")]),
        );
    }
    let mut many = vec![int(0x14); 63];
    many.extend([int(GZIP), int(ZLIB)]);
    for (name, list, read, write) in [
        ("none", vec![], vec![], None),
        ("one of ours", vec![int(GZIP)], vec![GZIP], Some(GZIP)),
        ("ours in another order", vec![int(GZIP), int(ZLIB)], vec![GZIP, ZLIB], Some(ZLIB)),
        ("only others", vec![int(0x20), int(0x12)], vec![], None),
        (
            "some that nobody can read, and repetitions",
            vec![
                nil(),
                int(-1),
                str("zlib"),
                int(0x14),
                int(ZLIB),
                int(ZLIB),
                int(0xffff_u32),
                int(GZIP),
                int(ZLIB),
            ],
            vec![ZLIB, GZIP],
            Some(ZLIB),
        ),
        ("65, of which the last is not looked at", many, vec![GZIP], Some(GZIP)),
    ] {
        let mut welcome = Play::new("", &[]).welcome(1, &ANNA);
        welcome[1] = agrees(1, &read, write);
        all.push(
            Play::new(&format!("the methods are {name}"), &["C-9", "C-12", "W-8", "W-9", "L-4"])
                .quiet(accepted(1))
                .step(altered(&ANNA, 4, array(list)), welcome),
        );
    }
    let (host, port) = ADDRESS;
    let silent = control(1, vec![int(5), str(NODE), bin(PROTOCOL), address(host, port), codes(&[])]);
    let mut welcome = Play::new("", &[]).welcome(1, &ANNA);
    (welcome[0], welcome[1]) = (silent, agrees(1, &[], None));
    all.push(
        Play::new("a node without methods offers none and uses none", &["C-2", "C-9", "L-43"])
            .config("compression", json!([]))
            .quiet(accepted(1))
            .step(ANNA.shakes_hands(1), welcome)
            .step(
                ANNA.says(1, RENEGOTIATE, 0, vec![int(1), codes(&[GZIP])]),
                vec![sends(&[1], "control", RENEGOTIATE, vec![int(1), codes(&[])]), agrees(1, &[], None)],
            ),
    );
    all
}

/// The frame of a message that is whole, but holds an extension, which is dropped on other links.
fn with_extension() -> Vec<u8> {
    let packed = Parts { kind: 2.into(), ..Parts::new(vec![]) }.packed();
    // One element more.
    framed(&body(&[&[packed[0] + 1], &packed[1..], &[0xd4, 5, 0]].concat()))
}

fn not_a_handshake() -> Vec<Play> {
    let mut all = Vec::new();
    let mut short = ANNA.introduction();
    short.pop();
    let mut long = ANNA.introduction();
    long.push(nil());
    for (name, input) in [
        ("a handshake of four elements", ANNA.whispers(1, short)),
        ("a handshake of six elements", ANNA.whispers(1, long)),
        ("a chord's flag under the handshake's code", ANNA.whispers(1, vec![int(5), str("1")])),
        ("a handshake of type broadcast", ANNA.says(1, BROADCAST, 0, ANNA.introduction())),
        ("a handshake of type renegotiate", ANNA.says(1, RENEGOTIATE, 0, ANNA.introduction())),
        ("a whisper", ANNA.whispers(1, vec![int(2), str("hello")])),
        ("a ping", ANNA.whispers(1, vec![int(3)])),
        ("a peers list", ANNA.whispers(1, vec![int(7), array(vec![BERT.entry()])])),
        ("a request for peers", ANNA.whispers(1, vec![int(8), bin("*")])),
        ("a broadcast", ANNA.says(1, BROADCAST, 0, vec![int(0), str("hello")])),
        ("a user's code", ANNA.whispers(1, vec![int(0x31)])),
        ("a message without a payload", ANNA.whispers(1, vec![])),
        ("a change of methods", ANNA.says(1, RENEGOTIATE, 0, vec![int(1), codes(&[])])),
    ] {
        all.push(
            Play::new(&format!("{name} before the handshake"), &["C-5"])
                .joined(2, &CARA)
                .quiet(accepted(1))
                .step(input, vec![closes(1, "handshake_expected")])
                .quiet(ANNA.shakes_hands(1)),
        );
    }
    all.push(
        Play::new("a message that would be dropped, before the handshake", &["C-5", "W-21"])
            .quiet(accepted(1))
            .step(frame(1, &with_extension()), vec![closes(1, "handshake_expected")]),
    );
    all.push(
        Play::new("a wrong digest before the handshake", &["W-6", "C-56"])
            .quiet(accepted(1))
            .step(frame(1, &framed(&[7; 60])), vec![closes(1, "bad_frame")]),
    );
    let parts = Parts { kind: 2.into(), sender: "4Anna".into(), time: TIME, payload: vec![5.into()] };
    let zlib = crate::streams::zlib(&parts.body(), 0x78, crate::streams::Blocks::Fixed);
    assert_ne!(digest(&zlib), [0; 32]);
    all.push(
        Play::new("a compressed frame before the handshake", &["W-9", "W-6", "C-12"])
            .quiet(accepted(1))
            .step(frame(1, &framed(&zlib)), vec![closes(1, "bad_frame")]),
    );
    all
}

fn late() -> Vec<Play> {
    let waiting = |name: &str| Play::new(name, &["C-13", "L-13"]).quiet(accepted(1));
    vec![
        waiting("no handshake comes")
            .at(9_999)
            .quiet(tick())
            .at(10_000)
            .step(tick(), vec![closes(1, "handshake_timeout")]),
        waiting("a handshake comes at the last moment")
            .at(9_999)
            .step(ANNA.shakes_hands(1), Play::new("", &[]).welcome(1, &ANNA))
            .at(20_000)
            .quiet(tick()),
        Play::new("who was dialled says nothing", &["C-13", "C-30", "L-13"])
            .step(connect(2, &ANNA.at()), vec![dials("$dial", ANNA.host, ANNA.port)])
            .at(5_000)
            .step(dialled(1, "$dial"), vec![own_handshake(1)])
            .at(15_000)
            .step(tick(), vec![closes(1, "handshake_timeout"), fails(2, "connect")]),
        Play::new("strangers that say nothing make room for others", &["L-9"])
            .config("max_opening", 2)
            .quiet(accepted(1))
            .at(10)
            .quiet(accepted(2))
            .at(20)
            .step(accepted(3), vec![closes(1, "handshake_timeout")])
            .step(ANNA.shakes_hands(2), Play::new("", &[]).welcome(2, &ANNA))
            .quiet(accepted(4)),
    ]
}

fn repeated() -> Vec<Play> {
    let again = |name: &str| Play::new(name, &["C-14"]).joined(1, &SCRIPT).at(5_000);
    let mut elsewhere = SCRIPT.introduction();
    elsewhere[3] = address("127.0.0.77", 4077);
    let mut fewer = SCRIPT.introduction();
    fewer[4] = codes(&[GZIP]);
    let mut foreign = SCRIPT.introduction();
    foreign[2] = str(OTHER_PROTOCOL);
    let mut other = SCRIPT.introduction();
    other[1] = str(BERT.id);
    let mut bad = SCRIPT.introduction();
    bad[1] = str("0");
    let mut listless = SCRIPT.introduction();
    listless[4] = nil();
    let mut as_bin = SCRIPT.introduction();
    as_bin[1] = bin(SCRIPT.id);
    as_bin[2] = bin(PROTOCOL);
    let gone = |reason: &str| vec![closes(1, reason), disconnected(&SCRIPT, reason)];
    vec![
        again("a handshake comes again").step(SCRIPT.shakes_hands(1), vec![peers_list(1, vec![])]),
        Play::new("handshakes that come again are answered once a second", &["C-14", "L-20"])
            .joined(1, &SCRIPT)
            .quiet(SCRIPT.shakes_hands(1))
            .at(999)
            .quiet(SCRIPT.shakes_hands(1))
            .at(1_000)
            .step(SCRIPT.shakes_hands(1), vec![peers_list(1, vec![])])
            .at(1_999)
            .quiet(SCRIPT.shakes_hands(1))
            .quiet(SCRIPT.whispers(1, vec![int(8), bin("*")]))
            .at(2_000)
            .step(SCRIPT.shakes_hands(1), vec![peers_list(1, vec![])]),
        again("a handshake comes again with another address")
            .step(SCRIPT.whispers(1, elsewhere), vec![peers_list(1, vec![])])
            .quiet(accepted(2))
            .step(
                ANNA.shakes_hands(2),
                vec![
                    own_handshake(2),
                    agrees(2, &[ZLIB, GZIP], Some(ZLIB)),
                    peers_list(2, vec![array(vec![address("127.0.0.77", 4077), str(SCRIPT.id)])]),
                    connected(&ANNA, 2),
                ],
            ),
        again("a handshake comes again with other methods")
            .step(SCRIPT.whispers(1, fewer), vec![agrees(1, &[GZIP], Some(GZIP)), peers_list(1, vec![])]),
        again("a handshake comes again with its ids in other forms, and its dialect stays")
            .step(SCRIPT.whispers(1, as_bin), vec![peers_list(1, vec![])])
            .quiet(accepted(2))
            .step(PYTHON.shakes_hands(2), Play::new("", &[]).welcome(2, &PYTHON)),
        again("a handshake comes again, of another subnet")
            .step(SCRIPT.whispers(1, foreign), gone("wrong_subnet")),
        again("a handshake comes again, of another node").step(SCRIPT.whispers(1, other), gone("wrong_peer")),
        again("a handshake comes again, with a node id that is none")
            .step(SCRIPT.whispers(1, bad), gone("bad_handshake")),
        again("a handshake comes again, without a list of methods")
            .step(SCRIPT.whispers(1, listless), gone("bad_handshake")),
        again("a chord's flag under the handshake's code is dropped")
            .quiet(SCRIPT.whispers(1, vec![int(5), str("1")]))
            .step(SCRIPT.shakes_hands(1), vec![peers_list(1, vec![])]),
    ]
}
