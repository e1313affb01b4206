//! What a node is opened with.

use std::ffi::{c_char, c_void};
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::Arc;

use node::identity::{KeyPair, Secret};
use node::store::read_owners_text;
use node::wire::value::pack_array_head;
use node::wire::{Method, Pack};
use node::{Builder, Config, Encryption, ErrorCode, Origins};
use peernet_bindings::{Error, SETTINGS};

use crate::args;
use crate::callback::{Admit, User, peernet_admit, peernet_drop};
use crate::guard::{Does, guard};
use crate::status::peernet_status;
use crate::value::peernet_writer;

/// As the library has it, in options with a choice.
pub const PEERNET_DEFAULT: i32 = 0;
/// Yes, in options with a choice.
pub const PEERNET_YES: i32 = 1;
/// No, in options with a choice.
pub const PEERNET_NO: i32 = -1;

/// A bound or a time-out by its name, for `settings` of peernet_options. Its size never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_setting {
    /// Which one.
    pub name: *const c_char,
    /// Times are in milliseconds, sizes in bytes, yes and no are 1 and 0, and a negative number is no bound where
    /// there need not be one.
    pub value: i64,
}

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
    /// The keys that the node's id is derived from, as peernet_identity_new writes them (those in the data
    /// directory, or else new ones). This and the following, to `sign`, only with tls.
    pub identity: *const c_char,
    /// Instead: a file with them, which only its owner can read.
    pub identity_file: *const c_char,
    /// The secret that all nodes of the subnet share, as peernet_secret_new writes it: nobody joins without it
    /// (none: whoever knows the subnet's name may join).
    pub secret: *const c_char,
    /// Instead: a file with it, which only its owner can read.
    pub secret_file: *const c_char,
    /// The ids of those who may join, `allow_count` texts (null: anyone may). If it is not null and `allow_count`
    /// is 0, nobody may, until peernet_mesh_allow.
    pub allow: *const *const c_char,
    /// How many texts `allow` leads to.
    pub allow_count: usize,
    /// Asked about whoever connects, or was dialled, and has proven its id, before anything is said to it: not 0
    /// lets it in (null: not asked). It runs on the library's threads where links are made, on several at the same
    /// time, and must be quick; what holds for hooks holds for it. Functions that open nodes take it over; to others
    /// it is nothing.
    pub admit: peernet_admit,
    /// Handed to `admit`.
    pub admit_user: *mut c_void,
    /// Called once with `admit_user` when the node is closed, or cannot be opened; may be null.
    pub admit_drop: peernet_drop,
    /// For wss: the certificate to show, with those that lead from it to one that browsers trust, as PEM (one made
    /// for this node alone, which no browser takes).
    pub certificate: *const c_char,
    /// The private key of `certificate`, as PEM.
    pub certificate_key: *const c_char,
    /// For ws and wss: the origins of the web pages that may connect, as browsers write them, `origin_count` texts
    /// (none); a single * for all pages there are.
    pub origins: *const *const c_char,
    /// How many texts `origins` leads to.
    pub origin_count: usize,
    /// Compression methods, best first, with commas between (snappy,zlib,gzip,bz2,lzma); empty for none.
    pub compression: *const c_char,
    /// Other bounds and time-outs, `setting_count` of them, in place of what the preset has. peernet_settings
    /// lists their names.
    pub settings: *const peernet_setting,
    /// How many settings `settings` leads to.
    pub setting_count: usize,
    /// Whether authors sign their broadcasts (yes). Without that, whoever is in the subnet can alter what it relays.
    /// Nodes that differ never meet.
    pub sign: i32,
    /// 0.
    pub reserved: i32,
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
        identity: ptr::null(),
        identity_file: ptr::null(),
        secret: ptr::null(),
        secret_file: ptr::null(),
        allow: ptr::null(),
        allow_count: 0,
        admit: None,
        admit_user: ptr::null_mut(),
        admit_drop: None,
        certificate: ptr::null(),
        certificate_key: ptr::null(),
        origins: ptr::null(),
        origin_count: 0,
        compression: ptr::null(),
        settings: ptr::null(),
        setting_count: 0,
        sign: PEERNET_DEFAULT,
        reserved: 0,
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
        // SAFETY: it leads to so many texts.
        for address in unsafe { texts(self.connect, self.connect_count, "options.connect") }? {
            builder = builder.connect(address);
        }
        // SAFETY: as here.
        builder = unsafe { self.apply_trust(builder) }?;
        // SAFETY: as here.
        builder = unsafe { self.apply_web(builder) }?;
        if let Some(durable) = choice(self.durable, "options.durable")? {
            builder = builder.durable(durable);
        }
        let mut config = self.config(text(self.preset, "options.preset")?)?;
        if let Some(methods) = text(self.compression, "options.compression")? {
            config.compression = compression(methods)?;
        }
        // SAFETY: it leads to so many settings.
        for setting in unsafe { list(self.settings, self.setting_count, "options.settings") }? {
            let name = text(setting.name, "options.settings.name")?;
            let missing = || args::wrong("options.settings has one without a name");
            peernet_bindings::set(&mut config, name.ok_or_else(missing)?, setting.value)?;
        }
        Ok(builder.config(config))
    }

    /// Sets who the node is, and who may join.
    unsafe fn apply_trust<N>(&self, mut builder: Builder<N>) -> Result<Builder<N>, Error> {
        // SAFETY: texts of options are null or end with a NUL.
        let text = |text, name| unsafe { args::text_or_none(text, name) };
        let identity = text(self.identity, "options.identity")?;
        let file = text(self.identity_file, "options.identity_file")?;
        if let Some(identity) = either(identity, file, "identity")? {
            let keys = identity.parse::<KeyPair>();
            let wrong = |error| Error::new(ErrorCode::Identity, format!("options.identity: {error}"));
            builder = builder.identity(keys.map_err(wrong)?);
        }
        let secret = text(self.secret, "options.secret")?;
        let file = text(self.secret_file, "options.secret_file")?;
        if let Some(secret) = either(secret, file, "secret")? {
            let secret = secret.parse::<Secret>();
            let wrong = |error| Error::new(ErrorCode::Secret, format!("options.secret: {error}"));
            builder = builder.secret(secret.map_err(wrong)?);
        }
        // SAFETY: it leads to so many texts.
        let allowed = unsafe { texts(self.allow, self.allow_count, "options.allow") }?;
        if !self.allow.is_null() {
            let allowed = allowed.into_iter().map(args::id).collect::<Result<Vec<_>, _>>()?;
            builder = builder.allow(allowed);
        }
        if let Some(sign) = choice(self.sign, "options.sign")? {
            builder = builder.sign(sign);
        }
        Ok(builder)
    }

    /// Sets what web pages see.
    unsafe fn apply_web<N>(&self, mut builder: Builder<N>) -> Result<Builder<N>, Error> {
        // SAFETY: texts of options are null or end with a NUL.
        let text = |text, name| unsafe { args::text_or_none(text, name) };
        let chain = text(self.certificate, "options.certificate")?;
        match (chain, text(self.certificate_key, "options.certificate_key")?) {
            (Some(chain), Some(key)) => builder = builder.certificate(chain, key),
            (None, None) => {}
            _ => return Err(args::wrong("of options.certificate and options.certificate_key, one is null")),
        }
        // SAFETY: it leads to so many texts.
        let origins = unsafe { texts(self.origins, self.origin_count, "options.origins") }?;
        match &origins[..] {
            [] => {}
            ["*"] => builder = builder.origins(Origins::Any),
            _ => builder = builder.origins(Origins::only(origins)),
        }
        Ok(builder)
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

/// The callback of options, which belongs to the library from now on, whatever comes of the node. To be taken before
/// anything that can fail.
pub(crate) unsafe fn admit(options: *const peernet_options) -> Option<Arc<Admit>> {
    // SAFETY: null or options of some version's header.
    let options = unsafe { args::known(options, peernet_options::DEFAULT, "options") }.ok()?;
    Admit::new(options.admit, User::new(options.admit_user, options.admit_drop)).map(Arc::new)
}

/// Has whoever comes asked about. The node does not keep the callback: whoever has it here does.
pub(crate) fn ask<N>(builder: Builder<N>, admit: Option<&Arc<Admit>>) -> Builder<N> {
    let Some(admit) = admit.map(Arc::downgrade) else { return builder };
    builder.admit(move |candidate| admit.upgrade().is_some_and(|admit| admit.lets_in(candidate)))
}

/// The longest file that is read as an identity or a secret.
const MAX_FILE: u64 = 1024;

/// A text that is given or stands in a file.
fn either(given: Option<&str>, file: Option<&str>, name: &str) -> Result<Option<String>, Error> {
    match (given, file) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.to_owned())),
        (None, Some(file)) => {
            let read = read_owners_text(Path::new(file), MAX_FILE);
            read.map(Some).map_err(|error| node::Error::from(error).into())
        }
        _ => Err(args::wrong(format!("options.{name} and options.{name}_file are both given; give one"))),
    }
}

