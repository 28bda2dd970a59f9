// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real servers: each case pulls a small image from one of them, with a configuration as a node has it, and compares the
//! merge commit with that of a pull from the local layout; or it expects an error that says what is wrong.
//!
//! The servers have a network namespace for themselves and end with the test. It needs root and the programs of
//! `.ci/packages.txt`. `SLIPSTREAM_CASE` names a part of the labels to run.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod cases;
mod daemons;
mod pki;
mod place;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use slipstream::oci::ImageReference;
use slipstream::request::files::RootFiles;
use slipstream::source::containers::HostConfig;
use slipstream::source::http::Limits;
use slipstream::source::{self, SourceSpec, Surroundings};

use cases::{Case, Expected, cases};
use daemons::Daemons;
use pki::Pki;
use testkit::base::honest;
use testkit::blob::{Blob, Packing};
use testkit::layer::Layer;
use testkit::programs::needs;
use testkit::repo::{self, fsck};
use testkit::sandbox::{Sandbox, enter};

/// What has to be installed.
const PROGRAMS: [&str; 8] = ["docker-registry", "htpasswd", "ip", "nginx", "openssl", "setpriv", "skopeo", "tinyproxy"];
/// Most time for one pull. The image is small, but the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);
/// Layers on top of the base.
const LAYERS: usize = 6;

#[test]
fn images_come_from_real_servers() {
    // Not returned: the harness would print a backtrace in place of the chain.
    if let Err(error) = run_all() {
        panic!("{error:#}");
    }
}

fn run_all() -> Result<()> {
    let sandbox = match needs(&["ostree"]).and_then(|()| enter()) {
        Ok(()) => Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?,
        Err(reason) => {
            eprintln!("SKIPPED: the real servers: {reason}");
            return Ok(());
        }
    };
    for program in PROGRAMS {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().context("running sh")?;
        ensure!(found.status.success(), "{program} is not installed: run make deps");
    }
    let started = Instant::now();
    let mut lab = Lab::make(sandbox)?;
    println!("servers are up after {:.1} s", started.elapsed().as_secs_f32());
    let wanted = std::env::var("SLIPSTREAM_CASE").unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for case in cases(&lab)?.into_iter().filter(|case| case.label.contains(&wanted)) {
        let started = Instant::now();
        match lab.run(&case) {
            Ok(said) => {
                passed += 1;
                println!("ok      {} ({:.1} s): {said}", case.label, started.elapsed().as_secs_f32());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {}: {error:#}", case.label);
            }
        }
    }
    println!("{passed} passed, {failed} failed, {:.1} s", started.elapsed().as_secs_f32());
    ensure!(failed == 0 && passed > 0, "{failed} cases failed, {passed} passed");
    Ok(())
}

/// Where the image's layout is, below the work directory.
fn layout_of(dir: &Path) -> PathBuf {
    dir.join("www/node")
}

/// Servers, the image, and what a pull of it has to give.
struct Lab {
    // Dropped first: it writes into the sandbox.
    daemons: Daemons,
    pki: Pki,
    digest: String,
    sandbox: Sandbox,
}

impl Lab {
    fn make(sandbox: Sandbox) -> Result<Self> {
        let dir = sandbox.path();
        place::enter(&dir.join("hosts"))?;
        let layout = layout_of(dir);
        fs::create_dir_all(&layout).context("creating the layout")?;
        let digest = write_image(&layout)?;
        let pki = Pki::make(&dir.join("pki"))?;
        let daemons = Daemons::start(dir, &pki, &layers_of(&layout, &digest)?)?;
        Ok(Self { daemons, pki, digest, sandbox })
    }

    /// Run a case; returns what the last lines of the program were, or a word.
    fn run(&mut self, case: &Case) -> Result<String> {
        self.daemons.mark()?;
        let root = self.fresh("root")?;
        for (path, text) in &case.files {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("finding a directory")?).context("creating a directory")?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        let image = format!("{}@{}", case.image, self.digest);
        let (commit, stderr) = match case.impatient {
            true => (None, ask_once(case.source, &image, &root)?),
            false => self.pull(case.source, &image, Some(&root))?,
        };
        for secret in cases::SECRETS {
            ensure!(!stderr.contains(secret), "it printed {secret:?}: {stderr}");
        }
        let said = match (&case.expected, commit) {
            (Expected::Image, Some(commit)) => {
                if let Some(fault) = fsck(&self.sandbox.path().join("repo"))? {
                    bail!("ostree fsck: {fault}");
                }
                let layout = format!("oci:{}", layout_of(self.sandbox.path()).display());
                let (expected, more) = self.pull(&layout, &image, None)?;
                ensure!(
                    expected.as_ref() == Some(&commit),
                    "commit {commit}, but {expected:?} from the layout: {more}"
                );
                commit.chars().take(12).collect()
            }
            (Expected::Error(texts), None) => {
                for text in *texts {
                    ensure!(stderr.contains(text), "no {text:?} in: {stderr}");
                }
                stderr
            }
            (_, Some(commit)) => bail!("it pulled {commit}: {stderr}"),
            (Expected::Image, None) => bail!("it failed: {stderr}"),
        };
        (case.after)(self).with_context(|| format!("after {said}"))?;
        Ok(said)
    }

    /// Pull into a new repository; returns the commit, if there is one, and what went to standard error.
    fn pull(&self, source: &str, image: &str, root: Option<&Path>) -> Result<(Option<String>, String)> {
        let repo = self.fresh("repo")?;
        repo::init(&repo, "bare")?;
        let mut command = Command::new("timeout");
        command.arg(LIMIT.as_secs().to_string()).arg(env!("CARGO_BIN_EXE_slipstream"));
        command.args(["pull", source, "--image", image, "--repo"]).arg(&repo);
        if let Some(root) = root {
            command.arg("--root").arg(root);
        }
        // What the process's own environment says must not count.
        command.envs([("https_proxy", "http://dead.example:1"), ("http_proxy", "http://dead.example:1")]);
        let output = command.output().context("running slipstream")?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success().then_some(commit), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.sandbox.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("removing {name}"))?;
        }
        fs::create_dir(&path).with_context(|| format!("creating {name}"))?;
        Ok(path)
    }
}

