//! What goes into a state machine and what comes out of it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::address::{Address, Target};
use super::handshake::Dialect;
use super::reach::Reach;
use super::request::Refusal;
use super::sync::Change;
use crate::identity::{MessageId, NodeId, PublicKey};
use crate::wire::{BodyError, FrameError, Message, MessageError, Method};

/// The present, given to a machine with every input; it has no clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed point, never running back: for time-outs.
    pub mono: Duration,
    /// Seconds since 1970 UTC by the local clock, which may be wrong: for stamps.
    pub wall: i64,
}

/// Names one link (one connection) for as long as its node lives. Given by whoever runs the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names one dial. Given by the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Names a command whose answer comes later. Given by whoever runs the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How a link came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The other side dialled.
    Accepted,
    /// We dialled, by this [`Output::Dial`].
    Dialled(DialId),
    /// The program brought the connection, which is never dialled. [`Event::Done`] tells it who is there.
    Brought {
        /// For the answer.
        token: Token,
        /// Which side of it we are.
        role: Role,
    },
}

/// Which of the two sides of a connection one is. They must be different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that dials, and speaks first.
    Dialler,
    /// The side that is dialled.
    Acceptor,
}

impl Origin {
    /// Which side of the connection we are.
    pub fn role(self) -> Role {
        match self {
            Self::Accepted => Role::Acceptor,
            Self::Dialled(_) => Role::Dialler,
            Self::Brought { role, .. } => role,
        }
    }
}

/// What is known of the other side of a link before it has said anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// The IP address of its end; unknown where there is no network.
    pub ip: Option<IpAddr>,
    /// Its public key, which the transport has made it prove. Always there in `tls` subnets.
    pub key: Option<PublicKey>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A connection stands; nothing has been read from it.
    LinkUp {
        /// Its new name.
        link: LinkId,
        /// How it came to be.
        origin: Origin,
        /// What is known of the other side.
        remote: Remote,
    },
    /// A dial got no connection.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Why, for people.
        problem: String,
    },
    /// A connection ended, from the other side or by an error.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// A message arrived; its digest and form have been verified.
    Message {
        /// On which link.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// As [`Input::Message`], where the message may hold entries of a table in which seals have been verified
    /// already.
    Entries {
        /// On which link.
        link: LinkId,
        /// The message.
        message: Box<Message>,
        /// Where the entries begin that are their authors', of those that
        /// [`Node::seals_to_verify`](super::Node::seals_to_verify) named, in that order.
        genuine: Vec<usize>,
    },
    /// Frames arrived that were dropped unread because their messages are known.
    Duplicates {
        /// On which link.
        link: LinkId,
        /// How many.
        count: u64,
    },
    /// A frame arrived whose message only peernet refuses (a limit that 0.7 does not have).
    Refused {
        /// On which link.
        link: LinkId,
    },
    /// A broadcast arrived that is not by the author it names.
    Forged {
        /// On which link.
        link: LinkId,
    },
    /// All is written that was to be sent on a link before [`Output::TellWritten`].
    Written {
        /// On which link.
        link: LinkId,
    },
    /// The user wants something.
    Command(Command),
    /// The time that [`super::Node::next_timer`] named has come (or any other; it does no harm).
    Tick,
}

impl Input {
    /// What a frame on `link` is to the machine, given what [`Envelope::read`](crate::wire::Envelope)
    /// said to its body. An error ends the link.
    pub fn read(link: LinkId, message: Result<Message, MessageError>) -> Result<Self, CloseReason> {
        match message {
            Ok(message) => Ok(Self::Message { link, message }),
            Err(MessageError::Seal(_)) => Ok(Self::Forged { link }),
            Err(error) if error.is_malformed() => Err(error.into()),
            Err(_) => Ok(Self::Refused { link }),
        }
    }
}

