//! The front door: a node of a mesh.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::identity::{KeyPair, MessageId, NodeId, ProtocolId, Secret, random_salt};
use crate::protocol::{
    Address, CloseReason, Command, Identity, Input, Kind, Node, Now, Outbox, Received, Target, Trust,
};
use crate::runtime::{AdmitHook, Item, Runtime, Started};
use crate::store::DataDir;
use crate::transport::ssl::{Certificate, Ssl};
use crate::transport::tls::Tls;
use crate::transport::ws::{Origins, Ws};
use crate::transport::{Transport, tcp};
use crate::wire::codes::{code, kind};
use crate::wire::{Limits, Payload, Value};

/// How links are encrypted. Part of a subnet's protocol id, so nodes that differ never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encryption {
    /// TLS 1.3, in which every node proves its id: the default.
    #[default]
    Tls,
    /// None: everyone on the way reads, and anyone may claim any id. What p2p.today 0.7 calls
    /// `Plaintext`.
    Plaintext,
    /// TLS with throw-away certificates that nobody verifies: nobody on the way reads who does not sit
    /// between the two, and anyone may claim any id. What p2p.today 0.7 calls `SSL`.
    Ssl,
    /// WebSocket over TCP, for web pages: not encrypted, and anyone may claim any id. What p2p.today 0.7
    /// calls `ws`. Pages are refused unless [`Builder::origins`] names theirs.
    Ws,
    /// WebSocket over TLS, for web pages that were loaded over https. Nodes verify nobody, as in
    /// [`Encryption::Ssl`]; browsers want a certificate that they trust ([`Builder::certificate`]).
    Wss,
}

impl Encryption {
    /// The name as it stands in protocol ids.
    pub fn protocol_name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Plaintext => "Plaintext",
            Self::Ssl => "SSL",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl FromStr for Encryption {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "tls" => Self::Tls,
            "plaintext" => Self::Plaintext,
            "ssl" => Self::Ssl,
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            _ => {
                return Err(Error::Unsupported {
                    what: format!("the encryption `{name}`"),
                    instead: "there are tls, plaintext, ssl, ws and wss",
                });
            }
        })
    }
}

/// What a node is opened with; from [`Mesh::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct Builder {
    subnet: String,
    encryption: Encryption,
    listen: String,
    advertise: Option<String>,
    connect: Vec<String>,
    identity: Option<KeyPair>,
    data_dir: Option<PathBuf>,
    secret: Option<Secret>,
    sign: Option<bool>,
    allowed: Option<Vec<NodeId>>,
    admit: Option<Admit>,
    certificate: Option<Certificate>,
    origins: Option<Origins>,
    config: Config,
}

impl Builder {
    /// The subnet's name (`mesh`). Only nodes of the same subnet and encryption join each other.
    pub fn subnet(mut self, name: impl Into<String>) -> Self {
        self.subnet = name.into();
        self
    }

    /// How links are encrypted ([`Encryption::Tls`]).
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Where to listen, as `host:port` (`127.0.0.1:0`); port 0 takes a free one.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// The address others are told (the one listened on; when that is all addresses, this machine's
    /// on its network).
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// A node to connect to from the start, as `host:port` or `id@host:port`; may be given more than
    /// once. One that fails is tried again with back-off ([`Event::Redial`] tells).
    pub fn connect(mut self, address: impl Into<String>) -> Self {
        self.connect.push(address.into());
        self
    }

    /// A directory for what outlives the node, which is its identity: made on first use, and kept from
    /// then on, so that the node has the same id every time. It is for this node alone, and only its
    /// owner can read what is in it. Without one, nothing is written anywhere. Only in `tls` subnets.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// The keys that the node's id is derived from (those in the data directory, or else new ones). Only
    /// in `tls` subnets.
    pub fn identity(mut self, keys: KeyPair) -> Self {
        self.identity = Some(keys);
        self
    }

    /// The secret that all nodes of the subnet share: nobody joins without it, and nobody without it
    /// is told anything (none: whoever knows the subnet's name may join). Only in `tls` subnets.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Whether authors sign their broadcasts (yes). Without that, whoever is in the subnet can alter what
    /// it relays and speak in any author's name: for closed networks that need the speed. Nodes that
    /// differ never meet. Only in `tls` subnets.
    pub fn sign(mut self, sign: bool) -> Self {
        self.sign = Some(sign);
        self
    }

    /// Nodes that may join, besides those of earlier calls; all others may not, be it as neighbours or
    /// as authors of what others relay (anyone may, without this). A list with nobody on it lets
    /// nobody in. Only in `tls` subnets.
    pub fn allow(mut self, ids: impl IntoIterator<Item = NodeId>) -> Self {
        self.allowed.get_or_insert_default().extend(ids);
        self
    }

