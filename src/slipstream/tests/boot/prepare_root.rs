// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Composefs, asked for by the initramfs that runs, by the node image's, or by a kernel argument; with a libostree that
//! makes composefs images, or with one that does not: it is that of the host.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contract::place::Place;
use initrd::launch::launch;
use serde_json::Value;

use super::{Machine, outcome, write_image_with};

const CONF: &str = "usr/lib/ostree/prepare-root.conf";

/// What a boot comes to.
#[derive(Clone, Copy)]
enum Expected {
    Swapped,
    /// With a libostree that makes composefs images.
    IfComposefs,
    /// The reason has this in it.
    Failed(&'static str),
}

/// A machine whose node image has this file, and whose initramfs has that one.
fn machine(of_initramfs: &str, of_node: &str) -> Result<Machine> {
    let mut machine = Machine::new()?;
    if !of_node.is_empty() {
        let digest = write_image_with(&machine.path("node"), &[(CONF, of_node)], |_| {})?;
        machine.image = format!("example.com/os/node@{digest}");
    }
    if !of_initramfs.is_empty() {
        // Its root is the run directory in these tests.
        let path = machine.path("run").join(CONF);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, of_initramfs)?;
    }
    Ok(machine)
}

/// Whether the host's libostree has made a composefs image of the bootimage.
fn makes_composefs(machine: &Machine) -> Result<bool> {
    let cmdline = machine.request("")?;
    Ok(machine.linked(&cmdline)?.join(".ostree.cfs").exists())
}

pub fn composefs(_: &Machine) -> Result<()> {
    const YES: &str = "[composefs]\nenabled = yes\n";
    const MAYBE: &str = "[composefs]\nenabled = maybe\n";
    for (label, of_initramfs, of_node, karg, expected) in [
        ("nobody", "", "", "", Expected::Swapped),
        ("maybe", MAYBE, MAYBE, "", Expected::Swapped),
        ("this boot", YES, "", "", Expected::IfComposefs),
        ("the next boot", "", YES, "", Expected::IfComposefs),
        ("both", YES, YES, "", Expected::IfComposefs),
        ("by argument", "", "", "ostree.prepare-root.composefs=1", Expected::IfComposefs),
        ("not by argument", YES, "", "ostree.prepare-root.composefs=0", Expected::Swapped),
        ("verified next", "", "[composefs]\nenabled=verity\n", "", Expected::Failed("composefs")),
        ("signed next", MAYBE, "[composefs]\nenabled=signed\n", "", Expected::Failed("composefs")),
        ("unreadable", "[composefs]\nenabled=on\n", "", "", Expected::Failed("none of yes, no, maybe")),
    ] {
        one(of_initramfs, of_node, karg, expected).with_context(|| label.to_owned())?;
    }
    Ok(())
}

fn one(of_initramfs: &str, of_node: &str, karg: &str, expected: Expected) -> Result<()> {
    let machine = machine(of_initramfs, of_node)?;
    let refs = machine.refs()?;
    let makes = makes_composefs(&machine)?;
    let cmdline = machine.request(&format!("{} {karg}", machine.source()))?;
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    let reason = status.as_ref().map(|status| status["reason"].to_string()).unwrap_or_default();
    let failed = match expected {
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
pub fn verified(_: &Machine) -> Result<()> {
    for (label, conf, karg) in [
        ("signed", "[composefs]\nenabled = signed\n", ""),
        ("verity", "[composefs]\nenabled = verity\n", ""),
        ("by argument", "", "ostree.prepare-root.composefs=signed"),
    ] {
        let machine = machine(conf, "")?;
        let reason = entered(&machine, karg).with_context(|| label.to_owned())?;
        ensure!(reason.contains("the root has to be verified"), "{label}: {reason}");
    }
    // Otherwise it goes on, and what it meets next is that this deployment has no importer.
    let reason = entered(&machine("[composefs]\nenabled = yes\n", "")?, "")?;
    ensure!(reason.contains("the bootimage has no /usr/bin/slipstream"), "not verified: {reason}");
    Ok(())
}

/// Why the unit in the initramfs has failed.
fn entered(machine: &Machine, karg: &str) -> Result<String> {
    let cmdline = machine.request(&format!("{} {karg}", machine.source()))?;
    fs::write(machine.path("cmdline"), cmdline)?;
    let run_dir = machine.path("run");
    launch(&Place {
        sysroot: machine.path("sysroot"),
        cmdline: machine.path("cmdline"),
        root: run_dir.clone(),
        ignition: machine.path("ignition.json"),
        run_dir: run_dir.clone(),
    })?;
    reason(&run_dir)
}

fn reason(run_dir: &Path) -> Result<String> {
    let status: Value = serde_json::from_str(&fs::read_to_string(run_dir.join("status.json"))?)?;
    ensure!(outcome(Some(&status)) == "failed", "{status}");
    Ok(status["reason"].to_string())
}
