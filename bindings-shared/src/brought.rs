//! Streams of bytes that the program brings as file descriptors.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use peernet::Role;
use peernet::identity::NodeId;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, join};

use crate::error::Error;
use crate::node::Node;
use crate::wait::Wait;

impl Node {
    /// As [`peernet::Mesh::attach`], of what `input` is read from and `output` written to: two descriptors of one
    /// socket, the ends of two pipes. They are made non-blocking, and closed when the link ends. If it takes too
    /// long, they are given up.
    ///
    /// # Errors
    /// Those of [`peernet::Mesh::attach`]; [`peernet::ErrorCode::Connect`] if nobody can wait for such
    /// descriptors, as for files; [`peernet::ErrorCode::TimedOut`].
    pub fn attach(&self, input: OwnedFd, output: OwnedFd, role: Role, wait: Wait) -> Result<NodeId, Error> {
        self.block_on(wait, async {
            let unfit = |error| {
                let problem = format!("the descriptor cannot carry a connection: {error}");
                Error::new(peernet::ErrorCode::Connect, problem)
            };
            let stream = join(Input::new(input).map_err(unfit)?, Output::new(output).map_err(unfit)?);
            self.mesh().attach(stream, role).await.map_err(Error::from)
        })
    }
}

// What is said against it is that a descriptor may be closed too early: this one is owned.
#[allow(deprecated)]
fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    AsyncFd::with_interest(fd, interest)
}

/// What is read from.
struct Input(AsyncFd<OwnedFd>);

impl Input {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(register(fd, Interest::READABLE)?))
    }
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            match ready.try_io(|fd| Ok(retry_on_intr(|| rustix::io::read(fd, &mut *space))?)) {
                Ok(read) => return Poll::Ready(read.map(|count| buf.advance(count))),
                Err(_would_block) => {}
            }
        }
    }
}

/// What is written to, until that is ended.
struct Output(Option<AsyncFd<OwnedFd>>);

impl Output {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Some(register(fd, Interest::WRITABLE)?)))
    }
}

/// Writes to a socket without a signal if nobody reads, and to all else as it is.
fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match retry_on_intr(|| send(fd, bytes, SendFlags::NOSIGNAL)) {
        // The threads here take no signal for it.
        Err(Errno::NOTSOCK) => Ok(retry_on_intr(|| rustix::io::write(fd, bytes))?),
        sent => Ok(sent?),
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(fd) = &self.0 else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            let mut ready = ready!(fd.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|fd| write(fd.get_ref(), bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A socket says so to the other side; a pipe does when it is closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fd) = self.0.take() {
            // Whatever is no socket has no such word.
            let _ = shutdown(fd.get_ref(), Shutdown::Write);
        }
        Poll::Ready(Ok(()))
    }
}