/// What the user wants.
#[derive(Debug)]
pub enum Command {
    /// Dial, shake hands, and keep the link up from then on. Answered by [`Event::Done`].
    Connect {
        /// For the answer.
        token: Token,
        /// Whom.
        target: Target,
        /// Whether a first failure is tried again with back-off too.
        persist: bool,
    },
    /// Close the link to a peer and do not dial it again. Answered by [`Event::Done`].
    Disconnect {
        /// For the answer.
        token: Token,
        /// Whom.
        peer: NodeId,
    },
    /// Send a packed broadcast of our own to all neighbours.
    Broadcast(Message),
    /// Send a packed whisper of our own to one node, looking for it if it is no neighbour.
    /// Answered by [`Event::Done`].
    Whisper {
        /// For the answer.
        token: Token,
        /// To whom.
        to: NodeId,
        /// The message.
        message: Message,
    },
    /// Send a packed request to one node, looking for it if it is no neighbour. The token's number must be
    /// the request's own. Answered by [`Event::Answered`], or by [`Event::Done`] with an error.
    Ask {
        /// For the answer.
        token: Token,
        /// Whom.
        to: NodeId,
        /// The request.
        message: Box<Message>,
        /// How long to wait for the answer, finding the node included.
        timeout: Duration,
    },
    /// Answer the request of [`Event::Asked`], or say why not. Nothing happens if its asker is gone.
    Answer {
        /// Who asked.
        peer: NodeId,
        /// Under which number.
        number: u64,
        /// The packed answer.
        answer: Result<Message, Refusal>,
    },
    /// Ask everyone within some links a packed question. Answered by [`Event::Found`], any number of times,
    /// and in the end by [`Event::Done`], in the name of this node.
    Search {
        /// For the answers.
        token: Token,
        /// The question ([`super::Identity::pack_note`]).
        note: Message,
        /// Over how many links it counts as having gone already.
        hops: u64,
    },
    /// Want no more of what a question finds. It has no answer.
    EndSearch(Token),
    /// Send back what was found for a question. Nothing happens if [`super::Node::may_find`] says no.
    Find {
        /// What was found ([`super::Identity::pack_note`]).
        note: Message,
    },
    /// Let only these nodes join, and those named before. Only where ids are proven, as the next four.
    Allow(Vec<NodeId>),
    /// Let only those join that were named before, without this one.
    Disallow(NodeId),
    /// Do not let a node join, nor hear what it wrote.
    Ban {
        /// Whom.
        peer: NodeId,
        /// Up to which second of the wall clock ([`Now::wall`]).
        until: i64,
    },
    /// End a ban.
    Unban(NodeId),
    /// Know these addresses from now on, and dial them when links are wanted.
    Save(Vec<Address>),
    /// Forget these addresses, and take them from nobody for a day.
    Remove(Vec<Address>),
    /// Give others this outward address from now on.
    Move(Address),
    /// Close every link and stop dialling.
    Close,
}

/// Which queue of a link a message goes into; the first is emptied first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The protocol's own: handshakes, peers, keep-alive.
    Control,
    /// The user's.
    Own,
    /// Other nodes'.
    Relay,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send a body to some links: [`Outbox::targets`] of `links` names them.
    Send {
        /// A range of [`Outbox::targets`].
        links: std::ops::Range<usize>,
        /// The queue.
        class: Class,
        /// The uncompressed body (digest first).
        body: Bytes,
    },
    /// Open a connection; answered by [`Input::LinkUp`] or [`Input::DialFailed`].
    Dial {
        /// For the answer.
        dial: DialId,
        /// Where.
        address: Address,
        /// Which of the IP addresses that a host name leads to may be dialled.
        reach: Reach,
    },
    /// Answer with [`Input::Written`] when what was to be sent on a link before this is written, if it ever is.
    TellWritten {
        /// Which link.
        link: LinkId,
    },
    /// What was agreed on a link: how to read and write its frames from now on.
    Agree {
        /// Which link.
        link: LinkId,
        /// Methods to try on frames that arrive, in order.
        read: Vec<Method>,
        /// The method to compress with, where that pays.
        write: Option<Method>,
    },
    /// Close a connection after what is queued on it is written. No [`Input::LinkDown`] need follow,
    /// except for [`CloseReason::Duplicate`]: such a link is still read for a while (L-19), and
    /// [`Input::LinkDown`] tells when that is over.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Keep this record for when the node starts again ([`super::Node::restore`]), or forget it. Where
    /// there is nothing to keep records in, there is nothing to do.
    Keep {
        /// Its name. The first byte is that of one of [`super::records`].
        key: Vec<u8>,
        /// What is kept under that name from now on; `None` for nothing.
        value: Option<Bytes>,
    },
    /// For the user.
    Event(Event),
}

