//! The floor: the same frames over bare blocking sockets, hashed, checked and coalesced, with no
//! node, no routing, no duplicates and no queue. What a node cannot beat.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use peernet::wire::{Decoder, Form, LENGTH_LEN, Limits, Message, frame, open};

use super::contract::{
    Control, Recorder, Role, Source, control, emit_address, emit_latency, emit_ready, emit_sent, sequence,
};
use super::monotonic::now_ns;
use crate::failure::Failure;

/// Frames written together.
const BATCH: usize = 64 << 10;
const READ: usize = 256 << 10;
/// Stands for a node id: as long as one.
const SENDER: &str = "5WQ3ZkHnS7C6x9vUfCwM4pQeYbTtN2rJdGh8aLsKyXmBzRqPwEuVj1FoDi3gA7cH5";

pub(super) fn run(role: &Role) -> Result<(), Failure> {
    let mut lines = control();
    let mut next = || lines.blocking_recv().unwrap_or(Control::Quit);
    if role.index > 0 {
        emit_address("-");
        let Control::Connect(addresses) = next() else { return Ok(()) };
        let Some(address) = addresses.first() else {
            return Err(Failure::failed("no address to connect to"));
        };
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        emit_ready();
        let echo = role.workload == "w3";
        let count = role.count;
        std::thread::spawn(move || receive(stream, echo, count));
        loop {
            match next() {
                Control::Quit => return Ok(()),
                // Everything arrives over the bare socket, or nothing does.
                _ => continue,
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    emit_address(&listener.local_addr()?.to_string());
    let mut peers = Vec::new();
    for _ in 1..role.nodes {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        peers.push(stream);
    }
    next();
    emit_ready();
    next();
    match role.workload.as_str() {
        "w3" => ping_pong(role, &mut peers)?,
        _ => send(role, &mut peers)?,
    }
    while next() != Control::Quit {}
    Ok(())
}

fn append_frame(out: &mut Vec<u8>, message: &[u8]) {
    let Ok(packed) = Message::pack(0, SENDER, Form::Str, 1_700_000_000, 0, &(message,)) else { return };
    out.extend_from_slice(&frame::length_field(packed.body().len()).unwrap_or_default());
    out.extend_from_slice(packed.body());
}

fn send(role: &Role, peers: &mut [TcpStream]) -> Result<(), Failure> {
    let mut source = Source::new(role);
    let start = now_ns();
    let mut batch = Vec::with_capacity(BATCH + role.size + LENGTH_LEN + 256);
    for number in 0..role.count {
        append_frame(&mut batch, source.message(number));
        if batch.len() >= BATCH || number + 1 == role.count {
            for peer in peers.iter_mut() {
                peer.write_all(&batch)?;
            }
            batch.clear();
        }
    }
    emit_sent(role.count, start);
    Ok(())
}

/// Reads frames, checks them, and gives each one's bytes and its size on the wire to `take` until it
/// says stop.
fn each(stream: &mut TcpStream, mut take: impl FnMut(&[u8], usize) -> bool) -> std::io::Result<()> {
    let mut decoder = Decoder::new(1 << 20);
    let mut buffer = vec![0; READ];
    let bad = |error: String| std::io::Error::other(error);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        decoder.push(buffer.get(..read).unwrap_or_default());
        while let Some(content) = decoder.next_frame().map_err(|e| bad(e.to_string()))? {
            let body = open(content, &[], 1 << 20).map_err(|e| bad(e.to_string()))?;
            let message = Message::read(body, &Limits::default()).map_err(|e| bad(e.to_string()))?;
            let frame = LENGTH_LEN + message.body().len();
            if !take(message.only_bytes().unwrap_or_default(), frame) {
                return Ok(());
            }
        }
    }
}

fn receive(mut stream: TcpStream, echo: bool, count: u64) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut recorder = Recorder::new(count);
    let mut out = Vec::new();
    let mut wire_bytes = 0;
    let _ = each(&mut stream, |message, frame| {
        wire_bytes += frame as u64;
        if !echo {
            if recorder.record(message) {
                recorder.report(wire_bytes);
            }
            return true;
        }
        out.clear();
        append_frame(&mut out, message);
        answers.write_all(&out).is_ok()
    });
}

fn ping_pong(role: &Role, peers: &mut [TcpStream]) -> Result<(), Failure> {
    let Some(peer) = peers.first_mut() else { return Ok(()) };
    let mut writer = peer.try_clone()?;
    let mut source = Source::new(role);
    let (mut round_trips, mut out) = (Vec::new(), Vec::new());
    let mut start = now_ns();
    append_frame(&mut out, source.message(0));
    writer.write_all(&out)?;
    each(peer, |message, _| {
        let number = sequence(message).unwrap_or(0);
        round_trips.push(now_ns() - start);
        if number + 1 == role.count {
            return false;
        }
        start = now_ns();
        out.clear();
        append_frame(&mut out, source.message(number + 1));
        writer.write_all(&out).is_ok()
    })?;
    emit_latency(&round_trips);
    Ok(())
}
