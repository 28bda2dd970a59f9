// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two tests of the suite: the swap, and the plain reboot after it.

use anyhow::{Result, ensure};

use super::case::{PRESTAGED, Report};
use crate::images::Images;
use crate::images::job::{job, request};
use crate::lab::guest::our_lines;
use crate::lab::machine::{Boot, Loader, Machine};

/// Most lines of ours that a swap may put on the console, beside those of its progress.
const MAX_LINES: usize = 3;

/// What libostree says to the journal itself while it deploys. It is on the console where the journal is.
const OF_LIBOSTREE: [&str; 6] = [
    "Created deployment;",
    "Starting syncfs()",
    "Completed syncfs()",
    "Starting freeze/thaw cycle",
    "Completed freeze/thaw cycle",
    "Bootloader updated;",
];

/// Boots into the node image; the guest then reboots.
pub(super) fn swap(images: &Images<'_>, machine: &mut Machine<'_>, fstype: &str) -> Result<Boot> {
    let scripts = ["checks/userspace.sh", "checks/operations.sh", PRESTAGED];
    let job = job(images, &scripts, "swapped", &[("FSTYPE", fstype)])?;
    let boot = machine.boot(&job)?;
    ensure!(boot.answer.reboot.as_deref() == Some("rebooted"), "the guest did not reboot: {:?}", boot.answer);
    let mut lines = our_lines(&boot.console);
    lines.retain(|line| !OF_LIBOSTREE.iter().any(|text| line.contains(text)));
    ensure!((1..=MAX_LINES).contains(&lines.len()), "reading the console: {} lines of ours: {lines:#?}", lines.len());
    for line in lines {
        println!("   console: {line}");
    }
    Ok(boot)
}

/// Boots after it, without a request.
pub(super) fn plain_reboot(images: &Images<'_>, machine: &mut Machine<'_>) -> Result<()> {
    let boot = machine.boot(&job(images, &[PRESTAGED], "rebooted", &[])?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    Ok(())
}

/// As CoreOS has journald in its initramfs: what goes to the journal is on the console, by way of the kernel's log.
const FORWARDING: &str = "systemd.journald.forward_to_kmsg=1 systemd.journald.max_level_kmsg=info loglevel=7";

/// Swaps from an archive on the first boot of a root with xfs. The plain reboot finds what the swap has left. No line comes twice.
pub fn xfs_archive(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("xfs")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.set_firstboot(&request(images, "oci-archive:LABEL=nodeimage:/node.tar"))?;
    FORWARDING.clone_into(&mut machine.append);
    let swapped = swap(images, &mut machine, "xfs")?;
    report.pass();
    let status = swapped.answer.fact("status")?;
    let boot = machine.boot(&job(images, &[PRESTAGED, "checks/leftovers.sh"], "rebooted", &[("SWAPPED", status)])?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    report.pass();
    Ok(())
}

/// Swaps through GRUB, which then follows the new entry.
pub fn grub(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Grub)?;
    machine.attach(&images.node.staging);
    machine.set_firstboot(&request(images, "oci:LABEL=nodeimage:/node"))?;
    swap(images, &mut machine, "ext4")?;
    report.pass();
    plain_reboot(images, &mut machine)?;
    report.pass();
    Ok(())
}
