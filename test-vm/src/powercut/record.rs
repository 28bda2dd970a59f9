// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a real boot into the node image writes to its disk. It is recorded once for a disk and a node image.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cache::Inputs;
use crate::images::Images;
use crate::qemu::{Loader, Machine};
use crate::suite::{job, request};

/// Where the staged node image is for the guest.
const SOURCE: &str = "oci:LABEL=nodeimage:/node";

/// The kernel arguments of the recorded boot.
pub fn request_kargs(images: &Images<'_>) -> String {
    request(images, SOURCE)
}

/// The log of a boot of the disk with this file system, from the kernel to the orderly end of the first real root.
pub fn log(images: &Images<'_>, fstype: &str) -> Result<PathBuf> {
    let disk = images.disk(fstype)?;
    let inputs = Inputs::default()
        .text(disk.to_string_lossy())
        .text(images.node.staging.to_string_lossy())
        .file(&images.lab.own("src/powercut/record.rs"))?;
    let dir = images.lab.cache.artefact(&format!("power-cut-log-{fstype}"), inputs, |dir| {
        let mut machine = Machine::new(images.lab, &format!("record-{fstype}"), &disk, Loader::Direct)?;
        machine.attach(&images.node.staging);
        machine.append = request_kargs(images);
        machine.record(&dir.join("log"));
        let boot = machine.boot(&job(images, &["checks/demo.sh"], "", &[])?).context("recording a boot")?;
        let outcome = boot.answer.fact("outcome")?;
        ensure!(outcome == "swapped", "recording a boot: the outcome is {outcome}");
        Ok(())
    })?;
    Ok(dir.join("log"))
}
