// SPDX-License-Identifier: Apache-2.0 OR MIT
//! CA certificates in files, one by one (RFC 5280, RFC 7468).
//!
//! libcurl takes all of them in one file, and OpenSSL refuses that file as a whole if it cannot parse one of them: no
//! registry could be reached. So each is parsed here first, as strictly, and what is handed on has been written anew.

use anyhow::{Context, Result, ensure};
use contract::base64;

use crate::containers::der::{
    BIT_STRING, BMP_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, UNIVERSAL_STRING, UTF8_STRING,
    Value, Values, is_bit_string,
};

/// The label of a certificate in PEM, and that of one to which OpenSSL has added what it is trusted for.
const PLAIN: &str = "CERTIFICATE";
const TRUSTED: &str = "TRUSTED CERTIFICATE";
/// Strings of names. The ones without a constant: numeric, printable, T.61 and IA5.
const STRINGS: [u8; 9] = [UTF8_STRING, 0x12, 0x13, 0x14, 0x16, UNIVERSAL_STRING, BMP_STRING, BIT_STRING, SEQUENCE];
/// UTCTime and GeneralizedTime.
const TIMES: [u8; 2] = [0x17, 0x18];
/// Fields of a certificate that have a number: version, two identifiers, extensions.
const VERSION: u8 = 0xa0;
const IDENTIFIERS: [u8; 2] = [0x81, 0x82];
const EXTENSIONS: u8 = 0xa3;
/// What OpenSSL adds has no number for uses that are trusted, and this one for those that are not.
const REJECTED: u8 = 0xa0;
/// Uses: of a server, and any (id-kp-serverAuth, anyExtendedKeyUsage).
const SERVER: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 1];
const ANY: [u8; 4] = [0x55, 0x1d, 0x25, 0];

/// A certificate that can be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    der: Vec<u8>,
    /// Serial number and issuer.
    number: Vec<u8>,
    key: Vec<u8>,
    /// Nobody has said that it is not to be trusted for servers.
    pub for_servers: bool,
}

/// Returns the certificates in PEM that are in a file, as Go takes them.
pub(super) fn of_pem(bytes: &[u8]) -> Vec<Result<Certificate>> {
    of_blocks(bytes, &[PLAIN])
}

/// Returns the certificates that are in a file, as p11-kit takes them: in DER, or in PEM with and without what OpenSSL
/// adds.
pub(super) fn of_file(bytes: &[u8]) -> Vec<Result<Certificate>> {
    match bytes.first() {
        Some(&SEQUENCE) => vec![Certificate::parse(bytes, PLAIN)],
        _ => of_blocks(bytes, &[PLAIN, TRUSTED]),
    }
}

fn of_blocks(bytes: &[u8], labels: &[&str]) -> Vec<Result<Certificate>> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim).peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = label_of(line, "BEGIN") else { continue };
        let mut body = String::new();
        // A block that does not end must not take the next one along.
        while let Some(line) =
            lines.next_if(|line| label_of(line, "BEGIN").is_none() && label_of(line, "END").is_none())
        {
            body.extend(line.split_ascii_whitespace());
        }
        let ends = lines.peek().and_then(|line| label_of(line, "END")) == Some(label);
        if labels.contains(&label) {
            let bytes = if ends { base64::decode(&body) } else { Err(anyhow::anyhow!("it has no END")) };
            found.push(bytes.and_then(|bytes| Certificate::parse(&bytes, label)));
        }
    }
    found
}

fn label_of<'a>(line: &'a str, which: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?.strip_prefix(which)?.strip_prefix(' ')?.strip_suffix("-----")
}

impl Certificate {
    fn parse(bytes: &[u8], label: &str) -> Result<Self> {
        let mut values = Values::new(bytes);
        let whole = values.take(SEQUENCE)?;
        let mut certificate = read(whole)?;
        if label == TRUSTED
            && let Some(added) = values.optional(SEQUENCE)?
        {
            certificate.for_servers = is_for_servers(added).context("reading what it is trusted for")?;
        }
        values.end()?;
        Ok(certificate)
    }

