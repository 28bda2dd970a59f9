// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernels in a commit.

use std::path::Path;

use anyhow::{Context, Result};

use super::config::RepoConfig;
use super::store::Store;
use super::tree::Dir;
use crate::oci::Digest;

/// Kernel and initramfs as libostree finds them beside the modules, and copies them to the boot partition.
const BOOT_FILES: [&str; 2] = ["vmlinuz", "initramfs.img"];

/// A kernel: a directory of `/usr/lib/modules` that holds a `vmlinuz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its version, as `uname -r` says it.
    pub version: String,
    /// What goes to the boot partition: content objects.
    pub files: Vec<Digest>,
    /// Size of these, in bytes.
    pub bytes: u64,
}

/// The kernels in a commit of the repository at `repo_path`.
pub fn kernels(repo_path: &Path, commit: &Digest) -> Result<Vec<Kernel>> {
    let store = Store::open_to_read(repo_path, RepoConfig::read(repo_path)?.mode)?;
    let mut root = Dir::of_commit(&store, commit)?;
    let mut dir = &mut root;
    for name in ["usr", "lib", "modules"] {
        let node =
            dir.dirs.get_mut(name).with_context(|| format!("commit {} has no /usr/lib/modules", commit.hex()))?;
        dir = node.load(&store)?;
    }
    let mut found = Vec::new();
    for (version, node) in &mut dir.dirs {
        let names = &node.load(&store)?.files;
        if !names.contains_key(BOOT_FILES[0]) {
            continue;
        }
        let files: Vec<Digest> = BOOT_FILES.iter().filter_map(|name| names.get(*name).copied()).collect();
        let mut bytes = 0;
        for file in &files {
            bytes += store.load_header(file)?.1;
        }
        found.push(Kernel { version: version.clone(), files, bytes });
    }
    Ok(found)
}
