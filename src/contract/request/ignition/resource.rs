// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The content of a file in an Ignition config: a URL, perhaps compressed, perhaps with a hash.

use std::fmt::Write;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

use crate::files::MAX_FILE;
use crate::request::ignition::data_url;
use crate::shape::Shape;

/// What is read of it.
pub(super) const RESOURCE: Shape = Shape::Object(&[
    ("source", Shape::Text, false),
    ("compression", Shape::Text, false),
    ("verification", Shape::Object(&[("hash", Shape::Text, false)]), false),
]);

/// A content. It has no `Debug` that shows it: the pull secret is one.
pub(super) struct Resource {
    source: Option<String>,
    compression: Option<String>,
    hash: Option<String>,
}

impl Resource {
    /// From what [`RESOURCE`] lets through.
    pub(super) fn from_json(value: &mut Value) -> Self {
        let hash = take_text(&mut value["verification"]["hash"]);
        Self { source: take_text(&mut value["source"]), compression: take_text(&mut value["compression"]), hash }
    }

    /// Whether there is content at all. A resource without a source says: leave the file as it is.
    pub(super) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// The bytes, checked against the hash if there is one. The hash is of the uncompressed bytes, as Ignition has it.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let source = self.source.as_deref().unwrap_or_default();
        let bytes = match scheme(source) {
            _ if source.is_empty() => Vec::new(),
            Some("data") => data_url::decode(source)?,
            // Not the URL itself: it may carry a token.
            Some(scheme) => bail!(
                "it has a remote source ({scheme}), and only data URLs are supported: put its content into the config"
            ),
            None => bail!("its source is no URL"),
        };
        let bytes = match self.compression.as_deref() {
            None | Some("") => bytes,
            Some("gzip") => gunzip(&bytes)?,
            Some(other) => bail!("its compression is {other:?}, and only gzip is supported"),
        };
        ensure!(bytes.len() as u64 <= MAX_FILE, "it is larger than {MAX_FILE} bytes");
        self.verify(&bytes)?;
        Ok(bytes)
    }

    fn verify(&self, bytes: &[u8]) -> Result<()> {
        let Some(hash) = &self.hash else { return Ok(()) };
        let (function, expected) = hash.split_once('-').context("its hash is not FUNCTION-HEX")?;
        let got = match function {
            "sha512" => hex(&Sha512::digest(bytes)),
            "sha256" => hex(&Sha256::digest(bytes)),
            other => bail!("its hash is of {other:?}, and only sha512 and sha256 are supported"),
        };
        ensure!(expected.eq_ignore_ascii_case(&got), "{function} mismatch: expected {expected}, got {got}");
        Ok(())
    }
}

/// The scheme of a URL, as far as we name it: what is before the colon may be anything.
fn scheme(url: &str) -> Option<&'static str> {
    let (scheme, _) = url.split_once(':')?;
    let known = ["data", "http", "https", "tftp", "s3", "arn", "gs"];
    Some(known.into_iter().find(|known| scheme.eq_ignore_ascii_case(known)).unwrap_or("of another scheme"))
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(bytes);
    decoder.take(MAX_FILE + 1).read_to_end(&mut out).context("inflating it")?;
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// A string out of a document, without a copy.
pub(super) fn take_text(value: &mut Value) -> Option<String> {
    match value.take() {
        Value::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn escaped(data: &[u8]) -> String {
        data.iter().fold("data:,".to_owned(), |text, byte| format!("{text}%{byte:02x}"))
    }

    #[test]
    fn bytes_table() {
        let sum = format!("sha256-{}", hex(&Sha256::digest(b"text")));
        let long = format!("sha512-{}", hex(&Sha512::digest(b"text")));
        let packed = escaped(&gzip(b"text"));
        let members = escaped(&[gzip(b"te"), gzip(b"xt")].concat());
        let bomb = escaped(&gzip(&vec![0; MAX_FILE as usize + 1]));
        let cut = packed[..packed.len() - 6].to_owned();
        for (label, value, expected) in [
            ("plain", json!({"source": "data:,text"}), Ok("text")),
            ("nothing", json!({}), Ok("")),
            ("empty source", json!({"source": ""}), Ok("")),
            ("no compression", json!({"source": "data:,text", "compression": ""}), Ok("text")),
            ("gzip", json!({"source": packed, "compression": "gzip"}), Ok("text")),
            ("gzip members", json!({"source": members, "compression": "gzip"}), Ok("text")),
            ("sha256", json!({"source": "data:,text", "verification": {"hash": sum}}), Ok("text")),
            ("sha512", json!({"source": "data:,text", "verification": {"hash": long}}), Ok("text")),
            (
                "hash of what was inflated",
                json!({"source": packed, "compression": "gzip", "verification": {"hash": sum}}),
                Ok("text"),
            ),
            (
                "wrong hash",
                json!({"source": "data:,test", "verification": {"hash": sum}}),
                Err(
                    "sha256 mismatch: expected 982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1, got 9f86d08",
                ),
            ),
            (
                "other hash",
                json!({"source": "data:,", "verification": {"hash": "md5-00"}}),
                Err("its hash is of \"md5\""),
            ),
            (
                "no hash",
                json!({"source": "data:,", "verification": {"hash": "00"}}),
                Err("its hash is not FUNCTION-HEX"),
            ),
            ("bomb", json!({"source": bomb, "compression": "gzip"}), Err("it is larger than 4194304 bytes")),
            ("cut gzip", json!({"source": cut, "compression": "gzip"}), Err("inflating it: ")),
            ("no gzip", json!({"source": "data:,text", "compression": "gzip"}), Err("inflating it: ")),
            ("other compression", json!({"source": "data:,", "compression": "xz"}), Err("its compression is \"xz\"")),
            ("https", json!({"source": "https://example.com/x?token=SECRET"}), Err("it has a remote source (https),")),
            ("s3", json!({"source": "s3://SECRET/x"}), Err("it has a remote source (s3),")),
            ("unknown scheme", json!({"source": "SECRET://x"}), Err("it has a remote source (of another scheme),")),
            ("no URL", json!({"source": "SECRET"}), Err("its source is no URL")),
        ] {
            match (Resource::from_json(&mut value.clone()).bytes(), expected) {
                (Ok(got), Ok(text)) => assert_eq!(got, text.as_bytes(), "{label}"),
                (Err(error), Err(text)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains(text) && !error.contains("SECRET"), "{label}: {error}");
                }
                (got, _) => panic!("{label}: {got:?}"),
            }
        }
    }
}
