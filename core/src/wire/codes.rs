//! Every command code of the protocol, in one table (`spec/02-wire.md`, W-30).
//!
//! A message has a *type* (element 0) and its payload begins with a *code*. The constants below are
//! used by the code; [`TABLE`] lists the same numbers with their names for tools, documentation and
//! the bindings' tests.

/// Message types: element 0 of a message.
pub mod kind {
    /// Goes to every node of the subnet, relayed by each.
    pub const BROADCAST: u64 = 0x00;
    /// About the link itself: compression methods, or asking for the last message again.
    pub const RENEGOTIATE: u64 = 0x01;
    /// Goes to one neighbour and no further.
    pub const WHISPER: u64 = 0x02;
}

/// Codes: the first element of a message's payload.
pub mod code {
    /// A user's message to everyone.
    pub const BROADCAST: u64 = 0x00;
    /// In a renegotiation: a new list of compression methods.
    pub const COMPRESSION: u64 = 0x01;
    /// A user's message to one node.
    pub const WHISPER: u64 = 0x02;
    /// Are you there?
    pub const PING: u64 = 0x03;
    /// I am.
    pub const PONG: u64 = 0x04;
    /// Who I am, which subnet, where, and what I can decompress.
    pub const HANDSHAKE: u64 = 0x05;
    /// Chord: a key exists, or is gone.
    pub const NOTIFY: u64 = 0x06;
    /// Addresses of neighbours.
    pub const PEERS: u64 = 0x07;
    /// Asks for peers (`*`) or for the address of a node.
    pub const REQUEST: u64 = 0x08;
    /// In a renegotiation: send the last message again.
    pub const RESEND: u64 = 0x09;
    /// Answers a request for a node's address.
    pub const RESPONSE: u64 = 0x0A;
    /// Sync, chord: sets a key.
    pub const STORE: u64 = 0x0B;
    /// Chord: asks for a value.
    pub const RETRIEVE: u64 = 0x0C;
    /// Chord: the value asked for.
    pub const RETRIEVED: u64 = 0x0D;
    /// Reserved by 0.7, used by nobody.
    pub const FORWARD: u64 = 0x0E;
    /// Reserved by 0.7, used by nobody.
    pub const NEW_PATHS: u64 = 0x0F;
    /// Reserved by 0.7, used by nobody.
    pub const REVOKE_PATHS: u64 = 0x10;
    /// Sync, chord: merges a map into a stored map.
    pub const DELTA: u64 = 0x11;
    /// What one table holds, in short, to find where two differ. Peernet's own.
    pub const DIGEST: u64 = 0x12;
    /// What another table lacks. Peernet's own.
    pub const ENTRIES: u64 = 0x13;
    /// A request to one node. Peernet's own.
    pub const ASK: u64 = 0x14;
    /// The answer to a request. Peernet's own.
    pub const ANSWER: u64 = 0x15;
    /// A search, on its way through the subnet. Peernet's own.
    pub const SEARCH: u64 = 0x16;
    /// What a search found, on its way back. Peernet's own.
    pub const FOUND: u64 = 0x17;
    /// The first code that users' hooks may have; everything below is reserved.
    pub const FIRST_USER: u64 = 0x31;
}

/// Where a code of [`TABLE`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Element 0 of a message.
    Type,
    /// First element of the payload.
    Code,
    /// An element of a list of compression methods.
    Compression,
}

/// The codes that 0.7 does not have: whispered in `tls` subnets only.
pub const PEERNETS_OWN: std::ops::RangeInclusive<u64> = 0x12..=0x30;

/// All codes: where each stands, its name, its number. 0.7 names them all but [`PEERNETS_OWN`].
pub const TABLE: &[(Place, &str, u64)] = &[
    (Place::Type, "broadcast", kind::BROADCAST),
    (Place::Type, "renegotiate", kind::RENEGOTIATE),
    (Place::Type, "whisper", kind::WHISPER),
    (Place::Type, "ping", 0x03),
    (Place::Type, "pong", 0x04),
    (Place::Code, "broadcast", code::BROADCAST),
    (Place::Code, "compression", code::COMPRESSION),
    (Place::Code, "whisper", code::WHISPER),
    (Place::Code, "ping", code::PING),
    (Place::Code, "pong", code::PONG),
    (Place::Code, "handshake", code::HANDSHAKE),
    (Place::Code, "notify", code::NOTIFY),
    (Place::Code, "peers", code::PEERS),
    (Place::Code, "request", code::REQUEST),
    (Place::Code, "resend", code::RESEND),
    (Place::Code, "response", code::RESPONSE),
    (Place::Code, "store", code::STORE),
    (Place::Code, "retrieve", code::RETRIEVE),
    (Place::Code, "retrieved", code::RETRIEVED),
    (Place::Code, "forward", code::FORWARD),
    (Place::Code, "new_paths", code::NEW_PATHS),
    (Place::Code, "revoke_paths", code::REVOKE_PATHS),
    (Place::Code, "delta", code::DELTA),
    (Place::Code, "digest", code::DIGEST),
    (Place::Code, "entries", code::ENTRIES),
    (Place::Code, "ask", code::ASK),
    (Place::Code, "answer", code::ANSWER),
    (Place::Code, "search", code::SEARCH),
    (Place::Code, "found", code::FOUND),
    (Place::Compression, "bz2", 0x10),
    (Place::Compression, "gzip", 0x11),
    (Place::Compression, "lzma", 0x12),
    (Place::Compression, "zlib", 0x13),
    (Place::Compression, "bwtc", 0x14),
    (Place::Compression, "context1", 0x15),
    (Place::Compression, "defsum", 0x16),
    (Place::Compression, "dmc", 0x17),
    (Place::Compression, "fenwick", 0x18),
    (Place::Compression, "huffman", 0x19),
    (Place::Compression, "lzjb", 0x1A),
    (Place::Compression, "lzjbr", 0x1B),
    (Place::Compression, "lzp3", 0x1C),
    (Place::Compression, "mtf", 0x1D),
    (Place::Compression, "ppmd", 0x1E),
    (Place::Compression, "simple", 0x1F),
    (Place::Compression, "snappy", 0x20),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// W-30, W-31
    #[test]
    fn numbers_are_unique_in_their_place() {
        for (i, (place, name, number)) in TABLE.iter().enumerate() {
            for (other_place, other_name, other_number) in &TABLE[i + 1..] {
                assert!(
                    place != other_place || (number != other_number && name != other_name),
                    "{name} and {other_name}"
                );
            }
            assert!(*number < code::FIRST_USER);
        }
    }
}
