// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image whose manifest and config are verified, whatever its source says.
//!
//! Tested by `src/slipstream/tests/hostile/documents.rs`, `src/slipstream/tests/http/`.

use std::io::Read;

use anyhow::{Context, Result, bail};
use contract::names::Digest;
use image::oci::{
    AttachedSignature, Document, ImageConfig, MAX_JSON_SIZE, Manifest, host_architecture, parse_document,
};
use image::stream::read_verified;

use crate::blobs::{Source, blame, read_right};
use crate::open::OpenSource;

/// An image whose manifest and config are verified: from here on every layer has a known digest and size.
#[derive(Debug)]
pub struct VerifiedImage {
    /// The manifest for this machine.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
    /// Bytes of both, and of an index before them.
    pub bytes: u64,
    /// The digest of an index that led to the manifest.
    index: Option<Digest>,
    source: OpenSource,
}

impl VerifiedImage {
    /// Returns the digests that name the image: that of the index, if there is one, and that of the manifest.
    pub fn digests(&self) -> Vec<Digest> {
        self.index.into_iter().chain([self.manifest.digest]).collect()
    }

    /// Returns the signatures of the image, as they were found: those of each of its digests, as either may be signed.
    pub fn signatures(&self) -> Result<Vec<AttachedSignature>> {
        let mut found = Vec::new();
        for digest in self.digests() {
            let more = self.source.source.signatures(digest);
            found.extend(more.with_context(|| format!("looking for signatures of {digest}"))?);
        }
        Ok(found)
    }

    /// Open the blob of a layer.
    pub fn open_blob(&self, digest: Digest) -> Result<Box<dyn Read + Send>> {
        let layer = self.manifest.layers.iter().find(|layer| layer.digest == digest);
        self.source.source.open_blob(digest, layer.map(|layer| layer.size))
    }

    /// Reading the blob of a layer has failed. Whether it makes sense to read it again, from elsewhere perhaps: only
    /// if the bytes were wrong. What a stream can do about its own troubles, it has done.
    pub fn is_worth_retrying(&self, digest: Digest, error: &anyhow::Error) -> bool {
        blame(self.source.source.as_ref(), digest, error)
    }
}

/// The answer to the question what a digest leads to.
#[derive(Debug)]
pub enum Verified {
    /// An image.
    Image(Box<VerifiedImage>),
    /// An index without a manifest for this machine; says so, and which architectures it has.
    OtherArchitectures(String),
}

impl Verified {
    /// Returns the image; that there is none for this machine is an error.
    pub fn image(self) -> Result<VerifiedImage> {
        match self {
            Self::Image(image) => Ok(*image),
            Self::OtherArchitectures(reason) => bail!(reason),
        }
    }
}

/// Reads the manifest that `digest` leads to, and its config, and verifies both.
pub fn verify(source: OpenSource, digest: Digest) -> Result<Verified> {
    let (document, mut read) = read_document(source.source.as_ref(), digest, None)?;
    let (manifest, index) = match document {
        Document::Manifest(manifest) => (manifest, None),
        Document::Index(descriptor) => {
            let (document, more) = read_document(source.source.as_ref(), descriptor.digest, Some(descriptor.size))?;
            read += more;
            match document {
                Document::Manifest(manifest) => (manifest, Some(digest)),
                // Legal by the specification, written by no known tool; following it would need a depth limit.
                Document::Index(_) | Document::OtherArchitectures(_) => {
                    bail!("{} is an index inside an index", descriptor.digest)
                }
            }
        }
        Document::OtherArchitectures(reason) => return Ok(Verified::OtherArchitectures(reason)),
    };
    let (wanted, size) = (manifest.config.digest, Some(manifest.config.size));
    let bytes = read_right(source.source.as_ref(), wanted, || {
        let blob = source.source.open_blob(wanted, size).context("opening image config")?;
        read_verified(blob, wanted, size, MAX_JSON_SIZE)
    })?;
    let config = ImageConfig::parse(&bytes)?;
    let bytes = read + bytes.len() as u64;
    Ok(Verified::Image(Box::new(VerifiedImage { manifest, config, bytes, index, source })))
}

/// A document, and how many bytes it has.
fn read_document(source: &dyn Source, digest: Digest, size: Option<u64>) -> Result<(Document, u64)> {
    let bytes = read_right(source, digest, || {
        let blob = source.open_manifest(digest, size).context("opening manifest")?;
        read_verified(blob, digest, size, MAX_JSON_SIZE)
    })?;
    Ok((parse_document(&bytes, digest, host_architecture())?, bytes.len() as u64))
}
