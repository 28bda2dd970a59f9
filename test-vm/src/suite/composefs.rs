// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two tests of the suite: a bootimage whose root is composefs, and node images with and without.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::case::{PRESTAGED, Report};
use crate::images::Images;
use crate::images::job::{job, request};
use crate::images::trees::Flavour;
use crate::lab::cmd;
use crate::lab::machine::{Boot, Loader, Machine};

/// The kernel takes a further archive only at a multiple of this.
const ARCHIVE_ALIGNMENT: usize = 4;
/// It stands for `/usr/lib/ostree/prepare-root.conf` as a whole.
const OVERRIDE: &str = "etc/ostree/prepare-root.conf";

/// Swaps where both images have `enabled=yes`.
pub fn yes(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let images = Images::build_flavour(images.lab, Flavour::Composefs, images.keep_node_image)?;
    let mut machine = machine(&images, name)?;
    swap(&images, &mut machine, &["checks/operations.sh"], "yes")?;
    report.pass();
    plain_reboot(&images, &mut machine, "yes")?;
    report.pass();
    Ok(())
}

/// Swaps where the bootimage's initramfs has `enabled=maybe`, and the node image knows nothing of composefs.
pub fn maybe(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let own = Images::build_flavour(images.lab, Flavour::Composefs, images.keep_node_image)?;
    let images = Images { node: images.node.clone(), ..own };
    let mut machine = machine(&images, name)?;
    machine.initramfs = Some(with_maybe(&images, &machine)?);
    swap(&images, &mut machine, &[], "no")?;
    report.pass();
    machine.initramfs = None;
    plain_reboot(&images, &mut machine, "no")?;
    report.pass();
    Ok(())
}

/// Returns a machine with xfs, as RHEL CoreOS: it has no fs-verity in the kernels that are used here.
fn machine<'a>(images: &Images<'a>, name: &str) -> Result<Machine<'a>> {
    let mut machine = Machine::new(images.lab, name, &images.disk("xfs")?, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.append = request(images, "oci:LABEL=nodeimage:/node");
    Ok(machine)
}

/// Boots into the node image, whose root is then composefs: the bootimage's initramfs makes it. `compare`: the image's
/// own libostree must be able to make it too, for comparison.
fn swap(images: &Images<'_>, machine: &mut Machine<'_>, more: &[&str], compare: &str) -> Result<Boot> {
    let scripts = [&["checks/userspace.sh", "checks/composefs.sh"], more, &[PRESTAGED]].concat();
    let environment = [("FSTYPE", "xfs"), ("COMPOSEFS", "yes"), ("MUST_COMPARE", compare)];
    let boot = machine.boot(&job(images, &scripts, "swapped", &environment)?)?;
    ensure!(boot.answer.reboot.as_deref() == Some("rebooted"), "the guest did not reboot: {:?}", boot.answer);
    Ok(boot)
}

/// Boots after it, with the node image's own initramfs.
fn plain_reboot(images: &Images<'_>, machine: &mut Machine<'_>, composefs: &str) -> Result<()> {
    machine.append.clear();
    let scripts = ["checks/composefs.sh", PRESTAGED];
    let environment = [("COMPOSEFS", composefs), ("MUST_COMPARE", composefs)];
    let boot = machine.boot(&job(images, &scripts, "rebooted", &environment)?)?;
    ensure!(boot.answer.passed, "the guest did not pass: {:?}", boot.answer);
    Ok(())
}

/// Returns the disk's initramfs with another `prepare-root.conf`: what comes later in the file wins.
fn with_maybe(images: &Images<'_>, machine: &Machine<'_>) -> Result<PathBuf> {
    let dir = machine.dir();
    let entry = machine.boot_partition().default_entry()?;
    let path = machine.boot_partition().dump(&entry.initrd, &dir.join("initramfs.img"))?;
    let archive = archive(images, dir, "[composefs]\nenabled = maybe\n")?;
    let mut initramfs = fs::OpenOptions::new().append(true).open(&path).context("opening the initramfs")?;
    let size = initramfs.metadata().context("reading the initramfs")?.len();
    let padding = size.next_multiple_of(ARCHIVE_ALIGNMENT as u64) - size;
    initramfs.write_all(&[0; ARCHIVE_ALIGNMENT][..padding as usize]).context("padding the initramfs")?;
    initramfs.write_all(&archive).context("writing the initramfs")?;
    Ok(path)
}

/// Returns a cpio archive with this text as [`OVERRIDE`].
fn archive(images: &Images<'_>, dir: &Path, text: &str) -> Result<Vec<u8>> {
    let staging = dir.join("override");
    let file = staging.join(OVERRIDE);
    let parent = file.parent().context("finding the directory of the override")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let script = "cd \"$1\" && find etc | LC_ALL=C sort | cpio --quiet --create --format=newc";
    let mut cpio = cmd::words("bash", [images.lab.own("scripts/enter.sh")]);
    cpio.arg(&images.bootimage.root).arg(dir).args(["--", "sh", "-c", script, "sh"]).arg(&staging);
    Ok(cmd::output(&mut cpio)?.stdout)
}
