//! Ways to get a stream of bytes to a peer. Each gives a reading and a writing half, which
//! [`crate::runtime`] carries the protocol over.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::protocol::{Address, Reach, Remote};

pub(crate) mod tcp;
pub(crate) mod tls;

/// A connection that is ready for frames.
pub(crate) struct Connection {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What is known of the other side.
    pub(crate) remote: Remote,
}

/// How connections of one node are made.
pub(crate) enum Transport {
    /// TCP as it is.
    Tcp,
    /// TLS with proven keys.
    Tls(Box<tls::Tls>),
}

impl Transport {
    /// Connects to an IP address within `reach`, or gives up after `patience`.
    pub(crate) async fn dial(
        &self,
        address: &Address,
        reach: Reach,
        patience: Duration,
    ) -> io::Result<Connection> {
        let dialled = async {
            let stream = tcp::dial(address, reach).await?;
            match self {
                Self::Tcp => tcp::open(stream),
                Self::Tls(tls) => tls.dial(stream).await,
            }
        };
        tokio::time::timeout(patience, dialled).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
        })
    }

    /// Makes a connection of one that was accepted. May take as long as the other side likes.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        match self {
            Self::Tcp => tcp::open(stream),
            Self::Tls(tls) => tls.accept(stream).await,
        }
    }
}
