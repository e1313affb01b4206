//! What the bindings of peernet to other languages need, and no Rust program does.
//!
//! Programs in other languages bring no tokio runtime, are woken and do not await, wait with a time-out, and
//! may fork. So:
//!
//! - the library has a [`Runtime`] of its own, which the first node starts and the last one ends;
//! - a [`Node`] is a mesh, or a table that is a mesh too, with calls that wait up to a [`Wait`];
//! - [`Events`] is its one queue: the program is woken once when something comes, and takes it out in batches;
//! - bounds and time-outs have [names](set);
//! - requests and searches that are answered later wait as numbers ([`Asked`]);
//! - what a search of the node's own finds is waited for the same way ([`Rows`]).
//!
//! Every entry of a binding begins with [`check_process`].

mod asked;
#[cfg(unix)]
mod brought;
mod error;
mod events;
mod node;
mod rows;
mod runtime;
mod settings;
mod signal;
mod wait;

pub use asked::Asked;
pub use error::Error;
pub use events::{Event, Events};
pub use node::{Network, Node};
pub use rows::Rows;
pub use runtime::{Runtime, check_process};
pub use settings::{SETTINGS, set};
pub use wait::Wait;
