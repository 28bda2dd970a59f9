// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A tiny image, and what is found of its signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contract::files::RootFiles;
use contract::names::{Digest, ImageReference, SourceSpec};
use image::oci::AttachedSignature;
use source::containers::HostConfig;
use source::http::EndpointLog;
use source::{Surroundings, VerifiedImage};
use tempfile::TempDir;
use testkit::image::Image as Written;
use testkit::layout::Layout;
use testkit::server::{Ask, Server};
use testkit::signature::{Signatures, payload};

use crate::image::QUICK;
use crate::registries::{REGISTRIES, registries};

/// The most time for a lookup.
const TIME: Duration = Duration::from_secs(30);

/// The path at which a registry is asked how to log in.
pub const PING: &str = "/v2/";

/// Returns the requests for documents and blobs.
pub fn asked_for(server: &Server) -> Vec<Ask> {
    server.asked().into_iter().filter(|ask| ask.path != PING).collect()
}

/// A tiny image in a layout.
pub struct Image {
    dir: TempDir,
    pub layout: Layout,
    /// The digest by which it is asked for: that of its index, if it has one.
    pub digest: String,
    /// The digest of its manifest.
    pub instance: String,
}

/// An image that was opened.
pub struct Opened {
    pub image: VerifiedImage,
    log: EndpointLog,
}

impl Image {
    /// Writes the image, perhaps behind an index.
    pub fn write(indexed: bool) -> Result<Self> {
        let dir = tempfile::tempdir().context("creating a directory")?;
        let mut image = Written::plain();
        image.indexed = indexed;
        image.layer(|layer| {
            layer.file("usr/a", "a");
        })?;
        let path = dir.path().join("node");
        let digest = image.write(&path)?;
        let layout = Layout::at(&path);
        let document = layout.read_json(&digest)?;
        let instance = document["manifests"][1]["digest"].as_str().unwrap_or(&digest).to_owned();
        Ok(Self { dir, layout, digest, instance })
    }

    /// Returns one signature of what has this digest. Its bytes are the digest's, so that signatures differ.
    pub fn signed(&self, digest: &str) -> Signatures {
        Signatures::of(digest).sign(&payload(digest, "registry.example/os/node"), digest)
    }

    /// Returns the layout as a source.
    pub fn spec(&self) -> Result<SourceSpec> {
        SourceSpec::parse(&format!("oci:{}", self.layout.dir().display()))
    }

    /// Packs the layout into an archive, and returns that as a source.
    pub fn archive(&self) -> Result<SourceSpec> {
        let path = self.dir.path().join("node.tar");
        let mut tar = tar::Builder::new(fs::File::create(&path).context("creating an archive")?);
        tar.append_dir_all(".", self.layout.dir()).context("packing a layout")?;
        tar.finish().context("packing a layout")?;
        SourceSpec::parse(&format!("oci-archive:{}", path.display()))
    }

    /// Opens the image on a machine whose registry is at these hosts.
    pub fn open(&self, spec: &SourceSpec, hosts: &[String]) -> Result<Opened> {
        let locations: Vec<_> = hosts.iter().map(|host| format!("{host}/os/node")).collect();
        let root = self.root(&registries(&locations))?;
        let reference = ImageReference::parse(&format!("registry.example/os/node@{}", self.digest))?;
        let config = HostConfig::new(Arc::new(RootFiles::new(&root)));
        let (run_dir, deadline) = (Path::new("/nonexistent"), Instant::now() + TIME);
        let around = Surroundings { image: &reference, run_dir, config: &config, limits: QUICK, deadline };
        let source = source::open(spec, &around)?;
        let log = source.log();
        Ok(Opened { image: source::verify(source, Digest::parse(&self.digest)?)?.image()?, log })
    }

    fn root(&self, text: &str) -> Result<PathBuf> {
        let root = tempfile::Builder::new().prefix("root").tempdir_in(self.dir.path())?.keep();
        let path = root.join(REGISTRIES);
        fs::create_dir_all(path.parent().context("no parent")?).context("creating a directory")?;
        fs::write(&path, text).context("writing registries.conf")?;
        Ok(root)
    }
}

impl Opened {
    /// Returns what has happened at each endpoint.
    pub fn log(&self) -> Vec<(String, Option<String>)> {
        self.log.entries()
    }

    /// Looks for the signatures.
    pub fn signatures(&self) -> Result<Vec<AttachedSignature>> {
        self.image.signatures()
    }
}

/// Checks that what was found is the one signature of each of these digests, from this place.
pub fn ensure_found(found: &[AttachedSignature], digests: &[&str], endpoint: &str) -> Result<()> {
    ensure!(found.len() == digests.len(), "{found:?}");
    for (signature, digest) in found.iter().zip(digests) {
        ensure!(signature.signature == *digest, "{signature:?} is not of {digest}");
        ensure!(signature.payload == payload(digest, "registry.example/os/node"), "{signature:?}");
        ensure!(signature.endpoint == endpoint, "{signature:?} is not from {endpoint}");
    }
    Ok(())
}
