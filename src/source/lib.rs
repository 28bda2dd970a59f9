// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where bytes are. A source hands out blobs by digest; it is never trusted with anything else.
//!
//! Formats are those that `skopeo copy` writes: an OCI image layout in a directory (`oci:`) or in a tar
//! (`oci-archive:`), each on the file system that is already there or on a device that is mounted read-only; a layout
//! behind a web server; and a registry with its mirrors.

mod archive;
pub mod containers;
mod device;
pub mod http;
mod layout;
pub mod registry;
mod web;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub use device::{MountPoint, mount_device};

use contract::names::{Device, Digest, ImageReference, SourceSpec};
use image::oci::{Document, ImageConfig, MAX_JSON_SIZE, Manifest, host_architecture, parse_document};
use image::stream::{Mismatch, read_verified};

use containers::HostConfig;
use http::{EndpointLog, Limits, Tls};

/// A staging device holds data only.
const STAGING_OPTIONS: &str = "ro,nosuid,nodev,noexec";

/// Something that has blobs.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Open the blob with this digest, which should have `size` bytes. They are not verified yet.
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>>;

    /// Open a manifest or an index.
    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open_blob(digest, size)
    }

    /// What was last read as `digest` is something else. Whether it makes sense to open it again: a disk will not get
    /// better, a server may, or there is another one.
    fn blame(&self, _digest: Digest, _why: &str) -> bool {
        false
    }

    /// What has happened at each endpoint, of a source that has several.
    fn log(&self) -> EndpointLog {
        EndpointLog::default()
    }
}

/// An image whose manifest and config are verified: from here on every layer has a known digest and size.
#[derive(Debug)]
pub struct VerifiedImage {
    /// The manifest for this machine.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
    /// Bytes of both, and of an index before them.
    pub bytes: u64,
    source: OpenSource,
}

impl VerifiedImage {
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

/// What a source may need to know.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The image that is wanted.
    pub image: &'a ImageReference,
    /// Devices are mounted below it.
    pub run_dir: &'a Path,
    /// What the machine says about registries, proxies and certificates.
    pub config: &'a HostConfig,
    /// How patient to be with servers.
    pub limits: Limits,
    /// When everything ends.
    pub deadline: Instant,
}

/// An open source; the mount it may stand on goes with it.
#[derive(Debug)]
pub struct OpenSource {
    // Dropped first: it holds files of the mount.
    source: Box<dyn Source>,
    _mount: Option<MountPoint>,
}

impl OpenSource {
    /// What has happened at each endpoint; it goes on to be written.
    pub fn log(&self) -> EndpointLog {
        self.source.log()
    }
}

/// Open the source that `spec` names.
pub fn open(spec: &SourceSpec, around: &Surroundings<'_>) -> Result<OpenSource> {
    around.config.check_policy(around.image)?;
    let mut mount = None;
    let source: Box<dyn Source> = match spec {
        SourceSpec::Layout { device, path } => {
            Box::new(layout::Layout::open(&place(device.as_ref(), path, around, &mut mount)?)?)
        }
        SourceSpec::Archive { device, path } => {
            Box::new(archive::Archive::open(&place(device.as_ref(), path, around, &mut mount)?)?)
        }
        SourceSpec::Registry => Box::new(registry::open(around)?),
        SourceSpec::Web(url) => Box::new(web::open(url, around)?),
    };
    Ok(OpenSource { source, _mount: mount })
}

/// How to do TLS with `host[:port]`.
fn tls_for(config: &HostConfig, host: &str) -> Result<Tls> {
    let certs = config.certs(host)?;
    let mut ca = config.extra_ca()?;
    ca.extend(certs.ca);
    Tls::new(&ca, certs.client)
}

/// Where a path is, when the device that it may be on is mounted.
fn place(
    device: Option<&Device>,
    path: &Path,
    around: &Surroundings<'_>,
    mount: &mut Option<MountPoint>,
) -> Result<PathBuf> {
    let Some(device) = device else { return Ok(path.to_owned()) };
    let mounted = mount_device(device, &around.run_dir.join("source"), STAGING_OPTIONS, around.deadline)?;
    mount.insert(mounted).resolve(path)
}

/// Read the manifest that `digest` leads to, and its config, and verify both.
pub fn verify(source: OpenSource, digest: Digest) -> Result<VerifiedImage> {
    let (document, mut read) = read_document(source.source.as_ref(), digest, None)?;
    let manifest = match document {
        Document::Manifest(manifest) => manifest,
        Document::Index(descriptor) => {
            let (document, more) = read_document(source.source.as_ref(), descriptor.digest, Some(descriptor.size))?;
            read += more;
            match document {
                Document::Manifest(manifest) => manifest,
                // Legal by the specification, written by nobody; following it would need a depth limit.
                Document::Index(_) => bail!("{} is an index inside an index", descriptor.digest),
            }
        }
    };
    let (wanted, size) = (manifest.config.digest, Some(manifest.config.size));
    let bytes = read_right(source.source.as_ref(), wanted, || {
        let blob = source.source.open_blob(wanted, size).context("opening image config")?;
        read_verified(blob, wanted, size, MAX_JSON_SIZE)
    })?;
    let config = ImageConfig::parse(&bytes)?;
    Ok(VerifiedImage { manifest, config, bytes: read + bytes.len() as u64, source })
}

/// A document, and how many bytes it has.
fn read_document(source: &dyn Source, digest: Digest, size: Option<u64>) -> Result<(Document, u64)> {
    let bytes = read_right(source, digest, || {
        let blob = source.open_manifest(digest, size).context("opening manifest")?;
        read_verified(blob, digest, size, MAX_JSON_SIZE)
    })?;
    Ok((parse_document(&bytes, digest, host_architecture())?, bytes.len() as u64))
}

/// Whether an error is about wrong bytes, and the source may have right ones.
fn blame(source: &dyn Source, digest: Digest, error: &anyhow::Error) -> bool {
    let mismatch = error.chain().find(|cause| cause.is::<Mismatch>());
    mismatch.is_some_and(|mismatch| source.blame(digest, &mismatch.to_string()))
}

/// Read until the bytes are right, or there is nobody left to ask.
fn read_right(source: &dyn Source, digest: Digest, read: impl Fn() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    loop {
        match read() {
            Err(error) if blame(source, digest, &error) => {
                log::warn!("{error:#}; reading it again");
            }
            result => return result,
        }
    }
}
