//! Functions of the program's that the library calls.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::thread::{self, JoinHandle};

use node::{Candidate, ErrorCode, Message};
use peernet_bindings::Error;

use crate::args;
use crate::events::{drain, message_view, peernet_event};
use crate::guard::{Does, c_text, guard, in_callback};
use crate::mesh::{Open, find, peernet_mesh};
use crate::status::peernet_status;

/// Frees `user` of a callback, or null. It is called exactly once, when the callback will not be called any
/// more, nor is being called: also if registering fails, and then before that returns. On whichever thread; what
/// holds for callbacks holds for it.
pub type peernet_drop = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// Is told of events, for peernet_mesh_on_event. The event, and all that it points to, lives during the call.
pub type peernet_callback = Option<unsafe extern "C" fn(user: *mut c_void, event: *const peernet_event)>;

/// Sees a message first, for peernet_mesh_on_code: not 0 to take it. It is an event as peernet_mesh_poll gives
/// it, and lives during the call.
pub type peernet_hook = Option<unsafe extern "C" fn(user: *mut c_void, message: *const peernet_event) -> i32>;

/// Says who may join, for `admit` of peernet_options: not 0 to let it in. The candidate lives during the call.
pub type peernet_admit =
    Option<unsafe extern "C" fn(user: *mut c_void, candidate: *const peernet_candidate) -> i32>;

/// Whoever connects to a node or was dialled by it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct peernet_candidate {
    /// The size of this struct, as the library has it: fields beyond are not there.
    pub struct_size: usize,
    /// The id that it has proven.
    pub id: *const c_char,
    /// The IP address where it is; null where it has none.
    pub ip: *const c_char,
    /// Whether we dialled it: 1 or 0.
    pub dialled: u32,
    /// 0.
    pub reserved: u32,
}

/// What goes with a callback, and is let go of exactly once.
#[derive(Debug)]
pub(crate) struct User {
    data: *mut c_void,
    free: peernet_drop,
}

// SAFETY: the header says that callbacks are called on the library's threads.
unsafe impl Send for User {}
// SAFETY: as above; hooks and `admit` on several at the same time.
unsafe impl Sync for User {}

impl User {
    /// Takes it over. To be done before anything that can fail.
    pub(crate) fn new(data: *mut c_void, free: peernet_drop) -> Self {
        Self { data, free }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the program's own function, called once.
            in_callback(|| unsafe { free(self.data) });
        }
    }
}

/// One that sees messages of a code.
struct Hook {
    call: unsafe extern "C" fn(*mut c_void, *const peernet_event) -> i32,
    user: User,
}

impl Hook {
    fn takes(&self, message: &Message) -> bool {
        let peer = c_text(message.sender().as_str());
        let view = message_view(message, peer.as_ptr());
        // SAFETY: the program's own function; the view lives as long as the call.
        in_callback(|| unsafe { (self.call)(self.user.data, &raw const view) } != 0)
    }
}

/// One that says who may join.
pub(crate) struct Admit {
    call: unsafe extern "C" fn(*mut c_void, *const peernet_candidate) -> i32,
    user: User,
}

impl Admit {
    /// None if there is none to be asked; what goes with it is let go of then.
    pub(crate) fn new(call: peernet_admit, user: User) -> Option<Self> {
        Some(Self { call: call?, user })
    }

    pub(crate) fn lets_in(&self, candidate: &Candidate) -> bool {
        let id = c_text(candidate.id.as_str());
        let ip = candidate.ip.map(|ip| c_text(&ip.to_string()));
        let view = peernet_candidate {
            struct_size: size_of::<peernet_candidate>(),
            id: id.as_ptr(),
            ip: ip.as_ref().map_or(ptr::null(), |ip| ip.as_ptr()),
            dialled: candidate.dialled.into(),
            reserved: 0,
        };
        // SAFETY: the program's own function; the view lives as long as the call.
        in_callback(|| unsafe { (self.call)(self.user.data, &raw const view) } != 0)
    }
}

/// The callbacks of a node. The node itself only knows of them as long as they are here, so that they end with it
/// whoever else still has something of it.
#[derive(Default)]
pub(crate) struct Callbacks {
    hooks: Mutex<BTreeMap<u64, Arc<Hook>>>,
    admit: Mutex<Option<Arc<Admit>>>,
    /// Whoever reads events: many that poll share it, and the callback has it for itself once it is set.
    reader: RwLock<Option<JoinHandle<()>>>,
    closing: AtomicBool,
}

fn busy(problem: &'static str) -> Error {
    Error::new(ErrorCode::Busy, problem)
}

impl Callbacks {
    pub(crate) fn new(admit: Option<Arc<Admit>>) -> Self {
        Self { admit: Mutex::new(admit), ..Self::default() }
    }

    fn hooks(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Hook>>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// For one that polls, as long as it does.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] if events go to a callback.
    pub(crate) fn poll(&self) -> Result<RwLockReadGuard<'_, Option<JoinHandle<()>>>, Error> {
        const TAKEN: &str =
            "the node's events go to the callback of peernet_mesh_on_event; do not poll it as well";
        let reader = match self.reader.try_read() {
            Ok(reader) => reader,
            Err(TryLockError::Poisoned(reader)) => reader.into_inner(),
            Err(TryLockError::WouldBlock) if self.is_closing() => return Err(Error::closed()),
            Err(TryLockError::WouldBlock) => return Err(busy(TAKEN)),
        };
        if reader.is_some() { Err(busy(TAKEN)) } else { Ok(reader) }
    }

