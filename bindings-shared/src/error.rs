//! Errors as all languages tell them: a kind and a text.

use std::borrow::Cow;
use std::fmt;

use peernet::ErrorCode;

/// What went wrong: a kind, from the table that all languages share, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
}

impl Error {
    /// An error of this kind.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) const fn told(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message) }
    }

    /// The kind.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What was tried, what is wrong with it, and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text alone.
    #[must_use]
    pub fn into_message(self) -> Cow<'static, str> {
        self.message
    }

    /// The node is closed.
    #[must_use]
    pub const fn closed() -> Self {
        Self::told(ErrorCode::Closed, "the node is closed")
    }

    /// The time that was given is over.
    #[must_use]
    pub const fn timed_out() -> Self {
        Self::told(ErrorCode::TimedOut, "the time that was given is over")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<peernet::Error> for Error {
    fn from(error: peernet::Error) -> Self {
        match error {
            peernet::Error::Closed => Self::closed(),
            error => Self { code: error.kind(), message: error.to_string().into() },
        }
    }
}
