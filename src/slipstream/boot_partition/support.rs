// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boot loaders that do not find a new default by libostree's entries alone. There a deployment could not be entered, or, worse,
//! the next boot would be another one than this account says.

use anyhow::Result;
use contract::places::PhysicalRoot;
use contract::request::kargs;
use repo::config::bootloader;

/// The architecture whose boot loader has a copy of the entry: zipl writes one, and not the argument of a first boot into it, so
/// that a boot that was cut would skip Ignition for ever. With Secure Execution the boot partition is sealed as well.
const ZIPL: &str = "s390x";
/// The argument where Android's boot loader chooses the deployment.
const ABOOT: &str = "ostree=aboot";
/// What `sysroot.bootloader` may be: the entries are all that libostree writes, or it looks by itself.
const SUPPORTED: [&str; 2] = ["none", "auto"];

/// Returns why the boot loader of a machine is not one of those that work.
pub(crate) fn why_unsupported(root: &PhysicalRoot, cmdline: &str, architecture: &str) -> Result<Option<String>> {
    Ok(reason(cmdline, architecture, bootloader(&root.repo())?.as_deref()))
}

fn reason(cmdline: &str, architecture: &str, bootloader: Option<&str>) -> Option<String> {
    if architecture == ZIPL {
        return Some("the boot loader of s390x, zipl, does not read the entries that libostree writes".to_owned());
    }
    if kargs::split(cmdline).any(|karg| karg == ABOOT) {
        return Some("Android's boot loader (ostree=aboot) does not read the entries that libostree writes".to_owned());
    }
    let other = bootloader.filter(|name| !SUPPORTED.contains(name))?;
    Some(format!("the repository has sysroot.bootloader={other}, and only none is supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_loaders_that_are_not_ours() {
        let ostree = "rw ostree=/ostree/boot.0/os/c/0";
        for (label, cmdline, architecture, bootloader, expected) in [
            ("none", ostree, "amd64", Some("none"), None),
            ("unset", ostree, "arm64", None, None),
            ("auto", ostree, "ppc64le", Some("auto"), None),
            ("zipl", ostree, "s390x", Some("none"), Some("zipl")),
            ("zipl elsewhere", ostree, "amd64", Some("zipl"), Some("sysroot.bootloader=zipl")),
            ("grub2", ostree, "amd64", Some("grub2"), Some("sysroot.bootloader=grub2")),
            ("aboot", "rw ostree=aboot", "arm64", Some("none"), Some("ostree=aboot")),
            ("an empty value", ostree, "amd64", Some(""), Some("sysroot.bootloader=,")),
        ] {
            let got = reason(cmdline, architecture, bootloader);
            let matches = match (&got, expected) {
                (None, None) => true,
                (Some(got), Some(expected)) => got.contains(expected),
                _ => false,
            };
            assert!(matches, "{label}: {got:?}");
        }
    }
}
