// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small image, and pulls of it into fresh repositories.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::files::RootFiles;
use contract::names::SourceSpec;
use contract::names::{Digest, ImageReference};
use ostree::Repo;
use slipstream::import::{Plan, Purpose, Session, import, plan};
use source::Surroundings;
use source::containers::HostConfig;
use source::http::{EndpointLog, Limits, RetryPolicy};
use testkit::image::Image as Written;
use testkit::layout::{Layout, digits};
use testkit::repo;
use testkit::sandbox::Sandbox;

/// Patience for tests: what takes minutes in the field takes less than a second, but for a stall, which libcurl counts
/// in seconds.
pub const QUICK: Limits = Limits {
    connect: Duration::from_secs(2),
    first_byte: Duration::from_secs(2),
    first_byte_alone: Duration::from_secs(10),
    low_speed: 1000,
    low_speed_time: Duration::from_secs(1),
    retry: RetryPolicy { first: Duration::from_millis(5), cap: Duration::from_millis(40), tries: 8 },
};

/// The image, and the repositories that it is pulled into.
pub struct Image {
    sandbox: Sandbox,
    /// Every blob by the hex digits of its digest, and the marker file.
    pub blobs: Arc<HashMap<String, Vec<u8>>>,
    pub digest: String,
    /// The hex digits of the layers' digests.
    pub layers: Vec<String>,
    /// The merge commit of a pull from the layout on the disk.
    pub commit: String,
}

impl Image {
    /// Writes the image and pulls it from the disk.
    pub fn new() -> Result<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?;
        let node = sandbox.path().join("node");
        let mut image = Written::plain();
        image.layer(|layer| {
            layer.dir("usr").dir("etc").file("usr/lib/modules/1.0/vmlinuz", "kernel");
            layer.file("usr/lib/os-release", "ID=test\n").dir("var");
        })?;
        for n in 0..3 {
            image.layer(|layer| {
                layer.file(&format!("usr/share/big{n}"), &noise(n));
            })?;
        }
        let layers = image.blobs.iter().map(|(name, _)| digits(name).to_owned()).collect();
        let digest = image.write(&node)?;
        let blobs = Layout::at(&node).served()?;
        let mut image = Self { sandbox, blobs: Arc::new(blobs), digest, layers, commit: String::new() };
        let spec = SourceSpec::parse(&format!("oci:{}", node.display()))?;
        image.commit = image.pull(&spec, &[], Duration::from_secs(60), QUICK).0?;
        Ok(image)
    }

    /// Returns the reference of the image, as if it were at `host`.
    pub fn reference(&self, host: &str) -> String {
        format!("{host}/os/node@{}", self.digest)
    }

    /// Makes a fresh repository.
    pub fn repo(&self) -> Result<PathBuf> {
        let path = tempfile::Builder::new().prefix("repo").tempdir_in(self.sandbox.path())?.keep();
        repo::init(&path, "bare")?;
        Ok(path)
    }

    /// Makes a root with these files.
    pub fn root(&self, files: &[(&str, String)]) -> Result<PathBuf> {
        let root = tempfile::Builder::new().prefix("root").tempdir_in(self.sandbox.path())?.keep();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, text)?;
        }
        Ok(root)
    }

    /// Pulls into a fresh repository, with these files as configuration; returns the commit, and what happened at each
    /// endpoint.
    pub fn pull(
        &self,
        spec: &SourceSpec,
        files: &[(&str, String)],
        time: Duration,
        limits: Limits,
    ) -> (Result<String>, Vec<(String, Option<String>)>) {
        let mut log = EndpointLog::default();
        let result = self.repo().and_then(|repo| {
            let reference = ImageReference::parse(&self.reference("registry.example"))?;
            let deadline = Instant::now() + time;
            let config = HostConfig::new(Arc::new(RootFiles::new(&self.root(files)?)));
            let (run_dir, config) = (Path::new("/nonexistent"), &config);
            let around = Surroundings { image: &reference, run_dir, config, limits, deadline };
            let source = source::open(spec, &around)?;
            log = source.log();
            let image = source::verify(source, Digest::parse(&self.digest)?)?.image()?;
            let handle = Repo::open(&repo)?;
            let session = Session::open(&handle, &repo, Purpose::Pull, deadline)?;
            let Plan::Ready(plan) = plan(&session, &image, &reference)? else { return Ok(String::new()) };
            let imported = import(&session, &image, &reference, &plan, deadline)?;
            let commit = imported.continue_value().context("the import has stopped")?.commit.hex();
            fs::remove_dir_all(&repo).context("removing the repository")?;
            Ok(commit)
        });
        (result, log.entries())
    }
}

/// Text that gzip can halve, but not more.
fn noise(seed: u32) -> String {
    let mut state = u64::from(seed) + 1;
    let mut text = String::new();
    while text.len() < 500_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{:08x}", state >> 32);
    }
    text
}
