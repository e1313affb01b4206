//! Plain TCP.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::protocol::{Address, Reach, Remote};

/// Connections that wait to be accepted. More than that come back by themselves (SYN again).
const BACKLOG: u32 = 1024;

/// Opens a listening socket.
pub(crate) async fn listen(address: &Address) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for candidate in lookup_host((address.host.as_str(), address.port)).await? {
        match bind(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restarted node gets its port back while old connections still fade out.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connects to the first that answers of the IP addresses that a host has within `reach`.
pub(super) async fn dial(address: &Address, reach: Reach) -> io::Result<TcpStream> {
    let found = lookup_host((address.host.as_str(), address.port)).await?;
    let allowed: Vec<SocketAddr> = found.filter(|found| reach.covers(found.ip())).collect();
    if allowed.is_empty() {
        let problem = "the host has no address that whoever named it may make this node dial";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, problem));
    }
    TcpStream::connect(allowed.as_slice()).await
}

/// Sets a stream up for messages: written when given, not when a timer thinks so. Returns what is known of
/// the other side.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<Remote> {
    stream.set_nodelay(true)?;
    Ok(Remote { ip: Some(stream.peer_addr()?.ip()), key: None })
}

/// The address of this machine on its network, for a node that listens on all of them. Nothing is
/// sent: connecting a UDP socket only asks the routing table, here about an address that is reserved
/// for documentation (RFC 5737).
pub(crate) fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}
