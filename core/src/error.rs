//! What can go wrong, with a stable code for each kind.

use std::time::Duration;

use crate::config::ConfigError;
use crate::error_code::ErrorCode;
use crate::identity::NodeId;
use crate::protocol::{AddressError, CommandError, TableError};
use crate::store::{DataError, OpenError, StoreError};
use crate::wire::ValueError;

/// What went wrong. [`Error::code`] is stable and the same in every language.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An option cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This build does not offer what was asked for.
    #[error("{what} is not available in this version; {instead}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// The listening socket could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// No connection, or one that ended before the handshake was done.
    #[error("{0}")]
    Connect(CommandError),
    /// The addressee is no neighbour and could not be found.
    #[error("{0}")]
    Unreachable(CommandError),
    /// The addressee is no neighbour, and in this subnet anyone could answer in its name
    /// ([`crate::Config::trust_lookups`]).
    #[error("{0}")]
    Unproven(CommandError),
    /// The peer is not connected.
    #[error("{0}")]
    NotConnected(CommandError),
    /// A request was not answered in time.
    #[error("{0}")]
    TimedOut(CommandError),
    /// A request will not be answered.
    #[error("{0}")]
    Unanswered(CommandError),
    /// Too much of this node's own is under way.
    #[error("{0}")]
    TooMany(CommandError),
    /// Only `tls` subnets have words for it.
    #[error("{0}")]
    NeedsTls(CommandError),
    /// What is found for a search goes back for a while only, and that is over.
    #[error("{0}")]
    SearchOver(CommandError),
    /// A value has no form on the wire.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The message is larger than any frame may be.
    #[error("the message takes {size} bytes, over the limit of {limit} (max_frame)")]
    TooLarge {
        /// What it takes.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// Links have no room, and waiting was not wanted.
    #[error("no room on the links to {} of the peers; wait, or use the sending call that waits", peers.len())]
    Full {
        /// Whose links have no room.
        peers: Vec<NodeId>,
    },
    /// The same payload was broadcast too often within a few seconds, and waiting was not wanted. Never
    /// in `tls` subnets.
    #[error(
        "the same payload was broadcast just now, and others would take this for a copy; wait, or add something"
    )]
    Repeated,
    /// In a table, the key is another's for now.
    #[error("the key belongs to {owner} for another {} s", remaining.as_secs())]
    Lease {
        /// Whose.
        owner: NodeId,
        /// For how long.
        remaining: Duration,
    },
    /// In a table, a bound is reached. Nothing makes room but deleting.
    #[error("the table is full: {bound}")]
    TableFull {
        /// Which bound of [`Config`](crate::Config), and of whom.
        bound: &'static str,
    },
    /// In a table, nil is no value.
    #[error("nil marks deleted keys; delete the key instead")]
    Nil,
    /// In a table, only maps can be merged.
    #[error("{what} is no map")]
    NotAMap {
        /// What is none.
        what: &'static str,
    },
    /// In a table, the key is too long.
    #[error("a key of {len} bytes is longer than {max}")]
    Key {
        /// Its length in bytes.
        len: usize,
        /// The longest accepted.
        max: usize,
    },
    /// A code that is not for users.
    #[error("code {code:#x} is reserved; codes for users begin at 0x31")]
    Code {
        /// The code.
        code: u64,
    },
    /// Messages were dropped because the program read too slowly. Reading goes on behind the gap.
    #[error("{count} messages were dropped because they were not read in time")]
    Lagged {
        /// How many.
        count: u64,
    },
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

impl Error {
    /// The kind of error.
    pub fn kind(&self) -> ErrorCode {
        match self {
            Self::Address(_) => ErrorCode::Address,
            Self::Config(_) => ErrorCode::Config,
            Self::Data(_) => ErrorCode::Data,
            Self::Store(_) => ErrorCode::Store,
            Self::Unsupported { .. } => ErrorCode::Unsupported,
            Self::Listen { .. } => ErrorCode::Listen,
            Self::Connect(_) => ErrorCode::Connect,
            Self::Unreachable(_) => ErrorCode::Unreachable,
            Self::Unproven(_) => ErrorCode::Unproven,
            Self::NotConnected(_) => ErrorCode::NotConnected,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::Unanswered(_) => ErrorCode::Unanswered,
            Self::TooMany(_) => ErrorCode::TooMany,
            Self::NeedsTls(_) => ErrorCode::NeedsTls,
            Self::SearchOver(_) => ErrorCode::SearchOver,
            Self::Value(_) => ErrorCode::Value,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Full { .. } => ErrorCode::Full,
            Self::Repeated => ErrorCode::Repeated,
            Self::Lease { .. } => ErrorCode::Lease,
            Self::TableFull { .. } => ErrorCode::TableFull,
            Self::Nil => ErrorCode::Nil,
            Self::NotAMap { .. } => ErrorCode::NotAMap,
            Self::Key { .. } => ErrorCode::Key,
            Self::Code { .. } => ErrorCode::Code,
            Self::Lagged { .. } => ErrorCode::Lagged,
            Self::Closed => ErrorCode::Closed,
        }
    }

    /// The kind of error as a stable word.
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The kind of error as a stable number, which is negative.
    pub fn status(&self) -> i32 {
        self.kind().status()
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Data(error) => Self::Data(error),
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Connect { .. } => Self::Connect(error),
            CommandError::Unreachable { .. } => Self::Unreachable(error),
            CommandError::Unproven { .. } => Self::Unproven(error),
            CommandError::NotConnected { .. } => Self::NotConnected(error),
            CommandError::TimedOut { .. } => Self::TimedOut(error),
            CommandError::Unanswered { .. } => Self::Unanswered(error),
            CommandError::TooMany { .. } => Self::TooMany(error),
            CommandError::SearchOver => Self::SearchOver(error),
            CommandError::NeedsTls { .. } => Self::NeedsTls(error),
            CommandError::Closed => Self::Closed,
        }
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Leased { owner, remaining } => Self::Lease { owner, remaining },
            TableError::Full { bound } => Self::TableFull { bound },
            TableError::Nil => Self::Nil,
            TableError::Value(error) => Self::Value(error),
            TableError::NotAMap(what) => Self::NotAMap { what },
            TableError::Key { len, max } => Self::Key { len, max },
            TableError::TooLarge { size, max } => Self::TooLarge { size, limit: max },
            TableError::Repeated => Self::Repeated,
            // Not met by those who look first.
            TableError::NoTable | TableError::Absent => {
                Self::Unsupported { what: "what is not there".to_owned(), instead: "look first" }
            }
        }
    }
}
