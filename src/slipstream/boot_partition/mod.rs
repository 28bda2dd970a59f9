// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The boot partition: its boot loader entries, the link that leads to them, the kernels on it, their labels, and its
//! mount. Nothing else in slipstream knows what is below `/boot`.

pub mod entries;
pub(crate) mod kernels;
pub(crate) mod labels;
pub(crate) mod loader_link;
pub(crate) mod room;
pub(crate) mod support;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use contract::names::Device;
use contract::places::PhysicalRoot;
use contract::request::kargs;
use rustix::mount::{MountFlags, mount_remount};
use source::{MountPoint, mount_device};

/// The boot partition, as CoreOS labels it, and with a udev rule of CoreOS's where it is found on a multipath device.
const BOOT_DEVICE: &str = "LABEL=boot";
const MULTIPATH: &str = "LABEL=dm-mpath-boot";
/// The UUID of the boot partition on a first boot, which `ignition-ostree-uuid-boot` has given it.
const UUID_FILE: &str = "/run/coreos/bootfs_uuid";
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
        let uuid = fs::read_to_string(UUID_FILE).ok();
        let device = Device::parse(&device_name(cmdline, uuid.as_deref())).context("looking for the boot partition")?;
        Ok(Self(Some(mount_device(&device, &boot, OPTIONS, deadline)?)))
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

/// Returns which device the boot partition is, as CoreOS's `coreos-boot-mount-generator` finds it: two disks of a machine may have
/// one with the label.
fn device_name(cmdline: &str, uuid: Option<&str>) -> String {
    if kargs::value(cmdline, "rd.multipath").is_some_and(|value| !value.is_empty() && value != "0") {
        return MULTIPATH.to_owned();
    }
    let told = kargs::value(cmdline, "boot").filter(|value| {
        ["LABEL=", "UUID=", "PARTUUID=", "PARTLABEL=", "/dev/"].iter().any(|start| value.starts_with(start))
    });
    match (told, uuid.map(str::trim).filter(|uuid| !uuid.is_empty())) {
        (Some(told), _) => told,
        (None, Some(uuid)) => format!("UUID={uuid}"),
        (None, None) => BOOT_DEVICE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_partition_is_where_coreos_finds_it() {
        for (label, cmdline, uuid, expected) in [
            ("the label", "rw root=LABEL=root", None, "LABEL=boot"),
            (
                "a UUID",
                "boot=UUID=96d15588-3596-4b3c-adca-a2ff7279ea63",
                None,
                "UUID=96d15588-3596-4b3c-adca-a2ff7279ea63",
            ),
            ("a partition", "boot=PARTUUID=00ab", None, "PARTUUID=00ab"),
            ("a path", "boot=/dev/vda3", Some("1-2"), "/dev/vda3"),
            (
                "a first boot",
                "rw",
                Some("910678ff-f77e-4a7d-8d53-86f2ac47a823\n"),
                "UUID=910678ff-f77e-4a7d-8d53-86f2ac47a823",
            ),
            ("multipath", "rd.multipath=default boot=UUID=1-2", Some("1-2"), "LABEL=dm-mpath-boot"),
            ("multipath that is off", "rd.multipath=0", None, "LABEL=boot"),
            ("nonsense", "boot=nfs", None, "LABEL=boot"),
        ] {
            let name = device_name(cmdline, uuid);
            assert_eq!(name, expected, "{label}");
            assert!(Device::parse(&name).is_ok(), "{label}");
        }
    }
}
