//! The conformance suite: what an implementation of the protocol must do, as data, and a runner that
//! asks one whether it does.
//!
//! *Vectors* are bytes and what they mean; *transcripts* are what happens to one node and what it
//! does about it, without sockets. Both are JSON files. The [`Testee`] that is asked is this build
//! ([`Reference`]) or any program that speaks JSON lines on stdin and stdout ([`Program`]); the
//! README beside this crate describes them for whoever writes such a program.
//!
//! ```
//! let mut testee = peernet_conformance::Reference::default();
//! let report = peernet_conformance::run(&mut testee, &peernet_conformance::built_in());
//! assert!(report.is_clean(), "{report}");
//! ```

pub mod json;
mod machine;
mod matching;
mod program;
mod reference;
mod report;
mod suite;
mod transcript;
mod vector;

pub use json::FormError;
pub use program::Program;
pub use reference::{Reference, serve};
pub use report::{Failure, Group, Report};
pub use suite::{Suite, built_in, run};

use serde_json::Value as Json;

/// Something that answers the requests of the conformance protocol.
pub trait Testee {
    /// Asks one thing.
    ///
    /// # Errors
    /// [`Lost`] when there will be no further answers.
    fn ask(&mut self, request: &Json) -> Result<Json, Lost>;
}

/// A testee that died, went silent or answered with something else than JSON.
#[derive(Debug, thiserror::Error)]
#[error("the testee is lost: {problem}")]
pub struct Lost {
    /// What happened.
    pub problem: String,
}
