// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mounts, each with its reason at the place of the call. The kernel of RHEL 9 (5.14) is the oldest that must do.
//!
//! Tested by `test-vm/src/suite/`.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, move_mount, open_tree, unmount,
};

/// A new tmpfs. `options` are those of tmpfs(5).
pub fn tmpfs(target: &Path, options: &str) -> Result<()> {
    let options = std::ffi::CString::new(options).context("mount options with a NUL byte")?;
    rustix::mount::mount("tmpfs", target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
        .with_context(|| format!("mounting a tmpfs on {}", target.display()))
}

/// Show `source` at `target` too.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target).with_context(|| format!("bind-mounting {}", target.display()))
}

/// As [`bind`], with everything that is mounted below.
pub fn bind_recursive(source: &Path, target: &Path) -> Result<()> {
    mount_bind_recursive(source, target).with_context(|| format!("bind-mounting {}", target.display()))
}

/// Make one mount read-only, whatever others do with the same file system.
pub fn make_read_only(target: &Path) -> Result<()> {
    mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
        .with_context(|| format!("making {} read-only", target.display()))
}

/// No mount below `target` is seen by, or sees, another namespace from now on.
pub fn make_private(target: &Path) -> Result<()> {
    mount_change(target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .with_context(|| format!("making mounts below {} private", target.display()))
}

/// A detached copy of what is at `path`: it stays when something is mounted over it.
pub fn detached(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(rustix::fs::CWD, path, flags).with_context(|| format!("opening {}", path.display()))
}

/// As [`detached`], with everything that is mounted below.
pub fn detached_recursive(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(rustix::fs::CWD, path, flags).with_context(|| format!("opening {}", path.display()))
}

/// Take a mount away, with everything below it, whoever uses it.
pub fn detach(target: &Path) -> Result<()> {
    unmount(target, UnmountFlags::DETACH).with_context(|| format!("unmounting {}", target.display()))
}

/// Attach a detached mount.
pub fn attach(tree: &OwnedFd, target: &Path) -> Result<()> {
    move_mount(tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("mounting {}", target.display()))
}
