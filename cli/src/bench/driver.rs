//! One node under a harness ([`super::contract`]).

use std::time::Duration;

use peernet::{Config, Event, Mesh};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::contract::{
    Control, Recorder, Role, Source, control, emit, emit_address, emit_latency, emit_ready, emit_sent,
    sequence,
};
use super::monotonic::{now_ns, resident_kib};
use crate::failure::Failure;

/// How long nodes get to find each other.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages read at once.
const AT_ONCE: usize = 32;

pub(super) fn run(role: &Role) -> Result<(), Failure> {
    // One thread: as many processes as there are cores are measured together, and a hop to another
    // core costs more than it brings.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role.workload.as_str() {
            "w1" | "w2" => flow(role).await,
            "w3" => ping_pong(role).await,
            "w4" => many(role).await,
            other => Err(Failure::usage(format!("no workload `{other}`; there are w1, w2, w3 and w4"))),
        }
    })
}

fn config(role: &Role) -> Config {
    Config {
        // The links are those that the harness names.
        max_outgoing: 0,
        max_peers: role.nodes.max(8),
        compression: role.compress.clone(),
        ..Config::local()
    }
}

async fn open(role: &Role) -> Result<Mesh, Failure> {
    let builder = Mesh::builder().encryption(role.encryption).config(config(role));
    let builder = if role.unsigned { builder.sign(false) } else { builder };
    builder.open().await.map_err(Failure::failed)
}

/// Says where it is, dials whom it is told, and says when it is ready.
async fn join(role: &Role, lines: &mut mpsc::UnboundedReceiver<Control>) -> Result<Mesh, Failure> {
    let mesh = open(role).await?;
    emit_address(&mesh.address().to_string());
    let Some(Control::Connect(addresses)) = lines.recv().await else {
        return Err(Failure::failed("no `connect` line came"));
    };
    for address in addresses {
        mesh.connect(&address).await.map_err(Failure::failed)?;
    }
    if role.index == 0 {
        let others = role.nodes - 1;
        let joined = async {
            let mut joined = 0;
            while joined < others {
                match mesh.next_event().await {
                    Some(Event::Connected { .. }) => joined += 1,
                    Some(_) => {}
                    None => break,
                }
            }
        };
        timeout(PATIENCE, joined).await.map_err(|_| Failure::failed("the others did not come"))?;
    }
    emit_ready();
    Ok(mesh)
}

/// w1 and w2: node 0 broadcasts, the others count.
async fn flow(role: &Role) -> Result<(), Failure> {
    let mut lines = control();
    let mesh = join(role, &mut lines).await?;
    if role.index == 0 {
        if lines.recv().await == Some(Control::Go) {
            let mut source = Source::new(role);
            let start = now_ns();
            for number in 0..role.count {
                mesh.broadcast(&(source.message(number),)).await.map_err(Failure::failed)?;
            }
            emit_sent(role.count, start);
        }
        until_quit(&mut lines).await;
        return Ok(());
    }
    let mut recorder = Recorder::new(role.count);
    let mut messages = Vec::with_capacity(AT_ONCE);
    loop {
        tokio::select! {
            biased;
            received = mesh.recv_many(&mut messages, AT_ONCE) => if let Err(error) = received {
                eprintln!("note: {error}");
            },
            line = lines.recv() => match line {
                Some(Control::Stop) => recorder.report(mesh.stats().bytes_in),
                Some(Control::Quit) | None => return Ok(()),
                Some(_) => {}
            },
        }
        for message in messages.drain(..) {
            if message.bytes().is_some_and(|bytes| recorder.record(bytes)) {
                recorder.report(mesh.stats().bytes_in);
            }
        }
    }
}

/// w3: node 0 broadcasts, node 1 answers, one message under way.
async fn ping_pong(role: &Role) -> Result<(), Failure> {
    let mut lines = control();
    let mesh = join(role, &mut lines).await?;
    if role.index == 0 {
        if lines.recv().await == Some(Control::Go) {
            let mut source = Source::new(role);
            let mut round_trips = Vec::new();
            for number in 0..role.count {
                let start = now_ns();
                mesh.broadcast(&(source.message(number),)).await.map_err(Failure::failed)?;
                let answer = mesh.recv().await.map_err(Failure::failed)?;
                if answer.bytes().and_then(sequence) != Some(number) {
                    return Err(Failure::failed(format!("message {number} did not come back")));
                }
                round_trips.push(now_ns() - start);
            }
            emit_latency(&round_trips);
        }
        until_quit(&mut lines).await;
        return Ok(());
    }
    loop {
        tokio::select! {
            biased;
            message = mesh.recv() => {
                let message = message.map_err(Failure::failed)?;
                let Some(bytes) = message.bytes() else { continue };
                message.reply(&(bytes,)).await.map_err(Failure::failed)?;
            }
            line = lines.recv() => if matches!(line, Some(Control::Quit) | None) {
                return Ok(());
            },
        }
    }
}

async fn until_quit(lines: &mut mpsc::UnboundedReceiver<Control>) {
    while !matches!(lines.recv().await, Some(Control::Quit) | None) {}
}

/// w4: many nodes in one process, each linked to the next two, and what one takes.
async fn many(role: &Role) -> Result<(), Failure> {
    let mut lines = control();
    let base = resident_kib();
    let start = now_ns();
    let mut nodes = Vec::with_capacity(role.nodes);
    for _ in 0..role.nodes {
        nodes.push(open(role).await?);
    }
    for (at, mesh) in nodes.iter().enumerate() {
        for step in [1, 2] {
            let to = &nodes[(at + step) % nodes.len()];
            mesh.connect(&to.address().to_string()).await.map_err(Failure::failed)?;
        }
    }
    let links = || nodes.iter().map(|mesh| mesh.peers().len()).sum::<usize>() / 2;
    let linked = async {
        while links() < 2 * nodes.len() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, linked).await.map_err(|_| Failure::failed("not all links came to stand"))?;
    // Until what was only needed for starting is given back.
    sleep(Duration::from_secs(2)).await;
    let resident = resident_kib();
    let per_node = resident.saturating_sub(base) as f64 / role.nodes as f64;
    emit(&json!({
        "ev": "result", "nodes": role.nodes, "links": links(), "rss_base_kib": base, "rss_kib": resident,
        "rss_per_node_kib": (per_node * 10.0).round() / 10.0, "setup_ms": (now_ns() - start) / 1_000_000,
    }));
    until_quit(&mut lines).await;
    Ok(())
}
