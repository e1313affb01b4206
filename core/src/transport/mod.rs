//! Ways to get a stream of bytes to a peer. Each gives a reading and a writing half, which
//! [`crate::runtime`] carries the protocol over. The rules are `spec/08-transports.md`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::protocol::{Address, Reach, Remote};
use ssl::Ssl;
use ws::Ws;

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
    fn tcp(stream: TcpStream, remote: Remote) -> Self {
        let (reader, writer) = stream.into_split();
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
            Ok(match self {
                Self::Tcp => Connection::tcp(stream, remote),
                Self::Tls(tls) => tls.dial(stream).await?,
                Self::Ssl(ssl) => Connection::shared(ssl.connect(stream, &address.host).await?, remote),
                Self::Ws(ws) => Connection::shared(ws.connect(stream, address).await?, remote),
                Self::Wss(ssl, ws) => {
                    let stream = ssl.connect(stream, &address.host).await?;
                    Connection::shared(ws.connect(stream, address).await?, remote)
                }
            })
        };
        tokio::time::timeout(patience, dialled).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))
        })
    }

    /// Whether nothing has to be agreed with the other side before frames can be.
    pub(crate) fn is_ready_at_once(&self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// Makes a connection of one that was accepted. May take as long as the other side likes.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        let remote = tcp::prepare(&stream)?;
        Ok(match self {
            Self::Tcp => Connection::tcp(stream, remote),
            Self::Tls(tls) => tls.accept(stream).await?,
            Self::Ssl(ssl) => Connection::shared(ssl.accept(stream).await?, remote),
            Self::Ws(ws) => Connection::shared(ws.accept(stream).await?, remote),
            Self::Wss(ssl, ws) => {
                let stream = ssl.accept(stream).await?;
                Connection::shared(ws.accept(stream).await?, remote)
            }
        })
    }
}
