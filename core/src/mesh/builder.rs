//! How a node is opened.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::book::{self, PeerBook};
use super::{Guard, Mesh};
use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::identity::{KeyPair, NodeId, ProtocolId, Secret, random_salt};
use crate::protocol::records::is_of_book;
use crate::protocol::{Address, Command, Identity, Input, Node, Now, Outbox, TableOptions, Target, Trust};
use crate::runtime::{AdmitHook, Item, Runtime, Started};
use crate::store::{DataDir, Kept, Opened, Replaced, Store, StoreError};
use crate::table::SyncTable;
use crate::transport::ssl::{Certificate, Ssl};
use crate::transport::tls::Tls;
use crate::transport::ws::{Origins, Ws};
use crate::transport::{Transport, tcp};

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

/// What a node of the network `N` is opened with; from [`Mesh::builder`] and [`SyncTable::builder`].
#[must_use = "nothing is opened before `open`"]
pub struct Builder<N = Mesh> {
    options: Options,
    network: PhantomData<fn() -> N>,
}

impl<N> Clone for Builder<N> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), network: PhantomData }
    }
}

impl<N> fmt::Debug for Builder<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Builder").field(&self.options).finish()
    }
}

/// The kinds of network, and what only one of them can be opened with.
#[derive(Debug, Clone, Copy)]
enum Network {
    Mesh,
    Table { leases: bool },
}

impl Network {
    /// Its name: that of its subnet if none is given, and its part of the names of encryptions that know
    /// kinds of network.
    fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Table { .. } => "sync",
        }
    }

    /// The subnet's name as it stands in protocol ids: nodes with and without leases never meet.
    fn subnet(self, name: &str) -> String {
        match self {
            Self::Mesh => name.to_owned(),
            Self::Table { leases } => format!("{name}{}", u8::from(leases)),
        }
    }
}

#[derive(Debug, Clone)]
struct Options {
    network: Network,
    subnet: Option<String>,
    encryption: Encryption,
    listen: String,
    advertise: Option<String>,
    connect: Vec<String>,
    identity: Option<KeyPair>,
    data_dir: Option<PathBuf>,
    store: Option<Shared>,
    durable: bool,
    secret: Option<Secret>,
    sign: Option<bool>,
    allowed: Option<Vec<NodeId>>,
    admit: Option<Admit>,
    certificate: Option<Certificate>,
    origins: Option<Origins>,
    config: Config,
}

impl Builder<Mesh> {
    pub(super) fn for_mesh() -> Self {
        Self::new(Network::Mesh)
    }

    /// Opens the node. Must be called within a tokio runtime, which then drives it.
    ///
    /// Fails if an option cannot work, an address does not read, the data directory cannot be used, or
    /// the listening socket cannot be opened.
    pub async fn open(self) -> Result<Mesh, Error> {
        self.options.open().await
    }
}

impl Builder<SyncTable> {
    pub(crate) fn for_table() -> Self {
        Self::new(Network::Table { leases: true })
    }

    /// Whether whoever sets a key has it for an hour, in which nobody else can change it (yes). Nodes that
    /// differ never meet.
    pub fn leases(mut self, leases: bool) -> Self {
        self.options.network = Network::Table { leases };
        self
    }

    /// Opens the node, as [`Builder::open`] of a mesh does.
    pub async fn open(self) -> Result<SyncTable, Error> {
        Ok(SyncTable::new(self.options.open().await?))
    }
}

impl<N> Builder<N> {
    fn new(network: Network) -> Self {
        let options = Options {
            network,
            subnet: None,
            encryption: Encryption::default(),
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            connect: Vec::new(),
            identity: None,
            data_dir: None,
            store: None,
            durable: false,
            secret: None,
            sign: None,
            allowed: None,
            admit: None,
            certificate: None,
            origins: None,
            config: Config::default(),
        };
        Self { options, network: PhantomData }
    }

    /// The subnet's name (that of the kind of network: `mesh`, `sync`). Only nodes of the same subnet and encryption join each other.
    pub fn subnet(mut self, name: impl Into<String>) -> Self {
        self.options.subnet = Some(name.into());
        self
    }

