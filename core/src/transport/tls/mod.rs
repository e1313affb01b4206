//! TLS 1.3 in which both sides prove an Ed25519 key, and then that they are of the same subnet
//! (`spec/07-trust.md`). No certificates, no authorities, no sessions to be resumed.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, Connection as Session, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use self::proof::{EXPORT_LABEL, EXPORT_LEN, PROOF_LEN, Proof, Role};
use super::Connection;
use super::carrier::Carrier;
use crate::identity::{KeyPair, ProtocolId, PublicKey, Secret};
use crate::protocol::Remote;

mod halves;
mod keys;
mod proof;

/// What a side says of itself when it is dialled or dials.
pub(crate) struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    proof: Proof,
}

/// A session that is ready for frames.
struct Opened<IO> {
    io: IO,
    session: Session,
    key: PublicKey,
}

impl Tls {
    /// Fails only if the TLS library was built without what is needed.
    pub(crate) fn new(
        keys: &KeyPair,
        protocol: ProtocolId,
        secret: Option<&Secret>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider());
        let versions = &[&rustls::version::TLS13];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(keys::AnyKey))
            .with_client_cert_resolver(keys::as_client(keys));
        client.enable_sni = false;
        client.resumption = rustls::client::Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::new(keys::AnyKey))
            .with_cert_resolver(keys::as_server(keys));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            connector: Arc::new(client).into(),
            acceptor: Arc::new(server).into(),
            proof: Proof::new(protocol, secret),
        })
    }

    pub(super) async fn dial(&self, stream: impl Carrier, remote: Remote) -> io::Result<Connection> {
        Ok(ready_for_frames(self.dial_over(stream).await?, remote))
    }

    pub(super) async fn accept(&self, stream: impl Carrier, remote: Remote) -> io::Result<Connection> {
        Ok(ready_for_frames(self.accept_over(stream).await?, remote))
    }

    /// The side that dialled proves first: who accepts tells strangers nothing.
    async fn dial_over<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) -> io::Result<Opened<IO>> {
        // A name is asked for and never sent.
        let nameless = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut stream = self.connector.connect(nameless, io).await.map_err(no_tls)?;
        let (_, session) = stream.get_ref();
        let key = presented(session.peer_certificates())?;
        let export = session.export_keying_material([0; EXPORT_LEN], EXPORT_LABEL, None);
        let export = export.map_err(io::Error::other)?;
        stream.write_all(&self.proof.make(Role::Dialler, &export)).await?;
        stream.flush().await?;
        let mut theirs = [0; PROOF_LEN];
        // It may have hung up for other reasons, but this one is by far the likeliest.
        stream.read_exact(&mut theirs).await.map_err(|_| not_proven())?;
        if !self.proof.verify(Role::Acceptor, &export, &theirs) {
            return Err(not_proven());
        }
        let (io, session) = stream.into_inner();
        Ok(Opened { io, session: session.into(), key })
    }

    async fn accept_over<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) -> io::Result<Opened<IO>> {
        let mut stream = self.acceptor.accept(io).await?;
        let (_, session) = stream.get_ref();
        let key = presented(session.peer_certificates())?;
        let export = session.export_keying_material([0; EXPORT_LEN], EXPORT_LABEL, None);
        let export = export.map_err(io::Error::other)?;
        let mut theirs = [0; PROOF_LEN];
        stream.read_exact(&mut theirs).await?;
        if !self.proof.verify(Role::Dialler, &export, &theirs) {
            return Err(not_proven());
        }
        stream.write_all(&self.proof.make(Role::Acceptor, &export)).await?;
        stream.flush().await?;
        let (io, session) = stream.into_inner();
        Ok(Opened { io, session: session.into(), key })
    }
}

/// TLS 1.3 with X25519 and the three ciphers that everyone has, the fastest first.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::*;
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    }
}

fn presented(certificates: Option<&[CertificateDer<'_>]>) -> io::Result<PublicKey> {
    let certificate = certificates.and_then(<[_]>::first);
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "it presents no key");
    keys::presented(certificate.ok_or_else(missing)?).map_err(io::Error::other)
}

fn ready_for_frames(opened: Opened<impl Carrier>, remote: Remote) -> Connection {
    let Opened { io, session, key } = opened;
    let remote = Remote { key: Some(key), ..remote };
    let (reader, writer) = io.halves();
    let (reader, writer) = halves::split(session, reader, writer);
    Connection { reader: Box::new(reader), writer: Box::new(writer), remote }
}

/// What answers does not speak TLS, or not ours.
fn no_tls(error: io::Error) -> io::Error {
    let problem = format!("no node of an encrypted subnet answers there ({error})");
    io::Error::new(error.kind(), problem)
}

fn not_proven() -> io::Error {
    let problem = "what answers there is of another subnet, or has another secret, or someone is in between";
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

/// What `fuzz/` needs, and nobody else: an end of a link over any stream.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fuzzing {
    use super::*;

    pub struct TlsEnd(Tls);

    type Halves = (PublicKey, Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>);

    impl TlsEnd {
        pub fn new(keys: &KeyPair, secret: &Secret) -> Option<Self> {
            Tls::new(keys, ProtocolId::derive("mesh", "tls/mesh"), Some(secret)).ok().map(Self)
        }

        pub async fn dial(&self, io: impl AsyncRead + AsyncWrite + Unpin + 'static) -> io::Result<Halves> {
            self.0.dial_over(io).await.map(halves)
        }

        pub async fn accept(&self, io: impl AsyncRead + AsyncWrite + Unpin + 'static) -> io::Result<Halves> {
            self.0.accept_over(io).await.map(halves)
        }
    }

    fn halves<IO: AsyncRead + AsyncWrite + Unpin + 'static>(opened: Opened<IO>) -> Halves {
        let (reader, writer) = tokio::io::split(opened.io);
        let (reader, writer) = super::halves::split(opened.session, reader, writer);
        (opened.key, Box::new(reader), Box::new(writer))
    }
}
