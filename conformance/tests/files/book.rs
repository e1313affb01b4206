//! K-30 to K-46: the peer book, and how nodes find together by it.

use serde_json::{Value as Json, json};

use crate::play::*;

pub(crate) fn file() -> String {
    let plays = vec![asks(), enough(), tried_again(), removed(), saved()];
    transcript_file("the peer book: who is asked and dialled while links are wanted", plays)
}

fn save(peer: &Peer) -> Json {
    json!({ "save": { "address": peer.at() } })
}

fn remove(peer: &Peer) -> Json {
    json!({ "remove": { "address": peer.at() } })
}

fn names(peer: &Peer, link: u64, entries: Vec<Json>) -> Json {
    peer.whispers(link, vec![int(7), array(entries)])
}

fn asks() -> Play {
    Play::new("a node that lacks neighbours asks those it has", &["K-40", "K-41", "L-100", "L-101"])
        .config("connections", 2)
        .config("ask_interval", 900)
        .joined(1, &ANNA)
        .at(674)
        .quiet(tick())
        .at(900)
        .step(tick(), vec![request_peers(1)])
        .step(names(&ANNA, 1, vec![BERT.entry()]), vec![dials("$bert", BERT.host, BERT.port)])
        .step(dialled(2, "$bert"), vec![own_handshake(2)])
}

fn enough() -> Play {
    Play::new("one that has enough does not", &["K-40", "L-100"])
        .config("connections", 1)
        .config("ask_interval", 5_000)
        .joined(1, &ANNA)
        .at(25_000)
        .quiet(tick())
}

fn tried_again() -> Play {
    Play::new("in need what has failed is tried again at each interval", &["K-43"])
        .config("connections", 1)
        .config("ask_interval", 4_000)
        .config("redial_min", 60_000)
        .quiet(save(&ANNA))
        .step(tick(), vec![dials("$first", ANNA.host, ANNA.port)])
        .quiet(dial_failed("$first"))
        .at(2_999)
        .quiet(tick())
        .at(4_000)
        .step(tick(), vec![dials("$second", ANNA.host, ANNA.port)])
        .step(dialled(1, "$second"), vec![own_handshake(1)])
}

fn removed() -> Play {
    Play::new("a removed address is not taken from others for a day", &["K-33"])
        .joined(1, &ANNA)
        .quiet(remove(&BERT))
        .quiet(names(&ANNA, 1, vec![BERT.entry()]))
        .step(names(&ANNA, 1, vec![CARA.entry()]), vec![dials("$cara", CARA.host, CARA.port)])
}

fn saved() -> Play {
    Play::new("unless the program saves it", &["K-33"])
        .config("connections", 1)
        .config("ask_interval", 4_000)
        .quiet(remove(&BERT))
        .quiet(save(&BERT))
        .step(tick(), vec![dials("$bert", BERT.host, BERT.port)])
}
