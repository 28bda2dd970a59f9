// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two tests of the suite that stay on the bootimage: without a request, and with one that is refused.

use anyhow::{Context, Result, ensure};

use super::case::{Report, refusal};
use crate::images::Images;
use crate::images::job::job;
use crate::lab::guest::error_lines;
use crate::lab::machine::{Loader, Machine};

/// Boots without a request: the boot of today, and nothing is written.
pub fn no_argument(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    let before = machine.boot_partition().entries()?;
    let boot = machine.boot(&job(images, &["checks/untouched.sh"], "", &[])?)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    ensure!(error_lines(&boot.console).is_empty(), "reading the console: {:?}", error_lines(&boot.console));
    report.pass();
    Ok(())
}

/// Boots with a request that names a tag.
pub fn not_a_digest(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    let (repository, _) = images.node.reference.split_once('@').context("splitting the image's name")?;
    machine.append =
        format!("ignition.firstboot slipstream.image={repository}:latest slipstream.source=oci:LABEL=nodeimage:/node");
    refusal(&mut machine, &job(images, &["checks/failed.sh"], "", &[("EXPECT_REASON", "digest")])?)?;
    report.pass();
    Ok(())
}
