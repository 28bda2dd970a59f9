// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which device the boot partition is.

use std::fs;

use anyhow::{Context, Result};

use crate::names::Device;
use crate::request::kargs;

/// The boot partition, as CoreOS labels it, and with a udev rule of CoreOS's where it is found on a multipath device.
const LABEL: &str = "LABEL=boot";
const MULTIPATH: &str = "LABEL=dm-mpath-boot";
/// The UUID of the boot partition on a first boot, which `ignition-ostree-uuid-boot` has given it.
const UUID_FILE: &str = "/run/coreos/bootfs_uuid";

/// Returns the boot partition of a boot with this kernel command line.
pub fn boot_device(cmdline: &str) -> Result<Device> {
    let uuid = fs::read_to_string(UUID_FILE).ok();
    Device::parse(&device_name(cmdline, uuid.as_deref())).context("looking for the boot partition")
}

/// Returns its name, as CoreOS's `coreos-boot-mount-generator` finds it: two disks of a machine may have
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
        (None, None) => LABEL.to_owned(),
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
