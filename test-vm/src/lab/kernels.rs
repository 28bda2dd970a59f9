// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two kernels: every image has one of them, and QEMU is tried with one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache::Inputs;
use super::cmd;
use super::places::Lab;

/// The suite of both userspaces, and of the bootimage's kernel.
pub const SUITE: &str = "trixie";
/// The suite of the node image's kernel: another version than [`SUITE`]'s.
const NODE_KERNEL_SUITE: &str = "trixie-backports";

/// Returns an artefact: both kernels, unpacked, in `boot` and `node`.
pub fn both(lab: &Lab) -> Result<PathBuf> {
    let inputs = Inputs::default().text(SUITE).text(NODE_KERNEL_SUITE).file(&lab.own("scripts/kernels.sh"))?;
    lab.cache.artefact("kernels", inputs, |dir| {
        cmd::run(&mut lab.script("kernels.sh", [dir.as_os_str(), SUITE.as_ref(), NODE_KERNEL_SUITE.as_ref()]))
    })
}

/// Returns the path of the kernel in one of the directories of [`both`].
pub fn image(dir: &Path) -> Result<PathBuf> {
    Ok(dir.join("usr/lib/modules").join(version_of(dir)?).join("vmlinuz"))
}

/// Returns `uname -r` of the kernel in one of the directories of [`both`].
pub fn version_of(dir: &Path) -> Result<String> {
    let modules = dir.join("usr/lib/modules");
    let entry = fs::read_dir(&modules)
        .with_context(|| format!("listing {}", modules.display()))?
        .next()
        .with_context(|| format!("finding a kernel in {}", modules.display()))?
        .with_context(|| format!("listing {}", modules.display()))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
