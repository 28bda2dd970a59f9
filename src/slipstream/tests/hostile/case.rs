// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One hostile image, and what has to be true after it was pulled.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::repo::{self, files_below, fsck, staged};
use testkit::sandbox::{Run, Sandbox};
use testkit::suite::{self, say};

/// The most memory that an image may need, in KiB, unless its case says another number.
pub const MEMORY: u64 = 64 << 10;
/// The longest that any of these may take. They take a fraction of it; what does not end takes all.
const TIME: Duration = Duration::from_secs(20);
/// The most that may be said about an error, in bytes: the emergency shell shows ten lines.
const WORDS: usize = 4 << 10;
/// The image's name; the digest follows.
const NAME: &str = "example.com/os/hostile@";

/// What is expected.
pub enum Expect {
    /// An error with these words in it, all of them.
    Refused(Vec<String>),
    /// The import of a good image: a control, without which the others would prove nothing.
    Imported,
    /// One or the other; the repository is sound in any case.
    Either,
}

/// Writes the layout into a directory that exists, and returns the digest to pull.
type Build = Box<dyn FnOnce(&Path) -> Result<String> + Send>;
/// Makes layout or repository, in this order, into something else.
type Prepare = Box<dyn FnOnce(&Path, &Path) -> Result<()> + Send>;

/// An image and what comes of it.
pub struct Case {
    name: String,
    build: Build,
    prepare: Option<Prepare>,
    expect: Expect,
    /// Whether the repository is one that fsck can look at afterwards.
    repo_is_sound: bool,
    /// The name of the image.
    image: String,
    /// The most memory that it may need, in KiB.
    memory: u64,
    after: Option<Box<dyn FnOnce() -> Result<()> + Send>>,
}

impl Case {
    /// Makes a case of an image that `build` writes. Until it says otherwise, it is to be imported.
    pub fn new(name: &str, build: impl FnOnce(&Path) -> Result<String> + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            build: Box::new(build),
            prepare: None,
            expect: Expect::Imported,
            repo_is_sound: true,
            image: NAME.to_owned(),
            memory: MEMORY,
            after: None,
        }
    }

    /// Makes a case of an image without ostree in it, which `fill` makes.
    pub fn image(name: &str, fill: impl FnOnce(&mut Image) -> Result<()> + Send + 'static) -> Self {
        Self::new(name, |dir| {
            let mut image = Image::plain();
            fill(&mut image)?;
            image.write(dir)
        })
    }

    /// Makes a case of an image of one gzip layer of plain files.
    pub fn layer(name: &str, fill: impl FnOnce(&mut Layer) + Send + 'static) -> Self {
        Self::image(name, |image| {
            let mut layer = Layer::new();
            fill(&mut layer);
            image.push(&Blob::new(layer.finish(), Packing::Gzip))
        })
    }

    /// Expects an error with these words in it.
    pub fn refused(mut self, words: &[&str]) -> Self {
        self.expect = Expect::Refused(words.iter().map(|word| (*word).to_owned()).collect());
        self
    }

    /// Changes layout or repository before the pull.
    pub fn prepare(mut self, prepare: impl FnOnce(&Path, &Path) -> Result<()> + Send + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Takes either ending.
    pub fn either(mut self) -> Self {
        self.expect = Expect::Either;
        self
    }

    /// Checks one thing more, whatever else went wrong.
    pub fn after(mut self, after: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        self.after = Some(Box::new(after));
        self
    }

    /// Leaves out what is checked by ostree: it could not open the repository.
    pub fn without_fsck(mut self) -> Self {
        self.repo_is_sound = false;
        self
    }

    /// Lets the import have so many KiB of memory.
    pub fn within(mut self, memory: u64) -> Self {
        self.memory = memory;
        self
    }

    /// Pulls the image under another name.
    pub fn named(mut self, image: String) -> Self {
        self.image = image;
        self
    }

    /// Returns the test of this case. Its name begins with what has to come of the image.
    pub fn test(self) -> suite::Case {
        let does = match self.expect {
            Expect::Refused(_) => "refuses",
            Expect::Imported => "imports",
            Expect::Either => "survives",
        };
        suite::Case::new(format!("{does}_{}", self.name), || {
            let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?;
            self.run(&sandbox).map(say)
        })
    }

    /// Pulls the image and judges; returns what was said.
    fn run(self, sandbox: &Sandbox) -> Result<String> {
        let (layout, repo) = (sandbox.path().join("layout"), sandbox.path().join("repo"));
        fs::create_dir_all(&layout).context("creating the layout")?;
        let digest = (self.build)(&layout).context("building the image")?;
        repo::init(&repo, "bare")?;
        if let Some(prepare) = self.prepare {
            prepare(&layout, &repo).context("preparing")?;
        }
        let source = format!("oci:{}", layout.display());
        let run = sandbox.pull(&source, &format!("{}{digest}", self.image), &repo, TIME)?;
        let mut result = judge(&run, &self.expect, self.memory);
        if self.repo_is_sound {
            result = result.and_then(|said| ensure_clean(&repo, &run, &self.expect).map(|()| said));
        }
        if let Some(after) = self.after {
            result = result.and_then(|said| after().map(|()| said));
        }
        result.map(|said| format!("{} MiB: {said}", run.peak >> 10))
    }
}

