//! Everything a node counts.

use std::sync::atomic::Ordering;

use crate::protocol::Node;
use crate::runtime::Runtime;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $from:expr;)*) => {
        /// Everything a node counts, from [`Mesh::stats`](super::Mesh::stats). Nothing is dropped without being counted.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// The counters with their names, in order.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        impl Runtime {
            pub(super) fn stats(&self) -> Stats {
                type Source<'a> = (&'a Node, &'a Runtime);
                self.with_node(|node| Stats {
                    $($name: {
                        let read: fn(Source<'_>) -> u64 = $from;
                        read((node, self))
                    },)*
                })
            }
        }
    };
}

stats! {
    /// Neighbours now.
    peers: |(node, _)| node.neighbour_count() as u64;
    /// Links now: those to neighbours, those that shake hands, and second ones to the same peer that
    /// are on their way out.
    links: |(node, _)| node.link_count() as u64;
    /// Messages handed up.
    delivered: |(node, _)| node.counters().delivered;
    /// Own broadcasts.
    broadcasts: |(node, _)| node.counters().broadcasts;
    /// Own messages to one node that were sent.
    whispers: |(node, _)| node.counters().whispers;
    /// Broadcasts of others that were passed on.
    relayed: |(node, _)| node.counters().relayed;
    /// Copies of broadcasts that were known already.
    duplicates: |(node, _)| node.counters().duplicates;
    /// Own broadcasts that came back.
    echoes: |(node, _)| node.counters().echoes;
    /// Broadcasts dropped because their stamp is too old.
    stale: |(node, _)| node.counters().stale;
    /// Broadcasts dropped because their stamp lies in the future.
    future: |(node, _)| node.counters().future;
    /// Broadcasts dropped because their author did not write them; each ended the link that brought it.
    forged: |(node, _)| node.counters().forged;
    /// Messages dropped because of a limit that 0.7 does not have.
    refused: |(node, _)| node.counters().refused;
    /// Own requests.
    requests_sent: |(node, _)| node.counters().requests_sent;
    /// Requests of others that were handed up.
    requests_received: |(node, _)| node.counters().requests_received;
    /// Requests of others that got no answer but a refusal.
    requests_refused: |(node, _)| node.counters().requests_refused;
    /// Answers that nobody waited for any more.
    answers_late: |(node, _)| node.counters().answers_late;
    /// Own searches.
    searches_sent: |(node, _)| node.counters().searches_sent;
    /// Searches of others.
    searches_received: |(node, _)| node.counters().searches_received;
    /// Searches of others dropped because there were too many.
    searches_limited: |(node, _)| node.counters().searches_limited;
    /// Searches of others that the program could not be told of because it read too slowly.
    searches_dropped: |(_, runtime)| runtime.traffic.searches_dropped.load(Ordering::Relaxed);
    /// What others found, passed on to yet others.
    found_relayed: |(node, _)| node.counters().found_relayed;
    /// What others found, dropped because there was too much.
    found_limited: |(node, _)| node.counters().found_limited;
    /// What was found, dropped because there was no way back to its asker.
    found_lost: |(node, _)| node.counters().found_lost;
    /// Messages dropped because nobody here knows their code.
    unknown: |(node, _)| node.counters().unknown;
    /// Control messages dropped because they do not say what their code demands.
    malformed: |(node, _)| node.counters().malformed;
    /// Messages dropped because the program read too slowly.
    lagged: |(_, runtime)| runtime.lagged();
    /// Relayed messages dropped because a slow peer's queue was full.
    relays_dropped: |(_, runtime)| runtime.traffic.relays_dropped.load(Ordering::Relaxed);
    /// Answers to peers dropped because they ask and do not read.
    answers_dropped: |(_, runtime)| runtime.traffic.answers_dropped.load(Ordering::Relaxed);
    /// Times that a peer was found slow.
    slow_peers: |(_, runtime)| runtime.traffic.slow_peers.load(Ordering::Relaxed);
    /// Broadcasts dropped because their author may not join.
    authors_refused: |(node, _)| node.counters().authors_refused;
    /// Addresses that peers named and that were not taken into the peer book: there is no room for more of
    /// theirs, or the program has removed them.
    addresses_ignored: |(node, _)| node.counters().addresses_ignored;
    /// Addresses that peers named and that were not dialled, because whoever is not on this machine or
    /// network has no business there.
    addresses_refused: |(node, _)| node.counters().addresses_refused;
    /// Offences of peers: what no honest one does.
    offences: |(node, _)| node.counters().offences;
    /// Times that a peer's offences were too many, and it was closed.
    misbehaved: |(node, _)| node.counters().misbehaved;
    /// Connections that were closed at once because of who is there.
    peers_refused: |(node, runtime)| {
        node.counters().peers_refused + runtime.traffic.refused.load(Ordering::Relaxed)
    };
    /// Links that came up.
    links_opened: |(node, _)| node.counters().links_opened;
    /// Links that ended before their handshake was done.
    handshakes_failed: |(node, _)| node.counters().handshakes_failed;
    /// Connections that others made and that came to no link: no TLS, or not of this subnet.
    strangers: |(_, runtime)| runtime.traffic.strangers.load(Ordering::Relaxed);
    /// Connections closed unheard because of where they came from: too many, too often, or from where
    /// somebody misbehaved.
    turned_away: |(_, runtime)| runtime.traffic.turned_away.load(Ordering::Relaxed);
    /// Connections closed for newer ones before their TLS or WebSocket handshake was done.
    crowded_out: |(_, runtime)| runtime.traffic.crowded_out.load(Ordering::Relaxed);
    /// Times that a peer was read more slowly because it sends too much.
    throttled: |(_, runtime)| runtime.traffic.throttled.load(Ordering::Relaxed);
    /// Broadcasts that were not passed on because there were too many of their author's.
    relays_limited: |(node, _)| node.counters().relays_limited;
    /// Versions of a table's keys that were not taken because of a bound of the table.
    table_refused: |(node, _)| node.counters().table_refused;
    /// Versions of a table's keys that were not taken because they are stamped too far ahead of our clock.
    table_ahead: |(node, _)| node.counters().table_ahead;
    /// Whispers about tables that answer nothing we asked.
    table_unasked: |(node, _)| node.counters().table_unasked;
    /// Questions about tables that were not answered because a peer asks too much.
    table_limited: |(node, _)| node.counters().table_limited;
    /// Records written to the store.
    records_kept: |(_, runtime)| runtime.keeping().0;
    /// Records dropped because the store fails and too many wait for it already.
    records_lost: |(_, runtime)| runtime.keeping().1;
    /// Records of earlier runs that did not read.
    records_damaged: |(_, runtime)| runtime.records_damaged;
    /// Frames read.
    frames_in: |(_, runtime)| runtime.traffic.frames_in.load(Ordering::Relaxed);
    /// Bytes read.
    bytes_in: |(_, runtime)| runtime.traffic.bytes_in.load(Ordering::Relaxed);
    /// Frames written.
    frames_out: |(_, runtime)| runtime.traffic.frames_out.load(Ordering::Relaxed);
    /// Bytes written.
    bytes_out: |(_, runtime)| runtime.traffic.bytes_out.load(Ordering::Relaxed);
    /// Frames that compression was tried on.
    compression_tried: |(_, runtime)| runtime.traffic.compression_tried.load(Ordering::Relaxed);
    /// Of those, frames that went compressed because they were smaller.
    compression_kept: |(_, runtime)| runtime.traffic.compression_kept.load(Ordering::Relaxed);
    /// Frames to peers with a common method that were not worth a try.
    compression_skipped: |(_, runtime)| runtime.traffic.compression_skipped.load(Ordering::Relaxed);
}
