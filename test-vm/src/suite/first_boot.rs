// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test of the suite: a first boot with the stages of a real Ignition, and units that do what CoreOS's do around them, with
//! the bootimage's programs, on the node image's root.

use anyhow::{Result, ensure};
use serde_json::json;

use super::case::Report;
use crate::images::Images;
use crate::images::ignition;
use crate::images::job::{job, request};
use crate::lab::guest::error_lines;
use crate::lab::machine::{Loader, Machine};

/// Swaps on a first boot on which Ignition makes a user and writes a file.
pub fn with_ignition(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("xfs")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.initramfs = Some(ignition::initramfs_with_all_stages(images.lab)?);
    machine.set_firstboot(&request(images, "oci:LABEL=nodeimage:/node"))?;
    let config = json!({
        "ignition": {"version": "3.3.0"},
        "passwd": {"users": [{"name": "ignited", "homeDir": "/var/home/ignited"}]},
        "storage": {"files": [{"path": "/etc/from-ignition", "contents": {"source": "data:,by%20Ignition"}}]},
    });
    machine.connect(&config.to_string())?;
    let boot = machine.boot(&job(images, &["checks/first-boot.sh"], "", &[])?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    ensure!(error_lines(&boot.console).is_empty(), "reading the console: {:?}", error_lines(&boot.console));
    report.pass();
    Ok(())
}
