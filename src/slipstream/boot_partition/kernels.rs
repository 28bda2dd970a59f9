// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernels of a commit, and what libostree copies of each to the boot partition.
//!
//! Tested by `src/slipstream/tests/boot/kernel.rs`, `src/slipstream/tests/boot/room.rs`.

use std::path::Path;

use anyhow::{Context, Result};
use contract::names::Digest;
use repo::config::RepoConfig;
use repo::store::Store;
use repo::tree::Dir;

/// What libostree finds beside the modules and copies to the boot partition: the kernel, what belongs to it (as
/// `ostree-sysroot-deploy.c` has it), and all that is in the directory of device trees.
pub(crate) const KERNEL: &str = "vmlinuz";
const WITH_KERNEL: [&str; 3] = ["initramfs.img", ".vmlinuz.hmac", "devicetree"];
const DEVICE_TREES: &str = "dtb";
/// Where each kernel has a directory.
pub(crate) const MODULES: [&str; 3] = ["usr", "lib", "modules"];

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
    let found = files(&store, commit)?.with_context(|| format!("commit {} has no /usr/lib/modules", commit.hex()))?;
    let kernel = |(version, files): BootFiles| {
        let mut bytes = 0;
        for file in &files {
            bytes += store.load_header(file)?.1;
        }
        Ok(Kernel { version, files, bytes })
    };
    found.into_iter().map(kernel).collect()
}

/// A kernel's version and its files for the boot partition.
pub(crate) type BootFiles = (String, Vec<Digest>);

/// Version and boot files of each kernel in a commit, of which only the metadata has to be there. `None`: there is no
/// `/usr/lib/modules`.
pub(crate) fn files(store: &Store, commit: &Digest) -> Result<Option<Vec<BootFiles>>> {
    let mut root = Dir::of_commit(store, commit)?;
    let mut dir = &mut root;
    for name in MODULES {
        let Some(node) = dir.dirs.get_mut(name) else { return Ok(None) };
        dir = node.load(store)?;
    }
    let mut found = Vec::new();
    for (version, node) in &mut dir.dirs {
        let own = node.load(store)?;
        let Some(kernel) = own.files.get(KERNEL) else { continue };
        let mut files = vec![*kernel];
        files.extend(WITH_KERNEL.iter().filter_map(|name| own.files.get(*name)));
        if let Some(node) = own.dirs.get_mut(DEVICE_TREES) {
            add_all(node.load(store)?, store, &mut files)?;
        }
        found.push((version.clone(), files));
    }
    Ok(Some(found))
}

/// Every file of a directory.
fn add_all(dir: &mut Dir, store: &Store, files: &mut Vec<Digest>) -> Result<()> {
    files.extend(dir.files.values());
    for node in dir.dirs.values_mut() {
        add_all(node.load(store)?, store, files)?;
    }
    Ok(())
}
