// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When a boot must not even begin: on a system that is up, and when this boot has an account already.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, ensure};
use contract::place::Place;
use contract::places::PhysicalRoot;
use contract::report::Record;

/// systemd's mark of an initramfs (`in_initrd`).
const INITRD_RELEASE: &str = "etc/initrd-release";
/// Where the physical root is on a system that is up: the root itself, or here.
const RUNNING: [&str; 2] = ["/", "/sysroot"];

/// Refuses to run on the disk of a system that is up, or a second time on one boot.
///
/// A directory that is made to look like a disk is neither; there the account of an earlier run has to be removed as well.
pub(super) fn ensure_first_in_initramfs(place: &Place) -> Result<()> {
    ensure!(
        is_initramfs(&place.root) || !is_running(&place.sysroot),
        "slipstream boot is for the initramfs, and this system is up: `slipstream pull` imports an image, and --sysroot \
         DIRECTORY runs a boot on a directory"
    );
    let record = Record::new(&place.run_dir);
    ensure!(
        !record.exists(),
        "slipstream has run on this boot: {} has its account; to run it again, remove that file",
        record.path().display()
    );
    Ok(())
}

fn is_initramfs(root: &Path) -> bool {
    // A link that leads elsewhere counts, since `root` may be seen from another one.
    root.join(INITRD_RELEASE).symlink_metadata().is_ok()
}

/// Returns whether a physical root is that of the system on which this process runs.
fn is_running(sysroot: &PhysicalRoot) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let wanted = id(sysroot.path());
    wanted.is_some() && RUNNING.iter().any(|path| id(Path::new(path)) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_running_system_from_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_running(&PhysicalRoot::new("/")));
        assert!(is_running(&PhysicalRoot::new("/usr/..")));
        assert!(!is_running(&PhysicalRoot::new(directory.path())));
        assert!(!is_running(&PhysicalRoot::new("/nonexistent")));
        assert!(!is_initramfs(directory.path()));
    }

    #[test]
    fn an_account_of_this_boot_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let place = Place {
            sysroot: PhysicalRoot::new(at("sysroot")),
            cmdline: at("cmdline"),
            run_dir: directory.path().to_owned(),
            root: at("root"),
            ignition: at("ignition.json"),
            efivars: at("efivars"),
        };
        ensure_first_in_initramfs(&place).unwrap();
        fs::write(Record::new(directory.path()).path(), "{").unwrap();
        let error = ensure_first_in_initramfs(&place).unwrap_err().to_string();
        assert!(error.starts_with("slipstream has run on this boot"), "{error}");
        let error = ensure_first_in_initramfs(&Place { sysroot: PhysicalRoot::new("/"), ..place }).unwrap_err();
        assert!(error.to_string().starts_with("slipstream boot is for the initramfs"), "{error}");
    }
}
