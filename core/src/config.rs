//! Everything that can be set, and every bound, in one place.

use std::time::Duration;

use crate::wire::{MAX_FRAME, Method};

/// How a node behaves. Start from [`Config::default`] or a preset and change what you need:
///
/// ```
/// use peernet::Config;
///
/// let config = Config { max_peers: 16, ..Config::lan() };
/// assert!(config.check().is_ok());
/// ```
///
/// Every bound of the library stands here; what happens at the bound is said with each.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Neighbours at most (64). Further ones are refused with a clear reason on our side; 0.7 has no
    /// words for it, so theirs sees the link close.
    pub max_peers: usize,
    /// Links from others that have not finished their handshake, or are second ones to a neighbour and
    /// on their way out, at most (64). When a stranger comes while all are taken, the oldest is
    /// closed.
    pub max_opening: usize,
    /// Connections at most that one IP address has made to us (32; none with `lan` and `local`), of IPv6
    /// one /64. `None` for no bound, here and below. This machine's own addresses have none.
    pub max_per_address: Option<usize>,
    /// Connections at most that addresses around another have made to us (48; none with `lan` and
    /// `local`): in one /24, of IPv6 in one /48. So nobody with one such range can take all
    /// places. Private networks have no such bound.
    pub max_per_range: Option<usize>,
    /// How often in a minute one IP address, or one proven id, may connect to us (60; no bound with
    /// `lan` and `local`). Whoever comes more often is refused for `refuse_for`. This machine's own
    /// addresses have no such bound.
    pub connects_per_minute: Option<u32>,
    /// Messages read of one peer in a second, at most (500,000; no bound with `lan` and `local`). The
    /// rest waits: the peer is read more slowly, and nothing is lost.
    pub messages_per_second: Option<u64>,
    /// Bytes read of one peer in a second, at most (256 MiB; no bound with `lan` and `local`). The rest
    /// waits, as with messages.
    pub bytes_per_second: Option<u64>,
    /// Broadcasts of one author that are passed on in a second, at most (100,000; no bound with `lan`
    /// and `local`). More are handed up here, but not passed on, and counted.
    pub relays_per_author: Option<u32>,
    /// While fewer links than this are of our own making, addresses that neighbours name are dialled
    /// (4, as 0.7 has it; 0 for only those that `connect` names).
    pub max_outgoing: usize,
    /// Addresses in the peer book, at most (4,096 of about 300 bytes each). No peer's lists and no range
    /// of addresses get more than a sixteenth of it; at the bound, addresses that were only named make
    /// room for those that proved themselves, and never the reverse.
    pub book_addresses: usize,
    /// Neighbours wanted (5): while there are fewer, those there are asked for others, and known addresses
    /// are dialled; when there are as many, one is still dialled at times to find parts of the network
    /// that this one has lost. 0 for none of this, as in 0.7; then nothing of the peer book is kept
    /// either. `max_outgoing` of 0 turns it off too.
    pub connections: usize,
    /// How often that is done (5 s, shortened by a random part of up to a quarter).
    pub ask_interval: Duration,
    /// How often addresses that were only ever named and only ever failed are dropped (60 s).
    pub purge_interval: Duration,
    /// Addresses dialled in a minute because neighbours' lists named them, at most (60): enough to
    /// join, too few to be somebody's scanner. Further ones wait.
    pub named_dials_per_minute: u32,
    /// Whether `send` and `reply` may look for a node that is no neighbour in subnets that prove no
    /// ids (all but `tls`): there, whoever answers first in its name gets the message (no). Without it
    /// such a send fails with [`crate::Error::Unproven`].
    pub trust_lookups: bool,
    /// How long a peer's offences count ([`crate::protocol::Offence`]): their points fade evenly over
    /// this time (10 min).
    pub forgive_after: Duration,
    /// How long a peer that misbehaved is refused (5 min): by its id where ids are proven, elsewhere
    /// by its IP address unless that is this machine's.
    pub refuse_for: Duration,
    /// Time from link up to the end of the handshake (10 s); then the link is closed.
    pub handshake_timeout: Duration,
    /// Time for a dial to get a connection (10 s).
    pub dial_timeout: Duration,
    /// A link on which nothing arrived for this long is asked whether it lives (30 s), and closed
    /// when as much time again brings nothing.
    pub keep_alive: Duration,
    /// Time for a frame to arrive whole once it has begun (60 s, as in py2p); then the link is
    /// closed.
    pub frame_timeout: Duration,
    /// First pause before a broken or failed link is dialled again (500 ms); it doubles with every
    /// failure, up to `redial_max`, and is shortened by a random part of up to a half.
    pub redial_min: Duration,
    /// Longest pause before a link is dialled again (60 s).
    pub redial_max: Duration,
    /// Time to find and reach a node that is no neighbour (10 s); then `send` fails.
    pub lookup_timeout: Duration,
    /// Requests under way at most, of others and of our own each (4,096). Further ones of others are refused,
    /// a further one of our own is an error.
    pub max_requests: usize,
    /// Requests of one peer under way at most (256). Further ones are refused. All of others' together keep
    /// at most `inbox_bytes`, those of one peer a quarter of that.
    pub max_requests_per_peer: usize,
    /// How long a search goes on, and how long nodes that it came by keep the way back to whoever asked
    /// (10 s). It should be the same in all nodes of a subnet.
    pub search_time: Duration,
    /// Searches whose way back is kept, at most (4,096). For a further one, the neighbour that brought most
    /// of them loses its oldest; from that neighbour itself it is dropped.
    pub search_routes: usize,
    /// What is taken in, or passed on, for one search, at most (256). More is dropped. The ways back with
    /// what was found on each take some 40 MiB at the very worst.
    pub search_rows: usize,
    /// Searches of one author in a second, at most (10; no bound with `lan` and `local`). Further ones are
    /// dropped, and a further own one is an error. `None` for no bound, here and below.
    pub searches_per_author: Option<u32>,
    /// Searches that one neighbour brings in a second, at most (50; no bound with `lan` and `local`).
    /// Further ones are dropped.
    pub searches_per_peer: Option<u32>,
    /// What one neighbour brings in a second that was found, at most (250; no bound with `lan` and
    /// `local`). More is dropped.
    pub found_per_peer: Option<u32>,
    /// Broadcasts older or newer than this many seconds by our clock are dropped (60, as in 0.7;
    /// 0.7 itself takes any from the future, which lets old ones in again). In `tls` subnets no clock
    /// counts: a broadcast is dropped that is older than another of its author that came two to three
    /// times as long ago.
    pub fresh_seconds: u32,
    /// Ids of broadcasts remembered, at most (8 Mi of 8 bytes each; memory grows with traffic only).
    /// At the bound the oldest second is forgotten and everything as old is refused as stale, so
    /// that nothing is ever handed up twice; readers wait rather than let this window shrink below
    /// [`Config::fresh_floor`]. Those from further ahead than that get half of it, because they cannot
    /// be forgotten before their time; more are refused. In `tls` subnets, where there is no such
    /// future, a third of it is for each of three generations.
    pub seen_capacity: usize,
    /// The fewest seconds of broadcasts that are remembered whatever their number (3).
    pub fresh_floor: u32,
    /// Authors whose newest stamp is remembered in `tls` subnets, at most (65,536 of about 150 bytes
    /// each; memory grows with authors only). At the bound those are forgotten that have been silent
    /// for longest. When all have spoken within the last three times `fresh_seconds`, broadcasts of
    /// further ones are dropped.
    pub max_authors: usize,
    /// Largest frame sent or accepted, and the most that a compressed one may unpack to, in bytes
    /// (16 MiB). A larger one from a peer ends its link; a larger one from the user is an error.
    pub max_frame: usize,
    /// Compression methods offered and used, best first (snappy, zlib, gzip, bz2, lzma). Empty for
    /// none.
    pub compression: Vec<Method>,
    /// Bytes of own messages waiting on one link, at most (1 MiB). At the bound an awaiting send
    /// waits and a trying one says which links are full.
    pub own_queue: usize,
    /// Bytes of relayed messages waiting on one link, at most (4 MiB). At the bound the links they
    /// come from are read no further, until there is room or the link counts as slow.
    pub relay_queue: usize,
    /// A link that takes none of the bytes waiting for it for this long is slow (1 s): the user is
    /// told, and relayed messages it has no room for are dropped and counted instead of waited for.
    pub slow_after: Duration,
    /// A link that takes none of the bytes waiting for it for this long is closed (10 s).
    pub stall_timeout: Duration,
    /// Messages waiting for the program to read them, at most (16,384).
    pub inbox_messages: usize,
    /// Bytes of messages waiting for the program to read them, at most (16 MiB). At either bound
    /// the links wait up to `inbox_patience` for a program that is reading; then messages are
    /// dropped, and the program is told how many by `lagged`.
    pub inbox_bytes: usize,
    /// How long a full inbox holds up the links (250 ms).
    pub inbox_patience: Duration,
    /// How long records of what must outlive the node may wait before they are in the store on the disk
    /// (500 ms). [`crate::Mesh::flush`] waits no longer than the disk takes.
    pub flush_interval: Duration,
    /// Bytes of records waiting to be written to the store, at most (16 MiB). At the bound the links wait for
    /// the store. If it fails, further records are dropped and counted instead, and the program is told.
    pub keep_queue: usize,
    /// Changes of a table waiting for one that watches it to read them, at most (16,384).
    pub watch_changes: usize,
    /// Bytes of such changes, at most (16 MiB). At either bound further ones are dropped, and whoever
    /// watches is told how many by `lagged`. No link ever waits for it.
    pub watch_bytes: usize,
    /// How long `close` waits for what is queued to be written (5 s).
    pub close_timeout: Duration,
    /// Keys of a table, at most, deleted ones included (1 Mi, of about 250 bytes besides their content), and
    /// half of it for any one owner. At either bound and those of `table_bytes` one's own writes fail, and
    /// others' are not taken and counted; nothing is ever evicted.
    pub table_keys: usize,
    /// Bytes of a table's keys and of the messages that wrote them, at most (256 MiB), and half of it for any
    /// one owner.
    pub table_bytes: usize,
    /// How often a node compares its table with that of a random neighbour (30 s), besides every new one.
    pub table_interval: Duration,
    /// How long a deleted key is remembered (24 h). A node that was away for longer may bring it back.
    pub tombstone_keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_peers: 64,
            max_opening: 64,
            max_per_address: Some(32),
            max_per_range: Some(48),
            connects_per_minute: Some(60),
            messages_per_second: Some(500_000),
            bytes_per_second: Some(256 << 20),
            relays_per_author: Some(100_000),
            max_outgoing: 4,
            book_addresses: 4096,
            connections: 5,
            ask_interval: Duration::from_secs(5),
            purge_interval: Duration::from_secs(60),
            named_dials_per_minute: 60,
            trust_lookups: false,
            forgive_after: Duration::from_secs(600),
            refuse_for: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
            frame_timeout: Duration::from_secs(60),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(10),
            max_requests: 4096,
            max_requests_per_peer: 256,
            search_time: Duration::from_secs(10),
            search_routes: 4096,
            search_rows: 256,
            searches_per_author: Some(10),
            searches_per_peer: Some(50),
            found_per_peer: Some(250),
            fresh_seconds: 60,
            seen_capacity: 8 << 20,
            fresh_floor: 3,
            max_authors: 1 << 16,
            max_frame: MAX_FRAME,
            compression: Method::PREFERENCE.to_vec(),
            own_queue: 1 << 20,
            relay_queue: 4 << 20,
            slow_after: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(10),
            inbox_messages: 16_384,
            inbox_bytes: 16 << 20,
            inbox_patience: Duration::from_millis(250),
            flush_interval: Duration::from_millis(500),
            keep_queue: 16 << 20,
            watch_changes: 16_384,
            watch_bytes: 16 << 20,
            close_timeout: Duration::from_secs(5),
            table_keys: 1 << 20,
            table_bytes: 256 << 20,
            table_interval: Duration::from_secs(30),
            tombstone_keep: Duration::from_secs(24 * 3600),
        }
    }
}

