//! The two ends of a `tls` link, written from `spec/07-trust.md` and not from the code: for attackers,
//! and to see that the specification is enough.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use peernet::identity::{KeyPair, ProtocolId, PublicKey, Secret};
use ring::hmac;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// An Ed25519 key as it travels (T-5).
pub(crate) fn spki(key: &PublicKey) -> Vec<u8> {
    [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], key.as_bytes()].concat()
}

/// A key that is shown, and the one that signs: the same for whoever is honest.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) key: Vec<u8>,
    pub(crate) signs: KeyPair,
}

impl Shown {
    pub(crate) fn honest(keys: &KeyPair) -> Self {
        Self { key: spki(&keys.public()), signs: keys.clone() }
    }

    fn certified(self) -> Arc<CertifiedKey> {
        let key = CertificateDer::from(self.key.clone());
        Arc::new(CertifiedKey::new(vec![key], Arc::new(self)))
    }
}

impl SigningKey for Shown {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Shown {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.signs.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Takes whatever the other side shows.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
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
        panic!("T-4 says TLS 1.3")
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
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anything {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("T-4 says TLS 1.3")
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
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// How a TLS client is configured that shows this, or nothing.
pub(crate) fn client_config(shown: Option<Shown>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    Arc::new(match shown {
        Some(shown) => {
            let resolver: Arc<dyn ResolvesClientCert> =
                Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown.certified()));
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    })
}

pub(crate) fn nameless() -> ServerName<'static> {
    ServerName::from(IpAddr::from([0, 0, 0, 0]))
}

/// The first bytes that a client sends.
pub(crate) fn client_hello() -> Vec<u8> {
    let shown = Shown::honest(&KeyPair::from_secret([1; 32]));
    let mut session = ClientConnection::new(client_config(Some(shown)), nameless()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// The handshake of TLS alone.
pub(crate) async fn dial(
    stream: TcpStream,
    shown: Option<Shown>,
) -> io::Result<client::TlsStream<TcpStream>> {
    TlsConnector::from(client_config(shown)).connect(nameless(), stream).await
}

/// How a TLS server is configured that shows this, and would resume sessions.
pub(crate) fn server_config(shown: Shown) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anything))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown.certified())));
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    Arc::new(config)
}

/// The handshake of TLS alone, on the side that was dialled.
pub(crate) async fn accept(stream: TcpStream, shown: Shown) -> io::Result<server::TlsStream<TcpStream>> {
    TlsAcceptor::from(server_config(shown)).accept(stream).await
}

/// Which side proves (T-8).
pub(crate) const DIALLER: u8 = 0;
pub(crate) const ACCEPTOR: u8 = 1;

/// A proof (T-8).
pub(crate) fn proof(secret: Option<&Secret>, protocol: &ProtocolId, role: u8, export: [u8; 32]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.map(Secret::as_bytes).unwrap_or_default());
    let message = [b"peernet proof", &[role][..], protocol.as_str().as_bytes(), &export].concat();
    hmac::sign(&key, &message).as_ref().to_vec()
}

/// What a session gives for its proofs.
pub(crate) fn export<Data>(session: &rustls::ConnectionCommon<Data>) -> [u8; 32] {
    session.export_keying_material([0; 32], b"EXPORTER-peernet-proof", None).unwrap()
}

/// Proves on both sides, as the side that dialled.
pub(crate) async fn prove(
    stream: &mut client::TlsStream<TcpStream>,
    secret: Option<&Secret>,
    protocol: &ProtocolId,
) -> io::Result<()> {
    let export = export(stream.get_ref().1);
    stream.write_all(&proof(secret, protocol, DIALLER, export)).await?;
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs).await?;
    assert_eq!(theirs[..], proof(secret, protocol, ACCEPTOR, export)[..], "T-8");
    Ok(())
}
