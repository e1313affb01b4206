//! `peernet encode`: JSON messages in, frames in hex out.

use peernet::wire::{Form, MAX_FRAME, Message, Method, frame};

use crate::failure::Failure;
use crate::hex;
use crate::json::{Json, read_payload};
use crate::lines::Filter;

/// What `peernet encode` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads one object a line:  {\"type\":0,\"sender\":\"6URV\",\"time\":1479600000,\"payload\":[0,\"hello\"]}
Writes one frame a line, in hex. Other fields are ignored. A line that cannot be encoded gives
{\"error\":\"…\"} in its place, and exit 1 at the end.

A sender given as text goes out as bytes (as py2p writes it), {\"$str\":\"…\"} as text (as js2p does).")]
pub(crate) struct Args {
    /// Compress every frame: zlib, gzip, bz2, lzma or snappy
    #[arg(long, value_name = "METHOD")]
    compress: Option<Method>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut filter = Filter::new();
    let mut line = Vec::new();
    while filter.read_line(&mut line)? {
        filter.write(encode(&line, args.compress))?;
    }
    filter.finish()
}

/// The frame of one message, as a line of hex.
fn encode(line: &[u8], compress: Option<Method>) -> Result<String, String> {
    let json = Json::parse_bytes(line).map_err(|error| error.to_string())?;
    let message = read_message(&json)?;
    let size = message.body().len();
    if size > MAX_FRAME {
        return Err(format!("the message takes {size} bytes, over the limit of {MAX_FRAME}"));
    }
    let packed = compress.map(|method| method.compress(message.body()));
    let body = packed.as_deref().unwrap_or(message.body());
    let length = frame::length_field(body.len()).ok_or("the frame is over 4 GiB")?;
    let mut out = String::with_capacity(2 * (length.len() + body.len()) + 1);
    hex::write(&length, &mut out);
    hex::write(body, &mut out);
    out.push('\n');
    Ok(out)
}

fn read_message(json: &Json) -> Result<Message, String> {
    if !matches!(json, Json::Object(_)) {
        return Err("a message is an object with type, sender, time and payload".to_owned());
    }
    let field = |name: &str| json.get(name).ok_or_else(|| format!("{name} is missing"));
    let integer = |name: &str| field(name)?.as_integer().ok_or_else(|| format!("{name} must be an integer"));
    let kind = integer("type")?.try_into().map_err(|_| "type must be 0 to 2^64 - 1")?;
    let time = integer("time")?.try_into().map_err(|_| "time must be -2^63 to 2^63 - 1")?;
    let (form, sender) = read_sender(field("sender")?)?;
    let payload = read_payload(field("payload")?).map_err(|error| error.to_string())?;
    Message::pack_raw(kind, &sender, form, time, &payload).map_err(|error| error.to_string())
}

/// A sender in the form that `decode` writes.
fn read_sender(json: &Json) -> Result<(Form, Vec<u8>), String> {
    if let Json::Text(text) = json {
        return Ok((Form::Bin, text.clone().into_bytes()));
    }
    let form = match json {
        Json::Object(pairs) => match pairs.as_slice() {
            [(name, Json::Text(text))] => match name.as_str() {
                "$str" => Some((Form::Str, text.clone().into_bytes())),
                "$bin" => hex::read(text.as_bytes()).map(|bytes| (Form::Bin, bytes)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    form.ok_or_else(|| r#"sender must be a text, {"$str":"…"} or {"$bin":"<hex>"}"#.to_owned())
}