fn judge(run: &Run, expect: &Expect, memory: u64) -> Result<String> {
    let said = run.stderr.trim().to_owned();
    let Some(status) = run.status else { bail!("it did not end within {} s: {said}", run.time.as_secs()) };
    ensure!(run.peak <= memory, "it took {} MiB of memory: {said}", run.peak >> 10);
    ensure!(said.len() <= WORDS, "the error has {} bytes: {:.200}…", said.len(), said);
    match expect {
        Expect::Imported => ensure!(status.success(), "it was not imported: {status}: {said}"),
        Expect::Either => ensure!(matches!(status.code(), Some(0 | 1)), "it crashed: {status}: {said}"),
        Expect::Refused(words) => {
            ensure!(status.code() == Some(1), "it should be refused: {status}: {said}{}", run.stdout.trim());
            ensure!(said.lines().count() == 1, "the error is not one line: {said}");
            for word in words {
                ensure!(said.contains(word), "the error lacks {word:?}: {said}");
            }
        }
    }
    Ok(said)
}

/// No image, nothing staged, no corruption.
fn ensure_clean(repo: &Path, run: &Run, expect: &Expect) -> Result<()> {
    let imported = match expect {
        Expect::Refused(_) => false,
        Expect::Imported => true,
        Expect::Either => run.status.is_some_and(|status| status.success()),
    };
    let refs = files_below(&repo.join("refs/heads/ostree/container/image"))?;
    ensure!(refs.is_empty() != imported, "refs of images: {refs:?}");
    let staged = staged(repo)?;
    ensure!(staged.is_empty(), "left in tmp: {staged:?}");
    if let Some(fault) = fsck(repo)? {
        bail!("ostree fsck: {fault}");
    }
    // A layer whose ref is set is never read again: it has to be whole, tree and all. The exception is a base commit,
    // which is checked before it is used, and says until then that it may lack objects.
    let heads = repo.join("refs/heads");
    for name in files_below(&heads)? {
        let commit = fs::read_to_string(heads.join(&name)).with_context(|| format!("reading ref {name}"))?;
        if repo.join("state").join(format!("{}.commitpartial", commit.trim())).exists() {
            ensure!(!imported, "the base commit is marked as partial");
            continue;
        }
        let mut ls = Command::new("ostree");
        let output = ls.arg("ls").arg("-R").arg("--repo").arg(repo).arg(&name).output().context("running ostree ls")?;
        ensure!(output.status.success(), "ostree ls {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
