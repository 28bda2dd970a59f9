// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A repository, the images that are pulled into it, and the programs that do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::Value;

use testkit::blob::{Blob, Packing};
use testkit::layer::Layer;
use testkit::repo::{self, files_below, fsck, staged};
use testkit::sandbox::Sandbox;

/// Longest wait for a program that does something small.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Below it: the refs of images.
pub const IMAGES: &str = "ostree/container/image/";
const LAYERS: &str = "ostree/container/blob/";

/// A staged image. All have their lowest layer in common, and each has one of its own.
pub struct Image {
    pub name: String,
    pub source: String,
    /// The digests of its layers, as refs have them.
    pub layers: Vec<String>,
}

impl Image {
    pub fn write(sandbox: &Sandbox, name: &str) -> Result<Self> {
        let (mut common, mut own) = (Layer::new(), Layer::new());
        common.dir("usr").dir("usr/lib").dir("usr/share");
        own.dir("usr/share");
        for n in 0..200 {
            common.file(&format!("usr/lib/common-{n}"), &format!("in all: {n}\n").repeat(n + 1));
            own.file(&format!("usr/share/{name}-{n}"), &format!("in {name} only: {n}\n").repeat(n + 1));
        }
        let mut image = testkit::image::Image::plain();
        image.push(&Blob::new(common.finish(), Packing::Gzip))?;
        image.push(&Blob::new(own.finish(), Packing::Gzip))?;
        let directory = sandbox.path().join(name);
        fs::create_dir(&directory).context("creating a layout")?;
        let digest = image.write(&directory)?;
        let manifest = fs::read(directory.join("blobs/sha256").join(digest.trim_start_matches("sha256:")))?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let layers = manifest["layers"].as_array().context("no layers")?.iter();
        let layers = layers.filter_map(|layer| Some(layer["digest"].as_str()?.replace(':', "_3A_"))).collect();
        let source = format!("oci:{}", directory.display());
        Ok(Self { name: format!("example.com/os/{name}@{digest}"), source, layers })
    }

    pub fn layer_ref(&self, number: usize) -> String {
        format!("{LAYERS}{}", self.layers[number])
    }
}

/// A running pull.
pub struct Pull {
    child: Child,
    out: PathBuf,
}

impl Pull {
    fn log(&self) -> String {
        fs::read_to_string(self.out.with_extension("err")).unwrap_or_default()
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("waiting for slipstream")?.is_none())
    }

    /// Waits until it has said this.
    pub fn wait_for(&mut self, words: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            // Asked first: what it says at its end counts.
            let running = self.is_running()?;
            if self.log().contains(words) {
                return Ok(());
            }
            ensure!(running, "it has ended without {words:?}: {}", self.log());
            ensure!(started.elapsed() < LIMIT, "it does not say {words:?}: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing slipstream")?;
        self.child.wait().context("waiting for slipstream").map(drop)
    }

    /// The commit that it prints.
    pub fn end(mut self) -> Result<String> {
        let status = self.child.wait().context("waiting for slipstream")?;
        ensure!(status.success(), "{status}: {}", self.log());
        Ok(fs::read_to_string(&self.out).context("reading what it printed")?.trim().to_owned())
    }
}

/// The lock that libostree takes to prune; free when it is dropped.
pub struct Exclusive(#[allow(dead_code, reason = "it is there to be dropped")] File);

/// A repository.
pub struct Place<'a> {
    pub sandbox: &'a Sandbox,
    pub images: &'a [Image],
    pub repo: PathBuf,
}

impl<'a> Place<'a> {
    /// A fresh one, in place of the one before.
    pub fn new(sandbox: &'a Sandbox, images: &'a [Image]) -> Result<Self> {
        let place = Self { sandbox, images, repo: sandbox.path().join("repo") };
        if place.repo.exists() {
            fs::remove_dir_all(&place.repo).context("removing the repository")?;
        }
        repo::init(&place.repo, "bare")?;
        Ok(place)
    }

    pub fn start(&self, name: &str, image: &Image) -> Result<Pull> {
        let out = self.sandbox.path().join(format!("{name}.out"));
        let create = |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
        let child = Command::new(env!("CARGO_BIN_EXE_slipstream"))
            .args(["pull", &image.source, "--image", &image.name, "--repo"])
            .arg(&self.repo)
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&out.with_extension("err"))?)
            .spawn();
        Ok(Pull { child: child.context("running slipstream")?, out })
    }

    pub fn pull(&self, image: &Image) -> Result<String> {
        self.start("pull", image)?.end()
    }

    /// What a pull into a repository of its own gives.
    pub fn expected(&self, image: &Image) -> Result<String> {
        let other = Self { repo: self.sandbox.path().join("other"), ..*self };
        repo::init(&other.repo, "bare")?;
        let commit = other.pull(image);
        fs::remove_dir_all(&other.repo).context("removing the repository")?;
        commit
    }

    pub fn lock(&self) -> Result<Exclusive> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(self.repo.join(".lock"))?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).context("locking the repository")?;
        Ok(Exclusive(file))
    }

    pub fn ostree(&self, words: &[&str]) -> Result<String> {
        let output = Command::new("ostree").args(words).arg(format!("--repo={}", self.repo.display())).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ostree {}: {}", words.join(" "), text.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A directory to commit.
    pub fn tree(&self) -> Result<PathBuf> {
        let tree = self.sandbox.path().join("tree");
        fs::create_dir_all(&tree).context("creating a tree")?;
        Ok(tree)
    }

    /// All refs, with their commits.
    pub fn refs(&self) -> Result<BTreeMap<String, String>> {
        let heads = self.repo.join("refs/heads");
        let read = |name: String| Ok((name.clone(), fs::read_to_string(heads.join(name))?.trim().to_owned()));
        files_below(&heads)?.into_iter().map(read).collect()
    }

    pub fn image_refs(&self) -> Result<Vec<String>> {
        Ok(self.refs()?.into_keys().filter(|name| name.starts_with(IMAGES)).collect())
    }

    pub fn commit_of(&self, name: &str) -> Result<String> {
        self.refs()?.remove(name).with_context(|| format!("there is no ref {name}"))
    }

    /// Sets a ref as another program does it: by a new file.
    pub fn set_ref(&self, name: &str, commit: &str) -> Result<()> {
        let path = self.repo.join("refs/heads").join(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        let temporary = self.repo.join("tmp/new-ref");
        fs::write(&temporary, format!("{commit}\n"))?;
        fs::rename(temporary, path).context("setting a ref")
    }

    /// A prune would find nothing.
    pub fn ensure_all_reachable(&self) -> Result<()> {
        let objects = files_below(&self.repo.join("objects"))?;
        self.ostree(&["prune", "--refs-only"])?;
        let left = files_below(&self.repo.join("objects"))?;
        ensure!(objects == left, "{} of {} objects were unreachable", objects.len() - left.len(), objects.len());
        Ok(())
    }

    pub fn ensure_sound(&self) -> Result<()> {
        let fault = fsck(&self.repo)?;
        ensure!(fault.is_none(), "ostree fsck: {}", fault.unwrap_or_default());
        let directories = staged(&self.repo)?.into_iter().filter(|name| self.repo.join("tmp").join(name).is_dir());
        let ours: Vec<String> = directories.filter(|name| name.starts_with("slipstream-")).collect();
        ensure!(ours.is_empty(), "left in tmp: {ours:?}");
        Ok(())
    }
}
