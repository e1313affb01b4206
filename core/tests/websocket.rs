//! ws and wss as strangers meet them: how a WebSocket is opened, what is refused, and what hostile bytes
//! do to the node.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use peernet::protocol::Dialect;
use peernet::wire::websocket::{Framer, Role};
use peernet::{CloseReason, Config, Encryption, Mesh, Origins};
use support::{Scene, Watched, connections, eventually, frame, fresh_id, handshake, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The key of the example in RFC 6455, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request as js2p makes it, with further headers.
fn request(more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

async fn connect(mesh: &Mesh) -> TcpStream {
    let address = mesh.address();
    let dial = TcpStream::connect((address.host.as_str(), address.port));
    soon("a stranger connects", dial).await.unwrap()
}

/// What comes up to the empty line.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("an answer", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The whole answer to a request, up to the end of the connection.
async fn answer(mesh: &Mesh, request: &str) -> String {
    let mut stream = connect(mesh).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer and the end", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// The first line of the answer to a request.
async fn status(mesh: &Mesh, request: &str) -> String {
    let mut stream = connect(mesh).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    head(&mut stream).await.lines().next().unwrap().to_owned()
}

async fn node() -> Mesh {
    Mesh::builder().encryption(Encryption::Ws).open().await.unwrap()
}

/// A WebSocket on which nothing was said.
async fn open(mesh: &Mesh) -> TcpStream {
    let mut stream = connect(mesh).await;
    stream.write_all(request("").as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    stream
}

/// A client's part with a mask of zeros, of at most 125 bytes.
fn part(first: u8, content: &[u8]) -> Vec<u8> {
    let mut part = vec![first, 0x80 | u8::try_from(content.len()).unwrap(), 0, 0, 0, 0];
    part.extend_from_slice(content);
    part
}

/// The next part that the node sends, which is short.
async fn next_part(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let first = soon("a part", stream.read_u8()).await.unwrap();
    let length = match soon("a length", stream.read_u8()).await.unwrap() {
        126 => soon("a length", stream.read_u16()).await.unwrap(),
        short => short.into(),
    };
    let mut content = vec![0; length.into()];
    soon("the content", stream.read_exact(&mut content)).await.unwrap();
    (first, content)
}

/// Reads up to the node's close and the end of the connection; returns the code and the reason.
async fn closed(stream: &mut TcpStream) -> (u16, String) {
    loop {
        let (first, content) = next_part(stream).await;
        if first == 0x88 {
            let mut rest = Vec::new();
            // With bytes unread, the end may be a reset.
            let _ = soon("the end", stream.read_to_end(&mut rest)).await;
            assert!(rest.is_empty(), "{rest:?} behind a close");
            let (code, reason) = content.split_first_chunk().unwrap();
            return (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
        }
    }
}

///
#[tokio::test]
async fn any_path_is_taken_and_offers_are_ignored() {
    let node = node().await;
    let offers = "Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let request = request(offers)
        .replace("GET / ", "GET /a/path?with=more ")
        .replace(": Upgrade", ": keep-alive, upgrade");
    let mut stream = connect(&node).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    assert_eq!(head, expected);
}

///
#[tokio::test]
async fn what_asks_for_no_websocket_is_told_so() {
    let node = node().await;
    let plain = answer(&node, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("peer-to-peer"), "{plain}");
    let long = 16 * 1024 + 1;
    let cases = [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), 426),
        (request("").replace("Version: 13", "Version: 8"), 426),
        ("hello?".to_owned(), 400),
        ("HELLO?\r\n\r\n".to_owned(), 400),
        (request("").replace(KEY, "c2hvcnQ="), 400),
        (request("").replace(KEY, "no base64 at all"), 400),
        (request("").replace("Host: 127.0.0.1\r\n", ""), 400),
        (request("").replace("HTTP/1.1", "HTTP/1.0"), 400),
        (request(&"X: y\r\n".repeat(64)), 431),
        (format!("{:x<long$}", request("").trim_end()), 431),
    ];
    for (request, code) in cases {
        let answer = answer(&node, &request).await;
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a text");
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{request:.80} gives {head}");
        assert!(
            head.contains(&format!("Content-Length: {}", text.len())) && text.ends_with('\n'),
            "{answer}"
        );
    }
}

///
#[tokio::test]
async fn pages_are_refused_unless_their_origin_is_named() {
    let ours = "https://example.org";
    let listed = Origins::only([ours, "http://localhost:8000"]);
    for (origins, lets_in) in
        [(None, [false; 3]), (Some(listed), [true, false, false]), (Some(Origins::Any), [true; 3])]
    {
        let mut builder = Mesh::builder().encryption(Encryption::Ws);
        if let Some(origins) = origins {
            builder = builder.origins(origins);
        }
        let node = builder.open().await.unwrap();
        for (origin, allowed) in [ours, "https://example.org.evil", "null"].into_iter().zip(lets_in) {
            let status = status(&node, &request(&format!("Origin: {origin}\r\n"))).await;
            assert!(status.contains(if allowed { " 101 " } else { " 403 " }), "{origin}: {status}");
        }
        assert!(status(&node, &request("")).await.contains(" 101 "), "programs are not asked");
    }
}

/// What a node says that dials someone who answers so.
async fn dial_and_answer(answer: String) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = node().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        request
    };
    let (error, request) = soon("an error", async { tokio::join!(node.connect(&address), server) }).await;
    (request.replace(&address, "ADDRESS"), error.unwrap_err().to_string())
}

///
#[tokio::test]
async fn who_dials_asks_as_js2p_does_and_takes_no_other_answer() {
    let good = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    // The answer is right but for the key that it answers.
    let (request, error) = dial_and_answer(good.clone()).await;
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap().to_owned();
    assert_eq!(key.len(), KEY.len());
    assert_eq!(
        request.replace(&key, "KEY"),
        "GET / HTTP/1.1\r\nHost: ADDRESS\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    assert!(error.contains("is wrong"), "{error}");
    let cases = [
        ("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), "HTTP 403 Forbidden"),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "HTTP 200 OK"),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), "does not speak HTTP"),
        ("\x16\x03\x03".to_owned(), "does not speak HTTP"),
        (format!("HTTP/1.1 101 {}\r\n\r\n", "x".repeat(20_000)), "too long"),
    ];
    for (answer, expected) in cases {
        let (_, error) = dial_and_answer(answer).await;
        assert!(error.contains(expected), "{error}");
    }
}

///
#[tokio::test]
async fn nothing_that_was_not_asked_for_is_agreed_on() {
    for unasked in
        ["Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n", ""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = node().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = head(&mut stream).await;
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
            let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
            let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                 {unasked}Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            // The first part of the node's handshake, if it agrees; masked, as it dialled.
            let mut first = [0; 2];
            let got = stream.read_exact(&mut first).await.is_ok();
            got.then_some(first)
        };
        let (error, first) = soon("an end", async { tokio::join!(node.connect(&address), server) }).await;
        let error = error.unwrap_err().to_string();
        match unasked {
            "" => assert_eq!(first, Some([0x82, 0xfe])),
            _ => assert!(first.is_none() && error.contains("is wrong"), "{error}"),
        }
    }
}

///
#[tokio::test]
async fn broken_rules_end_the_connection_with_the_right_code() {
    let node = node().await;
    let announced = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    let cases = [
        (part(0x81, b"hello"), 1003, "text"),
        (vec![0x82, 2, 1, 2], 1002, "mask"),
        (part(0xc2, b""), 1002, "extension"),
        (part(0x83, b""), 1002, "unknown"),
        (part(0x80, b""), 1002, "order"),
        ([part(0x02, b""), part(0x82, b"")].concat(), 1002, "order"),
        (part(0x09, b""), 1002, "ping"),
        (part(0x88, b"x"), 1002, "close"),
        (announced(1), 1002, "length"),
        (announced(1 << 63), 1002, "length"),
        (announced((1 << 63) - 1), 1009, "limit"),
        (announced((16 << 20) + 5), 1009, "limit"),
    ];
    for (bytes, code, word) in cases {
        let mut stream = open(&node).await;
        stream.write_all(&bytes).await.unwrap();
        let (closed_with, reason) = closed(&mut stream).await;
        assert_eq!(closed_with, code, "{bytes:?}: {reason}");
        assert!(reason.contains(word), "{bytes:?}: {reason}");
    }
}

///
#[tokio::test]
async fn pings_and_closes_are_answered() {
    let node = node().await;
    let mut stream = open(&node).await;
    let longest = [7; 125];
    for content in [&b""[..], b"are you there?", &longest] {
        stream.write_all(&part(0x89, content)).await.unwrap();
        assert_eq!(next_part(&mut stream).await, (0x8a, content.to_vec()));
    }
    stream.write_all(&part(0x8a, b"unasked")).await.unwrap();
    stream.write_all(&part(0x88, &[&1001_u16.to_be_bytes()[..], b"going"].concat())).await.unwrap();
    assert_eq!(closed(&mut stream).await, (1000, String::new()));
}

/// a frame is read however its bytes are put into parts, and what comes back is a frame
/// in a message.
#[tokio::test]
async fn frames_are_read_from_any_parts() {
    let node = node().await;
    let id = fresh_id(node.protocol());
    let hello = frame(handshake(Dialect::Js2p, &id, node.protocol(), &[]).body());
    let mut whole = Vec::new();
    Framer::new(Role::Client).put(&hello, &mut whole, usize::MAX);
    let mut bytewise = part(0x02, b"");
    for byte in &hello {
        bytewise.extend(part(0x00, &[*byte]));
        bytewise.extend(part(0x89, b"between"));
    }
    bytewise.extend(part(0x80, b""));
    let (first, second) = hello.split_at(100);
    let in_two =
        [part(0x82, first), part(0x02, b""), part(0x80, &second[..50]), part(0x82, &second[50..])].concat();
    for bytes in [whole, bytewise, in_two] {
        // In the same packet as the request, too.
        let mut stream = connect(&node).await;
        stream.write_all(&[request("").as_bytes(), &bytes].concat()).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        let content = loop {
            let (first, content) = next_part(&mut stream).await;
            if first != 0x8a {
                assert_eq!(first, 0x82);
                break content;
            }
        };
        let (length, content) = content.split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, content.len());
        eventually("the node knows the stranger", || {
            node.peers().iter().any(|peer| peer.id == id).then_some(())
        })
        .await;
        drop(stream);
        eventually("and forgets it", || node.peers().is_empty().then_some(())).await;
    }
}

/// A node under attack that loses patience soon.
fn impatient() -> Config {
    let patience = Duration::from_millis(500);
    Config { handshake_timeout: patience, frame_timeout: patience, max_outgoing: 0, ..Config::lan() }
}

/// Waits until the node has hung up.
async fn ends(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    soon("the node hangs up", async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_never_ask_properly() {
    for encryption in [Encryption::Ws, Encryption::Wss, Encryption::Ssl] {
        let scene = Scene::open_over(encryption, impatient()).await;
        let mesh = &scene.node.mesh;
        let attack = async {
            let mut strangers = Vec::new();
            for said in
                [&b"\0\0\0\x05abcde"[..], b"GET", b"\x16\x03\x01\x40\x00", &[0xff; 100_000], b"\r\n\r\n", b""]
            {
                let mut stream = connect(mesh).await;
                let _ = stream.write_all(said).await;
                strangers.push(stream);
            }
            // Headers, or a handshake, that do not end.
            let mut endless = connect(mesh).await;
            while endless.write_all(&b"X-Header: and so on\r\n".repeat(1000)).await.is_ok() {}
            // And one that takes its time over each byte.
            let mut slow = connect(mesh).await;
            for byte in request("").bytes() {
                if slow.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for stranger in strangers.into_iter().chain([slow]) {
                ends(stranger).await;
            }
        };
        scene.under(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_that_never_upgrade() {
    for encryption in [Encryption::Ws, Encryption::Ssl] {
        let scene = Scene::open_over(encryption, impatient()).await;
        let attack = async {
            let mut strangers = Vec::new();
            for _ in 0..connections(1000) {
                strangers.push(connect(&scene.node.mesh).await);
            }
            for stranger in strangers {
                ends(stranger).await;
            }
        };
        scene.under(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_never_end() {
    let scene = Scene::open_over(Encryption::Ws, impatient()).await;
    let mesh = &scene.node.mesh;
    let attack = async {
        // Parts without content for as long as the node listens.
        let mut empty = open(mesh).await;
        let _ = empty.write_all(&part(0x02, b"")).await;
        while empty.write_all(&part(0x00, b"").repeat(1000)).await.is_ok() {}
        // A frame that is announced and comes in single bytes.
        let mut slow = open(mesh).await;
        let mut bytes = part(0x02, &1000_u32.to_be_bytes());
        while slow.write_all(&bytes).await.is_ok() {
            bytes = part(0x00, b"x");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Frames over what a stranger may send.
        let mut large = open(mesh).await;
        let _ = large.write_all(&part(0x02, &(1_u32 << 20).to_be_bytes())).await;
        ends(large).await;
    };
    scene.under(attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_whose_answers_nobody_reads() {
    let scene = Scene::open_over(Encryption::Ws, impatient()).await;
    let attack = async {
        let mut flood = open(&scene.node.mesh).await;
        let pings = part(0x89, &[7; 125]).repeat(1000);
        while flood.write_all(&pings).await.is_ok() {}
    };
    scene.under(attack).await;
}

/// Rules broken behind a handshake end the link with a reason that names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_breaks_the_rules() {
    let scene = Scene::open_over(Encryption::Ws, impatient()).await;
    let attack = async {
        for (bytes, word) in [
            (part(0x81, b"text"), "text"),
            (vec![0x82, 1, 1], "mask"),
            (vec![0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "limit"),
        ] {
            let mut stream = open(&scene.node.mesh).await;
            let id = fresh_id(scene.node.mesh.protocol());
            let hello = frame(handshake(Dialect::Peernet, &id, scene.node.mesh.protocol(), &[]).body());
            let mut said = Vec::new();
            Framer::new(Role::Client).put(&hello, &mut said, usize::MAX);
            said.extend(bytes);
            stream.write_all(&said).await.unwrap();
            let CloseReason::Broken(reason) = scene.node.parted(&id).await else { panic!("another reason") };
            assert!(reason.contains(word), "{reason}");
        }
    };
    scene.under(attack).await;
}

/// A peer that takes nothing is given up, and what it does not take is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_does_not_read() {
    let config = Config { stall_timeout: Duration::from_millis(1500), ..impatient() };
    let scene = Scene::open_over(Encryption::Ws, config).await;
    let mut stream = open(&scene.node.mesh).await;
    let id = fresh_id(scene.node.mesh.protocol());
    let hello = frame(handshake(Dialect::Peernet, &id, scene.node.mesh.protocol(), &[]).body());
    let mut said = Vec::new();
    Framer::new(Role::Client).put(&hello, &mut said, usize::MAX);
    stream.write_all(&said).await.unwrap();
    eventually("it is a neighbour", || {
        scene.node.mesh.peers().iter().any(|peer| peer.id == id).then_some(())
    })
    .await;
    let sender: &Watched = &scene.node;
    for _ in 0..40 {
        let _ = soon("room", sender.mesh.broadcast(&(rand::random::<u64>(), vec![7_u8; 1 << 20]))).await;
    }
    assert_eq!(scene.node.parted(&id).await, CloseReason::Stalled);
    scene.still_serves().await;
}
