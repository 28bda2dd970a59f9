// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a real boot into the node image writes to its disk. It is recorded once for a disk and a node image.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::images::Images;
use crate::images::disk;
use crate::images::job::{job, request};
use crate::images::trees::{self, Role};
use crate::lab::cache::Inputs;
use crate::lab::machine::{Loader, Machine};

/// Where the staged node image is for the guest.
const SOURCE: &str = "oci:LABEL=nodeimage:/node";

/// A partition that disk.sh makes and leaves empty.
const MARKS: &str = "/dev/disk/by-partlabel/EFI-SYSTEM";

/// With this a record of the request is kept on the disk.
pub const ONCE: &str = "slipstream.when=once";

/// The kernel arguments of the recorded boot.
pub fn request_kargs(images: &Images<'_>, once: bool) -> String {
    let request = request(images, SOURCE);
    if once { format!("{request} {ONCE}") } else { request }
}

/// A boot that was recorded.
pub struct Recording {
    /// The disk before it.
    pub disk: PathBuf,
    /// What was written, from the kernel to the orderly end of the first real root.
    pub log: PathBuf,
}

/// A recorded boot of the disk with this file system. With `marked`, slipstream marks its steps in the log; with `once`, it
/// also keeps a record of the request.
pub fn recording(images: &Images<'_>, fstype: &str, marked: bool, once: bool) -> Result<Recording> {
    let lab = images.lab;
    let disk = if marked {
        let slipstream = trees::slipstream_with_failpoints(lab)?;
        disk::deployed(lab, &trees::tree(lab, Role::Bootimage, &slipstream)?, fstype)?
    } else {
        images.disk(fstype)?
    };
    let append = request_kargs(images, once);
    let inputs = Inputs::default()
        .text(disk.to_string_lossy())
        .text(&append)
        .text(images.node.staging.to_string_lossy())
        .file(&lab.own("src/powercut/record.rs"))?;
    let dir = lab.cache.artefact(&format!("power-cut-log-{fstype}"), inputs, |dir| {
        let mut machine = Machine::new(lab, &format!("record-{fstype}"), &disk, Loader::Direct)?;
        machine.attach(&images.node.staging);
        machine.append.clone_from(&append);
        if marked {
            machine.append.push_str(&format!(" systemd.setenv=SLIPSTREAM_MARKS={MARKS}"));
        }
        machine.record(&dir.join("log"));
        let boot = machine.boot(&job(images, &["checks/demo.sh"], "", &[])?).context("recording a boot")?;
        let outcome = boot.answer.fact("outcome")?;
        ensure!(outcome == "swapped", "recording a boot: the outcome is {outcome}");
        Ok(())
    })?;
    Ok(Recording { disk, log: dir.join("log") })
}
