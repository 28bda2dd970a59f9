// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a digest leads to: a manifest, or an index from which the manifest of this machine is chosen.

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use contract::shape;
use serde_json::Value;

use crate::oci::manifest::{DOCKER_MANIFEST, DOCUMENT, OCI_MANIFEST};
use crate::oci::{Descriptor, MAX_JSON_SIZE, Manifest};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A verified document.
#[derive(Debug)]
pub enum Document {
    /// An image manifest.
    Manifest(Manifest),
    /// An index: the manifest of the wanted architecture is behind this descriptor.
    Index(Descriptor),
    /// An index without the wanted architecture; says so, and which ones it has.
    OtherArchitectures(String),
}

/// Parse a manifest or an index whose bytes have this digest; of an index, choose `architecture` (Go's name).
pub fn parse_document(bytes: &[u8], digest: Digest, architecture: &str) -> Result<Document> {
    let parsing = || format!("parsing manifest {digest}");
    let document = shape::parse(bytes, DOCUMENT, "manifest").with_context(parsing)?;
    let is_index = match document.get("mediaType").and_then(Value::as_str) {
        Some(OCI_INDEX | DOCKER_LIST) => true,
        Some(OCI_MANIFEST | DOCKER_MANIFEST) => false,
        Some(other) => bail!("{digest} has media type {other:?}, which is neither image manifest nor image index"),
        // OCI made the field optional.
        None => document.get("manifests").is_some(),
    };
    if is_index {
        // Both could be read either way by different tools.
        ensure!(document.get("layers").is_none(), "{digest} has manifests as well as layers");
        return choose(&document, architecture).with_context(parsing);
    }
    Manifest::read(document, digest).map(Document::Manifest).with_context(parsing)
}

fn choose(index: &Value, architecture: &str) -> Result<Document> {
    let manifests = index.get("manifests").and_then(Value::as_array).context("index has no manifests")?;
    let platform = |manifest: &Value, field: &str| -> Option<String> {
        Some(manifest.get("platform")?.get(field)?.as_str()?.to_owned())
    };
    let mut found = Vec::new();
    for manifest in manifests {
        let arch = platform(manifest, "architecture");
        if arch.as_deref() == Some(architecture) && platform(manifest, "os").as_deref() == Some("linux") {
            let descriptor = Descriptor::read(manifest).context("reading index.manifests")?;
            ensure!(descriptor.size <= MAX_JSON_SIZE, "manifest {} is over the size limit", descriptor.digest);
            return Ok(Document::Index(descriptor));
        }
        found.extend(arch);
    }
    let found = found.join(", ");
    Ok(Document::OtherArchitectures(format!("index has no manifest for linux/{architecture}, only for: {found}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(c: char) -> String {
        format!("sha256:{}", String::from(c).repeat(64))
    }

    #[test]
    fn chooses_this_architecture() {
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": hex('a'), "size": 5, "platform": {"architecture": "s390x", "os": "linux"}},
            {"mediaType": OCI_MANIFEST, "digest": hex('b'), "size": 6, "platform": {"architecture": "amd64", "os": "linux"}},
        ]});
        let bytes = index.to_string();
        let Document::Index(found) = parse_document(bytes.as_bytes(), Digest::of(b""), "amd64").unwrap() else {
            panic!("not an index")
        };
        assert_eq!((found.digest.to_string(), found.size), (hex('b'), 6));
        let Document::OtherArchitectures(reason) = parse_document(bytes.as_bytes(), Digest::of(b""), "arm64").unwrap()
        else {
            panic!("a manifest for arm64")
        };
        assert_eq!(reason, "index has no manifest for linux/arm64, only for: s390x, amd64");
    }

    #[test]
    fn refuses_what_is_no_manifest() {
        for (label, text, expected) in [
            ("not json", "{", "parsing manifest sha256:"),
            ("list", "[]", "expected manifest to be a map"),
            ("other type", r#"{"mediaType":"text/plain"}"#, "neither image manifest nor image index"),
            ("both", r#"{"manifests":[],"layers":[]}"#, "manifests as well as layers"),
            ("no layers", r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"x","size":1}}"#, "has no layers"),
        ] {
            let error = format!("{:#}", parse_document(text.as_bytes(), Digest::of(b""), "amd64").unwrap_err());
            assert!(error.contains(expected), "{label}: {error}");
        }
    }
}
