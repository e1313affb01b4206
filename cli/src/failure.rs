//! How a command ends that did not do what was asked.

use std::process::ExitCode;

/// One line for people, and the exit code for programs.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    message: Option<String>,
}

impl Failure {
    /// It was tried and failed: exit 1.
    pub(crate) fn failed(message: impl ToString) -> Self {
        Self { exit: 1, message: Some(message.to_string()) }
    }

    /// Failed, and what is to be said was said already: exit 1.
    pub(crate) fn told() -> Self {
        Self { exit: 1, message: None }
    }

    /// Wrong usage, or something that this build does not offer yet: exit 2.
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self { exit: 2, message: Some(message.to_string()) }
    }

    /// Writes the message on one line and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("peernet: {}", message.replace('\n', " "));
        }
        ExitCode::from(self.exit)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever read our output has enough of it, and knows.
            std::io::ErrorKind::BrokenPipe => Self::told(),
            _ => Self::failed(error),
        }
    }
}