    /// For a callback.
    fn read_alone(&self) -> Result<RwLockWriteGuard<'_, Option<JoinHandle<()>>>, Error> {
        let reader = match self.reader.try_write() {
            Ok(reader) => reader,
            Err(TryLockError::Poisoned(reader)) => reader.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(busy(
                    "another thread polls the node's events; let it end before a callback has them",
                ));
            }
        };
        match &*reader {
            _ if self.is_closing() => Err(Error::closed()),
            Some(_) => {
                Err(busy("the node's events go to a callback already; it stays until the node is closed"))
            }
            None => Ok(reader),
        }
    }

    /// No callback begins any more that does not run yet.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// After the node was closed: waits for the callback that runs, if one does, and lets go of all.
    pub(crate) fn end(&self) {
        let reader = self.reader.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            let _ = reader.join();
        }
        let hooks = std::mem::take(&mut *self.hooks());
        let admit = self.admit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop((hooks, admit));
    }
}

/// Events that are taken out of the queue at once: few, because what was taken is not counted as waiting.
const BATCH: usize = 64;

/// Gives a node's events to its callback until the node is closed.
fn dispatch(open: &Open, call: unsafe extern "C" fn(*mut c_void, *const peernet_event), user: User) {
    while let Ok(batch) = drain(&open.node, BATCH, -1) {
        for view in batch.views() {
            if open.callbacks.is_closing() {
                break;
            }
            // SAFETY: the program's own function; the batch lives as long as the call.
            in_callback(|| unsafe { call(user.data, view) });
        }
        if open.callbacks.is_closing() {
            break;
        }
    }
}

/// Has `callback` called for every event from now on, in place of peernet_mesh_poll: in order, never two at once,
/// all on one thread of this node's, which has the name peernet-events. It stays until the node is closed.
///
/// While it runs, further events wait in the node's queue, with its bound: a slow callback sees
/// PEERNET_EVENT_LAGGED as a slow reader does. In a callback everything works that neither waits nor receives, such
/// as sending with a time-out of 0; everything else is PEERNET_ERR_REENTRANT, peernet_mesh_close too. An exception
/// must not leave it.
///
/// peernet_mesh_close on another thread waits for the callback that runs, and then for `drop`; so do not hold a lock
/// there that the callback takes. Events that still wait are lost, as they are for those that poll.
///
/// `user` is handed to `callback`, and to `drop` at the end (see there); `drop` may be null. Errors, of all after
/// `drop` has run: PEERNET_ERR_BUSY if there is a callback already or another thread is polling just now,
/// PEERNET_ERR_ARGUMENT, PEERNET_ERR_CLOSED. From then on peernet_mesh_poll and peernet_mesh_poll_fd give
/// PEERNET_ERR_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_on_event(
    mesh: peernet_mesh,
    callback: peernet_callback,
    user: *mut c_void,
    drop: peernet_drop,
) -> peernet_status {
    let user = User::new(user, drop);
    guard(Does::Use, move || {
        let call = callback.ok_or_else(|| args::wrong("callback is null"))?;
        let open = find(mesh)?;
        let mut reader = open.callbacks.read_alone()?;
        if let Some(fd) = open.fd.get() {
            fd.silence();
        }
        let node = open.clone();
        let thread = thread::Builder::new().name("peernet-events".to_owned());
        let failed = |error| Error::new(ErrorCode::Internal, format!("cannot start a thread: {error}"));
        *reader = Some(thread.spawn(move || dispatch(&node, call, user)).map_err(failed)?);
        Ok(())
    })
}

/// Has `hook` see every message with this code first: it takes the message by returning anything but 0, and others
/// go on to whoever reads events. For the codes 0 (broadcasts) and 2 (messages to one node), and from 0x31 on, which
/// only hooks see. A new hook replaces the old one of its code, and null ends it.
///
/// It runs on the library's threads where messages are read, on several at the same time if there are several links,
/// and they wait for it: it must be quick. In it everything works that neither waits nor receives, such as
/// peernet_mesh_reply with a time-out of 0; everything else is PEERNET_ERR_REENTRANT, peernet_mesh_close too. An
/// exception must not leave it.
///
/// `user` is handed to `hook`, and to `drop` at the end (see there), which is when it was replaced or the node was
/// closed, as soon as no call of it runs; `drop` may be null. Errors, of all after `drop` has run:
/// PEERNET_ERR_CODE, PEERNET_ERR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peernet_mesh_on_code(
    mesh: peernet_mesh,
    code: u64,
    hook: peernet_hook,
    user: *mut c_void,
    drop: peernet_drop,
) -> peernet_status {
    let user = User::new(user, drop);
    guard(Does::Use, move || {
        let open = find(mesh)?;
        let Some(call) = hook else {
            let ended = open.callbacks.hooks().remove(&code);
            std::mem::drop(ended);
            return Ok(());
        };
        let hook = Arc::new(Hook { call, user });
        let known = Arc::downgrade(&hook);
        let handler = move |message: &Message| known.upgrade().is_some_and(|hook| hook.takes(message));
        // Of two threads that set one, both agree which is the later.
        let mut hooks = open.callbacks.hooks();
        open.node.mesh().on_code(code, handler)?;
        let replaced = hooks.insert(code, hook);
        std::mem::drop(hooks);
        std::mem::drop(replaced);
        Ok(())
    })
}
