// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `sigstoreSigned`: which keys a policy trusts for which names, and whether a signature is by one of them.

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

#[cfg(test)]
mod tests {
    use contract::base64;
    use contract::files::RootFiles;

    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECr5OL03lCedpoO0UHpAmwU46MThn\n\
        w0zqjZh2MXGTRaiL5zU0UsMzSnfQwlomJjQjmdxIkaA5CW1xi74B1JMk1w==\n-----END PUBLIC KEY-----\n";

    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAxH765vwR6e5IEiwKLvyBfXQUVymdruyhzSC7nRO0LfQ=\n-----END PUBLIC KEY-----\n";

    const FULCIO: &str =
        r#"{"caPath": "/ca", "oidcIssuer": "https://login.example", "subjectEmail": "os@example.com"}"#;
    const PKI: &str =
        r#"{"caRootsPath": "/ca", "subjectEmail": "os@example.com", "subjectHostname": "os.example.com"}"#;

    /// Parses a requirement with these fields: whether it can be met, or why the policy is rejected.
    fn parse(fields: &str) -> Result<Result<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k"), KEY).unwrap();
        std::fs::write(dir.path().join("ed25519"), ED25519).unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        let data = base64::encode(KEY.as_bytes());
        let lines = format!("{}\\n{}", &data[..76], &data[76..]);
        let fields =
            fields.replace("DATA", &data).replace("LINES", &lines).replace("FULCIO", FULCIO).replace("PKI", PKI);
        let value = serde_json::from_str(&format!(r#"{{"type": "sigstoreSigned", {fields}}}"#)).unwrap();
        let sigstore = Sigstore::parse(&value, &RootFiles::new(dir.path()))?;
        Ok(sigstore.unusable().map_or(Ok(sigstore.name().to_owned()), |why| Err(why.to_owned())))
    }

    #[test]
    fn keys_are_given_in_four_ways() {
        for (fields, expected) in [
            (r#""keyPath": "/k""#, Ok("sigstoreSigned by keyPath /k")),
            (r#""keyPaths": ["/k", "/k"]"#, Ok("sigstoreSigned by keyPaths /k, keyPaths /k")),
            (r#""keyData": "DATA""#, Ok("sigstoreSigned by keyData")),
            (r#""keyData": "LINES""#, Ok("sigstoreSigned by keyData")),
            (r#""keyDatas": ["DATA", "DATA"]"#, Ok("sigstoreSigned by keyDatas, keyDatas")),
            (
                r#""keyPath": "/k", "rekorPublicKeyPaths": ["/k"]"#,
                Ok("sigstoreSigned by keyPath /k and rekorPublicKeyPaths /k"),
            ),
            (
                r#""keyPath": "/k", "rekorPublicKeyPath": "/ed25519""#,
                Err("reading rekorPublicKeyPath /ed25519: it is not an ECDSA key"),
            ),
            (r#""fulcio": FULCIO, "rekorPublicKeyPath": "/k""#, Err("reading caPath /ca: /ca does not exist")),
            (r#""pki": PKI"#, Err("reading caRootsPath /ca: /ca does not exist")),
            (r#""keyPath": "/gone""#, Err("reading keyPath /gone: /gone does not exist")),
            (r#""keyPath": "/empty""#, Err("reading keyPath /empty: reading PEM: it has no block")),
            (r#""keyPaths": ["/k", "k"]"#, Err("reading keyPaths k: path \"k\" is not absolute")),
            (r#""keyData": """#, Err("reading keyData: reading PEM: it has no block")),
        ] {
            assert_eq!(parse(fields).unwrap(), expected.map(str::to_owned).map_err(str::to_owned), "{fields}");
        }
    }

    #[test]
    fn other_fields_reject_the_policy() {
        let one = "sigstoreSigned has not exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki";
        let more = "sigstoreSigned has more than one of keyPath, keyPaths, keyData, keyDatas";
        for (fields, expected) in [
            (r#""signedIdentity": {"type": "matchExact"}"#, one),
            (r#""keyPath": "/k", "pki": PKI"#, one),
            (r#""fulcio": FULCIO, "pki": PKI, "rekorPublicKeyPath": "/k""#, one),
            (
                r#""fulcio": FULCIO"#,
                "sigstoreSigned has fulcio, but none of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData, \
                 rekorPublicKeyDatas",
            ),
            (
                r#""pki": PKI, "rekorPublicKeyPath": "/k""#,
                "sigstoreSigned has pki, and with it one of rekorPublicKeyPath, rekorPublicKeyPaths, \
                 rekorPublicKeyData, rekorPublicKeyDatas",
            ),
            (r#""fulcio": null"#, "fulcio is not an object"),
            (r#""fulcio": {"oidcIssuer": "i"}"#, "fulcio has no subjectEmail"),
            (r#""fulcio": {"oidcIssuer": "", "subjectEmail": "e"}"#, "oidcIssuer of fulcio is empty"),
            (r#""fulcio": {"oidcIssuer": "i", "subjectEmail": "e"}"#, "fulcio has neither caPath nor caData"),
            (
                r#""fulcio": {"oidcIssuer": "i", "subjectEmail": "e", "caPath": "/k", "caData": "DATA"}"#,
                "fulcio has more than one of caPath, caData",
            ),
            (r#""fulcio": {"subjectURI": "u"}"#, "fulcio has the unknown key \"subjectURI\""),
            (r#""pki": []"#, "pki is not an object"),
            (r#""pki": {"caRootsPath": "/k", "subjectEmail": ""}"#, "pki has neither subjectEmail nor subjectHostname"),
            (r#""pki": {"subjectEmail": "e"}"#, "pki has neither caRootsPath nor caRootsData"),
            (
                r#""pki": {"subjectEmail": "e", "caRootsPath": "/k", "caIntermediatesPath": "", "caIntermediatesData": ""}"#,
                "pki has more than one of caIntermediatesPath, caIntermediatesData",
            ),
            (r#""pki": {"caRootsPath": "/k", "subjectEmail": "e", "x": 1}"#, "pki has the unknown key \"x\""),
            (r#""keyPath": "/k", "keyData": "DATA""#, more),
            (r#""keyPaths": ["/k"], "keyDatas": ["DATA"]"#, more),
            (r#""keyPath": """#, "keyPath of sigstoreSigned is empty"),
            (r#""keyPath": null"#, "keyPath of sigstoreSigned is not a string"),
            (r#""keyPath": ["/k"]"#, "keyPath of sigstoreSigned is not a string"),
            (r#""keyPaths": []"#, "keyPaths of sigstoreSigned is empty"),
            (r#""keyPaths": "/k""#, "keyPaths of sigstoreSigned is not a list of strings"),
            (r#""keyData": "x""#, "decoding keyData: base64 of 1 characters is no multiple of 4"),
            (r#""keyDatas": ["DATA", null]"#, "keyDatas of sigstoreSigned is not a list of strings"),
            (r#""keyPath": "/k", "keypath": "/k""#, "sigstoreSigned has the unknown key \"keypath\""),
            (r#""keyPath": "/k", "signedIdentity": null"#, "signedIdentity has no type"),
            (
                r#""keyPath": "/k", "rekorPublicKeyPath": "/k", "rekorPublicKeyData": "DATA""#,
                "sigstoreSigned has more than one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData, \
                 rekorPublicKeyDatas",
            ),
        ] {
            assert_eq!(format!("{:#}", parse(fields).unwrap_err()), expected, "{fields}");
        }
    }
}
