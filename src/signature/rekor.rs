// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The promise of a log (Rekor) that it has an entry for a signature: the "signed entry timestamp" of a bundle. It is
//! verified offline, with the key of the log that the policy has.

use anyhow::{Context, Result, bail, ensure};
use contract::base64;
use contract::names::Digest;
use contract::shape::{self, Shape};
use serde_json::Value;

use crate::json::{self, Fields};
use crate::keys::Key;
use crate::pem;

/// Largest bundle, in bytes. With a certificate and its PEM in base64 twice it has 5,000.
pub const MAX_BUNDLE: usize = 64 << 10;
/// Largest number whose canonical form (RFC 8785) is that of an integer everywhere: 2^53 - 1.
const MAX_NUMBER: u64 = (1 << 53) - 1;

const HASH: Shape = Shape::Object(&[("algorithm", Shape::Text, true), ("value", Shape::Text, true)]);
const PUBLIC_KEY: Shape = Shape::Object(&[("content", Shape::Text, true)]);
const SIGNATURE: Shape = Shape::Object(&[("content", Shape::Text, true), ("publicKey", PUBLIC_KEY, true)]);
const DATA: Shape = Shape::Object(&[("hash", HASH, true)]);
const SPEC: Shape = Shape::Object(&[("data", DATA, true), ("signature", SIGNATURE, true)]);
const ENTRY: Shape =
    Shape::Object(&[("apiVersion", Shape::Text, true), ("kind", Shape::Text, true), ("spec", SPEC, true)]);

/// A bundle as it is found beside a signature, not verified.
#[derive(Debug)]
pub struct Bundle {
    /// The log's signature of `signed`.
    timestamp: Vec<u8>,
    /// The canonical JSON that is signed.
    signed: String,
    body: Vec<u8>,
    time: i64,
}

/// What an entry of the log says.
#[derive(Debug)]
pub struct Entry {
    /// The signature of an artifact.
    signature: Vec<u8>,
    /// The key or the certificate that the signature is by, DER.
    signer: Vec<u8>,
    /// The sha256 of the artifact.
    digest: Digest,
}

impl Bundle {
    /// Parses a bundle. Nobody has signed it as it is: the log has signed the canonical form of a part of it.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.len() <= MAX_BUNDLE, "bundle has {} bytes, more than {MAX_BUNDLE}", text.len());
        let value = json::parse(text.as_bytes(), "bundle")?;
        let fields = Fields::of(&value, "bundle", &["SignedEntryTimestamp", "Payload"])?;
        let timestamp =
            base64::decode(fields.need_text("SignedEntryTimestamp")?).context("decoding SignedEntryTimestamp")?;
        let payload = fields.need("Payload")?;
        let fields = Fields::of(payload, "Payload", &["body", "integratedTime", "logIndex", "logID"])?;
        let body = base64::decode(fields.need_text("body")?).context("decoding body")?;
        let [time, _] = [number(&fields, "integratedTime")?, number(&fields, "logIndex")?];
        fields.need_text("logID")?;
        // Keys are sorted, numbers are whole and small, and strings are escaped as RFC 8785 has it.
        Ok(Self { timestamp, signed: shape::canonical(payload), body, time })
    }

    /// Returns the text that the log has signed.
    pub fn signed(&self) -> &str {
        &self.signed
    }

    /// Parses the entry that the log has.
    pub fn entry(&self) -> Result<Entry> {
        let value = shape::parse(&self.body, ENTRY, "entry")?;
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let decode = |path: &str| base64::decode(text(path)).with_context(|| format!("decoding {path} of the entry"));
        let kind = [text("/kind"), text("/apiVersion"), text("/spec/data/hash/algorithm")];
        ensure!(
            kind == ["hashedrekord", "0.0.1", "sha256"],
            "the entry is of kind {}, not hashedrekord 0.0.1 sha256",
            kind.map(|part| part.escape_debug().to_string()).join(" ")
        );
        let signer = decode("/spec/signature/publicKey/content")?;
        Ok(Entry {
            signature: decode("/spec/signature/content")?,
            // A key or a certificate: what it claims to be does not matter, as it has to be the one that was used.
            signer: pem::only(&signer).context("reading the signer of the entry")?.der,
            digest: Digest::from_hex(text("/spec/data/hash/value")).context("reading the hash of the entry")?,
        })
    }
}

