//! Carries one state machine over sockets.
//!
//! A message comes in through the link's [`reader`], which cuts frames, drops what is known, and
//! verifies; goes as part of a batch to the [`node`], which owns the state machine behind one lock;
//! and leaves into the [`inbox`] for the program and the [`queue`]s of the links it is passed on to,
//! which the links' [`writer`]s drain, many frames a write. A lock and not a task owns the state,
//! because a hop between tasks costs more than everything the machine does with a message
//! (`cargo bench`), and adds a wake-up to every latency.

mod attach;
mod changes;
mod clock;
mod door;
mod inbox;
mod keeper;
mod node;
mod pace;
mod queue;
mod reader;
mod request;
mod seals;
mod writer;

pub(crate) use changes::{Seen, Watcher};
pub(crate) use inbox::Item;
pub(crate) use node::{AdmitHook, Runtime, Stamped, Started};
pub(crate) use request::FoundRows;
