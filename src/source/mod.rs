// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where bytes are. A source hands out blobs by digest; it is never trusted with anything else.
//!
//! Formats are those that `skopeo copy` writes: an OCI image layout in a directory (`oci:`) or in a tar
//! (`oci-archive:`), each on the file system that is already there or on a device that is mounted read-only.

mod archive;
pub mod containers;
mod device;
mod layout;
mod spec;

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub use device::{Device, MountPoint};
pub use spec::SourceSpec;

use crate::oci::{Digest, Document, ImageConfig, MAX_JSON_SIZE, Manifest, host_architecture, parse_document};
use crate::stream::read_verified;

/// A staging device holds data only.
const STAGING_OPTIONS: &str = "ro,nosuid,nodev,noexec";

/// Something that has blobs.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Open the blob with this digest. The bytes are not verified yet.
    fn open_blob(&self, digest: Digest) -> Result<Box<dyn Read + Send>>;
}

/// An image whose manifest and config are verified: from here on every layer has a known digest and size.
#[derive(Debug)]
pub struct VerifiedImage {
    /// The manifest for this machine.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
    source: OpenSource,
}

impl VerifiedImage {
    /// Open the blob of a layer.
    pub fn open_blob(&self, digest: Digest) -> Result<Box<dyn Read + Send>> {
        self.source.source.open_blob(digest)
    }
}

/// An open source; the mount it may stand on goes with it.
#[derive(Debug)]
pub struct OpenSource {
    // Dropped first: it holds files of the mount.
    source: Box<dyn Source>,
    _mount: Option<MountPoint>,
}

/// Open the source that `spec` names. Devices are mounted below `run_dir`, and waited for until `deadline` at most.
pub fn open(spec: &SourceSpec, run_dir: &Path, deadline: Instant) -> Result<OpenSource> {
    let mount = match spec.device() {
        Some(device) => Some(device.mount(&run_dir.join("source"), STAGING_OPTIONS, deadline)?),
        None => None,
    };
    let path = match &mount {
        Some(mount) => mount.resolve(spec.path())?,
        None => spec.path().to_owned(),
    };
    let source: Box<dyn Source> = match spec {
        SourceSpec::Layout { .. } => Box::new(layout::Layout::open(&path)?),
        SourceSpec::Archive { .. } => Box::new(archive::Archive::open(&path)?),
    };
    Ok(OpenSource { source, _mount: mount })
}

/// Read the manifest that `digest` leads to, and its config, and verify both.
pub fn verify(source: OpenSource, digest: Digest) -> Result<VerifiedImage> {
    let document = read_document(source.source.as_ref(), digest, None)?;
    let manifest = match document {
        Document::Manifest(manifest) => manifest,
        Document::Index(descriptor) => {
            match read_document(source.source.as_ref(), descriptor.digest, Some(descriptor.size))? {
                Document::Manifest(manifest) => manifest,
                // Legal by the specification, written by nobody; following it would need a depth limit.
                Document::Index(_) => bail!("{} is an index inside an index", descriptor.digest),
            }
        }
    };
    let wanted = &manifest.config;
    let blob = source.source.open_blob(wanted.digest).context("opening image config")?;
    let bytes = read_verified(blob, wanted.digest, Some(wanted.size), MAX_JSON_SIZE)?;
    let config = ImageConfig::parse(&bytes)?;
    Ok(VerifiedImage { manifest, config, source })
}

fn read_document(source: &dyn Source, digest: Digest, size: Option<u64>) -> Result<Document> {
    let blob = source.open_blob(digest).context("opening manifest")?;
    let bytes = read_verified(blob, digest, size, MAX_JSON_SIZE)?;
    parse_document(&bytes, digest, host_architecture())
}
