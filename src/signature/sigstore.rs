// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `sigstoreSigned`: which keys a policy trusts for which names, and whether a signature is by one of them.
//!
//! Tested by `src/signature/tests/verify/policies.rs`, `src/signature/tests/verify/keys.rs`.

use anyhow::{Context, Result, bail, ensure};
use contract::files::Files;
use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;
use serde_json::Value;

use crate::fulcio::{self, Fulcio};
use crate::identity::Identity;
use crate::json::Fields;
use crate::keys::Key;
use crate::material::Material;
use crate::payload::{MAX_PAYLOAD, Payload};
use crate::pem;
use crate::pki::{self, Pki};
use crate::rekor;
use crate::{MAX_REASON, Met, shorten};

/// Longest signature, in characters: one by the longest RSA key that libcrypto takes, of 16,384 bits, has 2,732.
const MAX_TEXT: usize = 4096;
/// How the keys of a kind may be given: a path, paths, base64, a list of base64.
const KEY: [&str; 4] = ["keyPath", "keyPaths", "keyData", "keyDatas"];
const REKOR: [&str; 4] = ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];

/// A requirement `sigstoreSigned`.
#[derive(Clone, Debug)]
pub struct Sigstore {
    name: String,
    identity: Identity,
    /// What is trusted, or why it cannot be: a key file may be missing for a scope that is never asked for.
    trust: Result<Trust, String>,
}

/// By whom a signature has to be.
#[derive(Clone, Debug)]
enum Trust {
    /// Any of these keys, and logged by one of those, if there are any.
    Keys { keys: Vec<Key>, logs: Vec<Key> },
    /// Somebody with a certificate of Fulcio, and logged by one of these.
    Fulcio { fulcio: Fulcio, logs: Vec<Key> },
    /// Somebody with a certificate of a CA.
    Pki(Pki),
}

impl Trust {
    fn keys(keys: Vec<Material>, logs: Vec<Material>) -> Result<Self> {
        Ok(Self::Keys { keys: parse_keys(keys)?, logs: parse_log_keys(logs)? })
    }

    fn fulcio(fulcio: fulcio::Source, logs: Vec<Material>) -> Result<Self> {
        Ok(Self::Fulcio { fulcio: fulcio.read()?, logs: parse_log_keys(logs)? })
    }

    /// Verifies a signature, whose bytes are `raw`, and returns the fingerprint of the policy's key, if it is by one.
    fn verify(&self, signature: &AttachedSignature, raw: &[u8]) -> Result<Option<String>> {
        let leaf = match self {
            Self::Keys { keys, logs } => {
                let key = signer(keys, &signature.payload, raw)?;
                if !logs.is_empty() {
                    rekor::verify(logs, signature.bundle.as_deref(), key.spki(), raw, &signature.payload)?;
                }
                return Ok(Some(key.fingerprint()));
            }
            Self::Fulcio { fulcio, logs } => fulcio.verify(logs, signature, raw)?,
            Self::Pki(pki) => pki.verify(signature)?,
        };
        ensure!(leaf.key()?.verifies(&signature.payload, raw), "it was not made with the key of its certificate");
        Ok(None)
    }
}

