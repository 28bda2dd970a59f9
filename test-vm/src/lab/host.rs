// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host must have, besides the Rust that this was built with. Everything else comes from the tools root.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// Program, its package in Debian, its package in Fedora; as in host-packages.txt.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("cc", "gcc", "gcc"),
    ("make", "make", "make"),
    ("chattr", "e2fsprogs", "e2fsprogs"),
    ("mmdebstrap", "mmdebstrap", "mmdebstrap"),
    ("tar", "tar", "tar"),
    ("gzip", "gzip", "gzip"),
    ("unshare", "util-linux", "util-linux"),
    ("systemctl", "systemd", "systemd"),
];

/// Names everything that is missing at once.
pub fn check() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // mmdebstrap and chattr may lie where only root looks.
    let dirs: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(name, ..)| !dirs.iter().any(|dir| dir.join(name).exists())).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, ..)| *name).collect();
        let debian: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
        let fedora: Vec<_> = missing.iter().map(|(.., package)| *package).collect();
        bail!(
            "finding {}: not installed; on Debian `apt-get install {}`, on Fedora `dnf install {}`",
            names.join(", "),
            debian.join(" "),
            fedora.join(" ")
        );
    }
    let root = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !root || !Path::new("/proc/self/ns/mnt").exists() {
        bail!("making a mount namespace: test-vm builds root file systems and must run as root");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::PROGRAMS;

    #[test]
    fn every_program_is_in_the_list_that_make_deps_reads() {
        let list = include_str!("../../host-packages.txt");
        for (program, debian, fedora) in PROGRAMS {
            let line = format!("{debian} {fedora}");
            assert!(list.lines().any(|candidate| candidate == line), "{program}: no line `{line}`");
        }
    }
}
