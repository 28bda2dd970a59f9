// SPDX-License-Identifier: Apache-2.0 OR MIT
//! slipstream dies right after each of its steps, and is started again as on the next boot.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::{Case, module};

use crate::case::case;
use crate::others::Left;

/// Steps, and how the next boot ends.
const KILLED: [(&str, &str); 6] = [
    ("layer-ref", "swapped"),
    ("merge-commit", "swapped"),
    ("image-ref", "swapped"),
    ("deployment", "swapped"),
    ("default", "already-booted"),
    ("swap", "already-booted"),
];

pub fn cases() -> Vec<Case> {
    let name = |step: &str| match step {
        "none" => "after_none_was_cut".to_owned(),
        step => format!("after_{}", step.replace('-', "_")),
    };
    let go_on = KILLED.map(|(step, expected)| case(&name(step), move |machine| killed(machine, step, expected)));
    // The one that is not cut is the control.
    let steps = ["none", "layer-ref", "merge-commit", "image-ref", "deployment"];
    let another = steps.map(|step| case(&name(step), move |machine| cut_before(machine, step)));
    let steps = ["layer-ref", "image-ref", "deployment"];
    let refused = steps.map(|step| case(&name(step), move |machine| cut_and_refused(machine, step)));
    [
        module("goes_on_after_a_kill", go_on),
        module("is_as_if_it_had_been_the_first_image", another),
        module("leaves_nothing_of_an_image_that_is_refused", refused),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn killed(machine: &mut Machine, step: &'static str, expected: &str) -> Result<()> {
    machine.failpoint = Some(step);
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(output.status.signal().is_some(), "it did not die: {output:?}");
    // From the moment on at which this boot's root is another one, the account says so.
    let said = outcome(status.as_ref());
    ensure!(said == if step == "swap" { "swapped" } else { "none" }, "it has said {said}");
    machine.failpoint = None;
    machine.ostree(&["fsck", "--quiet"]).context("after it")?;
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == expected, "{status:?}, {output:?}");
    machine.ostree(&["fsck", "--quiet"]).context("after the next run")?;
    let options = machine.options()?;
    ensure!(options.len() == 2, "entries: {options:?}");
    let staged: Vec<_> = fs::read_dir(machine.path("sysroot/ostree/repo/tmp"))?.collect::<Result<_, _>>()?;
    let ours = staged.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("slipstream-")).count();
    ensure!(ours == 0, "{ours} staging directories are left");
    Ok(())
}

/// A run for another image was cut at each of its steps. Then this one is as if it had been the first, but for objects,
/// which the next prune takes.
fn cut_before(machine: &mut Machine, step: &'static str) -> Result<()> {
    if step != "none" {
        let wanted = machine.image.clone();
        let mut image = node_image(NEW_KERNEL, |_| {})?;
        image.config["config"]["Labels"]["version"] = "another".into();
        machine.stage("earlier", image)?;
        machine.image = machine.image.replace("/node@", "/earlier@");
        machine.failpoint = Some(step);
        let (output, _) = machine.boot(&machine.request(&machine.source_at("earlier"))?)?;
        ensure!(!output.status.success(), "{output:?}");
        (machine.image, machine.failpoint) = (wanted, None);
    }
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    machine.ostree(&["prune", "--refs-only"])?;
    let left = Left::of(machine)?;
    ensure!(left.objects == "0" && left.staged.is_empty(), "{left:?}");
    // A deployment is a directory and an origin.
    ensure!(left.deployments == 4 && left.kernels == 2, "{left:?}");
    let images = left.refs.lines().filter(|name| name.starts_with("ostree/container/")).count();
    ensure!(images == 2 && !left.refs.contains("earlier"), "{left:?}");
    Ok(())
}

/// A boot that was cut has brought the image; the next one is not to use it.
fn cut_and_refused(machine: &mut Machine, step: &'static str) -> Result<()> {
    let before = Left::of(machine)?;
    machine.failpoint = Some(step);
    let (output, _) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(!output.status.success(), "{output:?}");
    machine.failpoint = None;
    let request = machine.request(&format!("{} slipstream.kernel=same", machine.source()))?;
    let (output, status) = machine.boot(&request)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    let after = Left::of(machine)?;
    ensure!(Left { objects: before.objects.clone(), ..after } == before, "something is left of {before:?}");
    Ok(())
}
