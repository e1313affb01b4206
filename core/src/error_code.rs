//! The kinds of error, with the word and the number that each has for ever.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $word:literal;)*) => {
        /// A kind of error: what [`Error::code`](crate::Error::code) and [`Error::status`](crate::Error::status) tell.
        ///
        /// This is the one table that every language's errors are made from. Its words and numbers never
        /// change, and the number of a kind that goes is not given to another. 0 is success, and no error.
        /// `conformance/vectors/errors.json` has the same table for the tests of all languages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All kinds, by number from -1 downwards.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word: what programs of most languages compare.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The number, which is negative: what C programs compare.
            #[must_use]
            pub const fn status(self) -> i32 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// The kind that has this number.
            #[must_use]
            pub const fn from_status(status: i32) -> Option<Self> {
                match status {
                    $($status => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// A text is no address.
    Address = -1, "address";
    /// An option cannot work.
    Config = -2, "config";
    /// The data directory cannot be used.
    Data = -3, "data";
    /// The store cannot be used.
    Store = -4, "store";
    /// This build does not offer what was asked for.
    Unsupported = -5, "unsupported";
    /// The listening socket could not be opened.
    Listen = -6, "listen";
    /// No connection, or one that ended before the handshake was done.
    Connect = -7, "connect";
    /// The addressee is no neighbour and could not be found.
    Unreachable = -8, "unreachable";
    /// The addressee is no neighbour, and anyone could answer in its name.
    Unproven = -9, "unproven";
    /// The peer is not connected.
    NotConnected = -10, "not_connected";
    /// The time that was given is over.
    TimedOut = -11, "timed_out";
    /// A request will not be answered.
    Unanswered = -12, "unanswered";
    /// Too much of this node's own is under way.
    TooMany = -13, "too_many";
    /// Only `tls` subnets have words for it.
    NeedsTls = -14, "needs_tls";
    /// What is found for a search goes back no more.
    SearchOver = -15, "search_over";
    /// A value has no form on the wire, or bytes are no values.
    Value = -16, "value";
    /// A message is larger than any frame may be, or a text longer than its place.
    TooLarge = -17, "too_large";
    /// Links have no room, and waiting was not wanted.
    Full = -18, "full";
    /// The same payload was broadcast too often within a few seconds.
    Repeated = -19, "repeated";
    /// In a table, the key is another's for now.
    Lease = -20, "lease";
    /// In a table, a bound is reached.
    TableFull = -21, "table_full";
    /// In a table, nil is no value.
    Nil = -22, "nil";
    /// In a table, only maps can be merged.
    NotAMap = -23, "not_a_map";
    /// In a table, the key is too long.
    Key = -24, "key";
    /// A code that is not for users.
    Code = -25, "code";
    /// Messages or changes were dropped because the program read too slowly.
    Lagged = -26, "lagged";
    /// It is closed, or never was.
    Closed = -27, "closed";
    /// An argument has no meaning: null where something must be, text that is not UTF-8.
    Argument = -28, "argument";
    /// A text is no id.
    Id = -29, "id";
    /// A text is no identity: no keys.
    Identity = -30, "identity";
    /// A text is no secret, or a weak one.
    Secret = -31, "secret";
    /// Bytes are no frame, or no message.
    Message = -32, "message";
    /// A value is of another type than the one asked for.
    Type = -33, "type";
    /// There is nothing more to read.
    End = -34, "end";
    /// The node has no table.
    NoTable = -35, "no_table";
    /// Called from within a callback, where it would wait for itself.
    Reentrant = -36, "reentrant";
    /// Called in a process that was forked from the one that began.
    Forked = -37, "forked";
    /// A fault of the library.
    Internal = -38, "internal";
    /// Someone else reads the node's events already: a callback, or another thread.
    Busy = -39, "busy";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const VECTORS: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/errors.json"));

    /// Changing a line of either is a mistake; adding one to both is not.
    #[test]
    fn the_table_is_the_one_that_all_languages_check() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let told: Vec<_> = vectors["errors"].as_array().unwrap().iter().collect();
        let ours = ErrorCode::ALL.iter();
        let ours: Vec<_> =
            ours.map(|code| serde_json::json!({ "name": code.as_str(), "status": code.status() })).collect();
        assert_eq!(told, ours.iter().collect::<Vec<_>>());
    }

    #[test]
    fn numbers_are_negative_without_a_gap_and_lead_back() {
        for (at, code) in (1..).zip(ErrorCode::ALL) {
            assert_eq!(code.status(), -at, "{code}");
            assert_eq!(ErrorCode::from_status(code.status()), Some(*code));
        }
        assert_eq!(ErrorCode::from_status(0), None);
        assert_eq!(ErrorCode::from_status(i32::MIN), None);
    }
}
