// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a digest leads to: a manifest, or an index from which the manifest of this machine is chosen.

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use contract::shape;
use serde_json::Value;

use crate::oci::manifest::{DOCKER_MANIFEST, DOCUMENT, OCI_MANIFEST};
use crate::oci::platform::{Platform, describe_others};
use crate::oci::{Descriptor, MAX_JSON_SIZE, Manifest};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Annotation of an instance whose layers are zstd, in an index that also has one with gzip.
const ZSTD: &str = "io.github.containers.compression.zstd";

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

/// Chooses the instance that containers/image would choose. Of equal ones it takes the first.
fn choose(index: &Value, architecture: &str) -> Result<Document> {
    let instances = index.get("manifests").and_then(Value::as_array).context("index has no manifests")?;
    let is_docker = index.get("mediaType").and_then(Value::as_str) == Some(DOCKER_LIST);
    let ranked = instances.iter().filter_map(|instance| Some((rank(instance, architecture, is_docker)?, instance)));
    let Some((_, best)) = ranked.min_by_key(|(rank, _)| *rank) else {
        let found: Vec<_> = instances.iter().filter_map(Platform::of).collect();
        return Ok(Document::OtherArchitectures(describe_others(architecture, &found)));
    };
    let descriptor = Descriptor::read(best).context("reading index.manifests")?;
    ensure!(descriptor.size <= MAX_JSON_SIZE, "manifest {} is over the size limit", descriptor.digest);
    Ok(Document::Index(descriptor))
}

/// Returns how far an instance is from what is wanted; `None` if it is not for this architecture. First counts the
/// platform, where none is worse than any that fits; then zstd is better than gzip. Docker's list knows neither. Upstream has
/// a third mark, of layers that only who knows zstd:chunked should be given: that is not us.
fn rank(instance: &Value, architecture: &str, is_docker: bool) -> Option<(usize, bool)> {
    let platform = match Platform::of(instance) {
        Some(platform) => platform.rank(architecture)?,
        None if is_docker => return None,
        None => usize::MAX,
    };
    let zstd = instance.get("annotations").and_then(|annotations| annotations.get(ZSTD)?.as_str());
    Some((platform, is_docker || zstd != Some("true")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of instances given as `os/architecture/variant`, with `zstd` behind it perhaps; empty: no platform.
    fn index(media_type: &str, instances: &[&str]) -> String {
        let instance = |(n, text): (usize, &&str)| {
            let mut parts = text.split('/');
            let mut instance = serde_json::json!({"mediaType": OCI_MANIFEST, "digest": digest_of(n), "size": n});
            for field in ["os", "architecture", "variant"] {
                if let Some(part) = parts.next().filter(|part| !part.is_empty()) {
                    instance["platform"][field] = part.into();
                }
            }
            if parts.next() == Some("zstd") {
                instance["annotations"][ZSTD] = "true".into();
            }
            instance
        };
        let manifests: Vec<_> = instances.iter().enumerate().map(instance).collect();
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string()
    }

    fn digest_of(n: usize) -> String {
        format!("sha256:{n:064}")
    }

    #[test]
    fn chooses_as_upstream_does() {
        const V3_FIRST: &[&str] = &["linux/amd64/v3", "linux/amd64"];
        const GZIP_FIRST: &[&str] = &["linux/amd64", "linux/amd64//zstd"];
        for (label, architecture, instances, expected, of_docker) in [
            ("one of many", "amd64", &["linux/s390x", "linux/amd64"][..], Some(1), Some(1)),
            ("no variant on amd64", "amd64", V3_FIRST, Some(1), Some(1)),
            ("only v2", "amd64", &["linux/amd64/v2"], None, None),
            ("v8 before none", "arm64", &["linux/arm64", "linux/arm64/v8"], Some(1), Some(1)),
            ("none if there is no v8", "arm64", &["linux/arm64/v9", "linux/arm64"], Some(1), Some(1)),
            ("first of equals", "s390x", &["linux/s390x", "linux/s390x"], Some(0), Some(0)),
            ("other system", "amd64", &["windows/amd64", "linux/amd64"], Some(1), Some(1)),
            ("no platform is last", "amd64", &["", "linux/amd64"], Some(1), Some(1)),
            ("no platform, nothing else", "amd64", &["linux/arm64", ""], Some(1), None),
            ("attestations", "amd64", &["unknown/unknown", "linux/amd64"], Some(1), Some(1)),
            ("zstd before gzip", "amd64", GZIP_FIRST, Some(1), Some(0)),
            ("variant before zstd", "arm64", &["linux/arm64//zstd", "linux/arm64/v8"], Some(1), Some(1)),
        ] {
            for (media_type, expected) in [(OCI_INDEX, expected), (DOCKER_LIST, of_docker)] {
                let text = index(media_type, instances);
                let found = match parse_document(text.as_bytes(), Digest::of(b""), architecture).unwrap() {
                    Document::Index(found) => Some(found.digest.to_string()),
                    Document::OtherArchitectures(_) => None,
                    Document::Manifest(_) => panic!("{label}: a manifest"),
                };
                assert_eq!(found, expected.map(digest_of), "{label}, {media_type}");
            }
        }
    }

    #[test]
    fn names_what_there_is() {
        let text = index(OCI_INDEX, &["linux/s390x", "linux/amd64/v3", "linux/s390x", "windows/amd64"]);
        let Document::OtherArchitectures(reason) = parse_document(text.as_bytes(), Digest::of(b""), "amd64").unwrap()
        else {
            panic!("a manifest for amd64")
        };
        let expected = "index has no manifest for linux/amd64, only for: linux/s390x, linux/amd64/v3, windows/amd64";
        assert_eq!(reason, expected);
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
