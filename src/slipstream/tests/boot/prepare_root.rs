// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Composefs, asked for by the initramfs that runs, by the node image's, or by a kernel argument; with a libostree that
//! makes composefs images, or with one that does not: it is that of the host.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::place::Place;
use contract::places::PhysicalRoot;
use initrd::launch::launch;
use serde_json::Value;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::{Case, module};

use crate::case::case;

const CONF: &str = "usr/lib/ostree/prepare-root.conf";
const YES: &str = "[composefs]\nenabled = yes\n";
const MAYBE: &str = "[composefs]\nenabled = maybe\n";

pub fn cases() -> Vec<Case> {
    let composefs = COMPOSEFS.map(|row| case(row.name, move |machine| one(machine, &row)));
    let verified = [
        ("signed", "[composefs]\nenabled = signed\n", ""),
        ("verity", "[composefs]\nenabled = verity\n", ""),
        ("signed_by_argument", "", "ostree.prepare-root.composefs=signed"),
    ];
    let verified = verified.map(|(name, conf, karg)| case(name, move |machine| is_refused(machine, conf, karg)));
    let mut cases = module("composefs", composefs);
    cases.extend(module("runs_nothing_of_a_root_that_has_to_be_verified", verified));
    cases.push(case("enters_a_root_that_need_not_be_verified", not_verified));
    cases
}

/// The outcome of a boot.
#[derive(Clone, Copy)]
enum Expected {
    Swapped,
    /// With a libostree that makes composefs images.
    IfComposefs,
    /// The reason has this in it.
    Failed(&'static str),
}

/// Gives the node image this file, and the initramfs that one.
fn configure(machine: &mut Machine, of_initramfs: &str, of_node: &str) -> Result<()> {
    if !of_node.is_empty() {
        let add = |layer: &mut testkit::layer::Layer| {
            layer.file(CONF, of_node);
        };
        machine.stage("node", node_image(NEW_KERNEL, add)?)?;
    }
    if !of_initramfs.is_empty() {
        // Its root is the run directory in these tests.
        let path = machine.path("run").join(CONF);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, of_initramfs)?;
    }
    Ok(())
}

/// Returns whether the host's libostree has made a composefs image of the bootimage.
fn makes_composefs(machine: &Machine) -> Result<bool> {
    let cmdline = machine.request("")?;
    Ok(machine.linked(&cmdline)?.join(".ostree.cfs").exists())
}

/// A configuration, and the outcome of a boot.
struct Row {
    name: &'static str,
    of_initramfs: &'static str,
    of_node: &'static str,
    karg: &'static str,
    expected: Expected,
}

const fn row(
    name: &'static str,
    of_initramfs: &'static str,
    of_node: &'static str,
    karg: &'static str,
    expected: Expected,
) -> Row {
    Row { name, of_initramfs, of_node, karg, expected }
}

const COMPOSEFS: [Row; 10] = [
    row("neither_has_it", "", "", "", Expected::Swapped),
    row("both_may_have_it", MAYBE, MAYBE, "", Expected::Swapped),
    row("this_boot_has_it", YES, "", "", Expected::IfComposefs),
    row("the_next_boot_has_it", "", YES, "", Expected::IfComposefs),
    row("both_have_it", YES, YES, "", Expected::IfComposefs),
    row("it_is_on_by_argument", "", "", "ostree.prepare-root.composefs=1", Expected::IfComposefs),
    row("it_is_off_by_argument", YES, "", "ostree.prepare-root.composefs=0", Expected::Swapped),
    row("the_next_boot_is_verified", "", "[composefs]\nenabled=verity\n", "", Expected::Failed("composefs")),
    row("the_next_boot_is_signed", MAYBE, "[composefs]\nenabled=signed\n", "", Expected::Failed("composefs")),
    row("it_cannot_be_read", "[composefs]\nenabled=on\n", "", "", Expected::Failed("none of yes, no, maybe")),
];

fn one(machine: &mut Machine, row: &Row) -> Result<()> {
    configure(machine, row.of_initramfs, row.of_node)?;
    let refs = machine.refs()?;
    let makes = makes_composefs(machine)?;
    let cmdline = machine.request(&format!("{} {}", machine.source(), row.karg))?;
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    let reason = status.as_ref().map(|status| status["reason"].to_string()).unwrap_or_default();
    let failed = match row.expected {
        Expected::Swapped => None,
        Expected::IfComposefs => (!makes).then_some("composefs"),
        Expected::Failed(text) => Some(text),
    };
    let Some(text) = failed else {
        ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
        let image = machine.linked(&cmdline)?.join(".ostree.cfs");
        ensure!(image.exists() == makes, "{} and {makes}", image.exists());
        return Ok(());
    };
    ensure!(outcome(status.as_ref()) == "failed" && reason.contains(text), "{status:?}, {output:?}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

/// The bootimage's deployment has to be verified by its initramfs: nothing of it is run before that.
fn is_refused(machine: &mut Machine, conf: &str, karg: &str) -> Result<()> {
    configure(machine, conf, "")?;
    let reason = entered(machine, karg)?;
    ensure!(reason.contains("the root has to be verified"), "{reason}");
    Ok(())
}

/// It goes on, and what it meets next is that this deployment has no importer.
fn not_verified(machine: &mut Machine) -> Result<()> {
    configure(machine, YES, "")?;
    let reason = entered(machine, "")?;
    ensure!(reason.contains("the bootimage has no /usr/bin/slipstream"), "not verified: {reason}");
    Ok(())
}

/// Returns why the unit in the initramfs has failed.
fn entered(machine: &Machine, karg: &str) -> Result<String> {
    let cmdline = machine.request(&format!("{} {karg}", machine.source()))?;
    fs::write(machine.path("cmdline"), cmdline)?;
    let run_dir = machine.path("run");
    launch(&Place {
        sysroot: PhysicalRoot::new(machine.path("sysroot")),
        cmdline: machine.path("cmdline"),
        root: run_dir.clone(),
        ignition: machine.path("ignition.json"),
        efivars: machine.path("efivars"),
        run_dir: run_dir.clone(),
    })?;
    reason(&run_dir)
}

fn reason(run_dir: &Path) -> Result<String> {
    let status: Value = serde_json::from_str(&fs::read_to_string(run_dir.join("status.json"))?)?;
    ensure!(outcome(Some(&status)) == "failed", "{status}");
    Ok(status["reason"].to_string())
}
