// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot partition: its boot loader entries, the link that leads to them, the kernels on it, their labels, and its
//! mount. Nothing else in slipstream knows what is below `/boot`, but for the entries, which are read without libostree.
//!
//! Tested by `test-vm/src/suite/`.

pub(crate) mod kernels;
pub(crate) mod labels;
pub(crate) mod loader_link;
pub(crate) mod room;
pub(crate) mod support;

use std::time::Instant;

use anyhow::{Context, Result};
use contract::boot_device::boot_device;
use contract::places::PhysicalRoot;
use rustix::mount::{MountFlags, mount_remount};
use source::{MountPoint, mount_device};

/// Options of the mount, in the words of mount(8) and as the kernel's flags.
const OPTIONS: &str = "ro,nosuid,nodev,noexec";
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Has the boot partition at `/boot` of the physical root, where libostree looks for the boot loader entries. Its mount is
/// gone when this is dropped.
#[derive(Debug)]
pub struct BootPartition(Option<MountPoint>);

impl BootPartition {
    /// Mounts it read-only, unless the boot loader entries are there without that. Which device it is may be said by the
    /// kernel command line.
    pub fn mount(root: &PhysicalRoot, cmdline: &str, deadline: Instant) -> Result<Self> {
        let boot = root.boot();
        if boot.join(loader_link::NAME).symlink_metadata().is_ok() {
            return Ok(Self(None));
        }
        Ok(Self(Some(mount_device(&boot_device(cmdline)?, &boot, OPTIONS, deadline)?)))
    }

    /// Takes the boot partition as it is, mounted or not.
    pub fn as_it_is() -> Self {
        Self(None)
    }

    /// Makes writable what [`Self::mount`] has mounted. It stays so until the mount is gone.
    pub fn make_writable(&self) -> Result<()> {
        let Some(mount) = &self.0 else { return Ok(()) };
        mount_remount(mount.path(), FLAGS, c"").context("remounting the boot partition")
    }
}
