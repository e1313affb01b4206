//! The commands of the JSON-lines conversation.

use std::time::Duration;

use peernet::identity::{MessageId, NodeId};
use peernet::protocol::MAX_HOPS;
use peernet::{Error, Query, Value};

use crate::json::{Json, read_key, read_payload, read_value};

/// How many seconds a request or a search may take that does not say.
const PATIENCE: u64 = 10;

/// What a program asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Connect { address: String },
    Disconnect { peer: NodeId },
    Peers,
    Broadcast { payload: Vec<Value> },
    Send { peer: NodeId, payload: Vec<Value> },
    Reply { to: MessageId, payload: Vec<Value> },
    Request { peer: NodeId, payload: Vec<Value>, timeout: Duration },
    Respond { to: u64, payload: Vec<Value> },
    Search { query: Query, count: usize, time: Duration },
    Found { to: u64, data: Vec<u8> },
    Ban { peer: NodeId, time: Duration },
    Unban { peer: NodeId },
    Bans,
    Set { key: Vec<u8>, value: Value },
    Get { key: Vec<u8> },
    Delta { key: Vec<u8>, value: Value },
    Delete { key: Vec<u8> },
    Keys,
    Stats,
    Close,
}

/// Why a command was not done: a stable code, and words for people.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self::new("usage", text)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// One line: what it asks for, and what its answer must repeat.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) reference: Option<Json>,
    pub(super) command: Result<Command, Problem>,
}

impl Request {
    pub(super) fn read(line: &[u8]) -> Self {
        match Json::parse_bytes(line) {
            Ok(json) => Self { reference: json.get("ref").cloned(), command: read_command(&json) },
            Err(error) => {
                let text =
                    format!("{error}; write one object a line, such as {{\"do\":\"peers\",\"ref\":1}}");
                Self { reference: None, command: Err(Problem::usage(text)) }
            }
        }
    }
}

