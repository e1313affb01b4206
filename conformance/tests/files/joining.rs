//! T-70 to T-72: who may join a subnet that proves ids.

use serde_json::{Value as Json, json};

use crate::play::*;
use crate::signed::{arrives, handed_up, proven, proves, says, two};

pub(crate) fn file() -> String {
    let plays = [only_those_on_the_list(), banned(), banned_author()];
    transcript_file_of(
        "tls subnets: allow lists and bans, for neighbours and for authors",
        plays.map(proven).into_iter().collect(),
    )
}

fn allow(peers: &[&Peer]) -> Json {
    json!({ "allow": { "peers": peers.iter().map(|peer| peer.id).collect::<Vec<_>>() } })
}

fn ban(peer: &Peer, seconds: u64) -> Json {
    json!({ "ban": { "peer": peer.id, "seconds": seconds } })
}

fn unban(peer: &Peer) -> Json {
    json!({ "unban": { "peer": peer.id } })
}

fn only_those_on_the_list() -> Play {
    two("only those on the list may join", &["T-70", "T-72"])
        .step(allow(&[&BERT]), vec![closes(1, "not_allowed"), disconnected(&ANNA, "not_allowed")])
        .without(&ANNA)
        .step(proves(3, 1), vec![closes(3, "not_allowed")])
        .quiet(allow(&[&ANNA]))
        .joined_by(proves(4, 1), 4, &ANNA)
        .step(
            json!({ "disallow": { "peer": ANNA.id } }),
            vec![closes(4, "not_allowed"), disconnected(&ANNA, "not_allowed")],
        )
}

fn banned() -> Play {
    two("a ban holds until its time is over", &["T-71", "T-72"])
        .config("keep_alive", 1_000_000)
        .step(ban(&ANNA, 100), vec![closes(1, "banned"), disconnected(&ANNA, "banned")])
        .without(&ANNA)
        .at(99_000)
        .step(proves(3, 1), vec![closes(3, "banned")])
        .at(100_000)
        .quiet(proves(4, 1))
        .quiet(ban(&CARA, 100))
        .quiet(unban(&CARA))
}

fn banned_author() -> Play {
    two("what a banned author wrote is dropped, and whoever relays it is not blamed", &["T-68", "T-72"])
        .step(ban(&BERT, 100), vec![closes(2, "banned"), disconnected(&BERT, "banned")])
        .quiet(arrives(1, &says(0, "hear me")))
        .quiet(unban(&BERT))
        .step(arrives(1, &says(1, "thanks")), vec![handed_up(1, "thanks")])
}
