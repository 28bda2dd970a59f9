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
use testkit::image::Image as Written;
use testkit::layout::Layout;
use testkit::programs::ostree;
use testkit::repo::{self, files_below, fsck, staged};
use testkit::sandbox::Sandbox;

const SLIPSTREAM: &str = env!("CARGO_BIN_EXE_slipstream");
/// Longest wait for a program that does something small.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Below it: the refs of images.
pub const IMAGES: &str = "ostree/container/image/";
const LAYERS: &str = "ostree/container/blob/";

/// A staged image. All have their lowest layer in common, and each has one of its own.
pub struct Image {
    /// Its name for a pull.
    pub name: String,
    /// Where it is.
    pub source: String,
    /// The digests of its layers, as refs have them.
    pub layers: Vec<String>,
}

/// The images that all cases pull, none of which they change.
pub struct Images {
    pub all: Vec<Image>,
    /// Where they are; it goes with them.
    _sandbox: Sandbox,
}

impl Images {
    /// Writes them.
    pub fn write() -> Result<Self> {
        let sandbox = Sandbox::new(SLIPSTREAM)?;
        let all =
            ["one", "two", "three"].map(|name| Image::write(&sandbox, name)).into_iter().collect::<Result<_>>()?;
        Ok(Self { all, _sandbox: sandbox })
    }
}

impl Image {
    fn write(sandbox: &Sandbox, name: &str) -> Result<Self> {
        let mut image = Written::plain();
        image.layer(|common| {
            common.dir("usr").dir("usr/lib").dir("usr/share");
            for n in 0..200 {
                common.file(&format!("usr/lib/common-{n}"), &format!("in all: {n}\n").repeat(n + 1));
            }
        })?;
        image.layer(|own| {
            own.dir("usr/share");
            for n in 0..200 {
                own.file(&format!("usr/share/{name}-{n}"), &format!("in {name} only: {n}\n").repeat(n + 1));
            }
        })?;
        let directory = sandbox.path().join(name);
        let digest = image.write(&directory)?;
        let layers = Layout::at(&directory).image()?.layers()?;
        let layers = layers.iter().map(|digest| digest.replace(':', "_3A_")).collect();
        let source = format!("oci:{}", directory.display());
        Ok(Self { name: format!("example.com/os/{name}@{digest}"), source, layers })
    }

    /// Returns the ref of a layer.
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

    /// Returns whether it has not ended.
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

    /// Kills it at once.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing slipstream")?;
        self.child.wait().context("waiting for slipstream").map(drop)
    }

    /// Waits for its end, and returns the commit that it prints.
    pub fn end(mut self) -> Result<String> {
        let status = self.child.wait().context("waiting for slipstream")?;
        ensure!(status.success(), "{status}: {}", self.log());
        Ok(fs::read_to_string(&self.out).context("reading what it printed")?.trim().to_owned())
    }
}

/// A repository.
pub struct Place<'a> {
    sandbox: Sandbox,
    pub images: &'a Images,
    pub repo: PathBuf,
}

impl<'a> Place<'a> {
    /// Makes a fresh one.
    pub fn new(images: &'a Images) -> Result<Self> {
        let sandbox = Sandbox::new(SLIPSTREAM)?;
        let repo = sandbox.path().join("repo");
        repo::init(&repo, "bare")?;
        Ok(Self { sandbox, images, repo })
    }

    /// Starts a pull; `name` is that of its output.
    pub fn start(&self, name: &str, image: &Image) -> Result<Pull> {
        self.start_into(&self.repo, name, image)
    }

    fn start_into(&self, repo: &Path, name: &str, image: &Image) -> Result<Pull> {
        let out = self.sandbox.path().join(format!("{name}.out"));
        let create = |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
        let child = Command::new(SLIPSTREAM)
            .args(["pull", &image.source, "--image", &image.name, "--repo"])
            .arg(repo)
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&out.with_extension("err"))?)
            .spawn();
        Ok(Pull { child: child.context("running slipstream")?, out })
    }

    /// Pulls, and returns the commit.
    pub fn pull(&self, image: &Image) -> Result<String> {
        self.start("pull", image)?.end()
    }

    /// Returns the commit of a pull into a repository of its own.
    pub fn expected(&self, image: &Image) -> Result<String> {
        let other = self.sandbox.path().join("other");
        repo::init(&other, "bare")?;
        let commit = self.start_into(&other, "other", image)?.end();
        fs::remove_dir_all(&other).context("removing the repository")?;
        commit
    }

    /// Takes the lock that libostree takes to prune; it is free when the file is dropped.
    pub fn lock(&self) -> Result<File> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(self.repo.join(".lock"))?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).context("locking the repository")?;
        Ok(file)
    }

    /// Runs ostree on the repository.
    pub fn ostree(&self, words: &[&str]) -> Result<String> {
        ostree(&self.repo, words)
    }

    /// Makes a directory to commit.
    pub fn tree(&self) -> Result<PathBuf> {
        let tree = self.sandbox.path().join("tree");
        fs::create_dir_all(&tree).context("creating a tree")?;
        Ok(tree)
    }

    /// Returns all refs, with their commits.
    pub fn refs(&self) -> Result<BTreeMap<String, String>> {
        repo::refs(&self.repo)
    }

    /// Returns the refs of images.
    pub fn image_refs(&self) -> Result<Vec<String>> {
        Ok(self.refs()?.into_keys().filter(|name| name.starts_with(IMAGES)).collect())
    }

    /// Returns the commit that a ref names.
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

    /// Fails if a prune finds something.
    pub fn ensure_all_reachable(&self) -> Result<()> {
        let objects = files_below(&self.repo.join("objects"))?;
        self.ostree(&["prune", "--refs-only"])?;
        let left = files_below(&self.repo.join("objects"))?;
        ensure!(objects == left, "{} of {} objects were unreachable", objects.len() - left.len(), objects.len());
        Ok(())
    }

    /// Fails if something is broken, or left by us.
    pub fn ensure_sound(&self) -> Result<()> {
        let fault = fsck(&self.repo)?;
        ensure!(fault.is_none(), "ostree fsck: {}", fault.unwrap_or_default());
        let directories = staged(&self.repo)?.into_iter().filter(|name| self.repo.join("tmp").join(name).is_dir());
        let ours: Vec<String> = directories.filter(|name| name.starts_with("slipstream-")).collect();
        ensure!(ours.is_empty(), "left in tmp: {ours:?}");
        Ok(())
    }
}