/// For the user.
#[derive(Debug)]
pub enum Event {
    /// A peer entered the table of neighbours: the handshake is done both ways.
    Connected {
        /// Who.
        peer: NodeId,
        /// Over which link.
        link: LinkId,
        /// Its outward address, if it has one.
        address: Option<Address>,
        /// Which implementation it seems to be.
        dialect: Dialect,
    },
    /// A peer left the table of neighbours.
    Disconnected {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A message for the user.
    Received(Received),
    /// A command's answer.
    Done {
        /// Which command.
        token: Token,
        /// What came of it: the peer concerned.
        result: Result<NodeId, CommandError>,
    },
    /// A key of the table has another value, by whomever.
    Changed(Change),
    /// A write of our own has given way to one that outranks it, and that knew nothing of it or came
    /// after its lease.
    Superseded {
        /// Which key.
        key: Bytes,
        /// What we had written, packed; `None` if we had deleted it.
        value: Option<Bytes>,
        /// Whose write stands now. It may be one of our own, from before we lost what we knew.
        by: NodeId,
    },
    /// A neighbour asks something. It waits for [`Command::Answer`].
    Asked {
        /// Under which number.
        number: u64,
        /// What.
        received: Box<Received>,
    },
    /// The answer to a request.
    Answered {
        /// Which request.
        token: Token,
        /// The answer.
        received: Box<Received>,
    },
    /// Somebody asks everyone something. Whoever finds something says so with [`Command::Find`].
    Searched {
        /// The links that the question went over before the one that brought it, by what neighbours say.
        hops: u64,
        /// The question. Its author is the asker.
        received: Box<Received>,
    },
    /// Something was found for a question of ours.
    Found {
        /// For which.
        token: Token,
        /// The links that it went over before the one that brought it, by what neighbours say.
        hops: u64,
        /// What. Its author is whoever found it.
        received: Box<Received>,
    },
    /// A dial that is kept up failed, and will be tried again.
    Redial {
        /// Where.
        address: Address,
        /// Why.
        problem: String,
        /// In how long.
        pause: Duration,
    },
}

/// How a message was addressed.
#[repr(u64)] // as `Form`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// To everyone.
    Broadcast,
    /// To this node alone.
    Whisper,
}

impl Kind {
    /// `broadcast` or `whisper`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Whisper => "whisper",
        }
    }
}

/// A message for the user, payload still packed.
#[derive(Debug, Clone)]
pub struct Received {
    /// How it was addressed.
    pub kind: Kind,
    /// Its code: 0x00 and 0x02 for ordinary ones, 0x31 and up for users' hooks.
    pub code: u64,
    /// The author.
    pub sender: NodeId,
    /// The link that brought it.
    pub link: LinkId,
    /// The message itself.
    pub message: Message,
    /// Whether it is proven that the author wrote it.
    pub authorship: Authorship,
}

/// Whether a message is by the author that it names.
#[repr(u64)] // as `Form`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authorship {
    /// So it says.
    Claimed,
    /// Its seal proves it, or where ids are proven, the link on which a whisper came.
    Proven,
}

impl Received {
    /// The message's id.
    pub fn id(&self) -> MessageId {
        self.message.id()
    }

    /// Whether it is proven that the author wrote it.
    pub fn verified(&self) -> bool {
        self.authorship == Authorship::Proven
    }
}

