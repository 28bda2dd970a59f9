// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The programs that are measured, and the root in which all of them run with the same libraries.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::lab::cmd;
use crate::lab::peer;

/// Program copies and what one run of the benchmark writes.
pub struct Tools<'a> {
    /// Where everything is.
    pub lab: &'a Lab,
    work: TempDir,
    /// The slipstream that `make all` built.
    pub slipstream: PathBuf,
    /// The reference importer.
    pub peer: PathBuf,
    /// This program.
    pub own: PathBuf,
}

impl<'a> Tools<'a> {
    /// Copy the programs to where the root sees them.
    pub fn new(lab: &'a Lab) -> Result<Self> {
        let exe = std::env::current_exe().context("finding the running program")?;
        let built = exe.parent().context("finding the directory of the running program")?.join("slipstream");
        let work = tempfile::Builder::new()
            .prefix("bench-work-")
            .tempdir_in(lab.cache.dir())
            .context("creating the work directory")?;
        let copy = |from: &Path, name: &str| -> Result<PathBuf> {
            let to = work.path().join(name);
            fs::copy(from, &to).with_context(|| format!("copying {} (`make all` builds it)", from.display()))?;
            Ok(to)
        };
        let slipstream = copy(&built, "slipstream")?;
        let peer = copy(&peer::binary(lab)?, peer::NAME)?;
        let own = copy(&exe, "test-vm")?;
        Ok(Self { lab, work, slipstream, peer, own })
    }

    /// Where this run may write; it goes at the end.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// A command in the tools root, which sees the cache and `place` at the same paths as outside.
    pub fn command<S: AsRef<OsStr>>(&self, place: &Path, words: impl IntoIterator<Item = S>) -> Command {
        let mut command =
            cmd::words("bash", [self.lab.own("scripts/enter.sh").as_os_str(), self.lab.tools().as_os_str()]);
        command.args([self.lab.cache.dir(), place]).arg("--").args(words);
        command
    }

    /// Make a fresh repository of mode `bare`.
    pub fn init_repo(&self, place: &Path, name: &str) -> Result<PathBuf> {
        let repo = place.join(name);
        let mut command = self.command(place, ["ostree", "init", "--mode=bare"]);
        command.arg(format!("--repo={}", repo.display()));
        cmd::run(&mut command)?;
        Ok(repo)
    }
}
