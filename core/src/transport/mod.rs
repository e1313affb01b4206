//! Ways to get a stream of bytes to a peer. Each gives a reading and a writing half, which
//! [`crate::runtime`] carries the protocol over.

pub(crate) mod tcp;
