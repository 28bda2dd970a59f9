// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Public keys, and whether they verify a signature.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;

use crate::der;
use crate::pem;

/// Shortest RSA key, in bits: below it neither FIPS 186-5 nor the default crypto policy of RHEL takes a signature.
const MIN_RSA_BITS: u32 = 2048;
/// A public key of a kind that signs images.
#[derive(Clone)]
pub(crate) struct Key {
    key: PKey<Public>,
    /// Its SubjectPublicKeyInfo, DER.
    spki: Vec<u8>,
}

impl Key {
    /// Parses the PEM of a key. Text around it, and further keys, are ignored, as containers tools do.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let blocks = pem::blocks(text, MAX_KEYS)?;
        let block = blocks.first().context("reading PEM: it has no block")?;
        der::ensure_whole(&block.der)?;
        let key = match block.label {
            "PUBLIC KEY" => PKey::public_key_from_der(&block.der),
            "RSA PUBLIC KEY" => Rsa::public_key_from_der_pkcs1(&block.der).and_then(PKey::from_rsa),
            other => bail!("a {other} is not a public key"),
        };
        Self::of(key.context("parsing public key")?)
    }

    /// Takes a key, of a certificate perhaps, if signatures by it are strong.
    pub(crate) fn of(key: PKey<Public>) -> Result<Self> {
        match key.id() {
            Id::RSA => {
                let bits = key.bits();
                ensure!(bits >= MIN_RSA_BITS, "an RSA key of {bits} bits is too short: {MIN_RSA_BITS} are the least");
            }
            Id::EC => {
                let curve = key.ec_key()?.group().curve_name();
                let is_nist =
                    matches!(curve, Some(Nid::SECP224R1 | Nid::X9_62_PRIME256V1 | Nid::SECP384R1 | Nid::SECP521R1));
                ensure!(
                    is_nist,
                    "a key on an elliptic curve other than P-224, P-256, P-384 and P-521 is not supported"
                );
            }
            Id::ED25519 => {}
            _ => bail!("a key that is neither RSA nor ECDSA nor Ed25519 is not supported"),
        }
        let spki = key.public_key_to_der().context("encoding public key")?;
        Ok(Self { key, spki })
    }

    /// Returns its SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the sha256 of its SubjectPublicKeyInfo, in hex: what `openssl pkey -pubin -outform DER | sha256sum` prints.
    pub(crate) fn fingerprint(&self) -> String {
        Digest::of(&self.spki).hex()
    }

    /// Returns whether it is an ECDSA key.
    pub(crate) fn is_ecdsa(&self) -> bool {
        self.key.id() == Id::EC
    }

    /// Returns whether `signature` is one of `bytes`: RSA PKCS #1 v1.5 or ECDSA with sha256, or Ed25519.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let verified = match self.key.id() {
            Id::ED25519 => Verifier::new_without_digest(&self.key),
            _ => Verifier::new(MessageDigest::sha256(), &self.key),
        }
        .and_then(|mut verifier| verifier.verify_oneshot(signature, bytes));
        // A signature that is not even one of this kind is an error for libcrypto. The system's policy may also forbid the
        // algorithm: the log says which it was.
        verified.unwrap_or_else(|error| {
            log::debug!("verifying a signature with key {}: {error}", self.fingerprint());
            false
        })
    }
}

/// Most blocks in the file of a key, of which the first counts.
const MAX_KEYS: usize = 16;