    /// Returns whether both are certificates of one key, or one certificate. This is how p11-kit finds what is on a
    /// blocklist.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.number == other.number || self.key == other.key
    }

    /// Returns it in PEM.
    pub(super) fn to_pem(&self) -> Vec<u8> {
        let text = base64::encode(&self.der);
        let lines: Vec<_> = text.as_bytes().chunks(64).collect();
        let (begin, end) = (format!("-----BEGIN {PLAIN}-----\n"), format!("\n-----END {PLAIN}-----\n"));
        [begin.as_bytes(), &lines.join(&b"\n"[..]), end.as_bytes()].concat()
    }
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
fn read(whole: Value<'_>) -> Result<Certificate> {
    whole.check()?;
    let mut parts = whole.values();
    let mut fields = parts.take(SEQUENCE)?.values();
    check_algorithm(parts.take(SEQUENCE)?)?;
    parts.take(BIT_STRING)?;
    parts.end()?;
    if let Some(version) = fields.optional(VERSION)? {
        let mut version = version.values();
        version.take(INTEGER)?;
        version.end()?;
    }
    let serial = fields.take(INTEGER)?.whole;
    check_algorithm(fields.take(SEQUENCE)?)?;
    let issuer = check_name(fields.take(SEQUENCE)?)?;
    check_validity(fields.take(SEQUENCE)?)?;
    check_name(fields.take(SEQUENCE)?)?;
    let key = fields.take(SEQUENCE)?;
    check_key(key)?;
    for tag in IDENTIFIERS {
        let identifier = fields.optional(tag)?;
        ensure!(identifier.is_none_or(|bits| is_bit_string(bits.content)), "its identifier is malformed");
    }
    if let Some(extensions) = fields.optional(EXTENSIONS)? {
        check_extensions(extensions)?;
    }
    fields.end()?;
    let (der, number) = (whole.whole.to_owned(), [serial, issuer].concat());
    Ok(Certificate { der, number, key: key.whole.to_owned(), for_servers: true })
}

fn check_algorithm(algorithm: Value<'_>) -> Result<()> {
    let mut parts = algorithm.values();
    parts.take(OBJECT_IDENTIFIER)?;
    if !parts.is_empty() {
        parts.any()?;
    }
    parts.end()
}

fn check_name(name: Value<'_>) -> Result<&[u8]> {
    let mut sets = name.values();
    while !sets.is_empty() {
        let mut set = sets.take(SET)?.values();
        while !set.is_empty() {
            let mut attribute = set.take(SEQUENCE)?.values();
            attribute.take(OBJECT_IDENTIFIER)?;
            let tag = attribute.any()?.tag;
            ensure!(STRINGS.contains(&tag), "a name has a value with tag {tag:#x}");
            attribute.end()?;
        }
    }
    Ok(name.whole)
}

fn check_validity(validity: Value<'_>) -> Result<()> {
    let mut times = validity.values();
    for _ in 0..2 {
        let tag = times.any()?.tag;
        ensure!(TIMES.contains(&tag), "a time has tag {tag:#x}");
    }
    times.end()
}

fn check_key(key: Value<'_>) -> Result<()> {
    let mut parts = key.values();
    check_algorithm(parts.take(SEQUENCE)?)?;
    parts.take(BIT_STRING)?;
    parts.end()
}

fn check_extensions(extensions: Value<'_>) -> Result<()> {
    let mut lists = extensions.values();
    let mut list = lists.take(SEQUENCE)?.values();
    lists.end()?;
    while !list.is_empty() {
        let mut extension = list.take(SEQUENCE)?.values();
        extension.take(OBJECT_IDENTIFIER)?;
        extension.boolean()?;
        extension.take(OCTET_STRING)?;
        extension.end()?;
    }
    Ok(())
}

/// Whether OpenSSL's addition (`X509_CERT_AUX`) lets it vouch for servers: uses that are trusted, uses that are not.
fn is_for_servers(added: Value<'_>) -> Result<bool> {
    added.check()?;
    let mut fields = added.values();
    let mut uses = |tag| -> Result<Option<bool>> {
        let Some(list) = fields.optional(tag)? else { return Ok(None) };
        let (mut list, mut found) = (list.values(), false);
        while !list.is_empty() {
            let name = list.take(OBJECT_IDENTIFIER)?.content;
            found |= name == SERVER || name == ANY;
        }
        Ok(Some(found))
    };
    let trusted = uses(SEQUENCE)?.unwrap_or(true);
    Ok(!uses(REJECTED)?.unwrap_or(false) && trusted)
}

#[cfg(test)]
mod tests;
