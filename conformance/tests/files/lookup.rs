//! C-40 to C-48: reaching a node that is no neighbour.

use serde_json::{Value as Json, json};

use crate::pack::TIME;
use crate::play::*;

const ZOE: Peer = Peer { id: "9Zoe", host: "127.0.0.9", port: 4009, dialect: Dialect::Peernet };

pub(crate) fn file() -> String {
    let mut plays = vec![
        found(),
        found_by_another_way(),
        waits_in_order(),
        timed_out(),
        found_too_late(),
        answered_by_both(),
        dial_fails(),
        someone_else(),
        neighbour(),
        unreachable(),
        too_many_waiting(),
        three_addresses(),
        asked_for_itself(),
        asked_for_neighbour(),
        asked_for_unknown(),
        asked_by_python(),
        asked_for_no_node(),
        asked_in_a_whisper(),
    ];
    plays.extend(responses_that_are_none());
    transcript_file("looking for a node: requests, answers, and what is dialled", plays)
}

/// The two requests for a node.
fn asks(links: &[u64], wanted: &str, request: &str) -> Vec<Json> {
    [str(wanted), bin(wanted)]
        .into_iter()
        .map(|wanted| sends(links, "own", BROADCAST, vec![int(8), json!({ "str": request }), wanted]))
        .collect()
}

fn response(link: u64, request: Json, address: Json, wanted: Json) -> Json {
    ANNA.says(link, BROADCAST, 0, vec![int(10), request, array(vec![address, wanted])])
}

fn named(request: &str) -> Json {
    json!({ "str": request })
}

/// A whisper to Zoe while Anna is the only neighbour.
fn looking(name: &str, rules: &[&str]) -> Play {
    Play::new(name, rules)
        .config("trust_lookups", true)
        .joined(1, &ANNA)
        .at(1_000)
        .step(whisper(1, ZOE.id, vec![str("hello")]), asks(&[1], ZOE.id, "$request"))
}

fn dials_zoe() -> Vec<Json> {
    vec![dials("$zoe", ZOE.host, ZOE.port)]
}

fn sent(link: u64, text: &str, token: u64, seconds: i64) -> Vec<Json> {
    vec![made_at(sends(&[link], "own", WHISPER, vec![int(2), str(text)]), seconds), done(token, ZOE.id)]
}

fn found() -> Play {
    let play = looking("a node is looked for, dialled, and told", &["C-40", "C-41", "C-44", "C-46"])
        .at(1_500)
        .step(response(1, named("$request"), ZOE.address(), str(ZOE.id)), dials_zoe())
        .at(1_600)
        .step(dialled(2, "$zoe"), vec![own_handshake(2)]);
    let mut welcome = play.settled(2, &ZOE);
    welcome.push(connected(&ZOE, 2));
    welcome.extend(sent(2, "hello", 1, 1));
    play.at(2_000).step(ZOE.shakes_hands(2), welcome).at(11_000).quiet(tick())
}

fn found_by_another_way() -> Play {
    let play = looking("the node that is looked for comes by itself", &["C-46"]);
    let mut welcome = play.welcome(2, &ZOE);
    welcome.extend(sent(2, "hello", 1, 1));
    play.at(4_000)
        .quiet(accepted(2))
        .step(ZOE.shakes_hands(2), welcome)
        // An answer to what was asked before is not needed any more, only relayed.
        .step(
            response(1, named("$request"), ZOE.address(), str(ZOE.id)),
            vec![relays(&[2], &response(1, named("$request"), ZOE.address(), str(ZOE.id)))],
        )
}

