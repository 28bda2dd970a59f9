// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Servers, the image that they have, and pulls of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contract::files::RootFiles;
use contract::names::ImageReference;
use contract::names::SourceSpec;
use source::containers::HostConfig;
use source::http::Limits;
use source::{Surroundings, VerifiedImage};
use testkit::base::honest;
use testkit::layout::Layout;
use testkit::repo::{self, fsck};
use testkit::sandbox::Sandbox;

use crate::case::{CA, Case, Expected, PULL_SECRET, REGISTRIES, SECRETS, Text};
use crate::daemons::Daemons;
use crate::pki::Pki;
use crate::place::{self, layout_of};
use crate::signatures;

/// Most time for one pull. The image is small, but the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);
/// Layers on top of the base.
const LAYERS: usize = 6;

/// Servers, the image, and what a pull of it has to give.
pub struct Lab {
    // Dropped first: it writes into the sandbox.
    pub daemons: Daemons,
    pki: Pki,
    digest: String,
    sandbox: Sandbox,
}

impl Lab {
    /// Writes the image and starts the servers.
    pub fn make() -> Result<Self> {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?;
        let dir = sandbox.path();
        place::set_up(&dir.join("hosts"))?;
        let layout = layout_of(dir);
        let digest = write_image(&layout)?;
        let pki = Pki::make(&dir.join("pki"))?;
        let layers = Layout::at(&layout).image()?.layers()?;
        let daemons = Daemons::start(dir, &pki, &layers)?;
        signatures::push(dir, &digest)?;
        signatures::stage(dir, &digest)?;
        Ok(Self { daemons, pki, digest, sandbox })
    }

    /// Runs a case; returns the last lines of the program, or the commit.
    pub fn run(&mut self, case: &Case) -> Result<String> {
        self.daemons.mark()?;
        let root = self.configure(&case.files)?;
        let image = format!("{}@{}", case.image, self.digest);
        if let Expected::Signature(endpoint) = case.expected {
            signatures::check(&open_once(case.source, &image, &root)?, &self.digest, endpoint)?;
            (case.after)(&self.daemons)?;
            return Ok(endpoint.to_owned());
        }
        let (commit, stderr) = match case.impatient {
            true => (None, ask_once(case.source, &image, &root)?),
            false => self.pull(case.source, &image, Some(&root))?,
        };
        for secret in SECRETS {
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
            (_, None) => bail!("it failed: {stderr}"),
        };
        if case.judged {
            let theirs = self.skopeo(&image, &root)?;
            let alike = theirs.is_none() == matches!(case.expected, Expected::Image);
            ensure!(alike, "skopeo says {theirs:?}, and we {said}");
        }
        (case.after)(&self.daemons).with_context(|| format!("after {said}"))?;
        Ok(said)
    }

    /// Makes a root with these files.
    fn configure(&self, files: &[(String, Text)]) -> Result<PathBuf> {
        let root = self.fresh("root")?;
        for (path, text) in files {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("finding a directory")?).context("creating a directory")?;
            self.write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(root)
    }

    fn write(&self, path: &Path, text: &Text) -> Result<()> {
        let text = match text {
            Text::Plain(text) => text.clone(),
            Text::Certificate(name) => self.pki.text(name)?,
            Text::Key(name) => self.pki.key_text(name)?,
            Text::Link(target) => return Ok(symlink(target, path)?),
        };
        Ok(fs::write(path, text)?)
    }

    /// Pulls into a new repository; returns the commit, if there is one, and what went to standard error.
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

    /// Has skopeo ask for the manifest, with the configuration below a root; returns why it cannot have it.
    fn skopeo(&self, image: &str, root: &Path) -> Result<Option<String>> {
        let mut command = Command::new("timeout");
        command.arg(LIMIT.as_secs().to_string()).args(["skopeo", "--insecure-policy"]);
        // Without a file they would be those of this machine.
        command.arg("--registries-conf").arg(there_or(root, REGISTRIES, "")?);
        command.args(["inspect", "--raw", "--authfile"]).arg(there_or(root, PULL_SECRET, "{}")?);
        let host = image.split('/').next().unwrap_or_default();
        let certificates = root.join("etc/containers/certs.d").join(host);
        if certificates.exists() {
            command.arg("--cert-dir").arg(certificates);
        }
        command.arg(format!("docker://{image}")).env("SSL_CERT_FILE", there_or(root, CA, "")?);
        let output = command.output().context("running skopeo")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((!output.status.success()).then_some(said))
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

/// Returns the path of a file below a root, and writes it if it is not there.
fn there_or(root: &Path, path: &str, text: &str) -> Result<PathBuf> {
    let path = root.join(path.trim_start_matches('/'));
    if !path.exists() {
        fs::create_dir_all(path.parent().context("finding a directory")?).context("creating a directory")?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(path)
}

/// Looks for an image without waiting for better times; returns the error.
fn ask_once(source: &str, image: &str, root: &Path) -> Result<String> {
    match open_once(source, image, root) {
        Ok(_) => bail!("{image} is there"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Opens an image without waiting for better times.
fn open_once(source: &str, image: &str, root: &Path) -> Result<VerifiedImage> {
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
    let opened = source::open(&SourceSpec::parse(source)?, &around)?;
    source::verify(opened, image.digest())?.image()
}

/// Writes a base and some layers with content that does not compress.
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
        image.layer(|tar| {
            tar.file(&format!("usr/lib/noise-{layer}"), &text);
        })?;
    }
    image.write(dir)
}
