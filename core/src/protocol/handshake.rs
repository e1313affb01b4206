//! Handshakes: who is there, of which subnet, where, and what it can decompress
//! (`spec/03-conversation.md`, C-1 to C-14). The only reading of bytes from nobody-knows-whom.

use super::address::Address;
use super::outbox::CloseReason;
use crate::identity::{NodeId, ProtocolId};
use crate::wire::codes::{code, kind};
use crate::wire::{Form, Limits, Message, Method, Value};

/// Which implementation a peer seems to be, by the forms of its handshake. py2p and js2p refuse each
/// other, so each must be told only of nodes it can join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Node id as str, protocol id as bin: joins both.
    Peernet,
    /// Both as bin.
    Py2p,
    /// Both as str.
    Js2p,
}

impl Dialect {
    fn of(id: Form, protocol: Form) -> Self {
        match (id, protocol) {
            (Form::Bin, _) => Self::Py2p,
            (Form::Str, Form::Str) => Self::Js2p,
            (Form::Str, Form::Bin) => Self::Peernet,
        }
    }

    /// The form in which such a node gives its own id, and under which others know it.
    pub fn id_form(self) -> Form {
        match self {
            Self::Py2p => Form::Bin,
            Self::Js2p | Self::Peernet => Form::Str,
        }
    }

    /// Whether nodes of these two kinds can be neighbours.
    pub fn joins(self, other: Self) -> bool {
        !matches!((self, other), (Self::Py2p, Self::Js2p) | (Self::Js2p, Self::Py2p))
    }

    /// `peernet`, `py2p` or `js2p`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peernet => "peernet",
            Self::Py2p => "py2p",
            Self::Js2p => "js2p",
        }
    }
}

/// What a handshake says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The sender's id.
    pub id: NodeId,
    /// Its outward address; absent if it has none that can be dialled.
    pub address: Option<Address>,
    /// Methods it can decompress, best first, those we know of.
    pub methods: Vec<Method>,
    /// Which implementation it seems to be.
    pub dialect: Dialect,
}

/// Codes of compression methods read from one list at most; 0.7 names 17.
const MAX_METHODS: usize = 64;

impl Handshake {
    /// Whether a message is a handshake at all, by its code and the number of its elements (the
    /// chord network has another of two elements under the same code). Every type but two is read
    /// as a whisper.
    pub fn is_one(message: &Message) -> bool {
        !matches!(message.header().kind, kind::BROADCAST | kind::RENEGOTIATE)
            && message.code() == Some(code::HANDSHAKE)
            && message.header().count == 5
    }

    /// Reads the handshake in `message` of a peer that should be of the subnet `protocol`.
    pub fn read(message: &Message, protocol: &ProtocolId) -> Result<Self, CloseReason> {
        if !Self::is_one(message) {
            return Err(CloseReason::HandshakeExpected);
        }
        let values = message
            .values(&Limits::default())
            .map_err(|_| CloseReason::BadHandshake("it does not unpack"))?;
        let [_, id, theirs, address, methods] = values.as_slice() else {
            return Err(CloseReason::HandshakeExpected);
        };
        let form = |value: &Value| match value {
            Value::Bin(_) => Form::Bin,
            _ => Form::Str,
        };
        // The subnet first: a node of another one is told apart whatever else it says.
        if theirs.as_text() != Some(protocol.as_str()) {
            return Err(CloseReason::WrongSubnet);
        }
        let dialect = Dialect::of(form(id), form(theirs));
        let id = id
            .as_text()
            .and_then(|id| NodeId::parse(id).ok())
            .ok_or(CloseReason::BadHandshake("the node id is not base58 text"))?;
        let methods = read_methods(methods)
            .ok_or(CloseReason::BadHandshake("the compression methods are not a list"))?;
        Ok(Self { id, address: Address::from_value(address), methods, dialect })
    }

    /// The payload behind the code of our own handshake: id as str and protocol id as bin, the one
    /// mixture that both py2p and js2p accept.
    pub fn payload(id: &NodeId, protocol: &ProtocolId, address: &Address, methods: &[Method]) -> [Value; 4] {
        [id.as_str().into(), protocol.as_str().as_bytes().into(), address.to_value(), write_methods(methods)]
    }
}

/// The known methods in a list of codes, in order, each once. `None` if it is no list.
pub(super) fn read_methods(value: &Value) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for code in value.as_array()?.iter().take(MAX_METHODS) {
        let known = code.as_u64().and_then(Method::from_code);
        if let Some(method) = known.filter(|method| !methods.contains(method)) {
            methods.push(method);
        }
    }
    Some(methods)
}

pub(super) fn write_methods(methods: &[Method]) -> Value {
    Value::Array(methods.iter().map(|method| method.code().into()).collect())
}

/// The methods of `first` that `second` has too, in the order of `first`.
pub(super) fn common(first: &[Method], second: &[Method]) -> Vec<Method> {
    first.iter().copied().filter(|method| second.contains(method)).collect()
}