fn read_command(json: &Json) -> Result<Command, Problem> {
    let Some(name) = json.get("do").and_then(Json::as_text) else {
        return Err(Problem::usage("a command is an object with the name of a command under \"do\""));
    };
    let text = |key: &str| {
        json.get(key)
            .and_then(Json::as_text)
            .ok_or_else(|| Problem::usage(format!("{name} needs a text under {key:?}")))
    };
    let peer = || {
        NodeId::parse(text("peer")?)
            .map_err(|error| Problem::usage(format!("\"peer\" is not a node id: {error}")))
    };
    let payload = || match json.get("payload") {
        Some(payload) => read_payload(payload).map_err(|error| Problem::new("value", error.to_string())),
        None => Err(Problem::usage(format!("{name} needs an array under \"payload\""))),
    };
    let key = || {
        json.get("key")
            .and_then(read_key)
            .ok_or_else(|| Problem::usage(format!("{name} needs a text or bytes under \"key\"")))
    };
    let value = || match json.get("value") {
        Some(value) => {
            read_value(value).map_err(|error| Problem::new("value", error.inside("value").to_string()))
        }
        None => Err(Problem::usage(format!("{name} needs something under \"value\""))),
    };
    let number = |key: &str, default: Option<u64>| match json.get(key) {
        None => default.ok_or_else(|| Problem::usage(format!("{name} needs a number under {key:?}"))),
        Some(number) => number
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| Problem::usage(format!("{key:?} is a whole number"))),
    };
    let seconds = || number("seconds", Some(PATIENCE)).map(Duration::from_secs);
    let bytes = |under: &str| match json.get(under).map(read_value) {
        None => Ok(Vec::new()),
        Some(Ok(Value::Str(text))) => Ok(text.into_bytes()),
        Some(Ok(Value::Bin(bytes))) => Ok(bytes),
        Some(Err(error)) => Err(Problem::new("value", error.inside(under).to_string())),
        Some(Ok(_)) => Err(Problem::usage(format!("{under:?} is a text or bytes"))),
    };
    Ok(match name {
        "connect" => Command::Connect { address: text("address")?.to_owned() },
        "disconnect" => Command::Disconnect { peer: peer()? },
        "peers" => Command::Peers,
        "broadcast" => Command::Broadcast { payload: payload()? },
        "send" => Command::Send { peer: peer()?, payload: payload()? },
        "reply" => {
            let to = text("to")?
                .parse()
                .map_err(|error| Problem::usage(format!("\"to\" is not a message id: {error}")))?;
            Command::Reply { to, payload: payload()? }
        }
        "request" => Command::Request { peer: peer()?, payload: payload()?, timeout: seconds()? },
        "respond" => Command::Respond { to: number("to", None)?, payload: payload()? },
        "search" => {
            let limit = number("limit", Some(MAX_HOPS))?;
            let limit = u8::try_from(limit).map_err(|_| Problem::usage("\"limit\" is 1 to 15"))?;
            let query = Query::new(bytes("type")?, bytes("data")?).limit(limit);
            let count = usize::try_from(number("count", Some(u64::MAX))?).unwrap_or(usize::MAX);
            Command::Search { query, count, time: seconds()? }
        }
        "found" => Command::Found { to: number("to", None)?, data: bytes("data")? },
        "ban" => {
            let seconds = json.get("seconds").and_then(Json::as_integer);
            let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
            let wrong = || Problem::usage("ban needs a whole number of seconds under \"seconds\"");
            Command::Ban { peer: peer()?, time: Duration::from_secs(seconds.ok_or_else(wrong)?) }
        }
        "unban" => Command::Unban { peer: peer()? },
        "bans" => Command::Bans,
        "stats" => Command::Stats,
        "close" => Command::Close,
        "set" => Command::Set { key: key()?, value: value()? },
        "get" => Command::Get { key: key()? },
        "delta" => Command::Delta { key: key()?, value: value()? },
        "delete" => Command::Delete { key: key()? },
        "keys" => Command::Keys,
        "join" | "leave" => {
            let text = format!("{name} belongs to a chord table, and this node is of none");
            return Err(Problem::new("unsupported", text));
        }
        _ => {
            let text = format!(
                "there is no command {name:?}; there are connect, disconnect, peers, broadcast, send, \
                 reply, request, respond, search, found, ban, unban, bans, stats and close, and of a table set, get, delta, delete and keys"
            );
            return Err(Problem::usage(text));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(line: &str) -> Request {
        Request::read(line.as_bytes())
    }

    #[test]
    fn commands_read() {
        let id = NodeId::parse("6URV").unwrap();
        assert_eq!(
            read(r#"{"do":"send","peer":"6URV","payload":[1,1.0],"ref":[1e0,{}]}"#),
            Request {
                reference: Some(Json::parse("[1e0,{}]").unwrap()),
                command: Ok(Command::Send { peer: id, payload: vec![Value::Int(1), Value::Float(1.0)] }),
            }
        );
        assert_eq!(read(r#"{"ref":null,"do":"peers"}"#).reference, Some(Json::Null));
        let banned = NodeId::parse("6URV").unwrap();
        assert_eq!(
            read(r#"{"do":"ban","peer":"6URV","seconds":60}"#).command,
            Ok(Command::Ban { peer: banned, time: Duration::from_secs(60) })
        );
        for (key, bytes) in [(r#""k""#, b"k"), (r#"{"$bin":"ff"}"#, b"\xff")] {
            let set = read(&format!(r#"{{"do":"set","key":{key},"value":null}}"#));
            assert_eq!(set.command, Ok(Command::Set { key: bytes.to_vec(), value: Value::Nil }));
        }
        assert_eq!(read(r#"{"do":"peers"}"#), Request { reference: None, command: Ok(Command::Peers) });
    }

    #[test]
    fn what_does_not_read_keeps_its_ref_and_says_its_code() {
        for (line, code) in [
            (r#"{"ref":7}"#, "usage"),
            (r#"{"ref":7,"do":1}"#, "usage"),
            (r#"{"ref":7,"do":"dance"}"#, "usage"),
            (r#"{"ref":7,"do":"connect"}"#, "usage"),
            (r#"{"ref":7,"do":"disconnect","peer":"0"}"#, "usage"),
            (r#"{"ref":7,"do":"ban","peer":"6URV"}"#, "usage"),
            (r#"{"ref":7,"do":"ban","peer":"6URV","seconds":-1}"#, "usage"),
            (r#"{"ref":7,"do":"broadcast"}"#, "usage"),
            (r#"{"ref":7,"do":"broadcast","payload":1}"#, "value"),
            (r#"{"ref":7,"do":"broadcast","payload":[{"$bin":"x"}]}"#, "value"),
            (r#"{"ref":7,"do":"reply","to":"00","payload":[]}"#, "usage"),
            (r#"{"ref":7,"do":"set","key":"k"}"#, "usage"),
            (r#"{"ref":7,"do":"set","key":1,"value":1}"#, "usage"),
            (r#"{"ref":7,"do":"get"}"#, "usage"),
            (r#"{"ref":7,"do":"set","key":{"$bin":"x"},"value":1}"#, "usage"),
            (r#"{"ref":7,"do":"set","key":"k","value":{"$int":"x"}}"#, "value"),
            (r#"{"ref":7,"do":"join"}"#, "unsupported"),
        ] {
            let request = read(line);
            assert_eq!(request.reference, Some(Json::Number("7".to_owned())), "{line}");
            assert_eq!(request.command.unwrap_err().code, code, "{line}");
        }
        for line in ["", "{", "[]", "1", "\u{1}"] {
            let request = read(line);
            assert_eq!((request.reference, request.command.unwrap_err().code), (None, "usage"), "{line}");
        }
    }
}
