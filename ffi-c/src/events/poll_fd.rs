//! A file descriptor that is readable while events wait.

use std::sync::Arc;
use std::task::{Wake, Waker};

use node::ErrorCode;
use peernet_bindings::{Error, Events};

/// Both ends of what wakes a program's loop: an eventfd, or a pipe where there are none.
#[derive(Debug)]
pub(crate) struct PollFd {
    bell: Arc<Bell>,
    waker: Waker,
}

impl PollFd {
    pub(crate) fn new() -> Result<Self, Error> {
        let bell = Arc::new(Bell::new()?);
        Ok(Self { waker: Waker::from(bell.clone()), bell })
    }

    /// Its number.
    pub(crate) fn number(&self) -> i32 {
        self.bell.number()
    }

    /// Not readable until the next event, at least.
    pub(crate) fn silence(&self) {
        self.bell.silence();
    }

    /// After events were taken: readable if some still wait, and else once there are.
    pub(crate) fn settle(&self, events: &Events) {
        self.bell.silence();
        // Looks once more, so that nothing is missed that came before the silence.
        events.arm(self.waker.clone());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

#[cfg(unix)]
use unix::Bell;

#[cfg(unix)]
mod unix {
    use std::os::fd::{AsRawFd, OwnedFd};

    use super::{Error, ErrorCode};

    #[derive(Debug)]
    pub(super) struct Bell {
        read: OwnedFd,
        /// `None` if one does both.
        write: Option<OwnedFd>,
    }

    fn failed(error: rustix::io::Errno) -> Error {
        Error::new(ErrorCode::Internal, format!("the system has no file descriptor left: {error}"))
    }

    impl Bell {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        pub(super) fn new() -> Result<Self, Error> {
            use rustix::event::{EventfdFlags, eventfd};
            let read = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
            Ok(Self { read, write: None })
        }

        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        pub(super) fn new() -> Result<Self, Error> {
            use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
            use rustix::io::{FdFlags, fcntl_setfd};
            let (read, write) = rustix::pipe::pipe().map_err(failed)?;
            for end in [&read, &write] {
                let flags = fcntl_getfl(end).map_err(failed)?;
                fcntl_setfl(end, flags | OFlags::NONBLOCK).map_err(failed)?;
                fcntl_setfd(end, FdFlags::CLOEXEC).map_err(failed)?;
            }
            Ok(Self { read, write: Some(write) })
        }

        pub(super) fn number(&self) -> i32 {
            self.read.as_raw_fd()
        }

        /// One that is full is readable, which is what is wanted.
        pub(super) fn ring(&self) {
            let _ = rustix::io::write(self.write.as_ref().unwrap_or(&self.read), &1_u64.to_ne_bytes());
        }

        pub(super) fn silence(&self) {
            let mut bytes = [0; 64];
            // A pipe may have more in it; an eventfd has one number.
            while rustix::io::read(&self.read, &mut bytes).is_ok_and(|read| read == bytes.len()) {}
        }
    }
}

#[cfg(not(unix))]
use other::Bell;

#[cfg(not(unix))]
mod other {
    use super::{Error, ErrorCode};

    /// There is none.
    #[derive(Debug)]
    pub(super) enum Bell {}

    impl Bell {
        pub(super) fn new() -> Result<Self, Error> {
            let problem = "this system has no file descriptors to wait for; wait on a thread instead";
            Err(Error::new(ErrorCode::Unsupported, problem))
        }

        pub(super) fn number(&self) -> i32 {
            match *self {}
        }

        pub(super) fn ring(&self) {
            match *self {}
        }

        pub(super) fn silence(&self) {
            match *self {}
        }
    }
}