    /// How links are encrypted ([`Encryption::Tls`]).
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.options.encryption = encryption;
        self
    }

    /// Where to listen, as `host:port` (`127.0.0.1:0`); port 0 takes a free one.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.options.listen = address.into();
        self
    }

    /// The address others are told (the one listened on; when that is all addresses, this machine's
    /// on its network).
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.options.advertise = Some(address.into());
        self
    }

    /// A node to connect to from the start, as `host:port` or `id@host:port`; may be given more than
    /// once. One that fails is tried again with back-off ([`Event::Redial`](super::Event::Redial) tells).
    pub fn connect(mut self, address: impl Into<String>) -> Self {
        self.options.connect.push(address.into());
        self
    }

    /// A directory for what outlives the node. In `tls` subnets that is its identity, made on first use, so
    /// that the node has the same id every time; and in all a store ([`SledStore`](crate::store::SledStore)) for what it has to know
    /// again: bans, and whom it has heard up to where. It is for this node alone, and only its owner can read
    /// what is in it. Without one, nothing is written anywhere.
    ///
    /// A damaged store does not keep the node from opening: it is set aside ([`Event::StoreReplaced`](super::Event::StoreReplaced)).
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.data_dir = Some(path.into());
        self
    }

    /// A store of one's own for the node's records, instead of the one in the data directory (which then
    /// is for the identity alone). It is read once, by `open`; `Arc` is a way to keep it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use peernet::{Mesh, store::MemoryStore};
    ///
    /// let kept = Arc::new(MemoryStore::default());
    /// let builder = Mesh::builder().store(kept.clone());
    /// ```
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.options.store = Some(Shared(Arc::new(store)));
        self
    }

    /// Whether what changes the node's data is done only when it is on the disk, and so survives the end of
    /// the process, however that comes (no). Each then waits for the disk, though many at the same time wait
    /// together. Needs a data directory or a store.
    pub fn durable(mut self, durable: bool) -> Self {
        self.options.durable = durable;
        self
    }

    /// The keys that the node's id is derived from (those in the data directory, or else new ones). Only
    /// in `tls` subnets.
    pub fn identity(mut self, keys: KeyPair) -> Self {
        self.options.identity = Some(keys);
        self
    }

    /// The secret that all nodes of the subnet share: nobody joins without it, and nobody without it
    /// is told anything (none: whoever knows the subnet's name may join). Only in `tls` subnets.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.options.secret = Some(secret);
        self
    }

    /// Whether authors sign their broadcasts (yes). Without that, whoever is in the subnet can alter what
    /// it relays and speak in any author's name: for closed networks that need the speed. Nodes that
    /// differ never meet. Only in `tls` subnets.
    pub fn sign(mut self, sign: bool) -> Self {
        self.options.sign = Some(sign);
        self
    }

    /// Nodes that may join, besides those of earlier calls; all others may not, be it as neighbours or
    /// as authors of what others relay (anyone may, without this). A list with nobody on it lets
    /// nobody in. Only in `tls` subnets.
    pub fn allow(mut self, ids: impl IntoIterator<Item = NodeId>) -> Self {
        self.options.allowed.get_or_insert_default().extend(ids);
        self
    }

    /// Asked about whoever connects, or was dialled, and has proven its id, before anything is said
    /// to it: `false` closes the link ([`CloseReason::Refused`](crate::CloseReason::Refused)). It runs where links are made, and
    /// must be quick. Only in `tls` subnets.
    ///
    /// ```
    /// # use peernet::Mesh;
    /// let dialled_only = Mesh::builder().admit(|peer| peer.dialled);
    /// ```
    pub fn admit(mut self, hook: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Self {
        self.options.admit = Some(Admit(Arc::new(hook)));
        self
    }

    /// For [`Encryption::Wss`]: the certificate that the node shows, with those that lead from it to one
    /// that browsers trust, and its private key, both as PEM (a certificate made for this node alone,
    /// which no browser takes). `open` fails if they do not read or do not belong together.
    pub fn certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.options.certificate = Some(Certificate { chain: chain.into(), key: key.into() });
        self
    }

    /// For [`Encryption::Ws`] and [`Encryption::Wss`]: the web pages that may connect (none).
    pub fn origins(mut self, origins: Origins) -> Self {
        self.options.origins = Some(origins);
        self
    }

    /// Bounds and time-outs ([`Config::default`]).
    pub fn config(mut self, config: Config) -> Self {
        self.options.config = config;
        self
    }
}

impl<N> Builder<N> {
    /// The peer book in the data directory of the node that these options describe. That node must not be
    /// running, and is not started. Of the options, the subnet, the encryption, whether authors sign, and
    /// the kind of network say which node's it is.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no data directory or store; [`Error::Data`] and [`Error::Store`] if it
    /// cannot be used, as while the node is running.
    pub fn peer_book(self) -> Result<PeerBook, Error> {
        self.options.peer_book()
    }
}

impl Options {
    async fn open(mut self) -> Result<Mesh, Error> {
        self.config.check()?;
        self.check_encryption()?;
        let listen: Address = self.listen.parse()?;
        let targets: Vec<Target> = self.connect.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let advertised: Option<Address> = self.advertise.as_ref().map(|text| text.parse()).transpose()?;
        let data = self.open_data_dir()?;
        let store = self.store.take().map(|store| store.0);
        let durable = self.durable;
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
        if let Network::Table { leases } = self.network {
            node = node.with_table(TableOptions { leases });
            // Nobody does yet.
            node.watch_table(false);
            node.keep_table(self.data_dir.is_some() || store.is_some());
        }
        let now = Runtime::before_start();
        let protocol = identity.protocol.clone();
        let opened = spawn_blocking(move || Kept::open(data, store, &protocol));
        let opened = opened.await.map_err(|_| StoreError::Failed("it panicked".to_owned()))??;
        let restored = opened.map(|opened| restore(&mut node, now, opened)).unwrap_or_default();
        if let Some(allowed) = self.allowed {
            // Before anyone can come.
            node.handle(now, Input::Command(Command::Allow(allowed)), &mut Outbox::new());
        }
        let admit = self.admit.map(|admit| admit.0);
        let Restored { kept, records_damaged, news } = restored;
        let listener = Some(listener);
        let started = Started { node, transport, listener, admit, kept, durable, records_damaged, news };
        let runtime = Guard(Runtime::start(started).map_err(StoreError::from)?);
        // What is reserved for this run must not be used before it is kept.
        runtime.0.flush().await?;
        for target in targets {
            runtime.0.command_unanswered(|token| Command::Connect { token, target, persist: true });
        }
        Ok(Mesh { identity, listening: local.into(), runtime })
    }

