// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot partition: boot loader entries, the link that leads to them, and the mount.

pub mod entries;
pub mod loader_link;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use contract::names::Device;
use source::{MountPoint, mount_device};

/// The boot partition, as CoreOS labels it.
const BOOT_DEVICE: &str = "LABEL=boot";

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
        Ok(Self(Some(mount_device(&device, &boot, "rw,nosuid,nodev,noexec", deadline)?)))
    }
}
