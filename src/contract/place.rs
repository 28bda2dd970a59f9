// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a boot finds everything: every global path is a field, so that the whole flow runs on a directory in a test.
//!
//! Tested by `src/slipstream/tests/boot/`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::boot_link::BootLink;
use crate::places::PhysicalRoot;
use crate::prepare_root::PrepareRoot;
use crate::request::ignition::Ignition;
use crate::request::{Settings, kargs};

/// Where everything is. The defaults are those of the initramfs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The physical root.
    pub sysroot: PhysicalRoot,
    /// The kernel command line.
    pub cmdline: PathBuf,
    /// Where the status file goes.
    pub run_dir: PathBuf,
    /// The root below which keyfiles are looked for.
    pub root: PathBuf,
    /// The Ignition config.
    pub ignition: PathBuf,
    /// The variables of an EFI firmware.
    pub efivars: PathBuf,
}

/// Where they are mounted.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// Returns the boot link that this boot follows.
pub fn boot_link(place: &Place) -> Result<BootLink> {
    let cmdline = fs::read_to_string(&place.cmdline).with_context(|| format!("reading {}", place.cmdline.display()))?;
    BootLink::of_cmdline(&cmdline).context("reading the kernel command line")
}

/// Returns how the initramfs that runs will mount a deployment.
pub fn how_mounted(place: &Place) -> Result<PrepareRoot> {
    let cmdline = fs::read_to_string(&place.cmdline).context("reading the kernel command line")?;
    PrepareRoot::of_initramfs(&place.root, &cmdline)
}

/// Returns why a reboot from the initramfs, on a first boot, would not come back to this place: Ignition has put the root or the
/// boot partition elsewhere, and the boot loader entries do not say where before CoreOS's boot-edit has run. Upstream's own
/// reboots come before Ignition's disks.
pub fn why_no_reboot(place: &Place, ignition: &Ignition) -> Option<String> {
    if let Some(label) = ["root", "boot"].into_iter().find(|label| ignition.makes_anew(label)) {
        return Some(format!("Ignition has made the file system {label} anew, and a reboot would not find it"));
    }
    let cmdline = fs::read_to_string(&place.cmdline).unwrap_or_default();
    let kind = mapped(&place.sysroot).filter(|_| kargs::value(&cmdline, "root").is_none())?;
    Some(format!("the root is on {kind}, the kernel command line has no root=, and a reboot would not find it"))
}

/// Returns what a root is on if it is not a disk or a partition.
fn mapped(root: &PhysicalRoot) -> Option<&'static str> {
    let device = fs::metadata(root.path()).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    [("dm", "a mapped device"), ("md", "RAID")]
        .into_iter()
        .find(|(name, _)| block.join(name).exists())
        .map(|(_, kind)| kind)
}

/// Reads everything that is requested, understood or not.
pub fn read_request(place: &Place) -> Result<(Settings, Ignition)> {
    let ignition = Ignition::load(&place.ignition)?;
    Ok((Settings::load(&place.cmdline, &place.root, &ignition)?, ignition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_ignition_has_made_is_not_rebooted_from() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place {
            sysroot: PhysicalRoot::new(directory.path()),
            cmdline: directory.path().join("cmdline"),
            run_dir: directory.path().join("run"),
            root: directory.path().to_owned(),
            ignition: directory.path().join("ignition.json"),
            efivars: directory.path().join("efivars"),
        };
        fs::write(&place.cmdline, "rw root=LABEL=root").unwrap();
        for (label, filesystems, expected) in [
            ("nothing", "[]", None),
            (
                "LUKS or RAID",
                r#"[{"device": "/dev/md/x", "label": "root", "wipeFilesystem": true}]"#,
                Some("root anew"),
            ),
            ("a mirrored boot", r#"[{"label": "boot", "wipeFilesystem": true}]"#, Some("boot anew")),
            ("another disk", r#"[{"label": "var", "wipeFilesystem": true}]"#, None),
            ("a root that is kept", r#"[{"label": "root", "wipeFilesystem": false}, {"label": null}]"#, None),
        ] {
            let config =
                format!(r#"{{"ignition": {{"version": "3.4.0"}}, "storage": {{"filesystems": {filesystems}}}}}"#);
            let ignition = Ignition::parse(config.as_bytes()).unwrap();
            let why = why_no_reboot(&place, &ignition);
            match (&why, expected) {
                (None, None) => {}
                (Some(why), Some(part)) => assert!(why.contains(part), "{label}: {why}"),
                _ => panic!("{label}: {why:?}"),
            }
        }
    }
}