    /// The peer book of the node that this would open.
    fn peer_book(mut self) -> Result<PeerBook, Error> {
        self.config.check()?;
        self.check_encryption()?;
        let data = self.open_data_dir()?;
        let store = self.store.take().map(|store| store.0);
        // It tells nobody an address.
        let (identity, _) = self.who(Address::new("localhost", 0))?;
        let opened = Kept::open(data, store, &identity.protocol)?;
        let problem = "there is no peer book without one; give a data directory or a store";
        let Opened { kept, mut records, .. } = opened.ok_or(ConfigError { option: "data_dir", problem })?;
        let mut node = Node::new(identity, self.config, rand::random());
        records.retain(|(key, _)| is_of_book(key));
        for (key, value) in records {
            // What does not read is not known.
            let _ = node.restore(book::now(), &key, &value);
        }
        Ok(PeerBook::new(node, kept))
    }

    /// Takes the data directory into use, and its identity with it. A few small files: not worth a
    /// thread of its own.
    fn open_data_dir(&mut self) -> Result<Option<DataDir>, Error> {
        let Some(path) = &self.data_dir else { return Ok(None) };
        let data = DataDir::open(path)?;
        match &self.identity {
            // Elsewhere nobody has one.
            _ if self.encryption != Encryption::Tls => {}
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
        let needs_store = "there is nothing to keep anything in; give a data directory or a store";
        let (tls, wss) = (self.encryption == Encryption::Tls, self.encryption == Encryption::Wss);
        let ws = wss || self.encryption == Encryption::Ws;
        let wrong = |option, problem| Err(ConfigError { option, problem });
        match self {
            Self { identity: Some(_), .. } if !tls => wrong("identity", needs_tls),
            Self { secret: Some(_), .. } if !tls => wrong("secret", needs_tls),
            Self { sign: Some(_), .. } if !tls => wrong("sign", needs_tls),
            Self { allowed: Some(_), .. } if !tls => wrong("allow", needs_tls),
            Self { admit: Some(_), .. } if !tls => wrong("admit", needs_tls),
            Self { certificate: Some(_), .. } if !wss => wrong("certificate", needs_wss),
            Self { origins: Some(_), .. } if !ws => wrong("origins", needs_ws),
            Self { durable: true, data_dir: None, store: None, .. } => wrong("durable", needs_store),
            _ => Ok(()),
        }
    }

    /// Who the node is, and how it shows that to others.
    fn who(&self, address: Address) -> Result<(Identity, Transport), Error> {
        let kind = self.network.name();
        let subnet = self.network.subnet(self.subnet.as_deref().unwrap_or(kind));
        if self.encryption != Encryption::Tls {
            let transport = self.unproven()?;
            let protocol = ProtocolId::derive(&subnet, self.encryption.protocol_name());
            let salt = random_salt(&mut rand::rng());
            let id = NodeId::derive(&address.host, address.port, &protocol, &salt);
            return Ok((Identity { id, protocol, address, trust: Trust::Claimed }, transport));
        }
        let keys = self.identity.clone().unwrap_or_else(|| KeyPair::generate(&mut rand::rng()));
        let signed = self.sign.unwrap_or(true);
        let encryption = format!("tls/{kind}{}", if signed { "" } else { "/unsigned" });
        let protocol = ProtocolId::derive(&subnet, &encryption);
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

/// What a node that starts again begins with.
#[derive(Default)]
struct Restored {
    kept: Option<Kept>,
    records_damaged: u64,
    news: Vec<Item>,
}

/// Gives a node its records back. Those that do not read are told of, and the rest is used.
fn restore(node: &mut Node, now: Now, opened: Opened) -> Restored {
    let Opened { kept, records, replaced } = opened;
    let told = |Replaced { path, problem }| Item::StoreReplaced { path, problem };
    let mut news: Vec<Item> = replaced.map(told).into_iter().collect();
    let results = records.into_iter().map(|(key, value)| node.restore(now, &key, &value));
    let problems: Vec<_> = results.filter_map(Result::err).collect();
    let records_damaged = problems.len() as u64;
    if let Some(first) = problems.first() {
        news.push(Item::RecordsDamaged { count: records_damaged, problem: first.to_string() });
    }
    Restored { kept: Some(kept), records_damaged, news }
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

#[derive(Clone)]
struct Shared(Arc<dyn Store>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(..)")
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admit(..)")
    }
}
