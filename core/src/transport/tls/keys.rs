//! Our keys as rustls wants them: raw public keys (RFC 7250), Ed25519 and nothing else. Any key will
//! do; what it is good for is decided by the id that is derived from it.

use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, alg_id};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey, public_key_to_spki};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureAlgorithm,
    SignatureScheme,
};

use crate::identity::{KeyPair, PUBLIC_KEY_LEN, PublicKey};

/// The key pair as what is presented to the other side.
fn certified(keys: &KeyPair) -> Arc<CertifiedKey> {
    let key = CertificateDer::from(spki(&keys.public()).to_vec());
    Arc::new(CertifiedKey::new(vec![key], Arc::new(Ours(keys.clone()))))
}

pub(super) fn as_server(keys: &KeyPair) -> Arc<AlwaysResolvesServerRawPublicKeys> {
    Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(keys)))
}

pub(super) fn as_client(keys: &KeyPair) -> Arc<AlwaysResolvesClientRawPublicKeys> {
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(keys)))
}

fn spki(key: &PublicKey) -> SubjectPublicKeyInfoDer<'static> {
    public_key_to_spki(&alg_id::ED25519, key.as_bytes())
}

/// The key that the other side presents.
pub(super) fn presented(certificate: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    // The one way to write an Ed25519 key, so that nothing but the key varies.
    let key = certificate.last_chunk::<PUBLIC_KEY_LEN>().map(|key| PublicKey::from_bytes(*key));
    key.filter(|key| spki(key).as_ref() == certificate.as_ref())
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

#[derive(Debug, Clone)]
struct Ours(KeyPair);

impl SigningKey for Ours {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(spki(&self.0.public()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Ours {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Takes any Ed25519 key whose owner signs for it.
#[derive(Debug)]
pub(super) struct AnyKey;

impl AnyKey {
    fn verify(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let signature = signed.signature().try_into().ok();
        let signature = signature.filter(|_| signed.scheme == SignatureScheme::ED25519);
        let key = presented(certificate)?;
        match signature.is_some_and(|signature| key.verify(message, signature)) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];
const ONLY_TLS13: Error = Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        presented(end_entity).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(ONLY_TLS13)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        presented(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(ONLY_TLS13)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
