// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One test of the suite: images with an SELinux policy that is enforced. What SELinux denies where slipstream has been
//! at work, in the swapped boot or in the one after it, and not on a first boot without it, is our fault.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::case::Report;
use crate::images::Images;
use crate::images::job::{job, request};
use crate::images::trees::Flavour;
use crate::lab::guest::{Answer, error_lines};
use crate::lab::machine::{Loader, Machine};

/// The kernels have SELinux compiled in and another module as their default. Denials are reported by audit, which
/// without a daemon prints them, and by default not more than ten in five seconds.
const KARGS: &str = "security=selinux enforcing=1 audit=1 audit_backlog_limit=8192 sysctl.kernel.printk_ratelimit=0";
/// A policy that is loaded, asked at every access and rebuilt is slow in emulation.
const TIMEOUT: Duration = Duration::from_secs(900);
const CHECK: &str = "checks/selinux.sh";

/// Boots without a request; on another disk swaps, and boots after it. Then compares their denials.
pub fn enforcing(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let with_policy = Images::build_flavour(images.lab, Flavour::Selinux, images.keep_node_image)?;
    let images = &with_policy;
    // Its /etc has a local change: libostree merges it, and rebuilds the policy.
    let disk = images.disk("ext4")?;
    let mut plain = Machine::new(images.lab, &format!("{name}-plain"), &disk, Loader::Direct)?;
    plain.timeout = TIMEOUT;
    plain.append = KARGS.to_owned();
    // Its image builder was not slipstream: not every file has a label.
    let usual = denials(&plain.boot(&job(images, &[CHECK], "", &[("LABELS", "any")])?)?.answer)?;
    drop(plain);
    report.pass();

    let mut machine = Machine::new(images.lab, name, &disk, Loader::Direct)?;
    machine.timeout = TIMEOUT;
    machine.attach(&images.node.staging);
    machine.append = format!("{KARGS} {}", request(images, "oci:LABEL=nodeimage:/node"));
    let boot = machine.boot(&job(images, &[CHECK], "", &[("EXPECT_OUTCOME", "swapped")])?)?;
    let lines = error_lines(&boot.console);
    ensure!(lines.is_empty(), "reading the console: {lines:?}");
    let mut with_us = denials(&boot.answer)?;
    report.pass();

    machine.append = KARGS.to_owned();
    with_us.extend(denials(&machine.boot(&job(images, &[CHECK], "", &[])?)?.answer)?);
    report.pass();
    let ours: Vec<_> = with_us.difference(&usual).collect();
    ensure!(ours.is_empty(), "comparing denials: only with slipstream there are {ours:#?}");
    report.pass();
    Ok(())
}

/// Returns what the guest found in its journal: domain, type, class and permission, one each.
fn denials(answer: &Answer) -> Result<BTreeSet<String>> {
    let count: usize = answer.fact("denials")?.parse()?;
    let all: BTreeSet<String> =
        answer.facts.iter().filter(|(key, _)| key == "denied").map(|(_, value)| value.clone()).collect();
    ensure!(all.len() == count, "reading the guest's answer: {} denials of {count}", all.len());
    println!("   denials: {count}");
    Ok(all)
}
