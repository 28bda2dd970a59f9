// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root in which ostree, skopeo, the peer and slipstream are run.
//!
//! Both importers run in it, so that they load the same libostree: what a checkout
//! does with a directory over a symlink, for one, differs between its releases.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use testkit::programs::needs;

const ROOT: &str = "SLIPSTREAM_TOOLS_ROOT";
const PEER: &str = "SLIPSTREAM_PEER";

/// Returns why the test cannot run here.
pub fn ready() -> Result<(), String> {
    if variable(ROOT).is_none() || variable(PEER).is_none() {
        return Err(format!("it needs {ROOT} and {PEER}: `make differential` sets them"));
    }
    needs(&["unshare"])
}

/// Where the work directory stands inside the root.
pub const INSIDE: &str = "/mnt";

/// Makes the root usable without leaving a mount behind: all is gone with the shell.
const ENTER: &str = r#"
root=$1 work=$2 script=$3; shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$work" "$root/mnt"
exec env -i PATH=/mnt/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
  chroot "$root" /bin/sh -euc "$script" sh "$@"
"#;

/// A root with tools, and a work directory.
pub struct Tools {
    root: PathBuf,
    work: TempDir,
}

impl Tools {
    /// Makes a work directory with the programs that the environment names.
    pub fn from_env(slipstream: &Path) -> Result<Self> {
        let named = |name| variable(name).with_context(|| format!("{name} is not set"));
        let (root, peer) = (named(ROOT)?, named(PEER)?);
        let mut work = tempfile::Builder::new()
            .prefix("differential-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .context("creating the work directory")?;
        if std::env::var_os("SLIPSTREAM_KEEP").is_some() {
            work.disable_cleanup(true);
            eprintln!("keeping {}", work.path().display());
        }
        let bin = work.path().join("bin");
        fs::create_dir(&bin).context("creating bin")?;
        for (from, name) in [(peer.as_path(), "ostree-ext-cli"), (slipstream, "slipstream")] {
            fs::copy(from, bin.join(name)).with_context(|| format!("copying {}", from.display()))?;
        }
        let tools = Self { root, work };
        tools.check()?;
        Ok(tools)
    }

    /// A root that was named but does not serve is an error, not a reason to skip.
    fn check(&self) -> Result<()> {
        self.shell("ostree --version >/dev/null; skopeo --version >/dev/null; ostree-ext-cli --help >/dev/null", &[])
            .context("checking the tools root")?;
        Ok(())
    }

    /// Returns the work directory as the host sees it.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Runs a shell script inside; its outcome is the caller's to judge.
    pub fn run(&self, script: &str, args: &[&str]) -> Result<Output> {
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh"])
            .arg(&self.root)
            .arg(self.work())
            .arg(script)
            .args(args)
            .output()
            .context("running unshare")
    }

    /// Runs a shell script that has to succeed and returns what it printed.
    pub fn shell(&self, script: &str, args: &[&str]) -> Result<String> {
        let output = self.run(script, args)?;
        if !output.status.success() {
            bail!("running a script in the tools root: {}: {}", output.status, said(&output));
        }
        String::from_utf8(output.stdout).context("reading a script's output")
    }
}

/// Returns the last lines that a command printed, on one line.
pub fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Creates a file with all its parents.
pub fn put(root: &Path, path: &str, data: &str) -> Result<()> {
    let to = root.join(path);
    let parent = to.parent().context("finding the parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    ensure!(!to.exists(), "{path} is there twice");
    fs::write(&to, data).with_context(|| format!("writing {path}"))
}
