//! The HTTP request that opens a WebSocket (RFC 6455, section 4).

use std::fmt::Display;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};
use ring::digest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Origins;
use crate::protocol::Address;

/// Most bytes of a request or an answer with its headers. Browsers add cookies, of which they keep 4 KiB
/// for each; more than this from a stranger is refused.
const MAX_HEAD: usize = 16 << 10;
/// Most headers of either.
const MAX_HEADERS: usize = 64;
/// Bytes made room for at a time.
const READ: usize = 1 << 10;
/// Bytes of the random key that a request carries.
const KEY_LEN: usize = 16;
/// The only version of the WebSocket protocol there is.
const VERSION: &str = "13";

const NOT_HTTP: &str = "it does not speak HTTP, as a WebSocket must";

/// Asks for a WebSocket. Returns what the other side has sent behind its answer.
pub(super) async fn ask<S>(stream: &mut S, address: &Address) -> io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = BASE64.encode(rand::random::<[u8; KEY_LEN]>());
    let request = format!(
        "GET / HTTP/1.1\r\n\
         Host: {address}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: {VERSION}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (head, early) = match read_head(stream).await? {
        Head::Whole { head, behind } => (head, behind),
        Head::TooLong => return Err(refused("its answer to the request for a WebSocket is too long")),
        Head::NotHttp => return Err(refused(NOT_HTTP)),
    };
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    if !matches!(response.parse(&head), Ok(Status::Complete(_))) {
        return Err(refused(NOT_HTTP));
    }
    match response.code {
        Some(101) => {}
        code => {
            let (code, reason) = (code.unwrap_or_default(), response.reason.unwrap_or_default());
            return Err(refused(format_args!("it answers HTTP {code} {reason}, and opens no WebSocket")));
        }
    }
    let accepted = value(response.headers, "sec-websocket-accept") == Some(accept_key(&key).as_bytes());
    let unasked = ["sec-websocket-extensions", "sec-websocket-protocol"];
    if !accepted
        || !names(response.headers, "upgrade", "websocket")
        || !names(response.headers, "connection", "upgrade")
        || unasked.iter().any(|name| value(response.headers, name).is_some())
    {
        return Err(refused("its answer to the request for a WebSocket is wrong"));
    }
    Ok(early)
}

/// Answers a request for a WebSocket. Returns what the other side has sent behind it. Whoever asks for
/// anything else is told so before the error is returned.
pub(super) async fn answer<S>(stream: &mut S, origins: &Origins) -> io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (answered, early) = match read_head(stream).await? {
        Head::Whole { head, behind } => (check(&head, origins), behind),
        Head::TooLong => (Err(Refusal::TooLong), Vec::new()),
        Head::NotHttp => (Err(Refusal::Garbage), Vec::new()),
    };
    match answered {
        Ok(accept) => {
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\n\
                 Upgrade: websocket\r\n\
                 Connection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
            Ok(early)
        }
        Err(refusal) => {
            stream.write_all(refusal.answer().as_bytes()).await?;
            stream.shutdown().await?;
            Err(refused(refusal))
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("this is no HTTP request")]
    Garbage,
    #[error("the request is too long")]
    TooLong,
    #[error("this is a node of a peer-to-peer network, which speaks WebSocket and nothing else")]
    NoWebSocket,
    #[error("only version 13 of WebSocket is spoken here")]
    Version,
    #[error("the request for a WebSocket is malformed")]
    Malformed,
    #[error("pages of this origin may not connect; the node's owner can allow them")]
    Origin,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Self::Garbage | Self::Malformed => "400 Bad Request",
            Self::Origin => "403 Forbidden",
            Self::NoWebSocket | Self::Version => "426 Upgrade Required",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }

    /// The whole answer.
    fn answer(self) -> String {
        let status = self.status();
        let (text, length) = (self.to_string(), self.to_string().len() + 1);
        format!(
            "HTTP/1.1 {status}\r\n\
             Connection: close, Upgrade\r\n\
             Upgrade: websocket\r\n\
             Sec-WebSocket-Version: {VERSION}\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n\
             {text}\n"
        )
    }
}

/// The `Sec-WebSocket-Accept` that a request gets.
fn check(head: &[u8], origins: &Origins) -> Result<String, Refusal> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
        _ => return Err(Refusal::Garbage),
    }
    let headers = &*request.headers;
    if request.method != Some("GET")
        || !names(headers, "upgrade", "websocket")
        || !names(headers, "connection", "upgrade")
    {
        return Err(Refusal::NoWebSocket);
    }
    if value(headers, "origin").is_some_and(|origin| !origins.allow(origin)) {
        return Err(Refusal::Origin);
    }
    if value(headers, "sec-websocket-version") != Some(VERSION.as_bytes()) {
        return Err(Refusal::Version);
    }
    let key = value(headers, "sec-websocket-key").and_then(|key| str::from_utf8(key).ok());
    let is_key = |key: &&str| BASE64.decode(key).is_ok_and(|bytes| bytes.len() == KEY_LEN);
    let key = key.filter(is_key).ok_or(Refusal::Malformed)?;
    if request.version != Some(1) || value(headers, "host").is_none() {
        return Err(Refusal::Malformed);
    }
    Ok(accept_key(key))
}

/// Shows that the key of a request was understood as one (RFC 6455, 4.2.2). SHA-1 protects nothing here.
fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// The first header of this name.
fn value<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Whether one of the items in headers of this name is `word`.
fn names(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    (headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)))
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

enum Head {
    Whole {
        head: Vec<u8>,
        /// What was read behind it.
        behind: Vec<u8>,
    },
    TooLong,
    /// Told by the first byte, so that nobody waits for the end of what is something else.
    NotHttp,
}

/// Reads up to the empty line that ends the headers, and maybe further.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    loop {
        let looked_at = head.len().saturating_sub(END.len() - 1);
        head.reserve(READ);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Methods, and the version that begins an answer.
        if !head.first().is_some_and(u8::is_ascii_uppercase) {
            return Ok(Head::NotHttp);
        }
        let new = head.get(looked_at..).unwrap_or_default();
        let found = new.windows(END.len()).position(|window| window == END);
        match found.map(|found| looked_at + found + END.len()) {
            Some(end) if end <= MAX_HEAD => {
                let behind = head.split_off(end);
                return Ok(Head::Whole { head, behind });
            }
            None if head.len() <= MAX_HEAD => {}
            _ => return Ok(Head::TooLong),
        }
    }
}

fn refused(why: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
