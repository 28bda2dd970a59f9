// SPDX-License-Identifier: Apache-2.0 OR MIT
//! On which boots a request counts.
//!
//! Kernel arguments and files of the image outlive the boot that they were meant for: rpm-ostree carries arguments from
//! deployment to deployment. A request that counted on every boot would bring an old node image back after each update.

use anyhow::{Result, bail};

use super::kargs;

/// Ignition's own mark of a first boot, which it looks for as its units do. GRUB adds it while the stamp is on the boot
/// partition; it is in no boot loader entry.
pub const FIRST_BOOT: &str = "ignition.firstboot";

/// Returns whether a boot with this kernel command line is the first one of its machine.
pub fn is_first_boot(cmdline: &str) -> bool {
    kargs::split(cmdline).any(|argument| {
        let argument = argument.replace('"', "");
        argument.split_once('=').map_or(argument.as_str(), |(name, _)| name) == FIRST_BOOT
    })
}

/// The value of `when=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// On a first boot.
    #[default]
    FirstBoot,
    /// On the next boot, whichever it is. The disk keeps that it was.
    Once,
}

impl When {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "first-boot" => Ok(Self::FirstBoot),
            "once" => Ok(Self::Once),
            other => bail!("when={other} is not supported: write first-boot or once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_boots() {
        for (cmdline, expected) in [
            ("rw ignition.firstboot quiet", true),
            ("ignition.firstboot=1", true),
            ("\"ignition.firstboot\"", true),
            ("rw $ignition_firstboot", false),
            ("ignition.firstboots ignition_firstboot x.ignition.firstboot", false),
            ("slipstream.source=\"oci:LABEL=a ignition.firstboot:/x\"", false),
            ("", false),
        ] {
            assert_eq!(is_first_boot(cmdline), expected, "{cmdline}");
        }
        assert_eq!(When::parse("once").unwrap(), When::Once);
        assert!(When::parse("always").unwrap_err().to_string().ends_with("write first-boot or once"));
    }
}
