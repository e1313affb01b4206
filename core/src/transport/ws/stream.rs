//! A WebSocket as a stream of bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::LENGTH_LEN;
use crate::wire::websocket::{End, Framer, Role, Unframer, close_code};

/// Bytes put into parts that wait for the socket, at most. They are copied once, here, because a mask
/// must go over them.
const OUT: usize = 32 << 10;

/// Reads the content of binary messages, and writes each frame of what it is given as one. Pings are
/// answered while reading; a broken rule is an error that the close to the other side names too.
pub(in crate::transport) struct WebSocket<S> {
    stream: S,
    /// What came before this was made.
    early: Bytes,
    unframer: Unframer,
    framer: Framer,
    /// Ready for the socket.
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    pong: Option<Vec<u8>>,
    /// The writing half waits for the socket, and will be woken by it.
    writer_waits: bool,
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(super) fn new(stream: S, early: Vec<u8>, role: Role, max_frame: usize) -> Self {
        Self {
            stream,
            early: early.into(),
            unframer: Unframer::new(role, max_frame.saturating_add(LENGTH_LEN)),
            framer: Framer::new(role),
            out: Vec::new(),
            written: 0,
            pong: None,
            writer_waits: false,
            closed: false,
        }
    }

    /// Writes what is ready for the socket.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// As [`Self::poll_drain`], for the writing half.
    fn poll_drain_for_writer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_drain(cx);
        self.writer_waits = drained.is_pending();
        drained
    }

    /// Puts a pong that is owed where the next part would begin, unless the other side takes none.
    fn put_pong(&mut self) {
        if self.framer.is_between_parts()
            && self.out.len() < OUT
            && !self.closed
            && let Some(content) = self.pong.take()
        {
            self.framer.pong(&content, &mut self.out);
        }
    }

    /// Answers a ping from the reading half. While the writing half waits for the socket, the answer is
    /// left to it: there is only one place for who is to be woken.
    fn answer_ping(&mut self) {
        let Some(ping) = self.unframer.take_ping() else { return };
        self.pong = Some(ping);
        if !self.writer_waits {
            self.put_pong();
            // What does not go now goes with the next write, and what fails will fail there.
            let _ = self.poll_drain(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            match self.unframer.end() {
                Some(End::Closed) => return Poll::Ready(Ok(())),
                Some(End::Refused(violation)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.clone())));
                }
                None => {}
            }
            ready!(self.poll_fill(cx, buf))?;
            let Some(arrived @ [_, ..]) = buf.filled_mut().get_mut(before..) else {
                return Poll::Ready(Ok(()));
            };
            let kept = self.unframer.take(arrived);
            buf.set_filled(before + kept);
            self.answer_ping();
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain_for_writer(cx))?;
        self.put_pong();
        let Self { framer, out, .. } = &mut *self;
        let mut used = 0;
        for slice in slices {
            let put = framer.put(slice, out, OUT);
            used += put;
            if put < slice.len() {
                break;
            }
        }
        // What the socket does not take now waits for the next write or flush.
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(used)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.put_pong();
        ready!(self.poll_drain_for_writer(cx))?;
        if self.out.capacity() > 0 {
            self.out = Vec::new();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed && self.framer.is_between_parts() {
            self.put_pong();
            let Self { framer, out, unframer, .. } = &mut *self;
            match unframer.end() {
                Some(End::Refused(violation)) => {
                    framer.close(violation.close_code(), &violation.to_string(), out);
                }
                _ => framer.close(close_code::NORMAL, "", out),
            }
        }
        self.closed = true;
        ready!(self.poll_drain_for_writer(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
