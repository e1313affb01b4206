//! This build as a testee.

use std::io::{BufRead, Write};

use peernet::identity::{KeyPair, NodeId, ProtocolId, PublicKey};
use peernet::wire::compression::{compress_if_smaller, must_compress};
use peernet::wire::{Decoder, Envelope, Form, Limits, MAX_FRAME, Message, Method, base58, frame};
use peernet::{ErrorCode, Value};
use serde_json::{Value as Json, json};

use crate::json::{FormError, from_value, from_values, hex, parse, to_value, to_values, unhex};
use crate::machine::Machine;
use crate::{Lost, Testee};

/// What this build can be asked.
const OPS: [&str; 11] = [
    "hello",
    "encode",
    "decode",
    "protocol_id",
    "node_id",
    "key_id",
    "base58_encode",
    "base58_decode",
    "error_code",
    "transcript_start",
    "transcript_step",
];

/// The longest base58 integer read, in bytes.
const MAX_BASE58: usize = 1024;

/// This build, asked in-process.
#[derive(Default)]
pub struct Reference {
    machine: Option<Machine>,
}

/// How a request ends that is not answered as asked.
pub(crate) enum Answer {
    /// The request is understood, and what it asks about is refused.
    Refused(String),
    /// The request is not understood.
    Unsupported,
}

impl From<FormError> for Answer {
    fn from(_: FormError) -> Self {
        Self::Unsupported
    }
}

pub(crate) fn refused(error: impl ToString) -> Answer {
    Answer::Refused(error.to_string())
}

impl Testee for Reference {
    fn ask(&mut self, request: &Json) -> Result<Json, Lost> {
        Ok(self.answer(request))
    }
}

impl Reference {
    /// Answers one request.
    pub fn answer(&mut self, request: &Json) -> Json {
        let answer = match request.get("op").and_then(Json::as_str) {
            Some("hello") => Ok(hello()),
            Some("encode") => encode(request),
            Some("decode") => decode(request),
            Some("protocol_id") => protocol_id(request),
            Some("node_id") => node_id(request),
            Some("key_id") => key_id(request),
            Some("base58_encode") => base58_encode(request),
            Some("base58_decode") => base58_decode(request),
            Some("error_code") => error_code(request),
            Some("transcript_start") => Machine::start(request).map(|machine| {
                self.machine = Some(machine);
                json!({ "ok": true })
            }),
            Some("transcript_step") => match &mut self.machine {
                Some(machine) => machine.step(request).map(|outputs| json!({ "outputs": outputs })),
                None => Err(refused("no transcript was started")),
            },
            _ => Err(Answer::Unsupported),
        };
        match answer {
            Ok(answer) => answer,
            Err(Answer::Refused(error)) => json!({ "error": error }),
            Err(Answer::Unsupported) => json!({ "unsupported": true }),
        }
    }
}

/// Answers requests from `input`, a line each, until it ends.
///
/// # Errors
/// Only those of reading and writing.
pub fn serve(input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut reference = Reference::default();
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match parse(&line) {
            Ok(request) => reference.answer(&request),
            Err(_) => json!({ "unsupported": true }),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn hello() -> Json {
    json!({ "name": "libpeernet", "version": env!("CARGO_PKG_VERSION"), "profile": "peernet", "ops": OPS })
}

pub(crate) fn text<'a>(request: &'a Json, key: &str) -> Result<&'a str, Answer> {
    request.get(key).and_then(Json::as_str).ok_or(Answer::Unsupported)
}

pub(crate) fn list<'a>(request: &'a Json, key: &str) -> Result<&'a [Json], Answer> {
    request.get(key).and_then(Json::as_array).map(Vec::as_slice).ok_or(Answer::Unsupported)
}

/// The methods that a list of codes names, unknown codes left out.
pub(crate) fn methods(codes: &[Json]) -> Vec<Method> {
    codes.iter().filter_map(|code| Method::from_code(code.as_u64()?)).collect()
}

fn optional_methods(request: &Json) -> Vec<Method> {
    request.get("compression").and_then(Json::as_array).map(|codes| methods(codes)).unwrap_or_default()
}

/// A message as requests carry it.
pub(crate) fn message(request: &Json) -> Result<Message, Answer> {
    let part = |key| request.get(key).ok_or(Answer::Unsupported);
    let kind = to_value(part("type")?)?.as_u64().ok_or_else(|| refused("the type is not an integer"))?;
    let (sender, form) = match to_value(part("sender")?)? {
        Value::Str(text) => (text.into_bytes(), Form::Str),
        Value::Bin(bytes) => (bytes, Form::Bin),
        _ => return Err(refused("the sender is neither text nor bytes")),
    };
    let time = part("time")?.as_i64().ok_or_else(|| refused("the time is no 64-bit integer"))?;
    let payload = to_values(list(request, "payload")?)?;
    Message::pack_raw(kind, &sender, form, time, &payload).map_err(refused)
}