fn waits_in_order() -> Play {
    let play = looking("whispers to one node wait for one answer, in their order", &["C-41", "C-46"])
        .at(2_000)
        .quiet(whisper(2, ZOE.id, vec![str("second")]))
        .at(3_000)
        .quiet(whisper(3, ZOE.id, vec![str("third")]))
        .step(response(1, named("$request"), ZOE.address(), bin(ZOE.id)), dials_zoe())
        .step(dialled(2, "$zoe"), vec![own_handshake(2)]);
    let mut welcome = play.settled(2, &ZOE);
    welcome.push(connected(&ZOE, 2));
    for (token, text, seconds) in [(1, "hello", 1), (2, "second", 2), (3, "third", 3)] {
        welcome.extend(sent(2, text, token, seconds));
    }
    play.step(ZOE.shakes_hands(2), welcome)
}

fn timed_out() -> Play {
    looking("nobody answers in time", &["C-46", "L-17"])
        .at(5_000)
        .quiet(whisper(2, ZOE.id, vec![str("second")]))
        .at(10_999)
        .quiet(tick())
        .at(11_000)
        .step(tick(), vec![fails(1, "unreachable"), fails(2, "unreachable")])
        // Asked anew.
        .step(whisper(3, ZOE.id, vec![str("third")]), asks(&[1], ZOE.id, "$second"))
}

fn found_too_late() -> Play {
    looking("an answer that comes too late is not acted on", &["C-44", "C-46", "L-17"])
        .at(11_000)
        .step(tick(), vec![fails(1, "unreachable")])
        .quiet(response(1, named("$request"), ZOE.address(), str(ZOE.id)))
}

fn answered_by_both() -> Play {
    looking("the answers to both forms of one request dial the node once", &["C-41", "C-44"])
        .step(response(1, named("$request"), ZOE.address(), str(ZOE.id)), dials_zoe())
        .quiet(response(1, named("$request"), ZOE.address(), bin(ZOE.id)))
        .step(dialled(2, "$zoe"), vec![own_handshake(2)])
        .quiet(message(
            1,
            BROADCAST,
            str("4Else"),
            TIME,
            vec![int(10), named("$request"), array(vec![ZOE.address(), str(ZOE.id)])],
        ))
}

fn dial_fails() -> Play {
    looking("the address that was told is no good, and another is told", &["C-44", "C-45"])
        .step(
            response(1, named("$request"), address("127.0.0.99", 4099), str(ZOE.id)),
            vec![dials("$bad", "127.0.0.99", 4099)],
        )
        .quiet(dial_failed("$bad"))
        .step(response(1, named("$request"), ZOE.address(), str(ZOE.id)), dials_zoe())
}

fn someone_else() -> Play {
    looking("someone else is at the address that was told", &["C-44", "C-10"])
        .step(
            response(1, named("$request"), CARA.address(), str(ZOE.id)),
            vec![dials("$cara", CARA.host, CARA.port)],
        )
        .step(dialled(2, "$cara"), vec![own_handshake(2)])
        .step(CARA.shakes_hands(2), vec![closes(2, "wrong_peer")])
        .at(11_000)
        .step(tick(), vec![fails(1, "unreachable")])
}

fn neighbour() -> Play {
    Play::new("a neighbour is told at once", &["C-40", "C-51"])
        .joined(1, &ANNA)
        .joined(2, &BERT)
        .at(3_000)
        .step(
            whisper(5, BERT.id, vec![str("hello"), int(5)]),
            vec![sends(&[2], "own", WHISPER, vec![int(2), str("hello"), int(5)]), done(5, BERT.id)],
        )
}

fn unreachable() -> Play {
    Play::new("a node that nobody can be asked for", &["C-40"])
        .config("trust_lookups", true)
        .step(whisper(1, ZOE.id, vec![str("hello")]), vec![fails(1, "unreachable")])
        .joined(1, &ANNA)
        .step(whisper(2, NODE, vec![str("hello")]), vec![fails(2, "unreachable")])
}

fn too_many_waiting() -> Play {
    let mut play = looking("64 whispers wait for one node, a 65th fails", &["C-40", "L-25"]);
    for token in 2..=64 {
        play = play.quiet(whisper(token, ZOE.id, vec![str("more")]));
    }
    play.step(whisper(65, ZOE.id, vec![str("too many")]), vec![fails(65, "unreachable")])
}

