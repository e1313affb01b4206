//! Ways to get a stream of bytes to a peer. Each gives a reading and a writing half, which
//! [`crate::runtime`] carries the protocol over. The rules are `spec/08-transports.md`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::protocol::{Address, Reach, Remote};
use carrier::Carrier;
use ssl::Ssl;
use ws::Ws;

pub(crate) use carrier::Brought;

mod carrier;
pub(crate) mod ssl;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod ws;

/// A connection that is ready for frames.
pub(crate) struct Connection {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What is known of the other side.
    pub(crate) remote: Remote,
}

impl Connection {
    fn plain(stream: impl Carrier, remote: Remote) -> Self {
        let (reader, writer) = stream.halves();
        Self { reader: Box::new(reader), writer: Box::new(writer), remote }
    }

    /// Of a stream that reads and writes through one object.
    fn shared(stream: impl AsyncRead + AsyncWrite + Send + 'static, remote: Remote) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: Box::new(reader), writer: Box::new(writer), remote }
    }
}

/// How connections of one node are made.
pub(crate) enum Transport {
    /// TCP as it is.
    Tcp,
    /// TLS with proven keys.
    Tls(Box<tls::Tls>),
    /// TLS over TCP, with certificates that nobody verifies.
    Ssl(Ssl),
    /// WebSocket over TCP.
    Ws(Ws),
    /// WebSocket over TLS over TCP.
    Wss(Ssl, Ws),
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
            let remote = tcp::prepare(&stream)?;
            self.connect(stream, remote, address).await
        };
        tokio::time::timeout(patience, dialled).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
        })
    }

    /// Makes a connection of a stream, as the side that dialled `address`. May take as long as the other
    /// side likes.
    pub(crate) async fn connect(
        &self,
        stream: impl Carrier,
        remote: Remote,
        address: &Address,
    ) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp => Connection::plain(stream, remote),
            Self::Tls(tls) => tls.dial(stream, remote).await?,
            Self::Ssl(ssl) => Connection::shared(ssl.connect(stream, &address.host).await?, remote),
            Self::Ws(ws) => Connection::shared(ws.connect(stream, address).await?, remote),
            Self::Wss(ssl, ws) => {
                let stream = ssl.connect(stream, &address.host).await?;
                Connection::shared(ws.connect(stream, address).await?, remote)
            }
        })
    }

    /// Whether nothing has to be agreed with the other side before frames can be.
    pub(crate) fn is_ready_at_once(&self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// Makes a connection of a socket that was accepted, as [`Self::answer`].
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        let remote = tcp::prepare(&stream)?;
        self.answer(stream, remote).await
    }

    /// Makes a connection of a stream, as the side that was dialled. May take as long as the other side
    /// likes.
    pub(crate) async fn answer(&self, stream: impl Carrier, remote: Remote) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp => Connection::plain(stream, remote),
            Self::Tls(tls) => tls.accept(stream, remote).await?,
            Self::Ssl(ssl) => Connection::shared(ssl.accept(stream).await?, remote),
            Self::Ws(ws) => Connection::shared(ws.accept(stream).await?, remote),
            Self::Wss(ssl, ws) => {
                let stream = ssl.accept(stream).await?;
                Connection::shared(ws.accept(stream).await?, remote)
            }
        })
    }
}
