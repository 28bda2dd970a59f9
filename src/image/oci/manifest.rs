// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image manifest: a config and layers, each a descriptor.
//!
//! Tested by `src/slipstream/tests/differential/`, `src/slipstream/tests/hostile/documents.rs`.

use anyhow::{Context, Result, bail, ensure};
use contract::names::Digest;
use contract::shape::{Shape, canonical};
use serde_json::Value;

use crate::oci::MAX_JSON_SIZE;

/// `application/vnd.oci.image.manifest.v1+json`
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest, version 2 schema 2.
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Largest blob accepted, in bytes: a TiB.
const MAX_BLOB: u64 = 1 << 40;
/// Most layers accepted. ostree-ext's chunking stops at 64, container builds at 127.
const MAX_LAYERS: usize = 1024;

const DESCRIPTOR: Shape = Shape::Object(&[
    ("mediaType", Shape::Text, true),
    ("digest", Shape::Text, true),
    ("size", Shape::Count, true),
    ("urls", Shape::List(&Shape::Text), false),
    ("annotations", Shape::Texts, false),
    ("artifactType", Shape::Text, false),
    ("data", Shape::Text, false),
]);

/// A manifest or an index: which of them it is, shows when it is read.
pub(super) const DOCUMENT: Shape = Shape::Object(&[
    ("schemaVersion", Shape::Count, false),
    ("mediaType", Shape::Text, false),
    ("artifactType", Shape::Text, false),
    ("config", DESCRIPTOR, false),
    ("layers", Shape::List(&DESCRIPTOR), false),
    ("subject", DESCRIPTOR, false),
    ("annotations", Shape::Texts, false),
    ("manifests", Shape::List(&INSTANCE), false),
]);

/// A manifest in an index.
const INSTANCE: Shape = Shape::Object(&[
    ("mediaType", Shape::Text, true),
    ("digest", Shape::Text, true),
    ("size", Shape::Count, true),
    ("annotations", Shape::Texts, false),
    ("platform", PLATFORM, false),
]);

const PLATFORM: Shape =
    Shape::Object(&[("architecture", Shape::Text, false), ("os", Shape::Text, false), ("variant", Shape::Text, false)]);

/// How a layer is compressed, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames; skippable frames are skipped (zstd:chunked has them).
    Zstd,
}

/// What names a blob: media type, digest, size in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest of the blob as it is stored.
    pub digest: Digest,
    /// The size of the blob as it is stored, in bytes.
    pub size: u64,
}

impl Descriptor {
    /// Read the three fields that matter of an object that has been projected on the shape of a descriptor.
    pub(super) fn read(value: &Value) -> Result<Self> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).with_context(|| format!("reading {field}"));
        Ok(Self {
            media_type: text("mediaType")?.to_owned(),
            digest: Digest::parse(text("digest")?)?,
            // A sum of as many as there may be must not overflow.
            size: value
                .get("size")
                .and_then(Value::as_u64)
                .filter(|size| *size <= MAX_BLOB)
                .with_context(|| format!("size is not a number up to {MAX_BLOB}"))?,
        })
    }

    /// The compression of a layer.
    pub fn compression(&self) -> Result<Compression> {
        Ok(match self.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Compression::None
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Compression::Gzip
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                Compression::Zstd
            }
            other => bail!("layer {} has media type {other:?}, which is no tar layer", self.digest),
        })
    }
}

/// A parsed image manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The digest of the bytes that were parsed.
    pub digest: Digest,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    known: Value,
}

impl Manifest {
    /// Read a document whose bytes are known to have this digest.
    pub(super) fn read(mut known: Value, digest: Digest) -> Result<Self> {
        for field in ["schemaVersion", "config", "layers"] {
            ensure!(known.get(field).is_some(), "manifest has no {field}");
        }
        ensure!(known.get("manifests").is_none(), "manifest has layers as well as manifests");
        if known.get("mediaType").and_then(Value::as_str) == Some(DOCKER_MANIFEST) {
            convert_docker(&mut known);
        }
        ensure!(known["schemaVersion"] == 2, "manifest has schemaVersion {}, not 2", known["schemaVersion"]);
        let config = Descriptor::read(&known["config"]).context("reading manifest.config")?;
        ensure!(config.size <= MAX_JSON_SIZE, "config of {} bytes is over the limit of {MAX_JSON_SIZE}", config.size);
        let layers = known["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(!layers.is_empty(), "manifest has no layers");
        ensure!(layers.len() <= MAX_LAYERS, "manifest has {} layers, the limit is {MAX_LAYERS}", layers.len());
        let layers = layers
            .iter()
            .enumerate()
            .map(|(n, layer)| Descriptor::read(layer).with_context(|| format!("reading manifest.layers[{n}]")))
            .collect::<Result<_>>()?;
        Ok(Self { digest, config, layers, known })
    }

    /// The canonical JSON that the merge commit carries as `ostree.manifest`.
    pub fn canonical_json(&self) -> String {
        canonical(&self.known)
    }

    /// An annotation of the manifest.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.known.get("annotations")?.get(key)?.as_str()
    }
}

/// Make an OCI manifest of Docker's, as skopeo hands it to ostree-ext: other media types, and no annotations, which
/// Docker's has not.
fn convert_docker(manifest: &mut Value) {
    manifest["mediaType"] = OCI_MANIFEST.into();
    without_annotations(manifest);
    let layers = manifest["layers"].as_array_mut().map(|layers| layers.iter_mut()).into_iter().flatten();
    for layer in layers {
        without_annotations(layer);
        let converted = match layer["mediaType"].as_str() {
            Some("application/vnd.docker.image.rootfs.diff.tar") => "application/vnd.oci.image.layer.v1.tar",
            Some("application/vnd.docker.image.rootfs.diff.tar.gzip") => "application/vnd.oci.image.layer.v1.tar+gzip",
            Some("application/vnd.docker.image.rootfs.diff.tar.zstd") => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => continue,
        };
        layer["mediaType"] = converted.into();
    }
    if manifest["config"]["mediaType"] == DOCKER_CONFIG {
        manifest["config"]["mediaType"] = OCI_CONFIG.into();
    }
}

fn without_annotations(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.remove("annotations");
    }
}