    /// Asked about whoever connects, or was dialled, and has proven its id, before anything is said
    /// to it: `false` closes the link ([`CloseReason::Refused`]). It runs where links are made, and
    /// must be quick. Only in `tls` subnets.
    ///
    /// ```
    /// # use peernet::Mesh;
    /// let dialled_only = Mesh::builder().admit(|peer| peer.dialled);
    /// ```
    pub fn admit(mut self, hook: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Self {
        self.admit = Some(Admit(Arc::new(hook)));
        self
    }

    /// For [`Encryption::Wss`]: the certificate that the node shows, with those that lead from it to one
    /// that browsers trust, and its private key, both as PEM (a certificate made for this node alone,
    /// which no browser takes). `open` fails if they do not read or do not belong together.
    pub fn certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificate = Some(Certificate { chain: chain.into(), key: key.into() });
        self
    }

    /// For [`Encryption::Ws`] and [`Encryption::Wss`]: the web pages that may connect (none).
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = Some(origins);
        self
    }

    /// Bounds and time-outs ([`Config::default`]).
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Opens the node. Must be called within a tokio runtime, which then drives it.
    ///
    /// Fails if an option cannot work, an address does not read, the data directory cannot be used, or
    /// the listening socket cannot be opened.
    pub async fn open(mut self) -> Result<Mesh, Error> {
        self.config.check()?;
        self.check_encryption()?;
        let listen: Address = self.listen.parse()?;
        let targets: Vec<Target> = self.connect.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let advertised: Option<Address> = self.advertise.as_ref().map(|text| text.parse()).transpose()?;
        let data = self.open_data_dir()?;
        let failed = |source| Error::Listen { address: self.listen.clone(), source };
        let listener = tcp::listen(&listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let outward = advertised.unwrap_or_else(|| {
            let mut address = Address::from(local);
            if local.ip().is_unspecified()
                && let Some(lan) = tcp::lan_address()
            {
                address.host = lan.to_string();
            }
            address
        });
        if targets.iter().any(|target| target.address == outward || target.address == Address::from(local)) {
            let problem = "it names this node's own address; name another node's";
            return Err(ConfigError { option: "connect", problem }.into());
        }
        let (identity, transport) = self.who(outward)?;
        let mut node = Node::new(identity.clone(), self.config, rand::random());
        let bans = data.as_ref().map_or(Ok(Vec::new()), DataDir::bans)?;
        let bans = bans.into_iter().map(|(peer, until)| Command::Ban { peer, until });
        for rule in self.allowed.map(Command::Allow).into_iter().chain(bans) {
            // Before anyone can come. No ban is over at this time; it ends when a clock says so.
            let now = Now { mono: Duration::ZERO, wall: i64::MIN };
            node.handle(now, Input::Command(rule), &mut Outbox::new());
        }
        let admit = self.admit.map(|admit| admit.0);
        let runtime = Runtime::start(Started { node, transport, listener: Some(listener), admit });
        for target in targets {
            runtime.command_unanswered(|token| Command::Connect { token, target, persist: true });
        }
        let data = Mutex::new(data);
        Ok(Mesh { identity, listening: local.into(), data, runtime: Guard(runtime) })
    }

    /// Takes the data directory into use, and its identity with it. A few small files: not worth a
    /// thread of its own.
    fn open_data_dir(&mut self) -> Result<Option<DataDir>, Error> {
        let Some(path) = &self.data_dir else { return Ok(None) };
        let data = DataDir::open(path)?;
        match &self.identity {
            Some(keys) => data.set_identity(keys)?,
            None => self.identity = Some(data.identity()?),
        }
        Ok(Some(data))
    }

    /// Refuses what could not be kept where nothing is proven, and what has no meaning elsewhere.
    fn check_encryption(&self) -> Result<(), ConfigError> {
        let needs_tls = "only encryption tls proves who is who; leave it out, or choose tls";
        let needs_wss = "only wss shows certificates to anyone; leave it out, or choose wss";
        let needs_ws = "web pages connect to ws and wss only; leave it out, or choose one of them";
        let (tls, wss) = (self.encryption == Encryption::Tls, self.encryption == Encryption::Wss);
        let ws = wss || self.encryption == Encryption::Ws;
        let wrong = |option, problem| Err(ConfigError { option, problem });
        match self {
            Self { identity: Some(_), .. } if !tls => wrong("identity", needs_tls),
            Self { data_dir: Some(_), .. } if !tls => wrong("data_dir", needs_tls),
            Self { secret: Some(_), .. } if !tls => wrong("secret", needs_tls),
            Self { sign: Some(_), .. } if !tls => wrong("sign", needs_tls),
            Self { allowed: Some(_), .. } if !tls => wrong("allow", needs_tls),
            Self { admit: Some(_), .. } if !tls => wrong("admit", needs_tls),
            Self { certificate: Some(_), .. } if !wss => wrong("certificate", needs_wss),
            Self { origins: Some(_), .. } if !ws => wrong("origins", needs_ws),
            _ => Ok(()),
        }
    }

    /// Who the node is, and how it shows that to others.
    fn who(&self, address: Address) -> Result<(Identity, Transport), Error> {
        if self.encryption != Encryption::Tls {
            let transport = self.unproven()?;
            let protocol = ProtocolId::derive(&self.subnet, self.encryption.protocol_name());
            let salt = random_salt(&mut rand::rng());
            let id = NodeId::derive(&address.host, address.port, &protocol, &salt);
            return Ok((Identity { id, protocol, address, trust: Trust::Claimed }, transport));
        }
        let keys = self.identity.clone().unwrap_or_else(|| KeyPair::generate(&mut rand::rng()));
        let signed = self.sign.unwrap_or(true);
        let encryption = if signed { "tls/mesh" } else { "tls/mesh/unsigned" };
        let protocol = ProtocolId::derive(&self.subnet, encryption);
        let tls = Tls::new(&keys, protocol.clone(), self.secret.as_ref()).map_err(|_| ConfigError {
            option: "encryption",
            problem: "the TLS library of this build lacks TLS 1.3; choose another",
        })?;
        let id = NodeId::of_key(&keys.public(), &protocol);
        let trust = Trust::Proven { keys, signed };
        Ok((Identity { id, protocol, address, trust }, Transport::Tls(Box::new(tls))))
    }

    /// How connections are made that prove nobody's id.
    fn unproven(&self) -> Result<Transport, ConfigError> {
        let ws =
            || Ws { origins: self.origins.clone().unwrap_or_default(), max_frame: self.config.max_frame };
        Ok(match self.encryption {
            Encryption::Ssl => Transport::Ssl(Ssl::for_0_7()?),
            Encryption::Ws => Transport::Ws(ws()),
            Encryption::Wss => Transport::Wss(Ssl::for_websocket(self.certificate.as_ref())?, ws()),
            Encryption::Plaintext | Encryption::Tls => Transport::Tcp,
        })
    }
}