fn compression(methods: &str) -> Result<Vec<Method>, Error> {
    let methods = methods.split(',').map(str::trim).filter(|name| !name.is_empty());
    let wrong = |error| Error::new(ErrorCode::Config, format!("options.compression: {error}"));
    methods.map(|name| name.parse().map_err(wrong)).collect()
}

/// So many of something.
unsafe fn list<'a, T>(list: *const T, count: usize, name: &str) -> Result<&'a [T], Error> {
    match (list.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(args::wrong(format!("{name} is null, and its count is not 0"))),
        // SAFETY: it is not null, and so leads to so many.
        _ => Ok(unsafe { slice::from_raw_parts(list, count) }),
    }
}

/// So many texts. They are looked at one after the other: a count that was never set ends at a null.
unsafe fn texts<'a>(list: *const *const c_char, count: usize, name: &str) -> Result<Vec<&'a str>, Error> {
    if list.is_null() && count > 0 {
        return Err(args::wrong(format!("{name} is null, and its count is not 0")));
    }
    // SAFETY: it leads to so many, each of which is null or ends with a NUL.
    (0..count).map(|at| unsafe { args::text(list.wrapping_add(at).read(), name) }).collect()
}

/// Appends the names of all settings that `settings` of peernet_options can have, an array of texts. They are those of
/// the library's Rust documentation (`Config`), where each is explained. Needs no node.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_settings(names: *mut peernet_writer) -> peernet_status {
    guard(Does::Pure, || {
        // SAFETY: null or a writer that nobody else uses.
        unsafe { peernet_writer::borrow(names) }?.append(|out| {
            pack_array_head(u32::try_from(SETTINGS.len()).unwrap_or(u32::MAX), out);
            SETTINGS.iter().try_for_each(|name| name.pack(out))
        })
    })
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
