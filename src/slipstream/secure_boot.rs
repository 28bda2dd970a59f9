// SPDX-License-Identifier: Apache-2.0 OR MIT
//! With Secure Boot, a boot loader that does not know the node image's signing keys stops the next reboot.
//!
//! Before it pivots, the MCO has the boot loader updated from the node image (`updateLayeredOS`, OCPBUGS-83871). A pivot that is
//! saved must not lose that: the boot that was swapped does it, with the node image's own program, before anything may
//! reboot.
//!
//! Tested by `src/slipstream/tests/boot/secure_boot.rs`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use contract::handoff::BootLoaderUpdate;
use contract::names::Digest;
use repo::store::Store;
use repo::tree::{Dir, Node};

/// The firmware's word on it: four bytes of attributes, then 1 or 0.
const VARIABLE: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const VALUE: usize = 4;
/// Where an image has the boot loader that its bootupd installs.
const UPDATES: [&str; 4] = ["usr", "lib", "bootupd", "updates"];
/// What updates it.
const UNIT: [&str; 5] = ["usr", "lib", "systemd", "system", "bootloader-update.service"];
const PROGRAM: [&str; 3] = ["usr", "bin", "bootupctl"];

/// Returns whether the firmware checks signatures. What cannot be read counts as yes, as for the MCO.
pub fn is_on(efivars: &Path) -> bool {
    match fs::read(efivars.join(VARIABLE)) {
        Ok(bytes) => bytes.get(VALUE) != Some(&0),
        // A firmware without the variable has no Secure Boot; one whose variables are not mounted may have it.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::read_dir(efivars).is_ok_and(|mut entries| entries.next().is_none())
        }
        Err(_) => true,
    }
}

/// What has to be done about the boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The machine has what the node image would install.
    Nothing,
    /// The node image can do it.
    Update(BootLoaderUpdate),
    /// It cannot.
    Impossible,
}

/// Compares the boot loaders of two images.
pub fn compare(store: &Store, bootimage: &Digest, node: &Digest) -> Result<Need> {
    let mut root = Dir::of_commit(store, node)?;
    let wanted = directory(&mut root, store, &UPDATES)?;
    let mut old = Dir::of_commit(store, bootimage)?;
    if wanted.is_none() || wanted == directory(&mut old, store, &UPDATES)? {
        return Ok(Need::Nothing);
    }
    Ok(if root.find(store, &UNIT)?.is_some() {
        Need::Update(BootLoaderUpdate::Unit)
    } else if root.find(store, &PROGRAM)?.is_some() {
        Need::Update(BootLoaderUpdate::Program)
    } else {
        Need::Impossible
    })
}

/// Returns what identifies the content of a directory.
fn directory(root: &mut Dir, store: &Store, path: &[&str]) -> Result<Option<Digest>> {
    let Some((last, parents)) = path.split_last() else { return Ok(None) };
    Ok(match root.enter(store, parents)?.and_then(|dir| dir.dirs.get(*last)) {
        Some(Node::Stored { tree, .. }) => Some(*tree),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_says_whether_it_checks() {
        for (label, variable, others, expected) in [
            ("on", Some(&[6, 0, 0, 0, 1][..]), false, true),
            ("off", Some(&[6, 0, 0, 0, 0]), false, false),
            ("cut short", Some(&[6, 0]), false, true),
            ("a firmware without it", None, true, false),
            ("not mounted", None, false, true),
        ] {
            let directory = tempfile::tempdir().unwrap();
            if let Some(bytes) = variable {
                fs::write(directory.path().join(VARIABLE), bytes).unwrap();
            }
            if others {
                fs::write(directory.path().join("Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c"), "").unwrap();
            }
            assert_eq!(is_on(directory.path()), expected, "{label}");
        }
        assert!(!is_on(Path::new("/nonexistent")), "no EFI");
    }
}