/// Whoever connects to a node or was dialled by it, for [`Builder::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The id that it has proven.
    pub id: NodeId,
    /// Where it is.
    pub ip: Option<IpAddr>,
    /// Whether we dialled it.
    pub dialled: bool,
}

#[derive(Clone)]
struct Admit(AdmitHook);

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admit(..)")
    }
}

/// A node that may not join for some time; from [`Mesh::bans`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub peer: NodeId,
    /// Until when, by the system's clock.
    pub until: SystemTime,
}

/// How many seconds a broadcast that repeats another may be stamped ahead of the clock, to be told
/// apart from it; far below the minute at which others refuse it.
const MAX_AHEAD: i64 = 5;
/// How often it is tried again after that.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// Why a packed broadcast was not sent.
enum Unsent {
    /// It repeats others, and cannot be told apart from them yet.
    Repeated(crate::wire::Message),
    Failed(Error),
}

/// Stops the node when its [`Mesh`] is dropped.
struct Guard(Arc<Runtime>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One node of a mesh: what it broadcasts reaches every node of the subnet once, over however many
/// hops.
///
/// Delivery: a broadcast reaches every node that is connected to the author by some path of links
/// that stay up; links that break lose what was on the way. In `tls` subnets no clock counts; in all
/// others, clocks that are more than a minute apart make nodes refuse each other's broadcasts
/// ([`Stats::stale`], [`Stats::future`]). Messages of one author over one path arrive in order; nothing
/// else is ordered.
///
/// ```
/// use peernet::Mesh;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let a = Mesh::builder().open().await?;
/// let b = Mesh::builder().open().await?;
/// b.connect(&a.address().to_string()).await?;
///
/// b.broadcast(&("hello", 5)).await?;
/// let message = a.recv().await?;
/// assert_eq!(message.sender(), b.id());
/// assert_eq!(message.payload(), ["hello".into(), 5.into()]);
///
/// message.reply(&("hello yourself",)).await?;
/// assert_eq!(b.recv().await?.payload(), ["hello yourself".into()]);
/// # a.close().await; b.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping a `Mesh` stops it at once; [`Mesh::close`] lets it finish writing first.
pub struct Mesh {
    identity: Identity,
    listening: Address,
    /// In use until the node is closed.
    data: Mutex<Option<DataDir>>,
    runtime: Guard,
}

impl Mesh {
    /// Options for a new node.
    pub fn builder() -> Builder {
        Builder {
            subnet: "mesh".to_owned(),
            encryption: Encryption::default(),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            connect: Vec::new(),
            identity: None,
            data_dir: None,
            secret: None,
            sign: None,
            allowed: None,
            admit: None,
            certificate: None,
            origins: None,
            config: Config::default(),
        }
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.identity.id
    }

    /// The keys that its id is derived from, in a `tls` subnet: whoever has them is this node. To be
    /// kept where only its owner can read them ([`KeyPair::to_text`]).
    pub fn keys(&self) -> Option<&KeyPair> {
        match &self.identity.trust {
            Trust::Proven { keys, .. } => Some(keys),
            Trust::Claimed => None,
        }
    }

    /// The address others are told.
    pub fn address(&self) -> &Address {
        &self.identity.address
    }

    /// The address listened on.
    pub fn listening(&self) -> &Address {
        &self.listening
    }

    /// The subnet's protocol id.
    pub fn protocol(&self) -> &ProtocolId {
        &self.identity.protocol
    }

    /// Connects to the node at `host:port` or `id@host:port`, and returns its id once the handshake
    /// is done. From then on the link is dialled again with back-off whenever it breaks, until
    /// [`Mesh::disconnect`] or [`Mesh::close`].
    ///
    /// Fails with [`Error::Connect`] if nobody answers there, if it is of another subnet, if someone
    /// else than `id` is there, or in time.
    pub async fn connect(&self, address: &str) -> Result<NodeId, Error> {
        let target: Target = address.parse()?;
        Ok(self.runtime.0.command(|token| Command::Connect { token, target, persist: false }).await?)
    }

    /// Closes the link to a neighbour and does not dial it again.
    pub async fn disconnect(&self, peer: &NodeId) -> Result<(), Error> {
        let peer = peer.clone();
        self.runtime.0.command(|token| Command::Disconnect { token, peer }).await?;
        Ok(())
    }

    /// Lets a node join, besides those on the list ([`Builder::allow`]). The first on it closes the
    /// subnet to all others, and their links with it.
    ///
    /// Fails with [`Error::Config`] where ids are not proven (only `tls` proves them), as the following.
    pub fn allow(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Allow(vec![peer.clone()]))
    }

    /// Takes a node off the list of those that may join, and closes its links. The list stays: with
    /// nobody on it, nobody may join.
    pub fn disallow(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Disallow(peer.clone()))
    }

    /// Lets a node neither join nor be heard for a while, whole seconds: its links are closed, its
    /// broadcasts are neither handed up nor relayed. A new ban replaces the old. With a data directory it
    /// is kept there, and holds after a restart too; [`Error::Data`] if it cannot be written, and then
    /// it holds until the node is closed.
    pub fn ban(&self, peer: &NodeId, time: Duration) -> Result<(), Error> {
        let until = self.runtime.0.now().wall.saturating_add_unsigned(time.as_secs());
        self.joining_rule(Command::Ban { peer: peer.clone(), until })?;
        self.keep_bans()
    }

    /// Ends a ban, and no longer keeps it; errors as in [`Mesh::ban`].
    pub fn unban(&self, peer: &NodeId) -> Result<(), Error> {
        self.joining_rule(Command::Unban(peer.clone()))?;
        self.keep_bans()
    }

    fn keep_bans(&self) -> Result<(), Error> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(data) = data.as_ref() else { return Ok(()) };
        let now = self.runtime.0.now();
        let owned = |(peer, until): (&NodeId, i64)| (peer.clone(), until);
        let bans: Vec<_> = self.runtime.0.with_node(|node| node.bans(now).map(owned).collect());
        Ok(data.set_bans(&bans)?)
    }

    /// The bans in force.
    pub fn bans(&self) -> Vec<Ban> {
        let now = self.runtime.0.now();
        let at = |wall: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(wall).unwrap_or_default());
        let ban = |(peer, until): (&NodeId, i64)| Ban { peer: peer.clone(), until: at(until) };
        self.runtime.0.with_node(|node| node.bans(now).map(ban).collect())
    }

    fn joining_rule(&self, command: Command) -> Result<(), Error> {
        if self.identity.trust == Trust::Claimed {
            let problem = "only encryption tls proves who is who; anyone could come back under another id";
            return Err(ConfigError { option: "joining rules", problem }.into());
        }
        if self.runtime.0.is_closed() {
            return Err(Error::Closed);
        }
        self.runtime.0.command_at_once(command);
        Ok(())
    }

    /// Sends to every node of the subnet. Waits while a neighbour's queue is full; a neighbour that
    /// takes nothing is reported ([`Event::SlowPeer`]) and then closed, so this ends.
    ///
    /// The payload is a tuple (`&("hello", 5)`), or a slice or vector of [`Value`]s. In `tls` subnets
    /// each is another message, whatever it says. In all others the same payload can be broadcast
    /// about once a second for long, and a few times more in a burst; then this waits, because everyone
    /// would take the next for a copy of one before. (That is noticed among a node's last 8,192
    /// broadcasts.)
    pub async fn broadcast(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        self.broadcast_code(code::BROADCAST, payload).await
    }

    /// As [`Mesh::broadcast`], but fails with [`Error::Full`] or [`Error::Repeated`] instead of
    /// waiting; then nothing was sent to anyone.
    pub fn try_broadcast(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        if !self.runtime.0.has_own_room() {
            return Err(Error::Full { peers: self.runtime.0.full_peers() });
        }
        let (now, message) = self.pack(kind::BROADCAST, code::BROADCAST, payload)?;
        self.send_packed(now, message).map_err(|unsent| match unsent {
            Unsent::Repeated(_) => Error::Repeated,
            Unsent::Failed(error) => error,
        })
    }

    /// Broadcasts under a code of the user's own, 0x31 or more: only nodes with a hook for it
    /// ([`Mesh::on_code`]) see it, all relay it.
    pub async fn broadcast_as(
        &self,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        self.broadcast_code(user_code(code)?, payload).await
    }

    async fn broadcast_code(
        &self,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        let runtime = &self.runtime.0;
        if !runtime.has_own_room() {
            runtime.wait_for_own_room().await;
        }
        if runtime.is_due_to_yield() {
            // A loop that only sends must not keep everything else on this thread from running.
            yield_now().await;
        }
        // After all waiting, so that what is stamped later is not sent before.
        let (now, message) = self.pack(kind::BROADCAST, code, payload)?;
        match self.send_packed(now, message) {
            Err(Unsent::Repeated(message)) => loop {
                sleep(REPEAT_PAUSE).await;
                let now = runtime.now();
                match self.send_packed(now, message.with_time(now.wall)?) {
                    Err(Unsent::Repeated(_)) => {}
                    Err(Unsent::Failed(error)) => return Err(error),
                    Ok(report) => return Ok(report),
                }
            },
            Err(Unsent::Failed(error)) => Err(error),
            Ok(report) => Ok(report),
        }
    }

    /// Sends a packed broadcast. One that repeats another is stamped a little ahead, to be another
    /// message; where that has been done too often, it is given back.
    fn send_packed(&self, now: Now, mut message: crate::wire::Message) -> Result<SendReport, Unsent> {
        let runtime = &self.runtime.0;
        if runtime.is_closed() {
            return Err(Unsent::Failed(Error::Closed));
        }
        for ahead in 0..=MAX_AHEAD {
            if ahead > 0 {
                message = message.with_time(now.wall + ahead).map_err(|e| Unsent::Failed(e.into()))?;
            }
            let id = message.id();
            match runtime.broadcast(now, message) {
                Ok(links) => return Ok(SendReport { id, links }),
                Err(repeated) => message = repeated,
            }
        }
        Err(Unsent::Repeated(message))
    }

    /// Sends to one node. If it is no neighbour, the subnet is asked for its address, and it is
    /// dialled; [`Error::Unreachable`] after `Config::lookup_timeout`.
    ///
    /// In subnets that prove no ids (all but `tls`) anyone could answer in its name, so that there
    /// this fails with [`Error::Unproven`] unless [`Config::trust_lookups`] is set.
    pub async fn send(&self, peer: &NodeId, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        let (_, message) = self.pack(kind::WHISPER, code::WHISPER, payload)?;
        self.runtime.0.whisper(peer.clone(), message).await
    }

    /// Sends to one node under a code of the user's own, 0x31 or more.
    pub async fn send_as(
        &self,
        peer: &NodeId,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<SendReport, Error> {
        let (_, message) = self.pack(kind::WHISPER, user_code(code)?, payload)?;
        self.runtime.0.whisper(peer.clone(), message).await
    }

    fn pack(
        &self,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<(Now, crate::wire::Message), Error> {
        self.runtime.0.pack(kind, code, payload)
    }

    /// The next message. [`Error::Lagged`] tells of messages that were dropped before it because the
    /// program read too slowly; [`Error::Closed`] that no more will come. Other events that come in
    /// between are passed over; read [`Mesh::next_event`] instead to see all. Dropping the future
    /// loses nothing.
    pub async fn recv(&self) -> Result<Message, Error> {
        loop {
            match self.runtime.0.inbox.next().await {
                None => return Err(Error::Closed),
                Some(Item::Message(received)) => return Ok(self.message(received)),
                Some(Item::Lagged(count)) => return Err(Error::Lagged { count }),
                Some(_) => {}
            }
        }
    }

    /// The next message if one waits, `None` if not. Otherwise as [`Mesh::recv`].
    pub fn try_recv(&self) -> Result<Option<Message>, Error> {
        loop {
            match self.runtime.0.inbox.try_next() {
                None if self.runtime.0.is_closed() => return Err(Error::Closed),
                None => return Ok(None),
                Some(Item::Message(received)) => return Ok(Some(self.message(received))),
                Some(Item::Lagged(count)) => return Err(Error::Lagged { count }),
                Some(_) => {}
            }
        }
    }

    /// Waits for a message as [`Mesh::recv`] does, and puts it and those that wait behind it, `most` at
    /// most, at the end of `messages`. Returns how many. For programs that read a lot, this costs less
    /// for each than taking them one by one.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv_many(&self, messages: &mut Vec<Message>, most: usize) -> Result<usize, Error> {
        if most == 0 {
            return Ok(0);
        }
        messages.push(self.recv().await?);
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let more = self.runtime.0.inbox.try_take(most - 1, is_message, |item| {
            if let Item::Message(received) = item {
                messages.push(self.message(received));
            }
        });
        Ok(1 + more)
    }

    /// The next event of any kind, messages included; `None` when the node is closed and all is
    /// read. There is one queue: what is read here is not read by [`Mesh::recv`].
    pub async fn next_event(&self) -> Option<Event> {
        let item = self.runtime.0.inbox.next().await?;
        Some(match item {
            Item::Message(received) => Event::Message(self.message(received)),
            Item::Connected { peer, address } => Event::Connected { peer, address },
            Item::Disconnected { peer, reason } => Event::Disconnected { peer, reason },
            Item::SlowPeer { peer } => Event::SlowPeer { peer },
            Item::Redial { address, problem, pause } => Event::Redial { address, problem, pause },
            Item::Lagged(count) => Event::Lagged { count },
        })
    }

    /// The messages as a stream, which ends when the node is closed. An item is an error only when
    /// messages were dropped ([`Error::Lagged`]); the stream goes on behind it.
    pub fn messages(&self) -> Messages<'_> {
        Messages { mesh: self, next: None }
    }

    fn message(&self, received: Received) -> Message {
        Message { received, runtime: self.runtime.0.clone() }
    }

    /// A hook into the protocol: `handler` sees every message with this code first, and takes it by
    /// returning `true`; others go on to [`Mesh::recv`]. For codes 0x00 (broadcasts), 0x02
    /// (whispers), and 0x31 and up, which only hooks see. A new handler replaces the old.
    ///
    /// It runs where messages are read: it must be quick, and may send with [`Mesh::try_broadcast`].
    pub fn on_code(
        &self,
        code: u64,
        handler: impl Fn(&Message) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        if !matches!(code, code::BROADCAST | code::WHISPER) {
            user_code(code)?;
        }
        let runtime = Arc::downgrade(&self.runtime.0);
        let hook = move |received: &Received| {
            runtime.upgrade().is_some_and(|runtime| handler(&Message { received: received.clone(), runtime }))
        };
        self.runtime.0.set_hook(code, Arc::new(hook));
        Ok(())
    }

    /// The neighbours: nodes that a link leads to directly.
    pub fn peers(&self) -> Vec<Peer> {
        self.runtime.0.with_node(|node| {
            let peer = |neighbour: crate::protocol::Neighbour| Peer {
                id: neighbour.id,
                address: neighbour.address,
                outgoing: neighbour.outgoing,
            };
            node.neighbours().map(peer).collect()
        })
    }

    /// Everything the node counts.
    pub fn stats(&self) -> Stats {
        self.runtime.0.stats()
    }

    /// Leaves: writes what is queued, up to `Config::close_timeout`, closes every link, and stops.
    /// Closing twice does no harm. What was received and not read can still be read.
    pub async fn close(&self) {
        self.runtime.0.close().await;
        *self.data.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("id", self.id()).field("address", self.address()).finish_non_exhaustive()
    }
}

