// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `sigstoreSigned`: which keys a policy trusts for which names, and whether a signature is by one of them.

use anyhow::{Context, Result, anyhow, bail, ensure};
use contract::base64;
use contract::files::Files;
use contract::names::{Digest, ImageReference};
use image::oci::AttachedSignature;
use serde_json::Value;

use crate::Met;
use crate::identity::Identity;
use crate::json::Fields;
use crate::keys::{Key, MAX_SIGNATURE};
use crate::payload::{MAX_PAYLOAD, Payload};
use crate::rekor;

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
    /// Any of these keys, and a log with any of those, if there are any.
    Keys { keys: Vec<Key>, rekor: Vec<Key> },
}

/// Bytes that a policy has in it or points to, and how it does.
struct Material {
    place: String,
    bytes: Result<Vec<u8>>,
}

impl Sigstore {
    /// Parses a requirement, and reads the files that it names.
    pub(crate) fn parse(value: &Value, files: &dyn Files) -> Result<Self> {
        let more = ["type", "fulcio", "pki", "signedIdentity"];
        let fields = Fields::of(value, "sigstoreSigned", &[&more[..], &KEY, &REKOR].concat())?;
        let keys = material(&fields, KEY, files)?;
        let rekor = material(&fields, REKOR, files)?;
        let identity = Identity::parse(fields.get("signedIdentity"))?;
        let place = |one: &Material| one.place.clone();
        let mut source: Vec<_> = keys.iter().flatten().map(place).collect();
        let log: Vec<_> = rekor.iter().flatten().map(place).collect();
        let trust = match (keys, fields.get("fulcio"), fields.get("pki")) {
            (Some(keys), None, None) => {
                let both = parse_keys(keys).and_then(|keys| Ok((keys, parse_log_keys(rekor.unwrap_or_default())?)));
                both.map(|(keys, rekor)| Trust::Keys { keys, rekor })
            }
            (None, Some(_), None) => {
                source.push("fulcio".to_owned());
                Err(anyhow!("fulcio is not supported"))
            }
            (None, None, Some(_)) => {
                source.push("pki".to_owned());
                Err(anyhow!("pki is not supported"))
            }
            _ => bail!("sigstoreSigned has not exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki"),
        };
        let log = if log.is_empty() { String::new() } else { format!(" and {}", log.join(", ")) };
        let name = format!("sigstoreSigned by {}{log}", source.join(", "));
        Ok(Self { name, identity, trust: trust.map_err(|error| format!("{error:#}")) })
    }

    /// Returns what it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
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
            Ok(Trust::Keys { keys, rekor }) => {
                let key = signer(keys, payload, &bytes)?;
                if !rekor.is_empty() {
                    rekor::verify(rekor, signature.bundle.as_deref(), key.spki(), &bytes, payload)?;
                }
                Some(key.fingerprint())
            }
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

/// Decodes the annotation that has the signature in it.
fn decode(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len() <= MAX_SIGNATURE / 3 * 4 + 4, "signature has {} characters", text.len());
    base64::decode(text).context("decoding signature")
}

/// Parses keys. One that cannot be read makes all of them unusable: otherwise it would only be noticed when it is needed.
fn parse_keys(keys: Vec<Material>) -> Result<Vec<Key>> {
    let parse = |one: Material| {
        one.bytes.and_then(|bytes| Key::parse(&bytes)).with_context(|| format!("reading {}", one.place))
    };
    keys.into_iter().map(parse).collect()
}

/// Parses the keys of logs. Logs sign with ECDSA.
fn parse_log_keys(keys: Vec<Material>) -> Result<Vec<Key>> {
    let places: Vec<_> = keys.iter().map(|one| one.place.clone()).collect();
    let keys = parse_keys(keys)?;
    match keys.iter().zip(places).find(|(key, _)| !key.is_ecdsa()) {
        Some((_, place)) => bail!("reading {place}: it is not an ECDSA key"),
        None => Ok(keys),
    }
}

/// Returns the bytes that a policy gives in one of four ways. A policy that has two of them is an error, but a file that
/// cannot be read is none of the policy.
fn material(fields: &Fields<'_>, names: [&str; 4], files: &dyn Files) -> Result<Option<Vec<Material>>> {
    let [path, paths, data, datas] = names;
    ensure!(
        names.iter().filter(|name| fields.get(name).is_some()).count() <= 1,
        "sigstoreSigned has more than one of {}",
        names.join(", ")
    );
    let read = |name: &str, path: &str| Material { place: format!("{name} {path}"), bytes: read(files, path) };
    let decode = |name: &str, text: &str| -> Result<Material> {
        // As Go's decoder, which ignores line ends.
        let bytes = base64::decode(&text.replace(['\r', '\n'], "")).with_context(|| format!("decoding {name}"))?;
        Ok(Material { place: name.to_owned(), bytes: Ok(bytes) })
    };
    if let Some(file) = fields.text(path)? {
        return Ok(Some(vec![read(path, file)]));
    }
    if let Some(list) = fields.texts(paths)? {
        return Ok(Some(list.into_iter().map(|file| read(paths, file)).collect()));
    }
    if let Some(text) = fields.text(data)? {
        return Ok(Some(vec![decode(data, text)?]));
    }
    let list = fields.texts(datas)?;
    list.map(|list| list.into_iter().map(|text| decode(datas, text)).collect()).transpose()
}

fn read(files: &dyn Files, path: &str) -> Result<Vec<u8>> {
    files.read(path)?.with_context(|| format!("{path} does not exist"))
}

#[cfg(test)]
mod tests {
    use contract::files::RootFiles;

    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECr5OL03lCedpoO0UHpAmwU46MThn\n\
        w0zqjZh2MXGTRaiL5zU0UsMzSnfQwlomJjQjmdxIkaA5CW1xi74B1JMk1w==\n-----END PUBLIC KEY-----\n";

    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAxH765vwR6e5IEiwKLvyBfXQUVymdruyhzSC7nRO0LfQ=\n-----END PUBLIC KEY-----\n";

    /// Parses a requirement with these fields: whether it can be met, or why the policy is rejected.
    fn parse(fields: &str) -> Result<Result<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("k"), KEY).unwrap();
        std::fs::write(dir.path().join("ed25519"), ED25519).unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        let data = base64::encode(KEY.as_bytes());
        let lines = format!("{}\\n{}", &data[..76], &data[76..]);
        let fields = fields.replace("DATA", &data).replace("LINES", &lines);
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
            (r#""keyPath": "/gone""#, Err("reading keyPath /gone: /gone does not exist")),
            (r#""keyPath": """#, Err("reading keyPath : path \"\" is not absolute")),
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
            (r#""keyPath": "/k", "pki": {}"#, one),
            (r#""fulcio": {}, "pki": {}"#, one),
            (r#""keyPath": "/k", "keyData": "DATA""#, more),
            (r#""keyPaths": ["/k"], "keyDatas": ["DATA"]"#, more),
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
                "sigstoreSigned has more than one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData, rekorPublicKeyDatas",
            ),
        ] {
            assert_eq!(format!("{:#}", parse(fields).unwrap_err()), expected, "{fields}");
        }
    }
}
