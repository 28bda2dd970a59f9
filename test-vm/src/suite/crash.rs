// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test of the suite: a crash kernel whose initramfs has slipstream in it, with a request that would count.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::case::Report;
use crate::images::Images;
use crate::images::crash;
use crate::images::job::{job, request};
use crate::lab::guest::our_lines;
use crate::lab::machine::{Loader, Machine};

/// Memory that the first kernel leaves to the second.
const RESERVED: &str = "crashkernel=320M";
/// How an ELF file starts: the dump is one.
const ELF: &[u8] = b"\x7fELF";
/// Where the crash kernel leaves the start of it.
const DUMP: &str = "/vmcore";

/// Crashes a machine. The initramfs of its crash kernel was built as any other, so that only what is in it can keep slipstream from
/// running there.
pub fn dump(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("xfs")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    RESERVED.clone_into(&mut machine.append);
    let before = machine.boot_partition().entries()?;
    let asked = format!("{} slipstream.when=once", request(images, "oci:LABEL=nodeimage:/node"));
    let mut job = job(images, &["checks/crash.sh"], "", &[("CRASH_REQUEST", &asked)])?;
    job.programs = crash::kexec(images.lab)?;
    job.programs.push(crash::initramfs(images.lab)?);
    let boot = machine.boot_to_crash_dump(&job)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    ensure!(our_lines(&boot.console).is_empty(), "reading the console: {:?}", our_lines(&boot.console));
    let dump = machine.boot_partition().dump(DUMP, &machine.dir().join("vmcore"))?;
    let bytes = fs::read(&dump).with_context(|| format!("reading {}", dump.display()))?;
    ensure!(bytes.len() == 65536 && bytes.starts_with(ELF), "reading the dump: {} bytes", bytes.len());
    report.pass();
    Ok(())
}