fn user_code(code: u64) -> Result<u64, Error> {
    match code >= code::FIRST_USER {
        true => Ok(code),
        false => Err(Error::Code { code }),
    }
}

/// What became of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendReport {
    /// Its id: the same on every node.
    pub id: MessageId,
    /// Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
    pub links: usize,
}

/// A message that arrived.
#[derive(Clone)]
pub struct Message {
    received: Received,
    runtime: Arc<Runtime>,
}

impl Message {
    /// Whether it was for everyone or for this node alone.
    pub fn kind(&self) -> Kind {
        self.received.kind
    }

    /// Its code: 0x00 or 0x02, or the user's own.
    pub fn code(&self) -> u64 {
        self.received.code
    }

    /// Its id: the same on every node.
    pub fn id(&self) -> MessageId {
        self.received.id()
    }

    /// The author.
    pub fn sender(&self) -> &NodeId {
        &self.received.sender
    }

    /// When it was sent, in seconds since 1970 UTC by the author's clock.
    pub fn time(&self) -> i64 {
        let stamps_per_second = self.runtime.identity.trust.stamps_per_second();
        self.received.message.header().time.div_euclid(stamps_per_second)
    }

    /// Whether it is proven that the author wrote it. In `tls` subnets always, but for broadcasts where
    /// signing was turned off; in all others never.
    pub fn verified(&self) -> bool {
        self.received.verified()
    }

