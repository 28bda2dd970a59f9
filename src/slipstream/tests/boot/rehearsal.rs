// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A node image on whose root the bootimage's programs do not work. The bootimage's programs are those of the system that
//! runs the tests.

use anyhow::{Context, Result, ensure};
use testkit::layer::Layer;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::suite::Case;

use crate::case::case;

/// A line of tmpfiles.d, with a modifier that no systemd has yet.
const FUTURE: &str = "d% /var/future 0755 root root -\n";
const TMPFILES: &str = "usr/lib/tmpfiles.d/future.conf";

pub fn cases() -> Vec<Case> {
    vec![
        case("what_the_bootimage_can_read_is_swapped", |machine| {
            let status = boot(machine, |layer| tmpfiles(layer, "d /var/home 0755 root root -\n"), "")?;
            ensure!(outcome(Some(&status)) == "swapped", "{status}");
            left_alone(machine)
        }),
        case("is_not_tried_where_ignition_has_no_say", |machine| {
            let status = boot(machine, |layer| tmpfiles(layer, FUTURE), "once")?;
            ensure!(outcome(Some(&status)) == "swapped", "{status}");
            Ok(())
        }),
        refuses("configuration_of_a_newer_systemd_tmpfiles", "systemd-tmpfiles", |layer| tmpfiles(layer, FUTURE)),
        refuses("users_that_useradd_cannot_read", "useradd", |layer| {
            layer.dir("etc/passwd");
        }),
    ]
}

fn tmpfiles(layer: &mut Layer, text: &str) {
    layer.file(TMPFILES, text);
    users(layer);
}

fn users(layer: &mut Layer) {
    layer.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").file("etc/group", "root:x:0:\n");
}

fn refuses(name: &str, program: &'static str, fill: fn(&mut Layer)) -> Case {
    case(name, move |machine| {
        let before = machine.options()?;
        let status = boot(machine, fill, "")?;
        ensure!(outcome(Some(&status)) == "skipped", "{status}");
        let expected =
            format!("the bootimage's {program} does not work on the node image's root, and the first boot needs it");
        ensure!(status["reason"].as_str().is_some_and(|reason| reason.starts_with(&expected)), "{status}");
        ensure!(machine.options()? == before && !machine.refs()?.contains("container"), "something is left");
        left_alone(machine)
    })
}

/// Boots an image with more in it, on a first boot or `once`.
fn boot(machine: &mut Machine, fill: impl Fn(&mut Layer), once: &str) -> Result<serde_json::Value> {
    machine.stage("tried", node_image(NEW_KERNEL, |layer| fill(layer))?)?;
    let mut request = machine.request(&machine.source_at("tried"))?;
    if !once.is_empty() {
        request = request.replace("ignition.firstboot", "slipstream.when=once");
    }
    let output = machine.command_as(&request)?.output()?;
    machine.status()?.with_context(|| format!("no status: {output:?}"))
}

/// Nothing of the trial is in a deployment, and none of its mounts is left.
fn left_alone(machine: &Machine) -> Result<()> {
    let listing = machine.listing()?;
    ensure!(!listing.contains("/var/home") && !listing.contains("rehearsal"), "{listing}");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let root = machine.path("sysroot").display().to_string();
    ensure!(!mounts.contains(&root), "{mounts}");
    Ok(())
}