/// Why a link was closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We were asked to.
    #[error("closed here")]
    Local,
    /// The other side closed it.
    #[error("closed by the peer")]
    Remote,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It belongs to another subnet (or speaks another encryption).
    #[error("it belongs to another subnet")]
    WrongSubnet,
    /// Its id is not that of the key it has proven to have.
    #[error("its id is not that of its key")]
    WrongKey,
    /// Someone else than the id asked for is at that address.
    #[error("someone else is at that address: {0}")]
    WrongPeer(NodeId),
    /// It is ourselves.
    #[error("it is this node itself")]
    Itself,
    /// Another link to the same peer is kept.
    #[error("another link to the same peer is kept")]
    Duplicate,
    /// Other links are enough.
    #[error("other links are enough")]
    Spare,
    /// All places for peers are taken.
    #[error("all places for peers are taken")]
    Full,
    /// The handshake did not come in time.
    #[error("no handshake came in time")]
    HandshakeTimeout,
    /// Something else than a handshake came first.
    #[error("something else came before the handshake")]
    HandshakeExpected,
    /// The handshake does not read.
    #[error("bad handshake: {0}")]
    BadHandshake(&'static str),
    /// It is not on the list of those that may join.
    #[error("it is not on the allow list")]
    NotAllowed,
    /// It is banned.
    #[error("it is banned")]
    Banned,
    /// The program refused it ([`crate::Builder::admit`]).
    #[error("the program refused it")]
    Refused,
    /// It did what no honest peer does ([`super::Offence`]), now or a short time ago.
    #[error("it misbehaved")]
    Misbehaved,
    /// Nothing came for too long.
    #[error("nothing came from it for too long")]
    Silent,
    /// It takes nothing of what waits for it.
    #[error("it takes nothing of what is sent to it")]
    Stalled,
    /// A frame took too long to arrive.
    #[error("a frame took too long to arrive")]
    SlowFrame,
    /// Its bytes are no frames.
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    /// A frame holds no valid body.
    #[error("bad frame: {0}")]
    Body(#[from] BodyError),
    /// A body is no message.
    #[error("bad message: {0}")]
    Message(#[from] MessageError),
    /// It sent a broadcast that is not by the author it names.
    #[error("it sent a message in another's name")]
    Forged,
}

impl CloseReason {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Broken(_) => "broken",
            Self::WrongSubnet => "wrong_subnet",
            Self::WrongKey => "wrong_key",
            Self::WrongPeer(_) => "wrong_peer",
            Self::Itself => "itself",
            Self::Duplicate => "duplicate",
            Self::Spare => "spare",
            Self::Full => "full",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeExpected => "handshake_expected",
            Self::BadHandshake(_) => "bad_handshake",
            Self::NotAllowed => "not_allowed",
            Self::Banned => "banned",
            Self::Refused => "refused",
            Self::Misbehaved => "misbehaved",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::SlowFrame => "slow_frame",
            Self::Frame(_) => "bad_frame",
            Self::Body(_) => "bad_frame",
            Self::Message(_) => "bad_message",
            Self::Forged => "forged",
        }
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No connection, or one that ended before the handshake was done.
    #[error("cannot connect to {target}: {problem}")]
    Connect {
        /// Whom.
        target: String,
        /// Why.
        problem: String,
        /// Why, if a link was there and closed.
        reason: Option<CloseReason>,
    },
    /// No neighbour, and nobody in the subnet told its address in time.
    #[error("{peer} is not reachable: {problem}")]
    Unreachable {
        /// Who.
        peer: NodeId,
        /// Why.
        problem: &'static str,
    },
    /// No neighbour, and anyone could answer in its name.
    #[error(
        "{peer} is no neighbour, and in this subnet anyone could answer in its name and get the message; \
         connect to it, use tls, or allow it (Config::trust_lookups)"
    )]
    Unproven {
        /// Who.
        peer: NodeId,
    },
    /// Not a neighbour.
    #[error("{peer} is not connected")]
    NotConnected {
        /// Who.
        peer: NodeId,
    },
    /// A request was not answered in time.
    #[error("{peer} did not answer in time")]
    TimedOut {
        /// Who.
        peer: NodeId,
    },
    /// A request will not be answered.
    #[error("{peer} gives no answer: {}", refusal.map_or("the link to it ended".to_owned(), |why| why.to_string()))]
    Unanswered {
        /// Who.
        peer: NodeId,
        /// Why not, if the peer said so.
        refusal: Option<Refusal>,
    },
    /// Too much is under way already.
    #[error("too many {what} of this node are under way; wait for some of them")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// What is found for a question goes back for a while only, and that is over.
    #[error("the search is over, or was another's of this node")]
    SearchOver,
    /// The subnet has no words for it.
    #[error("{what} need a tls subnet: p2p.today 0.7 has no words for them")]
    NeedsTls {
        /// What.
        what: &'static str,
    },
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

impl CommandError {
    /// Of a connection that the program brought: nobody knows where it leads.
    pub(crate) fn brought(problem: &str, reason: Option<CloseReason>) -> Self {
        let target = "the other end of the stream".to_owned();
        Self::Connect { target, problem: problem.to_owned(), reason }
    }
}

/// Where a machine puts what is to be done. Owned and reused by the caller, who empties it after
/// every input.
#[derive(Default)]
pub struct Outbox {
    /// What is to be done, in order.
    pub outputs: Vec<Output>,
    /// The links that [`Output::Send`]s name.
    pub targets: Vec<LinkId>,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.outputs.clear();
        self.targets.clear();
    }

    /// The links that a [`Output::Send`] names.
    pub fn links(&self, range: &std::ops::Range<usize>) -> &[LinkId] {
        self.targets.get(range.clone()).unwrap_or_default()
    }

    pub(super) fn send(&mut self, link: LinkId, class: Class, body: Bytes) {
        self.send_all(std::iter::once(link), class, body);
    }

    /// One message to many links; returns to how many.
    pub(super) fn send_all(
        &mut self,
        links: impl Iterator<Item = LinkId>,
        class: Class,
        body: Bytes,
    ) -> usize {
        let start = self.targets.len();
        self.targets.extend(links);
        let end = self.targets.len();
        if end > start {
            self.outputs.push(Output::Send { links: start..end, class, body });
        }
        end - start
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    /// Keeps a record, or forgets it.
    pub(super) fn keep(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        self.outputs.push(Output::Keep { key, value });
    }

    pub(super) fn close(&mut self, link: LinkId, reason: CloseReason) {
        self.outputs.push(Output::Close { link, reason });
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.outputs).finish()
    }
}
