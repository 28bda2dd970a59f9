// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernels of a commit, and what libostree copies of each to the boot partition.
//!
//! Tested by `src/slipstream/tests/boot/kernel.rs`, `src/slipstream/tests/boot/kernels.rs`,
//! `src/slipstream/tests/boot/room.rs`.

use std::path::Path;

use anyhow::Result;
use contract::names::Digest;
use repo::config::RepoConfig;
use repo::store::Store;
use repo::tree::Dir;

/// What libostree finds beside the modules and copies to the boot partition: the kernel, its initramfs, what else belongs to it
/// (as `ostree-sysroot-deploy.c` has it), and all that is in the directory of device trees.
pub(crate) const KERNEL: &str = "vmlinuz";
const INITRAMFS: [&str; 2] = ["initramfs.img", "initramfs"];
const WITH_KERNEL: [&str; 3] = [".vmlinuz.hmac", "devicetree", "aboot.img"];
const DEVICE_TREES: &str = "dtb";
/// Where each kernel has a directory.
pub(crate) const MODULES: [&str; 3] = ["usr", "lib", "modules"];

/// A kernel: a directory of `/usr/lib/modules` that holds a `vmlinuz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its version, as `uname -r` says it.
    pub version: String,
    /// Whether it has an initramfs.
    pub has_initramfs: bool,
    /// What goes to the boot partition: content objects.
    pub files: Vec<Digest>,
    /// Size of these, in bytes.
    pub bytes: u64,
}

/// The kernels in a commit of the repository at `repo_path`.
pub fn kernels(repo_path: &Path, commit: &Digest) -> Result<Vec<Kernel>> {
    let store = Store::open_to_read(repo_path, RepoConfig::read(repo_path)?.mode)?;
    let mut found = directories(&store, commit)?;
    for kernel in &mut found {
        for file in &kernel.files {
            kernel.bytes += store.load_header(file)?.1;
        }
    }
    Ok(found)
}

/// The versions of the kernels in a commit, of which only the metadata has to be there.
pub(crate) fn versions(store: &Store, commit: &Digest) -> Result<Vec<String>> {
    Ok(directories(store, commit)?.into_iter().map(|kernel| kernel.version).collect())
}

/// The first kernel without an initramfs, of an image that replaces one which has it. libostree takes the first kernel that it
/// finds, in the order of the file system, so that any of them may be the one that boots.
pub(crate) fn without_initramfs<'a>(node: &'a [Kernel], bootimage: &[Kernel]) -> Option<&'a Kernel> {
    let expected = bootimage.iter().any(|kernel| kernel.has_initramfs);
    node.iter().find(|kernel| expected && !kernel.has_initramfs)
}

/// The kernels in a commit, by version. Their sizes are not known yet.
fn directories(store: &Store, commit: &Digest) -> Result<Vec<Kernel>> {
    let mut root = Dir::of_commit(store, commit)?;
    let Some(dir) = root.enter(store, &MODULES)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (version, node) in &mut dir.dirs {
        let own = node.load(store)?;
        let Some(kernel) = own.files.get(KERNEL) else { continue };
        let mut files = vec![*kernel];
        let initramfs = INITRAMFS.iter().find_map(|name| own.files.get(*name));
        files.extend(initramfs);
        files.extend(WITH_KERNEL.iter().filter_map(|name| own.files.get(*name)));
        if let Some(node) = own.dirs.get_mut(DEVICE_TREES) {
            add_all(node.load(store)?, store, &mut files)?;
        }
        let has_initramfs = initramfs.is_some();
        found.push(Kernel { version: version.clone(), has_initramfs, files, bytes: 0 });
    }
    Ok(found)
}

/// Every file of a directory.
fn add_all(dir: &mut Dir, store: &Store, files: &mut Vec<Digest>) -> Result<()> {
    files.extend(dir.files.values());
    for node in dir.dirs.values_mut() {
        add_all(node.load(store)?, store, files)?;
    }
    Ok(())
}
