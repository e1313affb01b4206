//! TLS whose certificates nobody verifies: p2p.today's `SSL`, and what is below `wss`. It keeps what is
//! said from those who only listen, and tells nobody who is there.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::config::ConfigError;

/// Content of one TLS record, at most. py2p reads 1,024 bytes at a time until it has a whole frame, and then
/// waits for its socket to become readable, which what OpenSSL has already decrypted does not make it: of
/// several frames in one record, the later ones would lie there until something else comes.
const RECORD: usize = 1024;
/// What rustls counts into a record besides its content.
const RECORD_HEAD: usize = 5;
/// The name on the certificate, which nobody looks at.
const NAME: &str = "peernet";
const KEYLESS: ConfigError =
    ConfigError { option: "encryption", problem: "no throw-away certificate can be made for it" };

type Chain = Vec<CertificateDer<'static>>;

/// A certificate and the key to it, as PEM.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl fmt::Debug for Certificate {
    /// Shows nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    fn read(&self) -> Result<(Chain, PrivateKeyDer<'static>), ConfigError> {
        let wrong = |problem| ConfigError { option: "certificate", problem };
        let chain = CertificateDer::pem_slice_iter(&self.chain).collect::<Result<Chain, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        Ok((
            chain.ok_or(wrong("the chain does not read; give certificates in PEM, the node's own first"))?,
            key.map_err(|_| wrong("the key does not read; give a private key in PEM"))?,
        ))
    }
}

/// A key and a certificate for one node alone, thrown away with it.
fn throw_away() -> Result<(Chain, PrivateKeyDer<'static>), ConfigError> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(|_| KEYLESS)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|_| KEYLESS)?;
    Ok((vec![made.cert.der().clone()], key))
}

/// What TLS connections of one node are made with.
pub(crate) struct Ssl {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Ssl {
    /// In records that py2p can read.
    pub(crate) fn for_0_7() -> Result<Self, ConfigError> {
        let (chain, key) = throw_away()?;
        Self::new(chain, key, Some(RECORD + RECORD_HEAD)).map_err(|_| KEYLESS)
    }

    /// To be below a WebSocket; with a certificate that browsers take, if there is one.
    pub(crate) fn for_websocket(certificate: Option<&Certificate>) -> Result<Self, ConfigError> {
        match certificate {
            None => {
                let (chain, key) = throw_away()?;
                Self::new(chain, key, None).map_err(|_| KEYLESS)
            }
            Some(certificate) => {
                let (chain, key) = certificate.read()?;
                let problem = "the key does not belong to the first certificate of the chain";
                Self::new(chain, key, None).map_err(|_| ConfigError { option: "certificate", problem })
            }
        }
    }

    fn new(chain: Chain, key: PrivateKeyDer<'static>, record: Option<usize>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anyone = Arc::new(Anyone(provider.clone()));
        // TLS 1.2 too: a 0.7 peer speaks what the OpenSSL below it does.
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth();
        client.max_fragment_size = record;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        server.max_fragment_size = record;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        })
    }

    /// Shakes hands as the side that dialled `host`.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
    ) -> io::Result<SslStream<S>> {
        // Sent, where it is a name, for servers that stand for several. Nobody checks it.
        let name = ServerName::try_from(host.to_owned())
            .unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0]))));
        Ok(SslStream(self.connector.connect(name, stream).await?.into()))
    }

    /// Shakes hands as the side that was dialled.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<SslStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(SslStream(self.acceptor.accept(stream).await?.into()))
    }
}

/// Takes every certificate, and every signature with it: a signature only proves that the other side has
/// the key of a certificate that anyone could have made. Checking it would keep nobody out, and would
/// turn js2p away, whose keys of 1,024 bits no library takes any more.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS connection that may end without saying so: py2p and js2p do, and where a frame is cut off, its
/// length tells.
pub(super) struct SslStream<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SslStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SslStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
