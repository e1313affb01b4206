//! SSL and the TLS below wss, as strangers meet them.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use peernet::identity::KeyPair;
use peernet::protocol::Dialect;
use peernet::{Config, Encryption, Mesh};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};
use support::{PATIENCE, eventually, frame, fresh_id, handshake, soon};
use tokio::net::TcpListener;

/// Takes any certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn client(version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth()
}

/// A TLS connection to a node, its handshake done.
fn connect(
    address: &str,
    config: ClientConfig,
) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
    let session =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_tls_are_spoken_and_nothing_is_kept_of_it() {
    let node = Mesh::builder().encryption(Encryption::Ssl).open().await.unwrap();
    for version in [&TLS12, &TLS13] {
        let id = fresh_id(node.protocol());
        let hello = frame(handshake(Dialect::Py2p, &id, node.protocol(), &[]).body());
        let address = node.address().to_string();
        let stream = soon(
            "a stranger joins",
            tokio::task::spawn_blocking(move || {
                let mut stream = connect(&address, client(version)).unwrap();
                stream.write_all(&hello).unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                stream
            }),
        )
        .await
        .unwrap();
        eventually("the node knows it", || node.peers().iter().any(|peer| peer.id == id).then_some(())).await;
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
        assert_eq!(stream.conn.tls13_tickets_received(), 0);
        // Without a close_notify.
        drop(stream);
        eventually("the node forgets it", || node.peers().is_empty().then_some(())).await;
    }
}

/// Passes bytes on between two connections; returns the sizes of the TLS records that went to `to`.
fn pass_on(mut from: TcpStream, mut to: TcpStream) -> std::thread::JoinHandle<Vec<usize>> {
    std::thread::spawn(move || {
        let mut sizes = Vec::new();
        let mut record = [0; 5];
        while from.read_exact(&mut record).is_ok() {
            let size = usize::from(u16::from_be_bytes([record[3], record[4]]));
            let mut content = vec![0; size];
            // Handshakes are none of the records that are meant.
            if from.read_exact(&mut content).is_err()
                || to.write_all(&[&record[..], &content].concat()).is_err()
            {
                break;
            }
            if record[0] == 23 {
                sizes.push(size);
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
        sizes
    })
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_small_enough_for_py2p() {
    /// What TLS 1.3 adds: the kind of the content, and a tag.
    const SEAL: usize = 17;
    let config = Config { max_outgoing: 0, compression: Vec::new(), ..Config::lan() };
    let open = || Mesh::builder().encryption(Encryption::Ssl).config(config.clone()).open();
    let (a, b) = (open().await.unwrap(), open().await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap().to_string();
    let target = a.address().to_string();
    let relays = tokio::spawn(async move {
        let (dialled, _) = listener.accept().await.unwrap();
        let dialled = dialled.into_std().unwrap();
        dialled.set_nonblocking(false).unwrap();
        let onwards = TcpStream::connect(target).unwrap();
        let back = pass_on(onwards.try_clone().unwrap(), dialled.try_clone().unwrap());
        [pass_on(dialled, onwards), back]
    });
    soon("b joins a", b.connect(&between)).await.unwrap();
    for (from, to) in [(&a, &b), (&b, &a)] {
        for size in [10_000, 1, 100_000] {
            soon("room", from.broadcast(&(vec![size as u8; size],))).await.unwrap();
        }
        for _ in 0..3 {
            soon("it arrives", to.recv()).await.unwrap();
        }
    }
    let relays = relays.await.unwrap();
    a.close().await;
    b.close().await;
    for relay in relays {
        let sizes = relay.join().unwrap();
        // The first is of TLS itself.
        let largest = sizes[1..].iter().max().unwrap();
        assert!(sizes.len() > 100 && *largest == 1024 + SEAL, "records of up to {largest} bytes");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_given_is_shown() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = pem("CERTIFICATE", made.cert.der());
    let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let known = Mesh::builder().encryption(Encryption::Wss).certificate(chain.clone(), key.clone()).open();
    let known = known.await.unwrap();
    let unknown = Mesh::builder().encryption(Encryption::Wss).open().await.unwrap();
    for (node, trusted) in [(&known, true), (&unknown, false)] {
        let (address, config) = (node.address().to_string(), trusting.clone());
        let met = tokio::task::spawn_blocking(move || connect(&address, config).map(drop));
        assert_eq!(soon("TLS", met).await.unwrap().is_ok(), trusted);
    }
    // Nodes do not look at it.
    assert_eq!(
        soon("a node joins", unknown.connect(&known.address().to_string())).await.unwrap(),
        *known.id()
    );

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other_key = pem("PRIVATE KEY", &other.signing_key.serialize_der());
    for (chain, key, word) in [
        (chain.clone(), other_key, "belong"),
        (String::new(), key.clone(), "chain"),
        (key.clone(), key.clone(), "chain"),
        (chain.clone(), chain.clone(), "key"),
    ] {
        let opened = Mesh::builder().encryption(Encryption::Wss).certificate(chain, key).open().await;
        let error = opened.err().unwrap();
        assert!(error.code() == "config" && error.to_string().contains(word), "{error}");
    }
}

///
#[tokio::test]
async fn what_only_tls_can_keep_is_refused_elsewhere() {
    let keys = || KeyPair::generate(&mut rand::rng());
    for encryption in [Encryption::Ssl, Encryption::Ws, Encryption::Wss] {
        let error = Mesh::builder().encryption(encryption).identity(keys()).open().await.err().unwrap();
        assert!(error.code() == "config" && error.to_string().contains("tls"), "{error}");
        let secret = peernet::identity::Secret::generate(&mut rand::rng());
        let error = Mesh::builder().encryption(encryption).secret(secret).open().await.err().unwrap();
        assert!(error.code() == "config" && error.to_string().contains("tls"), "{error}");
    }
    for encryption in [Encryption::Plaintext, Encryption::Ssl, Encryption::Tls] {
        let error =
            Mesh::builder().encryption(encryption).origins(peernet::Origins::Any).open().await.err().unwrap();
        assert!(error.to_string().contains("wss"), "{error}");
        let error = Mesh::builder().encryption(encryption).certificate("", "").open().await.err().unwrap();
        assert!(error.to_string().contains("wss"), "{error}");
    }
}