fn three_addresses() -> Play {
    let mut play = looking("at most three addresses are dialled for one node", &["C-45", "L-26"]);
    for n in 1..=3 {
        let (host, port) = (format!("127.0.1.{n}"), 5000 + n);
        play = play.step(
            response(1, named("$request"), address(&host, port), str(ZOE.id)),
            vec![dials(&format!("$d{n}"), &host, port)],
        );
    }
    play.quiet(response(1, named("$request"), ZOE.address(), str(ZOE.id)))
        .quiet(dial_failed("$d1"))
        .quiet(response(1, named("$request"), address("127.0.1.5", 5005), str(ZOE.id)))
}

fn responses_that_are_none() -> Vec<Play> {
    let request = || named("$request");
    let found = |address: Json, id: Json| array(vec![address, id]);
    [
        ("another request", vec![int(10), str("other"), found(ZOE.address(), str(ZOE.id))]),
        ("another node", vec![int(10), request(), found(ZOE.address(), str(CARA.id))]),
        ("no id", vec![int(10), request(), found(ZOE.address(), nil())]),
        ("an id that is none", vec![int(10), request(), found(ZOE.address(), str("0"))]),
        ("no address", vec![int(10), request(), found(nil(), str(ZOE.id))]),
        ("an address of nils", vec![int(10), request(), found(array(vec![nil(), nil()]), str(ZOE.id))]),
        ("port 0", vec![int(10), request(), found(address("127.0.0.9", 0), str(ZOE.id))]),
        ("nothing", vec![int(10), request()]),
        ("no list", vec![int(10), request(), str(ZOE.id)]),
        ("a longer list", vec![int(10), request(), array(vec![ZOE.address(), str(ZOE.id), nil()])]),
        ("more elements", vec![int(10), request(), found(ZOE.address(), str(ZOE.id)), nil()]),
    ]
    .into_iter()
    .map(|(name, payload)| {
        let input = ANNA.says(1, BROADCAST, 0, payload);
        Play::new(&format!("a response that tells of {name} is only relayed"), &["C-44", "C-57", "M-10"])
            .config("trust_lookups", true)
            .joined(1, &ANNA)
            .joined(2, &BERT)
            .step(whisper(1, ZOE.id, vec![str("hello")]), asks(&[1, 2], ZOE.id, "$request"))
            .step(input.clone(), vec![relays(&[2], &input)])
            .step(
                response(1, named("$request"), ZOE.address(), str(ZOE.id)),
                [
                    vec![relays(&[2], &response(1, named("$request"), ZOE.address(), str(ZOE.id)))],
                    dials_zoe(),
                ]
                .concat(),
            )
    })
    .collect()
}

fn answers(link: u64, request: Json, address: Json, wanted: Json) -> Json {
    sends(&[link], "control", BROADCAST, vec![int(10), request, array(vec![address, wanted])])
}

/// Anna and Bert are neighbours.
fn two(name: &str, rules: &[&str]) -> Play {
    Play::new(name, rules).joined(1, &ANNA).joined(2, &BERT)
}

/// A request from afar, by Anna's link.
fn request(sender: Json, request: Json, wanted: Json) -> Json {
    message(1, BROADCAST, sender, TIME, vec![int(8), request, wanted])
}

fn asked_for_itself() -> Play {
    let (host, port) = ADDRESS;
    let mut play = two("the node itself is looked for", &["C-42", "C-43", "W-27"]);
    for (name, wanted) in [
        (str("r1"), str(NODE)),
        (str("r1"), bin(NODE)),
        (bin("r1"), bin(NODE)),
        (str(&"r".repeat(128)), str(NODE)),
    ] {
        let input = request(str("9Far"), name.clone(), wanted.clone());
        let answer = answers(1, name, address(host, port), wanted);
        play = play.step(input.clone(), vec![relays(&[2], &input), answer]);
    }
    // Once.
    play.quiet(request(str("9Far"), str("r1"), str(NODE)))
}

