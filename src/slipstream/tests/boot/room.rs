// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A boot partition with room for two kernels, and not for three.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::machine::{Machine, NEW_KERNEL, OLD_KERNEL, outcome};
use testkit::programs::run;
use testkit::suite::Case;

use crate::case::case;

pub fn cases() -> [Case; 4] {
    [
        case("is_enough_for_two_kernels_and_not_for_a_third", two),
        case("is_not_taken_from_an_older_kernel", three),
        case("is_not_needed_for_the_kernel_that_is_there", same),
        case("is_needed_for_device_trees", device_trees),
    ]
}

/// Size of each kernel, in bytes. An initramfs here has none to speak of.
const KERNEL: usize = 4 << 20;
/// What entries and directories may take besides.
const SMALL: usize = 512 << 10;

/// A file system of `size` bytes with what was in a directory, in its place until it is dropped.
struct Partition(PathBuf);

impl Partition {
    fn over(dir: PathBuf, size: usize) -> Result<Self> {
        let path = dir.display().to_string();
        let kept = format!("{path}.kept");
        run(&["cp", "-a", &path, &kept])?;
        run(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "boot", &path])?;
        let partition = Self(dir);
        run(&["cp", "-a", &format!("{kept}/."), &path])?;
        fs::remove_dir_all(&kept)?;
        Ok(partition)
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Err(error) = run(&["umount", "--lazy", &self.0.display().to_string()]) {
            eprintln!("unmounting the boot partition: {error:#}");
        }
    }
}

/// A kernel that no file system makes smaller.
fn kernel(seed: u8) -> String {
    (0..KERNEL).map(|n| char::from(b'a' + (n as u8).wrapping_mul(31).wrapping_add(seed) % 26)).collect()
}

/// Stages a node image with these kernel and initramfs, and `more`.
fn stage(
    machine: &mut Machine,
    version: &str,
    vmlinuz: &str,
    initramfs: &str,
    more: impl FnOnce(&mut Layer),
) -> Result<()> {
    let mut image = Image::plain();
    image.layer(|layer| {
        layer.dir("usr").dir("etc").file(&format!("usr/lib/modules/{version}/vmlinuz"), vmlinuz);
        layer.file(&format!("usr/lib/modules/{version}/initramfs.img"), initramfs);
        layer.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
        more(layer);
    })?;
    machine.stage("big", image)
}

fn boot(machine: &Machine) -> Result<Value> {
    let (output, status) = machine.boot(&machine.request(&machine.source_at("big"))?)?;
    status.with_context(|| format!("no status: {output:?}"))
}

/// The kernels on the boot partition.
fn on_boot(machine: &Machine) -> Result<Vec<String>> {
    let boot = machine.path("sysroot/boot/ostree").display().to_string();
    let found = run(&["find", &boot, "-name", "vmlinuz-*", "-printf", "%f\n"])?;
    let mut found: Vec<_> = found.lines().map(|name| name.trim_start_matches("vmlinuz-").to_owned()).collect();
    found.sort();
    Ok(found)
}

/// The bootimage's kernel, as large as the others, deployed as what boots; before it an older one, if it is asked for.
fn deploy(machine: &Machine, versions: &[(&str, u8)]) -> Result<()> {
    let root = machine.path("sysroot").display().to_string();
    let sysroot = format!("--sysroot={root}");
    for (version, seed) in versions {
        let tree = machine.path(version);
        run(&["cp", "-a", &machine.path("tree").display().to_string(), &tree.display().to_string()])?;
        fs::rename(tree.join("usr/lib/modules").join(OLD_KERNEL), tree.join("usr/lib/modules").join(version))?;
        fs::write(tree.join("usr/lib/modules").join(version).join("vmlinuz"), kernel(*seed))?;
        machine.ostree(&["commit", "--branch=bootimage", &format!("--tree=dir={}", tree.display())])?;
        run(&["ostree", "admin", "deploy", &sysroot, "--os=testos", "--retain", "--karg=rw", "bootimage"])?;
    }
    // The small one that every machine has.
    run(&["ostree", "admin", "undeploy", &sysroot, &versions.len().to_string()])?;
    Ok(())
}