    /// The payload, unpacked. Unpacks anew with every call.
    pub fn payload(&self) -> Vec<Value> {
        // The form was checked on arrival, so this cannot fail.
        let mut values = self.received.message.values(&Limits::default()).unwrap_or_default();
        if !values.is_empty() {
            values.remove(0);
        }
        values
    }

    /// The payload's only element, if there is just one and it is text or bytes; copies nothing.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.received.message.only_bytes()
    }

    /// The payload as it is packed: msgpack values, one after the other.
    pub fn packed(&self) -> &[u8] {
        self.received.message.after_code()
    }

    /// Answers the author alone, wherever it is in the subnet, as [`Mesh::send`] does: an author that
    /// is no neighbour gets it only where ids are proven (`tls`) or [`Config::trust_lookups`] is set,
    /// and without either this fails with [`Error::Unproven`].
    pub async fn reply(&self, payload: &(impl Payload + ?Sized)) -> Result<SendReport, Error> {
        let (_, message) = self.runtime.pack(kind::WHISPER, code::WHISPER, payload)?;
        self.runtime.whisper(self.received.sender.clone(), message).await
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("id", &self.id())
            .field("sender", self.sender())
            .field("time", &self.time())
            .field("payload", &self.payload())
            .finish()
    }
}

/// What can be read from a node.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message(Message),
    /// A peer is a neighbour from now on.
    Connected {
        /// Who.
        peer: NodeId,
        /// Its outward address, if it has one.
        address: Option<Address>,
    },
    /// A peer is no neighbour any more.
    Disconnected {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A peer takes nothing of what is sent to it. Relayed messages that find no room are dropped
    /// from now on, and the link is closed if it goes on.
    SlowPeer {
        /// Who.
        peer: NodeId,
    },
    /// A link that is to be kept up could not be made, and will be tried again.
    Redial {
        /// Where.
        address: Address,
        /// Why not.
        problem: String,
        /// In how long.
        pause: Duration,
    },
    /// Messages were dropped because the program read too slowly.
    Lagged {
        /// How many.
        count: u64,
    },
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Its outward address, if it has one.
    pub address: Option<Address>,
    /// Whether we dialled it.
    pub outgoing: bool,
}

