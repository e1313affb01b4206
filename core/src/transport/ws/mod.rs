//! WebSocket: p2p.today's `ws`, and `wss`. A stream of frames, each in one binary message, behind an
//! HTTP request. Its rules are `spec/08-transports.md`, X-10 to X-27.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::protocol::Address;
use crate::wire::websocket::Role;
use stream::WebSocket;

mod stream;
mod upgrade;

/// Which web pages may connect to a node that listens with [`Ws`](crate::Encryption::Ws) or
/// [`Wss`](crate::Encryption::Wss).
///
/// A browser lets every page it shows connect to any address that the browser's machine can reach, this
/// machine's own included, and tells the page's origin in a header. So by default pages are refused;
/// programs, which send no such header, are not asked.
///
/// ```
/// use peernet::Origins;
///
/// let ours = Origins::only(["https://example.org", "http://localhost:8000"]);
/// # assert_ne!(ours, Origins::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Pages of these origins, written as browsers write them: `scheme://host`, and `:port` unless it is
    /// the scheme's own. Pages opened from files have the origin `null`, and so have any that a hostile
    /// page puts into a sandboxed frame.
    Only(Vec<String>),
    /// Pages of all origins: whoever gets someone on this machine or its network to open a page may join
    /// the subnet through the browser.
    Any,
}

impl Origins {
    /// Pages of these origins.
    pub fn only<T: Into<String>>(origins: impl IntoIterator<Item = T>) -> Self {
        Self::Only(origins.into_iter().map(Into::into).collect())
    }

    /// Whether a page of this origin may connect.
    fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Only(origins) => origins.iter().any(|allowed| allowed.as_bytes() == origin),
            Self::Any => true,
        }
    }
}

impl Default for Origins {
    /// None.
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// How WebSocket connections of one node are made.
pub(crate) struct Ws {
    /// Which pages may connect.
    pub(crate) origins: Origins,
    /// Largest frame.
    pub(crate) max_frame: usize,
}

impl Ws {
    /// Opens a WebSocket on a connection that was dialled.
    pub(super) async fn connect<S>(&self, mut stream: S, address: &Address) -> io::Result<WebSocket<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let early = upgrade::ask(&mut stream, address).await?;
        Ok(WebSocket::new(stream, early, Role::Client, self.max_frame))
    }

    /// Opens a WebSocket on a connection that was accepted, if the other side asks for it.
    pub(super) async fn accept<S>(&self, mut stream: S) -> io::Result<WebSocket<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let early = upgrade::answer(&mut stream, &self.origins).await?;
        Ok(WebSocket::new(stream, early, Role::Server, self.max_frame))
    }
}
