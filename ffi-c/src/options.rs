//! What a node is opened with.

use std::ffi::c_char;
use std::ptr;
use std::slice;

use node::{Builder, Config, Encryption, ErrorCode};
use peernet_bindings::Error;

use crate::args;

/// As the library has it, in options with a choice.
pub const PEERNET_DEFAULT: i32 = 0;
/// Yes, in options with a choice.
pub const PEERNET_YES: i32 = 1;
/// No, in options with a choice.
pub const PEERNET_NO: i32 = -1;

/// What a node is opened with. Begin with PEERNET_OPTIONS_INIT, which is the default of everything, and set what
/// is to be otherwise:
///
///     peernet_options options = PEERNET_OPTIONS_INIT;
///     options.listen = "0.0.0.0:4444";
///
/// Null texts and zeros are defaults. Whatever it points to is only read, and only during the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_options {
    /// The size of this struct: set by the initialiser.
    pub struct_size: usize,
    /// Where to listen, as host:port (127.0.0.1:0); port 0 takes a free one.
    pub listen: *const c_char,
    /// The address others are told (the one listened on).
    pub advertise: *const c_char,
    /// The subnet's name. Only nodes of the same subnet and encryption join each other.
    pub subnet: *const c_char,
    /// How links are encrypted: tls (the default), plaintext, ssl, ws or wss.
    pub encryption: *const c_char,
    /// Where the node is: wan, lan or local set bounds and time-outs for it.
    pub preset: *const c_char,
    /// A directory for what outlives the node, for this node alone.
    pub data_dir: *const c_char,
    /// Nodes to connect to from the start, `connect_count` texts host:port or id@host:port.
    pub connect: *const *const c_char,
    /// How many texts `connect` leads to.
    pub connect_count: usize,
    /// Neighbours at most.
    pub max_peers: usize,
    /// Events waiting for the program to read them, at most; beyond, messages are dropped, and
    /// PEERNET_EVENT_LAGGED tells how many.
    pub queue: usize,
    /// Largest frame sent or accepted, in bytes.
    pub max_frame: usize,
    /// In a table: whether whoever sets a key has it for an hour (yes). PEERNET_NO for the later change to win.
    pub leases: i32,
    /// Whether what changes the node's data is done only when it is on the disk (no).
    pub durable: i32,
}

impl peernet_options {
    pub(crate) const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        listen: ptr::null(),
        advertise: ptr::null(),
        subnet: ptr::null(),
        encryption: ptr::null(),
        preset: ptr::null(),
        data_dir: ptr::null(),
        connect: ptr::null(),
        connect_count: 0,
        max_peers: 0,
        queue: 0,
        max_frame: 0,
        leases: PEERNET_DEFAULT,
        durable: PEERNET_DEFAULT,
    };

    /// A copy of what the program gave, null for defaults.
    pub(crate) unsafe fn read(options: *const Self) -> Result<Self, Error> {
        // SAFETY: null or options of some version's header, whose fields take any bytes.
        unsafe { args::sized(options, Self::DEFAULT, "options") }
    }

    /// Sets what any kind of node has.
    pub(crate) unsafe fn apply<N>(&self, mut builder: Builder<N>) -> Result<Builder<N>, Error> {
        // SAFETY: texts of options are null or end with a NUL.
        let text = |text, name| unsafe { args::text_or_none(text, name) };
        if let Some(listen) = text(self.listen, "options.listen")? {
            builder = builder.listen(listen);
        }
        if let Some(advertise) = text(self.advertise, "options.advertise")? {
            builder = builder.advertise(advertise);
        }
        if let Some(subnet) = text(self.subnet, "options.subnet")? {
            builder = builder.subnet(subnet);
        }
        if let Some(encryption) = text(self.encryption, "options.encryption")? {
            builder = builder.encryption(encryption.parse::<Encryption>()?);
        }
        if let Some(data_dir) = text(self.data_dir, "options.data_dir")? {
            builder = builder.data_dir(data_dir);
        }
        if self.connect_count > 0 && self.connect.is_null() {
            return Err(args::wrong("options.connect is null, and options.connect_count is not 0"));
        }
        if self.connect_count > 0 {
            // SAFETY: it leads to so many texts.
            for address in unsafe { slice::from_raw_parts(self.connect, self.connect_count) } {
                let address = text(*address, "options.connect")?;
                let missing = || args::wrong("options.connect leads to a null");
                builder = builder.connect(address.ok_or_else(missing)?);
            }
        }
        if let Some(durable) = choice(self.durable, "options.durable")? {
            builder = builder.durable(durable);
        }
        let config = self.config(text(self.preset, "options.preset")?)?;
        Ok(builder.config(config))
    }

    fn config(&self, preset: Option<&str>) -> Result<Config, Error> {
        let mut config = match preset {
            None => Config::default(),
            Some("wan") => Config::wan(),
            Some("lan") => Config::lan(),
            Some("local") => Config::local(),
            Some(other) => {
                let problem = format!("there is no preset {other}; there are wan, lan and local");
                return Err(Error::new(ErrorCode::Config, problem));
            }
        };
        let given = [
            (self.max_peers, &mut config.max_peers),
            (self.queue, &mut config.inbox_messages),
            (self.max_frame, &mut config.max_frame),
        ];
        for (value, place) in given {
            if value > 0 {
                *place = value;
            }
        }
        Ok(config)
    }
}

/// What a choice says, if it says anything.
pub(crate) fn choice(choice: i32, name: &str) -> Result<Option<bool>, Error> {
    match choice {
        PEERNET_DEFAULT => Ok(None),
        PEERNET_YES => Ok(Some(true)),
        PEERNET_NO => Ok(Some(false)),
        _ => Err(args::wrong(format!("{name} is neither PEERNET_YES nor PEERNET_NO nor PEERNET_DEFAULT"))),
    }
}