/// The parts of a message as answers carry them.
pub(crate) fn parts(message: &Message) -> Result<[(&'static str, Json); 5], Answer> {
    let header = message.header();
    let sender = match header.sender_form {
        Form::Str => Value::Str(String::from_utf8_lossy(message.sender()).into_owned()),
        Form::Bin => Value::Bin(message.sender().to_vec()),
    };
    let payload = message.values(&Limits::default()).map_err(refused)?;
    Ok([
        ("type", from_value(&header.kind.into())),
        ("sender", from_value(&sender)),
        ("time", header.time.into()),
        ("payload", from_values(&payload)),
        ("id", message.id().to_string().into()),
    ])
}

/// The key pair that belongs to a secret key, in hexadecimal digits.
pub(crate) fn keys(json: &Json) -> Result<KeyPair, Answer> {
    let secret = unhex(text(json, "secret")?)?.try_into();
    Ok(KeyPair::from_secret(secret.map_err(|_| refused("a secret key has 32 bytes"))?))
}

fn encode(request: &Json) -> Result<Json, Answer> {
    let mut message = message(request)?;
    if request.get("secret").is_some() {
        message = message.sealed(&keys(request)?);
    }
    let body = message.body();
    let methods = optional_methods(request);
    let packed = methods.first().and_then(|method| {
        let forced = || must_compress(body, &methods).then(|| method.compress(body));
        compress_if_smaller(*method, body).or_else(forced)
    });
    let content = packed.as_deref().unwrap_or(body);
    let length = frame::length_field(content.len()).ok_or_else(|| refused("longer than a frame can be"))?;
    let id = message.id().to_string();
    Ok(json!({ "frame": hex(&length) + &hex(content), "id": id }))
}

fn decode(request: &Json) -> Result<Json, Answer> {
    let bytes = unhex(text(request, "frame")?)?;
    let limit = request.get("max_frame").and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let envelope = match request.get("sealed") {
        None => Envelope::Plain,
        Some(_) => Envelope::Sealed(ProtocolId::parse(text(request, "sealed")?).map_err(refused)?),
    };
    let message = read_frame(&envelope, &bytes, &optional_methods(request), limit.unwrap_or(MAX_FRAME))?;
    Ok(Json::Object(parts(&message)?.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()))
}

/// Reads the one frame that `bytes` must be.
fn read_frame(
    envelope: &Envelope,
    bytes: &[u8],
    methods: &[Method],
    limit: usize,
) -> Result<Message, Answer> {
    let mut decoder = Decoder::new(limit);
    decoder.push(bytes);
    let content = decoder.next_frame().map_err(refused)?;
    decoder.finish().map_err(refused)?;
    let content = content.ok_or_else(|| refused("there is no frame"))?;
    let body = envelope.open(content, methods, limit).map_err(refused)?;
    envelope.read(body, &Limits::default()).map_err(refused)
}

fn protocol_id(request: &Json) -> Result<Json, Answer> {
    let id = ProtocolId::derive(text(request, "subnet")?, text(request, "encryption")?);
    Ok(json!({ "id": id.as_str() }))
}

fn node_id(request: &Json) -> Result<Json, Answer> {
    let port = request.get("port").and_then(Json::as_u64).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(Answer::Unsupported)?;
    let protocol = ProtocolId::parse(text(request, "protocol")?).map_err(refused)?;
    let id = NodeId::derive(text(request, "host")?, port, &protocol, text(request, "salt")?);
    Ok(json!({ "id": id.as_str() }))
}

fn key_id(request: &Json) -> Result<Json, Answer> {
    let key = unhex(text(request, "key")?)?.try_into().map_err(|_| Answer::Unsupported)?;
    let protocol = ProtocolId::parse(text(request, "protocol")?).map_err(refused)?;
    Ok(json!({ "id": NodeId::of_key(&PublicKey::from_bytes(key), &protocol).as_str() }))
}

fn base58_encode(request: &Json) -> Result<Json, Answer> {
    Ok(json!({ "text": base58::encode_int(&unhex(text(request, "hex")?)?) }))
}

fn base58_decode(request: &Json) -> Result<Json, Answer> {
    let bytes = base58::decode_int(text(request, "text")?, MAX_BASE58).map_err(refused)?;
    let digits = hex(&bytes);
    let digits = digits.trim_start_matches('0');
    Ok(json!({ "hex": if digits.is_empty() { "0" } else { digits } }))
}

fn error_code(request: &Json) -> Result<Json, Answer> {
    let name = text(request, "name")?;
    let code = ErrorCode::ALL.iter().find(|code| code.as_str() == name);
    let code = code.ok_or_else(|| refused("there is no such error"))?;
    Ok(json!({ "status": code.status() }))
}
