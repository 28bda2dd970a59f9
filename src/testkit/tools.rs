// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A root directory with programs of another system, in which they are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// The environment variable that names a root directory with ostree and skopeo.
pub const ROOT: &str = "SLIPSTREAM_TOOLS_ROOT";
/// The environment variable that keeps the work directory.
const KEEP: &str = "SLIPSTREAM_KEEP";

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
#[derive(Debug)]
pub struct Tools {
    root: PathBuf,
    work: TempDir,
}

impl Tools {
    /// Makes a work directory below `parent` for a root.
    pub fn new(root: PathBuf, parent: &Path) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("tools-").tempdir_in(parent);
        let mut work = made.with_context(|| format!("creating a work directory in {}", parent.display()))?;
        if std::env::var_os(KEEP).is_some() {
            work.disable_cleanup(true);
            eprintln!("keeping {}", work.path().display());
        }
        Ok(Self { root, work })
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

/// Returns the path that an environment variable has.
pub fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