/// Verifies that a log has an entry for a signature, and returns when it was made, in seconds since 1970.
///
/// `signer` is the key or the certificate that the signature is by, DER.
pub(crate) fn verify(
    keys: &[Key],
    bundle: Option<&str>,
    signer: &[u8],
    signature: &[u8],
    payload: &[u8],
) -> Result<i64> {
    let bundle = Bundle::parse(bundle.context("it has no bundle of a log")?)?;
    let is_signed = |key: &Key| key.verifies(bundle.signed.as_bytes(), &bundle.timestamp);
    if !keys.iter().any(is_signed) {
        let keys: Vec<_> = keys.iter().map(Key::fingerprint).collect();
        bail!("its bundle was not signed with the log's key {}", keys.join(" or "));
    }
    let entry = bundle.entry()?;
    ensure!(entry.signer == signer, "the entry of the log is for another key or certificate");
    ensure!(entry.signature == signature, "the entry of the log is for another signature");
    ensure!(entry.digest == Digest::of(payload), "the entry of the log is for another payload");
    Ok(bundle.time)
}

fn number(fields: &Fields<'_>, key: &str) -> Result<i64> {
    let number = fields.need(key)?.as_u64().filter(|number| *number <= MAX_NUMBER);
    let number = number.and_then(|number| i64::try_from(number).ok());
    number.with_context(|| format!("{key} of Payload is not a whole number below 2^53"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(payload: &str) -> String {
        format!(r#"{{"SignedEntryTimestamp": "Zg==", "Payload": {payload}}}"#)
    }

    #[test]
    fn the_canonical_form_is_signed() {
        let text = bundle(
            r#"{ "logIndex":7, "logID" : "\u00e9\u001F\/\"", "integratedTime":9007199254740991,"body":"Zm9v" }"#,
        );
        let parsed = Bundle::parse(&text).unwrap();
        assert_eq!(
            parsed.signed,
            r#"{"body":"Zm9v","integratedTime":9007199254740991,"logID":"é\u001f/\"","logIndex":7}"#
        );
        assert_eq!(
            (parsed.timestamp, parsed.body, parsed.time),
            (b"f".to_vec(), b"foo".to_vec(), 9_007_199_254_740_991)
        );
    }

    #[test]
    fn other_bundles_are_refused() {
        let good = r#"{"body":"Zg==","integratedTime":1,"logIndex":2,"logID":"x"}"#;
        assert!(Bundle::parse(&bundle(good)).is_ok());
        let whole = |key: &str| format!("{key} of Payload is not a whole number below 2^53");
        for (label, text, expected) in [
            ("empty", String::new(), "parsing bundle: EOF while parsing a value".to_owned()),
            ("list", "[]".to_owned(), "bundle is not an object".to_owned()),
            ("no payload", r#"{"SignedEntryTimestamp": "Zg=="}"#.to_owned(), "bundle has no Payload".to_owned()),
            ("no timestamp", format!(r#"{{"Payload": {good}}}"#), "bundle has no SignedEntryTimestamp".to_owned()),
            ("more", bundle(good).replace("{\"S", "{\"a\":1,\"S"), "bundle has the unknown key \"a\"".to_owned()),
            (
                "no base64",
                bundle(good).replace("Zg==\",", "Zg\","),
                "decoding SignedEntryTimestamp: base64 of 2 characters is no multiple of 4".to_owned(),
            ),
            ("payload is text", bundle("\"x\""), "Payload is not an object".to_owned()),
            (
                "more in it",
                bundle(&good.replace("\"x\"", "\"x\",\"a\":1")),
                "Payload has the unknown key \"a\"".to_owned(),
            ),
            (
                "twice",
                bundle(&good.replace("\"x\"", "\"x\",\"body\":\"Zm9v\"")),
                "parsing bundle: bundle has the field \"body\" twice".to_owned(),
            ),
            ("body", bundle(&good.replace("\"Zg==\"", "{}")), "body of Payload is not a string".to_owned()),
            ("no log", bundle(&good.replace(",\"logID\":\"x\"", "")), "Payload has no logID".to_owned()),
            ("float", bundle(&good.replace(":1,", ":1.0,")), whole("integratedTime")),
            ("negative", bundle(&good.replace(":1,", ":-1,")), whole("integratedTime")),
            ("large", bundle(&good.replace(":2,", ":9007199254740992,")), whole("logIndex")),
            (
                "large bundle",
                bundle(good) + &" ".repeat(MAX_BUNDLE),
                "bundle has 65640 bytes, more than 65536".to_owned(),
            ),
        ] {
            let error = format!("{:#}", Bundle::parse(&text).unwrap_err());
            assert_eq!(error.split(" at line ").next(), Some(expected.as_str()), "{label}");
        }
    }

    /// An entry as a log has it, with a PEM of three bytes for a key.
    fn entry() -> String {
        let key = base64::encode(b"-----BEGIN PUBLIC KEY-----\nZm9v\n-----END PUBLIC KEY-----\n");
        let hash = format!(r#"{{"algorithm":"sha256","value":"{}"}}"#, Digest::of(b"").hex());
        let signature = format!(r#"{{"content":"Zg==","publicKey":{{"content":"{key}"}}}}"#);
        let spec = format!(r#"{{"data":{{"hash":{hash}}},"signature":{signature}}}"#);
        format!(r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{spec}}}"#)
    }

    #[test]
    fn entries_have_one_kind() {
        let parse =
            |body: &str| Bundle { timestamp: vec![], signed: String::new(), body: body.into(), time: 0 }.entry();
        let good = parse(&entry()).unwrap();
        assert_eq!((good.signature, good.signer, good.digest), (b"f".to_vec(), b"foo".to_vec(), Digest::of(b"")));
        for (label, from, to, expected) in [
            (
                "kind",
                "hashedrekord",
                "intoto",
                "the entry is of kind intoto 0.0.1 sha256, not hashedrekord 0.0.1 sha256",
            ),
            (
                "version",
                "0.0.1",
                "0.0.2",
                "the entry is of kind hashedrekord 0.0.2 sha256, not hashedrekord 0.0.1 sha256",
            ),
            (
                "algorithm",
                "sha256",
                "sha512",
                "the entry is of kind hashedrekord 0.0.1 sha512, not hashedrekord 0.0.1 sha256",
            ),
            ("control", "0.0.1", "\\n", "the entry is of kind hashedrekord \\n sha256, not hashedrekord 0.0.1 sha256"),
            ("no data", "\"data\"", "\"date\"", "parsing entry: spec has no data"),
            ("twice", "\"kind\"", "\"kind\":\"a\",\"kind\"", "parsing entry: entry has the field \"kind\" twice"),
            (
                "short hash",
                "e3b0",
                "",
                "reading the hash of the entry: digest \"c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\" \
                 has 60 hex digits instead of 64",
            ),
            (
                "signature",
                "Zg==",
                "Zg",
                "decoding /spec/signature/content of the entry: base64 of 2 characters is no multiple of 4",
            ),
            ("signer", "LS0t", "", "reading the signer of the entry: reading PEM: it has no block"),
            ("not JSON", "{", "", "parsing entry: invalid type: a string, expected entry to be a map"),
        ] {
            let error = format!("{:#}", parse(&entry().replacen(from, to, 1)).unwrap_err());
            assert_eq!(error.split(" at line ").next(), Some(expected), "{label}");
        }
    }
}