impl Sigstore {
    /// Parses a requirement, and reads the files that it names.
    pub(crate) fn parse(value: &Value, files: &dyn Files) -> Result<Self> {
        let more = ["type", "fulcio", "pki", "signedIdentity"];
        let fields = Fields::of(value, "sigstoreSigned", &[&more[..], &KEY, &REKOR].concat())?;
        let keys = Material::list(&fields, KEY, files)?;
        let fulcio = fields.get("fulcio").map(|value| fulcio::Source::parse(value, files)).transpose()?;
        let pki = fields.get("pki").map(|value| pki::Source::parse(value, files)).transpose()?;
        let logs = Material::list(&fields, REKOR, files)?;
        let identity = Identity::parse(fields.get("signedIdentity"))?;
        let (source, logged) = (keys.as_deref().map(places), logs.as_deref().map(places));
        let (source, trust) = match (keys, fulcio, pki) {
            (Some(keys), None, None) => (source.unwrap_or_default(), Trust::keys(keys, logs.unwrap_or_default())),
            (None, Some(fulcio), None) => {
                let logs =
                    logs.with_context(|| format!("sigstoreSigned has fulcio, but none of {}", REKOR.join(", ")))?;
                (fulcio.name(), Trust::fulcio(fulcio, logs))
            }
            (None, None, Some(pki)) => {
                ensure!(logs.is_none(), "sigstoreSigned has pki, and with it one of {}", REKOR.join(", "));
                (pki.name(), pki.read().map(Trust::Pki))
            }
            _ => bail!("sigstoreSigned has not exactly one of {}, fulcio and pki", KEY.join(", ")),
        };
        let logged = logged.map(|logged| format!(" and {logged}")).unwrap_or_default();
        let name = shorten(&format!("sigstoreSigned by {source}{logged}"), MAX_REASON);
        Ok(Self { name, identity, trust: trust.map_err(|error| format!("{error:#}")) })
    }

    /// Returns what it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns which signed names it accepts.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the fingerprints of the keys of which one has to have signed: none if a certificate has the key.
    pub fn fingerprints(&self) -> Vec<String> {
        match &self.trust {
            Ok(Trust::Keys { keys, .. }) => keys.iter().map(Key::fingerprint).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns why no signature can meet it.
    pub(crate) fn unusable(&self) -> Option<&str> {
        self.trust.as_ref().err().map(String::as_str)
    }

    /// Checks whether a signature meets it.
    pub(crate) fn check(
        &self,
        image: &ImageReference,
        digests: &[Digest],
        signature: &AttachedSignature,
    ) -> Result<Met> {
        let payload = &signature.payload;
        ensure!(payload.len() <= MAX_PAYLOAD, "payload has {} bytes, more than {MAX_PAYLOAD}", payload.len());
        let bytes = decode(&signature.signature)?;
        let key = match &self.trust {
            Ok(trust) => trust.verify(signature, &bytes)?,
            Err(why) => bail!(why.clone()),
        };
        // Nothing of the payload is looked at before this line.
        let payload = Payload::parse(payload)?;
        ensure!(digests.contains(&payload.digest), "it signs {}", payload.digest);
        self.identity.check(image, &payload.reference)?;
        Ok(Met {
            requirement: self.name.clone(),
            key,
            identity: payload.reference,
            digest: payload.digest,
            endpoint: signature.endpoint.clone(),
        })
    }
}

/// Returns the key by which `signature` is.
fn signer<'k>(keys: &'k [Key], payload: &[u8], signature: &[u8]) -> Result<&'k Key> {
    let signer = keys.iter().find(|key| key.verifies(payload, signature));
    signer.with_context(|| {
        let keys: Vec<_> = keys.iter().map(Key::fingerprint).collect();
        format!("it was not made with key {}", keys.join(" or "))
    })
}

/// Decodes the annotation that has the signature in it. Signers that use the program `base64` make lines of it.
fn decode(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len() <= MAX_TEXT, "signature has {} characters, more than {MAX_TEXT}", text.len());
    pem::decode_lines(text).context("decoding signature")
}

/// Returns how a policy gives its keys.
fn places(keys: &[Material]) -> String {
    keys.iter().map(|one| one.place.as_str()).collect::<Vec<_>>().join(", ")
}

/// Parses keys. One that cannot be read makes all of them unusable: otherwise it would only be noticed when it is needed.
fn parse_keys(keys: Vec<Material>) -> Result<Vec<Key>> {
    keys.into_iter().map(|one| one.read(Key::parse)).collect()
}

/// Parses the keys of logs. Logs sign with ECDSA.
fn parse_log_keys(keys: Vec<Material>) -> Result<Vec<Key>> {
    let parse = |text: &[u8]| {
        let key = Key::parse(text)?;
        ensure!(key.is_ecdsa(), "it is not an ECDSA key");
        Ok(key)
    };
    keys.into_iter().map(|one| one.read(parse)).collect()
}
