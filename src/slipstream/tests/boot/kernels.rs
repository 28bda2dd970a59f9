// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images with several kernels or without an initramfs: what the boot loader will start, and not what we expect it to.

use std::fs;

use anyhow::{Context, Result, ensure};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::machine::{Machine, NEW_KERNEL, OLD_KERNEL, node_image, outcome};
use testkit::suite::{Case, module};

use crate::case::case;

pub fn cases() -> Vec<Case> {
    let named =
        [("beside_an_older", "1.9-older"), ("beside_a_newer", "2.1-newer"), ("beside_one_of_more_digits", "10.0-x")];
    let named = named.map(|(name, other)| case(name, move |machine| two(machine, other)));
    let refused = REFUSED.map(|row| case(row.name, move |machine| refuses(machine, &row)));
    let mut cases = module("status_names_the_kernel_of_the_entry", named);
    cases.extend(module("is_refused_before_it_is_deployed", refused));
    cases.push(case("an_initramfs_without_a_suffix_counts", without_suffix));
    cases.push(case("no_initramfs_is_needed_where_the_bootimage_has_none", none_at_all));
    cases
}

fn running() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn add(layer: &mut Layer, kernel: &str, files: &[&str]) {
    for file in files {
        layer.file(&format!("usr/lib/modules/{kernel}/{file}"), &format!("{file} of {kernel}"));
    }
}

/// Returns the kernel, and whether there is an initramfs, of the entry that the boot loader would start.
fn default_entry(machine: &Machine) -> Result<(String, bool)> {
    let entries = machine.path("sysroot/boot/loader/entries");
    let newest =
        fs::read_dir(entries)?.collect::<Result<Vec<_>, _>>()?.into_iter().max_by_key(|entry| entry.file_name());
    let text = fs::read_to_string(newest.context("no entry")?.path())?;
    let linux = text.lines().find_map(|line| line.strip_prefix("linux ")).context("no kernel")?;
    let (_, version) = linux.rsplit_once("/vmlinuz-").with_context(|| format!("another kernel: {linux}"))?;
    Ok((version.to_owned(), text.lines().any(|line| line.starts_with("initrd "))))
}

/// libostree takes the first kernel that the file system names.
fn two(machine: &mut Machine, other: &str) -> Result<()> {
    let image = node_image(NEW_KERNEL, |layer| add(layer, other, &["vmlinuz", "initramfs.img"]))?;
    machine.stage("two", image)?;
    let (output, status) = machine.boot(&machine.request(&machine.source_at("two"))?)?;
    let status = status.with_context(|| format!("no status: {output:?}"))?;
    ensure!(outcome(Some(&status)) == "swapped", "{status}");
    let (kernel, initramfs) = default_entry(machine)?;
    ensure!(initramfs && status["node_image"]["kernel"] == *kernel, "the entry starts {kernel}: {status}");
    Ok(())
}

/// An image that would not come up by itself, or not with the kernel that was asked for.
struct Refused {
    name: &'static str,
    /// The kernel that is complete; none if it is empty.
    kernel: fn() -> String,
    /// Another one, with these files.
    other: Option<(&'static str, &'static [&'static str])>,
    more: &'static str,
    expected: fn() -> String,
}

const REFUSED: [Refused; 5] = [
    Refused {
        name: "kernel_without_initramfs",
        kernel: String::new,
        other: Some((NEW_KERNEL, &["vmlinuz"])),
        more: "",
        expected: || format!("the node image has no initramfs in /usr/lib/modules/{NEW_KERNEL}"),
    },
    Refused {
        name: "second_kernel_without_initramfs",
        kernel: || NEW_KERNEL.to_owned(),
        other: Some(("2.1-newer", &["vmlinuz"])),
        more: "",
        expected: || "the node image has no initramfs in /usr/lib/modules/2.1-newer".to_owned(),
    },
    Refused {
        name: "modules_without_kernel",
        kernel: String::new,
        other: Some((NEW_KERNEL, &["initramfs.img"])),
        more: "",
        expected: || "the node image has no kernel in /usr/lib/modules".to_owned(),
    },
    Refused {
        name: "no_modules_at_all",
        kernel: String::new,
        other: None,
        more: "",
        expected: || "the node image has no kernel in /usr/lib/modules".to_owned(),
    },
    Refused {
        name: "another_beside_the_running_kernel",
        kernel: running,
        other: Some(("9999-newer", &["vmlinuz", "initramfs.img"])),
        more: "slipstream.kernel=same",
        expected: || format!("the node image has {}, 9999-newer: its next boot may start any of them", running()),
    },
];

fn refuses(machine: &mut Machine, row: &Refused) -> Result<()> {
    let mut image = Image::plain();
    image.layer(|layer| {
        layer.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
        let kernel = (row.kernel)();
        if !kernel.is_empty() {
            add(layer, &kernel, &["vmlinuz", "initramfs.img"]);
        }
        if let Some((kernel, files)) = row.other {
            add(layer, kernel, files);
        }
    })?;
    machine.stage("refused", image)?;
    let before = machine.options()?;
    let more = format!("{} {}", machine.source_at("refused"), row.more);
    let (output, status) = machine.boot(&machine.request(&more)?)?;
    let status = status.with_context(|| format!("no status: {output:?}"))?;
    ensure!(output.status.success() && outcome(Some(&status)) == "skipped", "{status}");
    let expected = (row.expected)();
    ensure!(status["reason"].as_str().is_some_and(|reason| reason.ends_with(&expected)), "{status}");
    ensure!(machine.options()? == before && !machine.refs()?.contains("container"), "something is left");
    Ok(())
}

fn without_suffix(machine: &mut Machine) -> Result<()> {
    let mut image = Image::plain();
    image.layer(|layer| {
        layer.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
        add(layer, NEW_KERNEL, &["vmlinuz", "initramfs"]);
    })?;
    machine.stage("suffix", image)?;
    let (_, status) = machine.boot(&machine.request(&machine.source_at("suffix"))?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}");
    ensure!(default_entry(machine)? == (NEW_KERNEL.to_owned(), true), "{:?}", default_entry(machine)?);
    Ok(())
}

/// A machine whose kernel has all that it needs in it.
fn none_at_all(machine: &mut Machine) -> Result<()> {
    let tree = machine.path("tree");
    fs::remove_file(tree.join(format!("usr/lib/modules/{}/initramfs.img", OLD_KERNEL)))?;
    machine.deploy_tree()?;
    let mut image = Image::plain();
    image.layer(|layer| {
        layer.file("usr/lib/os-release", "NAME=Test\nID=test\n").file("etc/conf", "of the node image\n").dir("var");
        add(layer, NEW_KERNEL, &["vmlinuz"]);
    })?;
    machine.stage("none", image)?;
    let (_, status) = machine.boot(&machine.request(&machine.source_at("none"))?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}");
    ensure!(default_entry(machine)? == (NEW_KERNEL.to_owned(), false), "{:?}", default_entry(machine)?);
    Ok(())
}
