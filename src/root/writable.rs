// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The physical root and the boot partition, writable for as long as it takes. Both mounts are in our namespace only.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, mount_remount};

use crate::source::{Device, MountPoint};

/// The boot partition, as CoreOS labels it.
const BOOT_DEVICE: &str = "LABEL=boot";

/// Makes the physical root writable if it is not, and read-only again when dropped.
#[derive(Debug)]
pub struct WritableRoot(Option<PathBuf>);

impl WritableRoot {
    /// See to it that `root` can be written.
    pub fn ensure(root: &Path) -> Result<Self> {
        let stat = rustix::fs::statvfs(root).with_context(|| format!("reading {}", root.display()))?;
        if !stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(Self(None));
        }
        mount_remount(root, MountFlags::empty(), c"").with_context(|| format!("remounting {}", root.display()))?;
        Ok(Self(Some(root.to_owned())))
    }
}

impl Drop for WritableRoot {
    fn drop(&mut self) {
        let Some(root) = &self.0 else { return };
        if let Err(error) = mount_remount(root, MountFlags::RDONLY, c"") {
            log::warn!("remounting {} read-only: {error}", root.display());
        }
    }
}

/// Has the boot partition at `/boot` of the physical root, where libostree looks for the boot loader entries.
#[derive(Debug)]
pub struct BootPartition(#[allow(dead_code, reason = "it is there to be dropped")] Option<MountPoint>);

impl BootPartition {
    /// Mount it, unless the boot loader entries are there.
    pub fn ensure(root: &Path, deadline: Instant) -> Result<Self> {
        let boot = root.join("boot");
        if boot.join("loader").symlink_metadata().is_ok() {
            return Ok(Self(None));
        }
        let device = Device::parse(BOOT_DEVICE)?;
        Ok(Self(Some(device.mount(&boot, "rw,nosuid,nodev,noexec", deadline)?)))
    }
}
