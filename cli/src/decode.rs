//! `peernet decode`: frames in hex in, JSON messages out.

use peernet::wire::{Decoder, Form, FrameError, Limits, MAX_FRAME, Message, Method, open};

use crate::failure::Failure;
use crate::hex;
use crate::json::{Object, write_text};
use crate::lines::Filter;

/// Bytes read at once with `--raw`.
const READ: usize = 64 << 10;

/// What `peernet decode` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Writes one object a line, in the form that `peernet encode` reads, with the message's id:
{\"type\":0,\"sender\":\"6URV\",\"time\":1479600000,\"payload\":[0,\"hello\"],\"id\":\"…\"}
A bad frame gives {\"error\":\"…\"} in its place, and exit 1 at the end.")]
pub(crate) struct Args {
    /// Compression codes to try, in this order: 16 bz2, 17 gzip, 18 lzma, 19 zlib, 32 snappy
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = read_method)]
    compression: Vec<Method>,
    /// Read a stream of frames as it comes from a socket, instead of lines of hex
    #[arg(long)]
    raw: bool,
}

fn read_method(text: &str) -> Result<Method, String> {
    let text = text.trim();
    match text.parse() {
        Ok(code) => Method::from_code(code)
            .ok_or_else(|| format!("nobody reads compression {code}; there are 16, 17, 18, 19 and 32")),
        Err(_) => text.parse::<Method>().map_err(|error| error.to_string()),
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    if args.raw { decode_stream(&args.compression) } else { decode_lines(&args.compression) }
}

fn decode_lines(methods: &[Method]) -> Result<(), Failure> {
    let mut filter = Filter::new();
    let mut line = Vec::new();
    while filter.read_line(&mut line)? {
        filter.write(decode_line(&line, methods))?;
    }
    filter.finish()
}

/// A line must hold one frame and nothing else.
fn decode_line(line: &[u8], methods: &[Method]) -> Result<String, String> {
    let bytes = hex::read(line.trim_ascii()).ok_or("a frame is written as pairs of hexadecimal digits")?;
    let mut decoder = Decoder::new(MAX_FRAME);
    decoder.push(&bytes);
    let frame = decoder.next_frame().map_err(|error| error.to_string())?;
    match frame {
        None => Err(unfinished(&decoder)),
        Some(_) if decoder.is_partial() => Err("more bytes follow the frame on the line".to_owned()),
        Some(frame) => decode_frame(frame, methods),
    }
}

fn decode_stream(methods: &[Method]) -> Result<(), Failure> {
    let mut filter = Filter::new();
    let mut decoder = Decoder::new(MAX_FRAME);
    let mut bytes = vec![0; READ];
    loop {
        let read = filter.read_some(&mut bytes)?;
        decoder.push(bytes.get(..read).unwrap_or_default());
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => filter.write(decode_frame(frame, methods))?,
                Ok(None) => break,
                // Where the next frame begins is unknown.
                Err(error) => {
                    filter.write(Err(error.to_string()))?;
                    return filter.finish();
                }
            }
        }
        if read == 0 {
            if decoder.is_partial() {
                filter.write(Err(unfinished(&decoder)))?;
            }
            return filter.finish();
        }
    }
}

fn unfinished(decoder: &Decoder) -> String {
    let nothing = FrameError::Truncated { have: 0, need: 4 };
    decoder.finish().err().unwrap_or(nothing).to_string()
}

/// The message in a frame, as a line of JSON.
fn decode_frame(frame: impl Into<bytes::Bytes>, methods: &[Method]) -> Result<String, String> {
    let body = open(frame.into(), methods, MAX_FRAME).map_err(|error| error.to_string())?;
    let limits = Limits::default();
    let message = Message::read(body, &limits).map_err(|error| error.to_string())?;
    let payload = message.values(&limits).map_err(|error| error.to_string())?;
    let header = message.header();
    Ok(Object::empty()
        .number("type", header.kind)
        .raw("sender", &write_sender(header.sender_form, message.sender()))
        .number("time", header.time)
        .payload("payload", &payload)
        .text("id", &message.id().to_string())
        .line())
}

/// The sender in the form that `encode` reads back as the same bytes in the same msgpack type.
fn write_sender(form: Form, sender: &[u8]) -> String {
    let mut out = String::new();
    match (form, std::str::from_utf8(sender)) {
        (Form::Bin, Ok(text)) => write_text(text, &mut out),
        (Form::Str, Ok(text)) => {
            out.push_str("{\"$str\":");
            write_text(text, &mut out);
            out.push('}');
        }
        (_, Err(_)) => {
            out.push_str("{\"$bin\":\"");
            hex::write(sender, &mut out);
            out.push_str("\"}");
        }
    }
    out
}