fn asked_for_neighbour() -> Play {
    let mut play = two("a neighbour is looked for", &["C-42", "C-43"]).joined(3, &SCRIPT).joined(4, &PYTHON);
    for peer in [BERT, SCRIPT, PYTHON, ANNA] {
        for wanted in [str(peer.id), bin(peer.id)] {
            let input = request(str("9Far"), str("r"), wanted.clone());
            let answer = answers(1, str("r"), peer.address(), wanted);
            play = play.step(input.clone(), vec![relays(&[2, 3, 4], &input), answer]);
        }
    }
    play
}

fn asked_for_unknown() -> Play {
    let mut payload = BERT.introduction();
    payload[3] = nil();
    let mut welcome = Play::new("", &[]).joined(1, &ANNA).welcome(2, &BERT);
    welcome[3]["connected"]["address"] = Json::Null;
    let unknown = request(str("9Far"), str("r"), str("4Else"));
    let nowhere = request(str("9Far"), str("r"), str(BERT.id));
    Play::new("who is unknown, or has no address, is only asked for further", &["C-42", "M-10"])
        .joined(1, &ANNA)
        .quiet(accepted(2))
        .step(BERT.whispers(2, payload), welcome)
        .step(unknown.clone(), vec![relays(&[2], &unknown)])
        .step(nowhere.clone(), vec![relays(&[2], &nowhere)])
}

fn asked_by_python() -> Play {
    let play = two("a py2p is not told of a js2p", &["C-47", "C-42"]).joined(3, &SCRIPT).joined(4, &PYTHON);
    let script = request(bin("9Far"), str("r"), bin(SCRIPT.id));
    let python = request(bin("9Far"), str("r"), bin(PYTHON.id));
    let bert = request(bin("9Far"), str("r"), bin(BERT.id));
    let by_str = request(str("9Far"), str("r"), bin(PYTHON.id));
    let answer = |peer: &Peer| answers(1, str("r"), peer.address(), bin(peer.id));
    play.step(script.clone(), vec![relays(&[2, 3, 4], &script)])
        .step(python.clone(), vec![relays(&[2, 3, 4], &python), answer(&PYTHON)])
        .step(bert.clone(), vec![relays(&[2, 3, 4], &bert), answer(&BERT)])
        .step(by_str.clone(), vec![relays(&[2, 3, 4], &by_str), answer(&PYTHON)])
}

fn asked_for_no_node() -> Play {
    let mut play = two("requests that ask for no node are only relayed", &["C-42", "C-57", "W-28", "L-28"]);
    let long = str(&"r".repeat(129));
    for payload in [
        vec![int(8)],
        vec![int(8), str("r")],
        vec![int(8), str("*")],
        vec![int(8), str("r"), nil()],
        vec![int(8), str("r"), int(5)],
        vec![int(8), str("r"), str("")],
        vec![int(8), str("r"), str("no id")],
        vec![int(8), str("r"), str(NODE), nil()],
        vec![int(8), long, str(NODE)],
        vec![int(8), int(77), str(NODE)],
        vec![int(8), nil(), str(NODE)],
        vec![int(8), array(vec![str("r")]), str(NODE)],
        vec![int(8), json!({ "bin": "ff" }), str(NODE)],
    ] {
        let input = message(1, BROADCAST, str("9Far"), TIME, payload);
        play = play.step(input.clone(), vec![relays(&[2], &input)]);
    }
    play
}

fn asked_in_a_whisper() -> Play {
    let (host, port) = ADDRESS;
    let asked = |name: &str, wanted: &str| ANNA.whispers(1, vec![int(8), str(name), str(wanted)]);
    two("a whispered request is answered, and not relayed", &["C-48", "C-43"])
        .step(asked("r1", NODE), vec![answers(1, str("r1"), address(host, port), str(NODE))])
        .step(asked("r2", BERT.id), vec![answers(1, str("r2"), BERT.address(), str(BERT.id))])
        .quiet(asked("r3", "4Else"))
}