fn two(machine: &mut Machine) -> Result<()> {
    deploy(machine, &[("1.1-bootimage", 1)])?;
    stage(machine, NEW_KERNEL, &kernel(2), "initramfs", |_| {})?;
    let _boot = Partition::over(machine.path("sysroot/boot"), 2 * KERNEL + SMALL)?;
    let status = boot(machine)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    ensure!(on_boot(machine)? == ["1.1-bootimage", NEW_KERNEL], "{:?}", on_boot(machine)?);
    // Not for a second one more, and the first two are as they were.
    stage(machine, "3.0-next", &kernel(3), "initramfs", |_| {})?;
    // This image of the test's does not say its version.
    let more = format!("{} slipstream.skew=any", machine.source_at("big"));
    let (output, status) = machine.boot(&machine.request(&more)?)?;
    ensure!(outcome(status.as_ref()) == "failed", "{output:?}");
    let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
    ensure!(reason.contains("not enough space on the boot partition: about 5 MiB are needed, "), "{reason}");
    ensure!(on_boot(machine)? == ["1.1-bootimage", NEW_KERNEL], "{:?}", on_boot(machine)?);
    Ok(())
}

/// A deployment of before the bootimage: its removal was not asked for.
fn three(machine: &mut Machine) -> Result<()> {
    deploy(machine, &[("0.5-older", 0), ("1.1-bootimage", 1)])?;
    stage(machine, NEW_KERNEL, &kernel(2), "initramfs", |_| {})?;
    ensure!(machine.options()?.len() == 2, "{:?}", machine.options()?);
    {
        let _boot = Partition::over(machine.path("sysroot/boot"), 2 * KERNEL + SMALL)?;
        let before = run(&["find", &machine.path("sysroot/boot").display().to_string(), "-printf", "%p %s %l\n"])?;
        let status = boot(machine)?;
        ensure!(outcome(Some(&status)) == "failed", "{status}");
        let reason = status["reason"].as_str().unwrap_or_default();
        let numbers = "not enough space on the boot partition: about 5 MiB are needed, 0 MiB are free";
        ensure!(reason.contains(numbers), "{reason}");
        let after = run(&["find", &machine.path("sysroot/boot").display().to_string(), "-printf", "%p %s %l\n"])?;
        ensure!(before == after, "the boot partition has changed: {after}");
        ensure!(!machine.refs()?.contains("container"), "refs are left: {}", machine.refs()?);
    }
    let _boot = Partition::over(machine.path("sysroot/boot"), 3 * KERNEL + SMALL)?;
    let status = boot(machine)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    ensure!(on_boot(machine)? == ["0.5-older", "1.1-bootimage", NEW_KERNEL], "{:?}", on_boot(machine)?);
    ensure!(machine.options()?.len() == 3, "an entry is gone: {:?}", machine.options()?);
    Ok(())
}

/// Kernel and initramfs are the bootimage's to the last byte, as in a node image of the same build.
fn same(machine: &mut Machine) -> Result<()> {
    deploy(machine, &[("1.1-bootimage", 1)])?;
    stage(machine, "1.1-bootimage", &kernel(1), "old initramfs", |_| {})?;
    let _boot = Partition::over(machine.path("sysroot/boot"), KERNEL + SMALL)?;
    let status = boot(machine)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    ensure!(on_boot(machine)? == ["1.1-bootimage"], "{:?}", on_boot(machine)?);
    ensure!(machine.options()?.len() == 2, "{:?}", machine.options()?);
    Ok(())
}

/// libostree copies device trees as well, and a node image that differs in nothing else has a directory of its own.
fn device_trees(machine: &mut Machine) -> Result<()> {
    deploy(machine, &[("1.1-bootimage", 1)])?;
    stage(machine, "1.1-bootimage", &kernel(1), "old initramfs", |layer| {
        layer.file("usr/lib/modules/1.1-bootimage/dtb/vendor/board.dtb", &kernel(2));
    })?;
    {
        let _boot = Partition::over(machine.path("sysroot/boot"), 2 * KERNEL + SMALL)?;
        let status = boot(machine)?;
        let reason = status["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains("not enough space on the boot partition: about 9 MiB are needed"), "{status}");
    }
    let _boot = Partition::over(machine.path("sysroot/boot"), 3 * KERNEL + SMALL)?;
    let status = boot(machine)?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    let boot = machine.path("sysroot/boot").display().to_string();
    let copied = run(&["find", &boot, "-name", "board.dtb"])?;
    ensure!(copied.lines().count() == 1, "{copied:?}");
    Ok(())
}
