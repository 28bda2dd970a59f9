// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The systemd generator: on a boot on which no request can count, none of our units is part of it.
//!
//! A condition in the units would not do: a unit whose condition fails has waited for everything that it comes after, and the
//! root would wait for the network on every boot.
//!
//! Tested by `src/initrd/generator.rs`, `test-vm/src/suite/`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::report::FORWARDED;
use contract::request::ignition::Ignition;
use contract::request::{Settings, is_first_boot};

use crate::forwarding::{PRINTK, is_forwarded, is_printed};

/// The targets that wait for our units.
const ROOT: &str = "initrd-root-fs.target.wants";
const INITRD: &str = "initrd.target.wants";
/// Where they are.
const UNITS: &str = "/usr/lib/systemd/system";
/// Our units, each with the directory of its target.
pub const UNIT_LINKS: [(&str, &str); 5] = [
    (ROOT, "slipstream.service"),
    (ROOT, "slipstream-emergency.service"),
    (ROOT, "slipstream-reboot.service"),
    (ROOT, "slipstream-settle.service"),
    (INITRD, "slipstream-way-back.service"),
];
/// The drop-in of a unit whose journal is on the console.
const DROP_IN: &str = "50-slipstream-console.conf";
/// A crash kernel saves its dump and does nothing else.
const CRASH: &str = "/proc/vmcore";

/// Where a generator finds what it decides by.
#[derive(Debug)]
pub struct Surroundings {
    /// The kernel command line.
    pub cmdline: PathBuf,
    /// The root of the initramfs, with the keyfiles.
    pub root: PathBuf,
    /// There on a crash kernel.
    pub crash: PathBuf,
    /// Which messages of the kernel's log go to the console.
    pub printk: PathBuf,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { cmdline: "/proc/cmdline".into(), root: "/".into(), crash: CRASH.into(), printk: PRINTK.into() }
    }
}

/// Links the units into `target`, the directory that systemd gives to its generators, if a request may count on this boot.
pub fn generate(surroundings: &Surroundings, target: &Path) -> Result<()> {
    if surroundings.crash.exists() {
        return Ok(());
    }
    let path = &surroundings.cmdline;
    let cmdline = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    if !may_count(surroundings, &cmdline) {
        return Ok(());
    }
    let forwarded = is_forwarded(&surroundings.root, &cmdline) && is_printed(&surroundings.printk);
    for (wants, name) in UNIT_LINKS {
        let wants = target.join(wants);
        fs::create_dir_all(&wants).with_context(|| format!("creating {}", wants.display()))?;
        let link = wants.join(name);
        match symlink(Path::new(UNITS).join(name), &link) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating {}", link.display()));
            }
            _ => {}
        }
        if forwarded {
            keep_off_console(target, name)?;
        }
    }
    Ok(())
}

/// Has a unit not print on the console what journald forwards there.
fn keep_off_console(target: &Path, unit: &str) -> Result<()> {
    let dir = target.join(format!("{unit}.d"));
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let path = dir.join(DROP_IN);
    let text = format!("[Service]\nStandardError=journal\nEnvironment={FORWARDED}=yes\n");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn may_count(surroundings: &Surroundings, cmdline: &str) -> bool {
    // Its mistakes are reported by the units, on a first boot.
    let settings = Settings::read(cmdline, &surroundings.root, &Ignition::default());
    is_first_boot(cmdline) || settings.is_ok_and(|settings| settings.counts())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_part_of_boots_on_which_a_request_may_count() {
        for (label, cmdline, keyfile, crash, expected) in [
            ("first boot", "rw ignition.firstboot", None, false, true),
            ("any other boot", "rw slipstream.image=x", None, false, false),
            ("once", "rw slipstream.when=once", None, false, true),
            ("once, in the image", "rw", Some("[slipstream]\nwhen = once\n"), false, true),
            ("a keyfile", "rw", Some("[slipstream]\nimage = x\n"), false, false),
            ("a mistake", "rw slipstream.when=once", Some("image = x\n"), false, false),
            ("a mistake on a first boot", "rw ignition.firstboot", Some("image = x\n"), false, true),
            ("a crash kernel", "rw ignition.firstboot slipstream.when=once", None, true, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            fs::write(at("cmdline"), cmdline).unwrap();
            fs::create_dir_all(at("usr/lib")).unwrap();
            if let Some(text) = keyfile {
                fs::write(at("usr/lib/slipstream.conf"), text).unwrap();
            }
            if crash {
                fs::write(at("vmcore"), "").unwrap();
            }
            let surroundings = Surroundings {
                cmdline: at("cmdline"),
                root: directory.path().to_owned(),
                crash: at("vmcore"),
                printk: at("printk"),
            };
            for _ in 0..2 {
                generate(&surroundings, &at("out")).unwrap();
            }
            for (wants, name) in UNIT_LINKS {
                let linked = fs::read_link(at("out").join(wants).join(name)).ok();
                assert_eq!(linked, expected.then(|| Path::new(UNITS).join(name)), "{label}: {name}");
            }
            assert_eq!(at("out").exists(), expected, "{label}");
            let drop_in = at("out/slipstream.service.d").join(DROP_IN);
            assert!(!drop_in.exists(), "{label}");
            fs::write(at("cmdline"), format!("{cmdline} systemd.journald.forward_to_kmsg")).unwrap();
            fs::write(at("printk"), "4\t4\t1\t7\n").unwrap();
            generate(&surroundings, &at("out")).unwrap();
            assert!(!drop_in.exists(), "{label}: a quiet console");
            fs::write(at("printk"), "7\t4\t1\t7\n").unwrap();
            generate(&surroundings, &at("out")).unwrap();
            assert_eq!(drop_in.exists(), expected, "{label}");
        }
    }
}