/// Look for an image without waiting for better times; returns the error.
fn ask_once(source: &str, image: &str, root: &Path) -> Result<String> {
    let image = ImageReference::parse(image)?;
    let mut limits = Limits::default();
    (limits.retry.tries, limits.retry.first) = (2, Duration::from_millis(10));
    let around = Surroundings {
        image: &image,
        run_dir: root,
        config: &HostConfig::new(Arc::new(RootFiles::new(root))),
        limits,
        deadline: Instant::now() + LIMIT,
    };
    let opened = source::open(&SourceSpec::parse(source)?, &around);
    match opened.and_then(|opened| source::verify(opened, image.digest())) {
        Ok(_) => bail!("{image} is there"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A base and some layers with content that does not compress.
fn write_image(dir: &Path) -> Result<String> {
    let mut image = honest().image()?;
    let mut random: u32 = 7;
    for layer in 0..LAYERS {
        let text: String = (0..200_000 + 50_000 * layer)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b' ' + (random >> 24) as u8 % 64)
            })
            .collect();
        let mut tar = Layer::new();
        tar.file(&format!("usr/lib/noise-{layer}"), &text);
        image.push(&Blob::new(tar.finish(), Packing::Gzip))?;
    }
    image.write(dir)
}

/// The layers of the image that is in a layout, in hex.
fn layers_of(layout: &Path, digest: &str) -> Result<Vec<String>> {
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    let bytes = fs::read(layout.join("blobs/sha256").join(hex(digest))).context("reading the manifest")?;
    let manifest: Value = serde_json::from_slice(&bytes).context("parsing the manifest")?;
    let layers = manifest["layers"].as_array().context("looking for layers")?;
    layers.iter().map(|layer| layer["digest"].as_str().map(hex).context("looking for a digest")).collect()
}