/// A bound that cannot work, found before anything is opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct ConfigError {
    /// The option's name.
    pub option: &'static str,
    /// What is wrong, and what to give instead.
    pub problem: &'static str,
}

impl Config {
    /// For the open internet: patient (time-outs doubled), otherwise the default.
    pub fn wan() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(20),
            dial_timeout: Duration::from_secs(20),
            lookup_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            ..Self::default()
        }
    }

    /// For one local network: notices a dead peer sooner and dials again sooner; no bounds on how much
    /// and how often, and from where.
    pub fn lan() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(10),
            redial_min: Duration::from_millis(200),
            redial_max: Duration::from_secs(15),
            lookup_timeout: Duration::from_secs(5),
            max_per_address: None,
            max_per_range: None,
            connects_per_minute: None,
            messages_per_second: None,
            bytes_per_second: None,
            relays_per_author: None,
            searches_per_author: None,
            searches_per_peer: None,
            found_per_peer: None,
            ..Self::default()
        }
    }

    /// For processes of one machine: as [`Config::lan`], and without compression, which costs more
    /// than it saves there.
    pub fn local() -> Self {
        Self {
            redial_min: Duration::from_millis(50),
            redial_max: Duration::from_secs(2),
            compression: Vec::new(),
            ..Self::lan()
        }
    }

    /// Checks that the bounds can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |option, problem| Err(ConfigError { option, problem });
        if self.max_peers == 0 {
            return wrong("max_peers", "a node needs room for at least one peer");
        }
        if self.max_opening == 0 {
            return wrong("max_opening", "at least one link must be able to shake hands");
        }
        let none = [
            ("max_per_address", self.max_per_address == Some(0)),
            ("max_per_range", self.max_per_range == Some(0)),
            ("connects_per_minute", self.connects_per_minute == Some(0)),
            ("messages_per_second", self.messages_per_second == Some(0)),
            ("bytes_per_second", self.bytes_per_second == Some(0)),
            ("relays_per_author", self.relays_per_author == Some(0)),
            ("searches_per_author", self.searches_per_author == Some(0)),
            ("searches_per_peer", self.searches_per_peer == Some(0)),
            ("found_per_peer", self.found_per_peer == Some(0)),
        ];
        if let Some((option, _)) = none.into_iter().find(|(_, is_none)| *is_none) {
            return wrong(option, "with a bound of 0 nothing works; give None for no bound");
        }
        if self.search_time > Duration::from_secs(24 * 3600) {
            return wrong("search_time", "give at most a day");
        }
        if self.search_time.is_zero() || self.search_routes == 0 || self.search_rows == 0 {
            return wrong("search_time", "a search needs some time, a way back, and room for what is found");
        }
        if self.named_dials_per_minute == 0 {
            return wrong("named_dials_per_minute", "give at least 1, or a max_outgoing of 0 to dial none");
        }
        if self.book_addresses == 0 {
            return wrong("book_addresses", "give at least 1");
        }
        if self.ask_interval < Duration::from_millis(10) {
            return wrong("ask_interval", "give at least 10 ms; a connections of 0 turns it off");
        }
        if self.purge_interval.is_zero() {
            return wrong("purge_interval", "failures need some time to show; give a minute");
        }
        if self.forgive_after.is_zero() {
            return wrong("forgive_after", "offences must count for some time");
        }
        if self.max_frame < 1024 {
            return wrong("max_frame", "a handshake alone needs 1024 bytes");
        }
        if self.max_frame > 1 << 30 {
            return wrong("max_frame", "frames over 1 GiB are not supported");
        }
        if self.own_queue == 0 || self.relay_queue == 0 {
            return wrong("queue", "a queue needs room for at least one byte");
        }
        if self.inbox_messages == 0 || self.inbox_bytes == 0 {
            return wrong("inbox_messages", "the inbox needs room for at least one message");
        }
        if self.keep_queue == 0 {
            return wrong("keep_queue", "the store needs room for at least one record");
        }
        if self.watch_changes == 0 || self.watch_bytes == 0 {
            return wrong("watch_changes", "whoever watches needs room for at least one change");
        }
        if self.seen_capacity < 1024 {
            return wrong("seen_capacity", "give at least 1024");
        }
        if self.max_authors == 0 {
            return wrong("max_authors", "give at least 1");
        }
        if self.table_keys < 2 || self.table_bytes < 1024 {
            return wrong("table_keys", "a table needs room for two keys and 1024 bytes");
        }
        if self.table_interval.is_zero() {
            return wrong("table_interval", "tables cannot be compared all the time");
        }
        if self.fresh_floor == 0 || self.fresh_seconds < self.fresh_floor {
            return wrong("fresh_floor", "must be at least 1 and at most fresh_seconds");
        }
        Ok(())
    }
}
