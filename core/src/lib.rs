//! Peer-to-peer networking made easy: meshes that Python, Node, C and Rust programs share.
//!
//! [`Mesh`] is the front door, and [`SyncTable`] a table on top of it. Below them, each usable alone and without a socket:
//!
//! - [`wire`]: bytes to messages and back;
//! - [`identity`]: node, protocol and message ids;
//! - [`protocol`]: the protocol as pure state machines;
//! - [`sim`]: many of those machines under one simulated clock and network.
//!
//! The feature `net` (default) brings [`Mesh`] and with it tokio. What the protocol does on the wire
//! is written as numbered rules in `spec/`, which comments here refer to.

mod bucket;
mod config;
#[cfg(feature = "net")]
mod error;
mod error_code;
pub mod identity;
#[cfg(feature = "net")]
mod mesh;
pub mod protocol;
#[cfg(feature = "net")]
mod runtime;
pub mod sim;
#[cfg(feature = "net")]
pub mod store;
#[cfg(feature = "net")]
mod table;
#[cfg(feature = "net")]
mod transport;
pub mod wire;

pub use config::{Config, ConfigError};
#[cfg(feature = "net")]
pub use error::Error;
pub use error_code::ErrorCode;
#[cfg(feature = "net")]
pub use mesh::{
    Answer, Ban, Builder, Candidate, Encryption, Event, Known, Mesh, Message, Messages, Peer, PeerBook,
    Query, Request, Row, Rows, Search, SendReport, Stats,
};
pub use protocol::{Address, CloseReason, Kind, PeerStats, Role};
#[cfg(feature = "net")]
pub use store::{DataDir, DataError, Store, StoreError};
#[cfg(feature = "net")]
pub use table::{Change, Changes, SyncTable};
#[cfg(feature = "net")]
#[doc(hidden)]
pub use transport::tls::fuzzing;
#[cfg(feature = "net")]
pub use transport::ws::Origins;
pub use wire::{Payload, Value};