type Next<'a> = Pin<Box<dyn Future<Output = Result<Message, Error>> + Send + 'a>>;

/// The messages of a node as a stream; from [`Mesh::messages`].
pub struct Messages<'a> {
    mesh: &'a Mesh,
    next: Option<Next<'a>>,
}

impl Stream for Messages<'_> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mesh = self.mesh;
        let next = self.next.get_or_insert_with(|| Box::pin(mesh.recv()));
        let Poll::Ready(result) = next.as_mut().poll(cx) else { return Poll::Pending };
        self.next = None;
        Poll::Ready(match result {
            Err(Error::Closed) => None,
            other => Some(other),
        })
    }
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $from:expr;)*) => {
        /// Everything a node counts, from [`Mesh::stats`]. Nothing is dropped without being counted.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// The counters with their names, in order.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        impl Runtime {
            fn stats(&self) -> Stats {
                type Source<'a> = (&'a Node, &'a Runtime);
                self.with_node(|node| Stats {
                    $($name: {
                        let read: fn(Source<'_>) -> u64 = $from;
                        read((node, self))
                    },)*
                })
            }
        }
    };
}

stats! {
    /// Neighbours now.
    peers: |(node, _)| node.neighbour_count() as u64;
    /// Links now: those to neighbours, those that shake hands, and second ones to the same peer that
    /// are on their way out.
    links: |(node, _)| node.link_count() as u64;
    /// Messages handed up.
    delivered: |(node, _)| node.counters().delivered;
    /// Own broadcasts.
    broadcasts: |(node, _)| node.counters().broadcasts;
    /// Own messages to one node that were sent.
    whispers: |(node, _)| node.counters().whispers;
    /// Broadcasts of others that were passed on.
    relayed: |(node, _)| node.counters().relayed;
    /// Copies of broadcasts that were known already.
    duplicates: |(node, _)| node.counters().duplicates;
    /// Own broadcasts that came back.
    echoes: |(node, _)| node.counters().echoes;
    /// Broadcasts dropped because their stamp is too old.
    stale: |(node, _)| node.counters().stale;
    /// Broadcasts dropped because their stamp lies in the future.
    future: |(node, _)| node.counters().future;
    /// Broadcasts dropped because their author did not write them; each ended the link that brought it.
    forged: |(node, _)| node.counters().forged;
    /// Messages dropped because of a limit that 0.7 does not have.
    refused: |(node, _)| node.counters().refused;
    /// Messages dropped because nobody here knows their code.
    unknown: |(node, _)| node.counters().unknown;
    /// Control messages dropped because they do not say what their code demands.
    malformed: |(node, _)| node.counters().malformed;
    /// Messages dropped because the program read too slowly.
    lagged: |(_, runtime)| runtime.lagged();
    /// Relayed messages dropped because a slow peer's queue was full.
    relays_dropped: |(_, runtime)| runtime.traffic.relays_dropped.load(Ordering::Relaxed);
    /// Answers to peers dropped because they ask and do not read.
    answers_dropped: |(_, runtime)| runtime.traffic.answers_dropped.load(Ordering::Relaxed);
    /// Times that a peer was found slow.
    slow_peers: |(_, runtime)| runtime.traffic.slow_peers.load(Ordering::Relaxed);
    /// Broadcasts dropped because their author may not join.
    authors_refused: |(node, _)| node.counters().authors_refused;
    /// Addresses that peers named and that were not dialled, because whoever is not on this machine or
    /// network has no business there.
    addresses_refused: |(node, _)| node.counters().addresses_refused;
    /// Offences of peers: what no honest one does.
    offences: |(node, _)| node.counters().offences;
    /// Times that a peer's offences were too many, and it was closed.
    misbehaved: |(node, _)| node.counters().misbehaved;
    /// Connections that were closed at once because of who is there.
    peers_refused: |(node, runtime)| {
        node.counters().peers_refused + runtime.traffic.refused.load(Ordering::Relaxed)
    };
    /// Links that came up.
    links_opened: |(node, _)| node.counters().links_opened;
    /// Links that ended before their handshake was done.
    handshakes_failed: |(node, _)| node.counters().handshakes_failed;
    /// Connections that others made and that came to no link: no TLS, or not of this subnet.
    strangers: |(_, runtime)| runtime.traffic.strangers.load(Ordering::Relaxed);
    /// Connections closed unheard because of where they came from: too many, too often, or from where
    /// somebody misbehaved.
    turned_away: |(_, runtime)| runtime.traffic.turned_away.load(Ordering::Relaxed);
    /// Connections closed for newer ones before their TLS or WebSocket handshake was done.
    crowded_out: |(_, runtime)| runtime.traffic.crowded_out.load(Ordering::Relaxed);
    /// Times that a peer was read more slowly because it sends too much.
    throttled: |(_, runtime)| runtime.traffic.throttled.load(Ordering::Relaxed);
    /// Broadcasts that were not passed on because there were too many of their author's.
    relays_limited: |(node, _)| node.counters().relays_limited;
    /// Frames read.
    frames_in: |(_, runtime)| runtime.traffic.frames_in.load(Ordering::Relaxed);
    /// Bytes read.
    bytes_in: |(_, runtime)| runtime.traffic.bytes_in.load(Ordering::Relaxed);
    /// Frames written.
    frames_out: |(_, runtime)| runtime.traffic.frames_out.load(Ordering::Relaxed);
    /// Bytes written.
    bytes_out: |(_, runtime)| runtime.traffic.bytes_out.load(Ordering::Relaxed);
    /// Frames that compression was tried on.
    compression_tried: |(_, runtime)| runtime.traffic.compression_tried.load(Ordering::Relaxed);
    /// Of those, frames that went compressed because they were smaller.
    compression_kept: |(_, runtime)| runtime.traffic.compression_kept.load(Ordering::Relaxed);
    /// Frames to peers with a common method that were not worth a try.
    compression_skipped: |(_, runtime)| runtime.traffic.compression_skipped.load(Ordering::Relaxed);
}

impl Runtime {
    fn pack(
        &self,
        kind: u64,
        code: u64,
        payload: &(impl Payload + ?Sized),
    ) -> Result<(Now, crate::wire::Message), Error> {
        let now = self.now();
        let message = self.identity.pack(kind, self.stamp(now), code, payload)?;
        let (size, limit) = (message.body().len(), self.config.max_frame);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        Ok((now, message))
    }

    async fn whisper(
        self: &Arc<Self>,
        to: NodeId,
        message: crate::wire::Message,
    ) -> Result<SendReport, Error> {
        let id = message.id();
        if !self.has_own_room() {
            self.wait_for_own_room().await;
        }
        if self.whisper_to_neighbour(&to, &message) {
            return Ok(SendReport { id, links: 1 });
        }
        self.command(|token| Command::Whisper { token, to, message }).await?;
        Ok(SendReport { id, links: 1 })
    }
}
