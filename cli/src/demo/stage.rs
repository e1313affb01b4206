//! The nodes of a demonstration, and everything that happens to them, with the time of each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peernet::identity::NodeId;
use peernet::{Config, Event, Mesh, Message, Stats};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::failure::Failure;

/// Nothing here takes longer unless it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that happened to a node.
struct News {
    /// Which node: its place on the stage.
    node: usize,
    at: Instant,
    event: Event,
}

/// Some nodes of this process, each with a socket of its own, that connect only as told.
pub(super) struct Stage {
    nodes: Vec<Arc<Mesh>>,
    sender: UnboundedSender<News>,
    news: UnboundedReceiver<News>,
    /// What nobody waited for yet.
    waiting: VecDeque<News>,
    /// What nodes that left had counted.
    departed: Vec<Stats>,
    /// Messages that were waited for and came.
    pub(super) arrived: u64,
}

impl Stage {
    pub(super) fn new() -> Self {
        // Its readers are tasks of this process, and what happens in a demonstration is little.
        let (sender, news) = unbounded_channel();
        Self { nodes: Vec::new(), sender, news, waiting: VecDeque::new(), departed: Vec::new(), arrived: 0 }
    }

    /// Opens a node on this address.
    async fn open(&self, node: usize, listen: &str) -> Result<Arc<Mesh>, Failure> {
        let defaults = Config::default();
        // Nodes otherwise connect to those that their neighbours name, and the picture would change.
        let config = Config { max_outgoing: 0, compression: defaults.compression, ..Config::local() };
        let builder = Mesh::builder().subnet("peernet demo");
        let mesh = Arc::new(builder.listen(listen).config(config).open().await.map_err(Failure::failed)?);
        let (watched, sender) = (mesh.clone(), self.sender.clone());
        tokio::spawn(async move {
            while let Some(event) = watched.next_event().await {
                if sender.send(News { node, at: Instant::now(), event }).is_err() {
                    break;
                }
            }
        });
        Ok(mesh)
    }

    /// Adds a node on a free port.
    pub(super) async fn enter(&mut self) -> Result<(), Failure> {
        let mesh = self.open(self.nodes.len(), "127.0.0.1:0").await?;
        self.nodes.push(mesh);
        Ok(())
    }

    /// Replaces a node that left by a new one at the same address; returns when it stood there.
    pub(super) async fn enter_again(&mut self, node: usize) -> Result<Instant, Failure> {
        let address = self.mesh(node)?.listening().to_string();
        let mesh = self.open(node, &address).await?;
        let now = Instant::now();
        if let Some(place) = self.nodes.get_mut(node) {
            *place = mesh;
        }
        Ok(now)
    }

    /// Makes a node leave, and waits until its neighbours know.
    pub(super) async fn leave(&mut self, node: usize) -> Result<(), Failure> {
        let mesh = self.mesh(node)?.clone();
        let neighbours = self.neighbours(node);
        mesh.close().await;
        self.departed.push(mesh.stats());
        for neighbour in neighbours {
            self.wait(neighbour, "that a neighbour left", |event| match event {
                Event::Disconnected { peer, .. } if peer == mesh.id() => Some(()),
                _ => None,
            })
            .await?;
        }
        Ok(())
    }

    pub(super) fn mesh(&self, node: usize) -> Result<&Arc<Mesh>, Failure> {
        self.nodes.get(node).ok_or_else(|| Failure::failed("the demo has no such node"))
    }

    /// Connects one node to another, and waits until both know.
    pub(super) async fn connect(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        let address = self.mesh(to)?.listening().to_string();
        self.mesh(from)?.connect(&address).await.map_err(Failure::failed)?;
        self.connected(from, to).await?;
        self.connected(to, from).await?;
        Ok(())
    }

    /// Waits until a node has a link to another; returns when.
    pub(super) async fn connected(&mut self, node: usize, to: usize) -> Result<Instant, Failure> {
        let id = self.mesh(to)?.id().clone();
        let joined = |event: &Event| match event {
            Event::Connected { peer, .. } if *peer == id => Some(()),
            _ => None,
        };
        Ok(self.wait(node, "a new neighbour", joined).await?.0)
    }

    /// Waits for a message by this author at a node; returns when it came.
    pub(super) async fn message(
        &mut self,
        node: usize,
        author: usize,
    ) -> Result<(Instant, Message), Failure> {
        let id = self.mesh(author)?.id().clone();
        let by_author = |event: &Event| match event {
            Event::Message(message) if *message.sender() == id => Some(message.clone()),
            _ => None,
        };
        let came = self.wait(node, "a message", by_author).await?;
        self.arrived += 1;
        Ok(came)
    }

    async fn wait<T>(
        &mut self,
        node: usize,
        what: &str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> Result<(Instant, T), Failure> {
        let look = |news: &News| (news.node == node).then(|| wanted(&news.event)).flatten();
        let found = self.waiting.iter().enumerate().find_map(|(at, news)| Some((at, look(news)?)));
        if let Some((at, found)) = found
            && let Some(news) = self.waiting.remove(at)
        {
            return Ok((news.at, found));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(Some(news)) = timeout(left, self.news.recv()).await else {
                let name = name(node);
                return Err(Failure::failed(format!(
                    "node {name} waited for {what} in vain, for {PATIENCE:?}"
                )));
            };
            match look(&news) {
                Some(found) => return Ok((news.at, found)),
                None => self.waiting.push_back(news),
            }
        }
    }

    /// The nodes that a node has links to, as it says itself.
    pub(super) fn neighbours(&self, node: usize) -> Vec<usize> {
        let place = |id: &NodeId| self.nodes.iter().position(|mesh| mesh.id() == id);
        let peers = self.nodes.get(node).map_or_else(Vec::new, |mesh| mesh.peers());
        let mut neighbours: Vec<usize> = peers.iter().filter_map(|peer| place(&peer.id)).collect();
        neighbours.sort_unstable();
        neighbours
    }

    /// How many links every node is away from one, by the links that there are; `None` for those
    /// that no path leads to.
    pub(super) fn hops(&self, from: usize) -> Vec<Option<usize>> {
        let mut hops = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            let Some(place @ None) = hops.get_mut(node) else { continue };
            *place = Some(distance);
            queue.extend(self.neighbours(node).into_iter().map(|next| (next, distance + 1)));
        }
        hops
    }

    /// What all nodes counted, those that left included.
    pub(super) fn stats(&self) -> Vec<Stats> {
        self.nodes.iter().map(|mesh| mesh.stats()).chain(self.departed.iter().copied()).collect()
    }

    /// Closes all nodes.
    pub(super) async fn close(&self) {
        for mesh in &self.nodes {
            mesh.close().await;
        }
    }
}

/// What people call a node.
pub(super) fn name(node: usize) -> char {
    u8::try_from(node).ok().and_then(|node| b'A'.checked_add(node)).map_or('?', char::from)
}
