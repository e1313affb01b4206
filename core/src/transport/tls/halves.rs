//! A connection under TLS as two halves that two tasks use at the same time. They share the session,
//! which is locked while bytes pass through it, and never while a socket is waited for.

use std::io::{self, BufRead, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes read from the socket at once: four records of the largest size.
const READ: usize = 64 << 10;

#[derive(Clone)]
struct Session(Arc<Mutex<Connection>>);

impl Session {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes halves of a session whose handshake is done and the halves of its socket.
pub(super) fn split<R, W>(session: Connection, reader: R, writer: W) -> (Reader<R>, Writer<W>) {
    let session = Session(Arc::new(Mutex::new(session)));
    (
        Reader { socket: reader, session: session.clone(), sealed: BytesMut::new() },
        Writer { socket: writer, session, sealed: BytesMut::new(), ahead: 0, ended: false },
    )
}

pub(super) struct Reader<R> {
    socket: R,
    session: Session,
    /// Read from the socket and not yet opened.
    sealed: BytesMut,
}

impl<R> Reader<R> {
    /// Opens what was read until there is no more, or no room for it. `Ready` if `out` got something or
    /// never will.
    fn open(&mut self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let mut session = self.session.lock();
        loop {
            match session.reader().fill_buf() {
                // The other side has said goodbye.
                Ok([]) => return Poll::Ready(Ok(())),
                Ok(open) => {
                    let count = open.len().min(out.remaining());
                    out.put_slice(open.get(..count).unwrap_or_default());
                    session.reader().consume(count);
                    if out.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) if self.sealed.is_empty() => break,
                Err(_) => {
                    let mut sealed = &self.sealed[..];
                    let taken = session.read_tls(&mut sealed)?;
                    if taken == 0 {
                        return Poll::Ready(Err(io::Error::other("the session takes no more")));
                    }
                    self.sealed.advance(taken);
                    session.process_new_packets().map_err(io::Error::other)?;
                }
            }
        }
        if out.filled().len() > before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Reader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(opened) = this.open(out) {
                return Poll::Ready(opened);
            }
            this.sealed.reserve(READ);
            match pin!(this.socket.read_buf(&mut this.sealed)).poll(cx)? {
                Poll::Ready(0) => {
                    let problem = "it ended in the middle, without a goodbye";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem)));
                }
                Poll::Ready(_) => {}
                Poll::Pending => {
                    // An idle link holds no memory for what may never come.
                    this.sealed = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
    }
}

pub(super) struct Writer<W> {
    socket: W,
    session: Session,
    /// Sealed and not yet written.
    sealed: BytesMut,
    /// Bytes given to us, sealed, and not yet reported as written.
    ahead: usize,
    /// Whether the goodbye is sealed.
    ended: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Takes what the session has to send.
    fn take(sealed: &mut BytesMut, session: &mut Connection) -> io::Result<()> {
        struct Tail<'a>(&'a mut BytesMut);
        impl io::Write for Tail<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while session.wants_write() {
            session.write_tls(&mut Tail(sealed))?;
        }
        Ok(())
    }

    /// Writes some of what is sealed; how much.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.sealed))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sealed.advance(written);
        if self.sealed.is_empty() {
            // An idle link holds no memory for what was sent once.
            self.sealed = BytesMut::new();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            ready!(self.poll_some(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes count as written when the socket has taken them, not when they are sealed: whoever writes sees
/// whether the other side takes anything, and nothing needs to be flushed. So after a `Pending` or a
/// short write, the next write must go on with the bytes behind those that were reported, as every
/// writer of a stream does.
impl<W: AsyncWrite + Unpin> AsyncWrite for Writer<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.ahead == 0 {
            ready!(this.poll_all(cx))?;
            let mut session = this.session.lock();
            this.ahead = io::Write::write_vectored(&mut session.writer(), slices)?;
            Self::take(&mut this.sealed, &mut session)?;
        }
        while this.ahead > 0 {
            let written = ready!(this.poll_some(cx))?;
            let rest = !this.sealed.is_empty();
            // The last byte is reported when all is written.
            let reported = if rest { written.min(this.ahead - 1) } else { this.ahead };
            if reported > 0 {
                this.ahead -= reported;
                return Poll::Ready(Ok(reported));
            }
        }
        Poll::Ready(Ok(0))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_all(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ended {
            let mut session = this.session.lock();
            session.send_close_notify();
            Self::take(&mut this.sealed, &mut session)?;
            this.ended = true;
        }
        ready!(this.poll_all(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};

    use super::*;
    use crate::identity::{KeyPair, ProtocolId};
    use crate::transport::tls::{Opened, Tls};

    type Halves = (Reader<ReadHalf<DuplexStream>>, Writer<WriteHalf<DuplexStream>>);

    /// Both ends of a link over a wire that takes so many bytes at a time.
    async fn link(wire: usize) -> (Halves, Halves) {
        let tls = |of| {
            Tls::new(&KeyPair::from_secret([of; 32]), ProtocolId::derive("mesh", "tls/mesh"), None).unwrap()
        };
        let halves = |opened: Opened<DuplexStream>| {
            let (reader, writer) = tokio::io::split(opened.io);
            split(opened.session, reader, writer)
        };
        let (a, b, (near, far)) = (tls(1), tls(2), duplex(wire));
        let (near, far) = tokio::join!(a.dial_over(near), b.accept_over(far));
        (halves(near.unwrap()), halves(far.unwrap()))
    }

    /// T-15
    #[tokio::test]
    async fn bytes_count_as_written_when_the_wire_has_taken_them() {
        const SIZE: usize = 300_000;
        for wire in [7, 1000, 100_000] {
            let payload: Vec<u8> = (0..SIZE).map(|at| (at ^ (at >> 8)) as u8).collect();
            let (near, far) = link(wire).await;
            let send = async |mut writer: Writer<_>| {
                let mut at = 0;
                while at < SIZE {
                    let rest = &payload[at..];
                    let (first, second) = rest.split_at(rest.len() / 3);
                    let slices = [IoSlice::new(first), IoSlice::new(second)];
                    let written = writer.write_vectored(&slices).await.unwrap();
                    // Sealing adds bytes, so no more is reported than the wire has taken.
                    assert!(written > 0 && written <= rest.len());
                    at += written;
                    let under_way = writer.ahead;
                    assert_eq!(under_way > 0, !writer.sealed.is_empty());
                }
                writer.shutdown().await.unwrap();
            };
            let read = async |mut reader: Reader<_>| {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).await.unwrap();
                all
            };
            let ((near_reader, near_writer), (far_reader, far_writer)) = (near, far);
            let ((), (), one, other) =
                tokio::join!(send(near_writer), send(far_writer), read(near_reader), read(far_reader));
            assert!(one == payload && other == payload, "bytes changed over a wire of {wire}");
        }
    }

    /// T-15
    #[tokio::test]
    async fn an_idle_link_holds_no_buffers() {
        let ((mut near, _near_writer), (_far, mut far_writer)) = link(100_000).await;
        far_writer.write_all(&[1; 50_000]).await.unwrap();
        near.read_exact(&mut vec![0; 50_000]).await.unwrap();
        let mut more = [0];
        let idle = std::future::poll_fn(|cx| {
            let mut more = ReadBuf::new(&mut more);
            Poll::Ready(Pin::new(&mut near).poll_read(cx, &mut more).is_pending())
        });
        assert!(idle.await);
        assert_eq!((near.sealed.capacity(), far_writer.sealed.capacity()), (0, 0));
    }
}
