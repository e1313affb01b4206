//! `peernet demo`: watch several nodes of this machine form a mesh. Everything printed is measured.

mod stage;
mod table;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::style::Style;
use stage::{Stage, name};

/// What `peernet demo` takes.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Nodes on the stage.
const NODES: usize = 5;
/// The one that leaves, in the middle.
const LEAVER: usize = 2;
/// A text that is worth compressing.
const TEXT: &str = include_str!("mod.rs");
/// How often it is sent.
const TIMES: u64 = 20;

pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let mut demo = Demo { stage: Stage::new(), style: Style::for_stdout(), begun: Instant::now() };
        demo.play().await
    });
    runtime.shutdown_background();
    result
}

struct Demo {
    stage: Stage,
    style: Style,
    begun: Instant,
}

impl Demo {
    async fn play(&mut self) -> Result<(), Failure> {
        self.form_a_line().await?;
        self.broadcast().await?;
        self.reply().await?;
        self.leave_and_heal().await?;
        self.compress().await?;
        table::play(self.style).await?;
        self.total().await
    }

    fn say(&self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "{line}")?)
    }

    fn title(&self, title: &str) -> Result<(), Failure> {
        self.say(&format!("\n{}", self.style.bold(title)))
    }

    fn node(&self, node: usize) -> String {
        self.style.nth(node, &name(node).to_string())
    }

    async fn form_a_line(&mut self) -> Result<(), Failure> {
        self.say("A mesh is a network without a server: each node is connected to a few others, and")?;
        self.say("passes on what it hears. Here are five, each with a socket of its own. Their links are")?;
        self.say("encrypted by TLS 1.3, and each proves by a key that it is who it says.")?;
        self.title("1. Five nodes form a line")?;
        for node in 0..NODES {
            self.stage.enter().await?;
            if node > 0 {
                self.stage.connect(node, node - 1).await?;
            }
        }
        self.say(&format!("   {}", self.line()))?;
        for node in 0..NODES {
            let address = self.stage.mesh(node)?.listening().to_string();
            self.say(&format!("   {} listens on {}", self.node(node), self.style.dim(&address)))?;
        }
        Ok(())
    }

    /// The row of nodes as it is: a gap where a link or a node is missing.
    fn line(&self) -> String {
        let mut picture = String::new();
        for node in 0..NODES {
            let alone = self.stage.neighbours(node).is_empty();
            picture.push_str(&if alone { " ".to_owned() } else { self.node(node) });
            if node + 1 < NODES {
                let linked = self.stage.neighbours(node).contains(&(node + 1));
                picture.push_str(if linked { " ─── " } else { "     " });
            }
        }
        picture
    }

    /// The row, and below it the link between its ends, if there is one.
    fn picture(&self) -> Result<(), Failure> {
        self.say(&format!("   {}", self.line()))?;
        if self.stage.neighbours(0).contains(&(NODES - 1)) {
            self.say(&format!("   └{}┘", "─".repeat(6 * (NODES - 1) - 1)))?;
        }
        Ok(())
    }

    /// Lets a node broadcast a text, and prints where it arrived; `absent` is not expected to hear it.
    async fn broadcast_from(
        &mut self,
        author: usize,
        text: &str,
        absent: Option<usize>,
    ) -> Result<(), Failure> {
        let hops = self.stage.hops(author);
        let mesh = self.stage.mesh(author)?.clone();
        let sent = Instant::now();
        let report = mesh.broadcast(&(text,)).await.map_err(Failure::failed)?;
        for (node, hops) in hops.into_iter().enumerate() {
            if node == author || Some(node) == absent {
                continue;
            }
            let (at, message) = self.stage.message(node, author).await?;
            if message.id() != report.id || message.payload() != [text.into()] {
                return Err(Failure::failed(format!("node {} heard something else", name(node))));
            }
            let hops = match hops {
                Some(1) => "1 hop".to_owned(),
                Some(hops) => format!("{hops} hops"),
                None => return Err(Failure::failed(format!("no path leads to node {}", name(node)))),
            };
            self.say(&format!("   {} heard it after {:>9}, over {hops}", self.node(node), show(at - sent)))?;
        }
        Ok(())
    }

    async fn broadcast(&mut self) -> Result<(), Failure> {
        self.title("2. A tells everyone")?;
        self.say("   A sends \"hello\" to its only neighbour; each node passes it on, none twice.")?;
        self.broadcast_from(0, "hello", None).await
    }

    async fn reply(&mut self) -> Result<(), Failure> {
        let (a, last) = (0, NODES - 1);
        self.title("3. E answers A alone")?;
        self.say("   They are no neighbours. E asks the mesh where A is, connects to it, and answers.")?;
        let (asker, answerer) = (self.stage.mesh(a)?.clone(), self.stage.mesh(last)?.clone());
        if self.stage.neighbours(a).contains(&last) {
            return Err(Failure::failed("A and E are neighbours already"));
        }
        let sent = Instant::now();
        answerer.send(asker.id(), &("hello, A",)).await.map_err(Failure::failed)?;
        let (at, _) = self.stage.message(a, last).await?;
        let took = show(at - sent);
        self.say(&format!("   {} has the answer after {took}, and the line is a ring now:", self.node(a)))?;
        self.stage.connected(a, last).await?;
        self.stage.connected(last, a).await?;
        self.picture()
    }

    async fn leave_and_heal(&mut self) -> Result<(), Failure> {
        self.title("4. C leaves, and comes back")?;
        self.stage.leave(LEAVER).await?;
        self.picture()?;
        self.say("   The others still reach each other. B speaks:")?;
        self.broadcast_from(1, "where is C?", Some(LEAVER)).await?;

        let here = self.stage.enter_again(LEAVER).await?;
        // D had dialled C, and has tried again since the link broke.
        let healed = self.stage.connected(LEAVER + 1, LEAVER).await?;
        self.stage.connected(LEAVER, LEAVER + 1).await?;
        let took = show(healed.saturating_duration_since(here));
        self.say(&format!("   C is back at its old address; {took} later D has found it by itself."))?;
        self.stage.connect(LEAVER, LEAVER - 1).await?;
        self.say("   C connects to B again, and speaks:")?;
        self.picture()?;
        self.broadcast_from(LEAVER, "here I am", None).await
    }

    async fn compress(&mut self) -> Result<(), Failure> {
        let (from, to) = (0, 1);
        self.title(&format!("5. A sends B a long text, {TIMES} times"))?;
        let (sender, receiver) = (self.stage.mesh(from)?.clone(), self.stage.mesh(to)?.clone());
        let before = (receiver.stats().bytes_in, sender.stats().compression_kept);
        for _ in 0..TIMES {
            sender.send(receiver.id(), &(TEXT,)).await.map_err(Failure::failed)?;
        }
        for _ in 0..TIMES {
            let (_, message) = self.stage.message(to, from).await?;
            if message.payload() != [TEXT.into()] {
                return Err(Failure::failed("the text arrived changed"));
            }
        }
        let text = TIMES * TEXT.len() as u64;
        let travelled = receiver.stats().bytes_in - before.0;
        let kept = sender.stats().compression_kept - before.1;
        if kept == 0 || travelled >= text {
            return Err(Failure::failed(format!("{text} bytes of text took {travelled} on the link")));
        }
        let saved = self.style.good(&format!("{} % saved", 100 - 100 * travelled / text));
        self.say(&format!(
            "   {text} bytes of text went over the link as {travelled}: {saved}. {kept} messages went",
        ))?;
        self.say("   compressed; whether that pays is guessed for each, by what came of those before.")
    }

    async fn total(&mut self) -> Result<(), Failure> {
        let stats = self.stage.stats();
        let sum = |count: fn(&peernet::Stats) -> u64| stats.iter().map(count).sum::<u64>();
        let delivered = sum(|stats| stats.delivered);
        self.title("In all")?;
        let lines = [
            (delivered, "messages arrived, each once at each node that it was for"),
            (sum(|stats| stats.relayed), "times a node passed a message on for another"),
            (sum(|stats| stats.duplicates), "copies came a second way round the ring, and were dropped"),
            (sum(|stats| stats.bytes_out), "bytes went over the links"),
        ];
        for (count, what) in lines {
            self.say(&format!("   {count:>6} {what}"))?;
        }
        let arrived = self.stage.arrived;
        self.stage.close().await;
        if delivered != arrived {
            return Err(Failure::failed(format!(
                "{delivered} messages arrived where {arrived} were expected"
            )));
        }
        let took = self.begun.elapsed().as_secs_f64();
        self.say(&format!("\n{} in {took:.1} s. Now yourself, in two terminals:", self.style.good("Done")))?;
        self.say("   peernet node --listen 127.0.0.1:4444")?;
        self.say("   peernet node --connect 127.0.0.1:4444")
    }
}

fn show(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
