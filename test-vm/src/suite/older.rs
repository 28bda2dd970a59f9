// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test of the suite: a bootimage whose systemd and libostree are years older than the node image's, as RHEL 9's are than
//! RHEL 10's.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::case::Report;
use super::swap::{plain_reboot, swap};
use crate::images::Images;
use crate::images::job::{job, request};
use crate::lab::guest::error_lines;
use crate::lab::machine::{Loader, Machine};

/// What the bootimage's program says to the configuration of systemd 257.
const REFUSED: &str = "the bootimage's systemd-tmpfiles does not work on the node image's root";

/// Boots three times: a first boot, on which the bootimage's programs would be used on the node image's root; one on which they
/// are not; and one with the same arguments, which have had their boot.
pub fn bootimage(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let Some(images) = images.older()? else {
        report.ignore("the programs were built with a newer C library than that of the older bootimage");
        return Ok(());
    };
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.append = request(&images, "oci:LABEL=nodeimage:/node");
    let boot = machine.boot(&job(&images, &["checks/bootimage.sh"], "", &[])?)?;
    let status: Value = serde_json::from_str(boot.answer.fact("status")?).context("parsing the status")?;
    let reason = status["reason"].as_str().context("reading the reason")?;
    println!("   reason: {reason}");
    ensure!(status["outcome"] == "skipped" && reason.contains(REFUSED), "reading the status: {status}");
    ensure!(error_lines(&boot.console).is_empty(), "reading the console: {:?}", error_lines(&boot.console));
    report.pass();

    machine.append = machine.append.replace("ignition.firstboot", "slipstream.when=once");
    swap(&images, &mut machine, "ext4")?;
    report.pass();
    plain_reboot(&images, &mut machine)?;
    report.pass();
    Ok(())
}
