// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One test of the suite: images with an SELinux policy that is enforced. What SELinux denies in the swapped boot only
//! is our fault; the same node image booted by its boot loader entry shows what it denies anyway.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::guest::Answer;
use crate::images::Images;
use crate::qemu::{Loader, Machine};
use crate::suite::{Report, error_lines, job, request};
use crate::trees::Flavour;

/// The kernels have SELinux compiled in and another module as their default. Denials are told by audit, which without a
/// daemon prints them, and by default not more than ten in five seconds.
const KARGS: &str = "security=selinux enforcing=1 audit=1 audit_backlog_limit=8192 sysctl.kernel.printk_ratelimit=0";
/// A policy that is loaded, asked at every access and rebuilt is slow in emulation.
const TIMEOUT: Duration = Duration::from_secs(900);
const CHECK: &str = "checks/selinux.sh";

/// The swap, and the boot after it; then their denials are compared.
pub fn enforcing(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let with_policy = Images::build_flavour(images.lab, Flavour::Selinux, images.keep_node_image)?;
    let images = &with_policy;
    // Its /etc has a local change: libostree merges it, and rebuilds the policy.
    let disk = images.disk("ext4")?;
    let mut machine = Machine::new(images.lab, name, &disk, Loader::Direct)?;
    machine.timeout = TIMEOUT;
    machine.attach(&images.node.staging);
    machine.append = format!("{KARGS} {}", request(images, "oci:LABEL=nodeimage:/node"));
    let boot = machine.boot(&job(images, &[CHECK], "", &[("EXPECT_OUTCOME", "swapped")])?)?;
    let lines = error_lines(&boot.console);
    ensure!(lines.is_empty(), "reading the console: {lines:?}");
    let swapped = denials(&boot.answer)?;
    report.pass();

    machine.append = KARGS.to_owned();
    let usual = denials(&machine.boot(&job(images, &[CHECK], "", &[])?)?.answer)?;
    report.pass();
    let ours: Vec<_> = swapped.difference(&usual).collect();
    ensure!(ours.is_empty(), "comparing denials: only the swapped boot has {ours:#?}");
    report.pass();
    Ok(())
}

/// What the guest found in its journal: domain, type, class and permission, one each.
fn denials(answer: &Answer) -> Result<BTreeSet<String>> {
    let count: usize = answer.fact("denials")?.parse()?;
    let all: BTreeSet<String> =
        answer.facts.iter().filter(|(key, _)| key == "denied").map(|(_, value)| value.clone()).collect();
    ensure!(all.len() == count, "reading the guest's answer: {} denials of {count}", all.len());
    println!("   denials: {count}");
    Ok(all)
}
