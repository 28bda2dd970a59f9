// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The physical root, writable for as long as it takes: in the mount namespace of this process only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, mount_remount};

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
