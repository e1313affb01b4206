//! Where nodes are: `host:port`, and `id@host:port` for exactly one node there.

use std::fmt;
use std::str::FromStr;

use super::reach::Reach;
use crate::identity::NodeId;
use crate::wire::Value;

/// A host (name or IP address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address, IPv6 without brackets.
    pub host: String,
    /// Port, 1 to 65535 (0 only where a free one is asked for).
    pub port: u16,
}

/// Longest host name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 255;

/// Whether a text may be a host: not whether there is one of that name, but that it can be shown and
/// looked up without surprises.
fn is_host(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= MAX_HOST && !text.chars().any(odd)
}

/// A text that is no address, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: {problem}; write host:port, [ipv6]:port or id@host:port")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl Address {
    /// An address from its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `[host, port]` as it stands in handshakes and peers lists. js2p may send nulls.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let [host, port] = value.as_array()? else { return None };
        let host = host.as_text()?;
        let port = u16::try_from(port.as_u64()?).ok()?;
        (is_host(host) && port != 0).then(|| Self::new(host, port))
    }

    /// Whether it may be dialled for someone with this reach. Where a name leads shows when it is.
    pub(super) fn is_within(&self, reach: Reach) -> bool {
        self.host.parse().map_or(true, |ip| reach.covers(ip))
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Array(vec![self.host.as_str().into(), self.port.into()])
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.chars().take(80).collect(), problem };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port is not a number up to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains(':') => return Err(wrong("an IPv6 address needs brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        if !is_host(host) {
            return Err(wrong("the host is not a name or an IP address"));
        }
        Ok(Self::new(host, port))
    }
}

/// Whom to connect to: an address, and perhaps the only id that will do there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// With an id, anyone else at that address is refused.
    pub id: Option<NodeId>,
    /// Where to dial.
    pub address: Address,
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once('@') {
            None => Ok(Self { id: None, address: text.parse()? }),
            Some((id, address)) => {
                let id = NodeId::parse(id).map_err(|_| AddressError {
                    text: text.chars().take(80).collect(),
                    problem: "what stands before @ is not a node id",
                })?;
                Ok(Self { id: Some(id), address: address.parse()? })
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{id}@{}", self.address),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// C-8
    #[test]
    fn addresses_of_strangers_are_judged() {
        let pair = |host: Value, port: Value| Address::from_value(&Value::Array(vec![host, port]));
        assert_eq!(pair("::1".into(), 1.into()), Some(Address::new("::1", 1)));
        assert_eq!(pair(b"host".into(), 65535.into()), Some(Address::new("host", 65535)));
        assert!(pair("a".repeat(255).into(), 1.into()).is_some());
        for host in ["", "a b", "a\n", "\u{1b}[2J", &"a".repeat(256)] {
            assert_eq!(pair(host.into(), 1.into()), None, "{host:?}");
        }
        assert_eq!(pair(Value::Nil, Value::Nil), None);
        assert_eq!(pair([0xff].into(), 1.into()), None);
        for port in [0, 65536, -1] {
            assert_eq!(pair("host".into(), port.into()), None, "{port}");
        }
        assert_eq!(pair("host".into(), "1".into()), None);
        let list = |values: Vec<Value>| Value::Array(values);
        let three = list(vec!["host".into(), 1.into(), 1.into()]);
        for no_pair in [Value::Nil, "host:1".into(), list(vec!["host".into()]), three] {
            assert_eq!(Address::from_value(&no_pair), None, "{no_pair:?}");
        }
    }

    #[test]
    fn addresses_read_and_print() {
        for text in ["127.0.0.1:4444", "[::1]:80", "example.org:1", "2Z@example.org:65535"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["", "host", "host:", ":1", "host:65536", "::1:80", "0O@host:1", "a b:1"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{error}");
        }
    }
}