/// By its fingerprint.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::Private;
    use openssl::sign::Signer;

    use super::*;

    fn rsa(bits: u32) -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
    }

    fn ec(curve: Nid) -> PKey<Private> {
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
    }

    fn public(key: &PKey<Private>) -> Result<Key> {
        Key::parse(&key.public_key_to_pem().unwrap())
    }

    fn sign(key: &PKey<Private>, bytes: &[u8], digest: MessageDigest) -> Vec<u8> {
        let signer = if key.id() == Id::ED25519 { Signer::new_without_digest(key) } else { Signer::new(digest, key) };
        signer.unwrap().sign_oneshot_to_vec(bytes).unwrap()
    }

    #[test]
    fn each_algorithm_verifies_its_signatures() {
        for (label, key) in [
            ("RSA-2048", rsa(2048)),
            ("RSA-4096", rsa(4096)),
            ("P-224", ec(Nid::SECP224R1)),
            ("P-256", ec(Nid::X9_62_PRIME256V1)),
            ("P-384", ec(Nid::SECP384R1)),
            ("P-521", ec(Nid::SECP521R1)),
            ("Ed25519", PKey::generate_ed25519().unwrap()),
        ] {
            let public = public(&key).unwrap();
            let signature = sign(&key, b"payload", MessageDigest::sha256());
            assert!(public.verifies(b"payload", &signature), "{label}");
            assert!(!public.verifies(b"payloaD", &signature), "{label}: other bytes");
            assert!(!public.verifies(b"payload", &signature[1..]), "{label}: cut signature");
            assert!(!public.verifies(b"payload", &[&signature[..], b"\0"].concat()), "{label}: longer signature");
            assert!(!public.verifies(b"payload", b""), "{label}: no signature");
            let (mut first, mut last) = (signature.clone(), signature.clone());
            first[0] ^= 1;
            *last.last_mut().unwrap() ^= 1;
            assert!(!public.verifies(b"payload", &first) && !public.verifies(b"payload", &last), "{label}: changed");
            if key.id() != Id::ED25519 {
                let other = sign(&key, b"payload", MessageDigest::sha512());
                assert!(!public.verifies(b"payload", &other), "{label}: sha512");
            }
        }
    }

    #[test]
    fn rsa_pss_is_another_algorithm() {
        let key = rsa(2048);
        let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
        signer.set_rsa_padding(openssl::rsa::Padding::PKCS1_PSS).unwrap();
        assert!(!public(&key).unwrap().verifies(b"payload", &signer.sign_oneshot_to_vec(b"payload").unwrap()));
    }

    #[test]
    fn both_forms_of_an_rsa_key_are_the_same_key() {
        let key = Rsa::generate(2048).unwrap();
        let short = Key::parse(&key.public_key_to_pem_pkcs1().unwrap()).unwrap();
        let long = Key::parse(&[b"# a key\n", &key.public_key_to_pem().unwrap()[..]].concat()).unwrap();
        assert_eq!(short.fingerprint(), long.fingerprint());
        assert_eq!(long.fingerprint(), Digest::of(&key.public_key_to_der().unwrap()).hex());
        assert!(!long.is_ecdsa() && public(&ec(Nid::SECP384R1)).unwrap().is_ecdsa());
    }

    #[test]
    fn other_keys_are_refused() {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", contract::base64::encode(der)).into_bytes()
        };
        let der = ec(Nid::X9_62_PRIME256V1).public_key_to_der().unwrap();
        let unsupported = "a key that is neither RSA nor ECDSA nor Ed25519 is not supported";
        let curve = "a key on an elliptic curve other than P-224, P-256, P-384 and P-521 is not supported";
        for (label, text, expected) in [
            (
                "RSA-1024",
                rsa(1024).public_key_to_pem().unwrap(),
                "an RSA key of 1024 bits is too short: 2048 are the least",
            ),
            ("secp256k1", ec(Nid::SECP256K1).public_key_to_pem().unwrap(), curve),
            ("X25519", PKey::generate_x25519().unwrap().public_key_to_pem().unwrap(), unsupported),
            ("Ed448", PKey::generate_ed448().unwrap().public_key_to_pem().unwrap(), unsupported),
            (
                "private",
                PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap(),
                "a PRIVATE KEY is not a public key",
            ),
            ("DER", der.clone(), "reading PEM: it is not text"),
            ("empty", Vec::new(), "reading PEM: it has no block"),
            ("nothing in it", pem("PUBLIC KEY", b""), "reading DER: it is cut short"),
            ("not DER", pem("PUBLIC KEY", &[0x30, 1, 0]), "parsing public key"),
            ("trailing bytes", pem("PUBLIC KEY", &[&der[..], b"\0"].concat()), "reading DER: something follows"),
        ] {
            let error = format!("{:#}", Key::parse(&text).unwrap_err());
            assert!(error.starts_with(expected), "{label}: {error}");
        }
    }
}
