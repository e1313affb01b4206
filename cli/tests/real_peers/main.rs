//! `peernet node` beside the real py2p 0.7.878 and js2p 0.7.870: processes that talk over loopback and
//! know nothing of each other but the protocol. `conformance/real-peers/README.md` says how the two
//! are run and which of their ways these tests have to allow for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/c.rs"]
mod c;
mod encrypted;
mod environment;
mod links;
mod mesh;
mod messages;
mod peer;
#[path = "../support/mod.rs"]
mod support;
mod table;

/// A test for both implementations and both directions of dialling.
macro_rules! each_way {
    ($(#[$doc:meta])* fn $name:ident($kind:ident, $dialler:ident) $body:block) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            fn check($kind: Kind, $dialler: Dialler) $body

            #[test]
            fn py2p_we_dial() {
                check(Kind::Py2p, Dialler::We);
            }

            #[test]
            fn py2p_they_dial() {
                check(Kind::Py2p, Dialler::They);
            }

            #[test]
            fn js2p_we_dial() {
                check(Kind::Js2p, Dialler::We);
            }

            #[test]
            fn js2p_they_dial() {
                check(Kind::Js2p, Dialler::They);
            }
        }
    };
}
use each_way;
