// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ways in which a boot can end.

use std::fs;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result, ensure};
use contract::names::Digest;
use contract::places::PhysicalRoot;
use contract::tries;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::programs::run;
use testkit::suite::Case;

use crate::case::case;

pub fn cases() -> Vec<Case> {
    vec![
        case("swapped_then_already_booted", swapped),
        case("leaves_a_deliberate_boot_of_the_bootimage_alone", deliberate),
        case("skips_an_image_with_another_kernel_than_wanted", same_kernel),
        case("fails_if_no_source_has_the_image", failed),
        case("takes_the_second_source_if_it_has_the_image", second_source),
        case("refuses_a_bootable_image_that_is_not_for_us", not_bootable),
        case("does_nothing_without_a_request", no_request),
        case("reports_earlier_tries", earlier_tries),
        case("tells_systemd_which_stage_it_is_in", service_status),
    ]
}

fn swapped(machine: &mut Machine) -> Result<()> {
    let cmdline = machine.request(&machine.source())?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    let deployment = status["node_image"]["deployment"].as_str().context("no deployment")?;
    ensure!(machine.linked(&cmdline)? == fs::canonicalize(machine.path("sysroot").join(deployment))?, "the boot link");
    let options = machine.options()?;
    ensure!(options.len() == 2, "entries: {options:?}");
    ensure!(options[0].starts_with("rw $ignition_firstboot ostree=/ostree/boot.0/testos/"), "new: {}", options[0]);
    ensure!(options[1].starts_with("rw $ignition_firstboot slipstream.debug=no ostree="), "old: {}", options[1]);
    let origin = fs::read_to_string(machine.path("sysroot").join(format!("{deployment}.origin")))?;
    let expected = format!("[origin]\ncontainer-image-reference=ostree-unverified-registry:{}\n", machine.image);
    ensure!(origin == expected, "origin {origin:?}");
    let conf = fs::read_to_string(machine.path("sysroot").join(deployment).join("etc/conf"))?;
    ensure!(conf == "of the node image\n", "/etc is {conf:?}");
    machine.ostree(&["fsck", "--quiet"])?;
    // The same boot again: nothing changes.
    let before = machine.listing()?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "already-booted", "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    // A cleanup by ostree takes the old links, and leaves both deployments.
    run(&["ostree", "admin", "cleanup", &format!("--sysroot={}", machine.path("sysroot").display())])?;
    ensure!(machine.options()?.len() == 2, "entries after a cleanup");
    Ok(())
}

fn deliberate(machine: &mut Machine) -> Result<()> {
    machine.boot(&machine.request(&machine.source())?)?;
    let bootimage = machine.options()?.pop().context("no second entry")?;
    let cmdline = format!("{bootimage} slipstream.image={} {}", machine.image, machine.source());
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

fn same_kernel(machine: &mut Machine) -> Result<()> {
    let refs = machine.refs()?;
    let (output, status) = machine.boot(&machine.request(&format!("{} slipstream.kernel=same", machine.source()))?)?;
    ensure!(outcome(status.as_ref()) == "skipped" && output.status.success(), "{status:?}, {output:?}");
    let reason = status.map(|status| status["reason"].to_string()).unwrap_or_default();
    ensure!(reason.contains(&format!("kernel=same, and the node image has {NEW_KERNEL}")), "{reason}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    Ok(())
}

fn failed(machine: &mut Machine) -> Result<()> {
    let refs = machine.refs()?;
    let cmdline = machine.request("slipstream.source=oci:/nonexistent")?;
    let linked = machine.linked(&cmdline)?;
    let (output, status) = machine.boot(&cmdline)?;
    ensure!(outcome(status.as_ref()) == "failed" && output.status.code() == Some(1), "{status:?}, {output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("error:")).count();
    ensure!(errors == 1, "{errors} error lines: {output:?}");
    ensure!(machine.refs()? == refs && machine.options()?.len() == 1, "something is left");
    ensure!(machine.linked(&cmdline)? == linked, "the boot link has moved");
    Ok(())
}

fn second_source(machine: &mut Machine) -> Result<()> {
    let (output, status) =
        machine.boot(&machine.request(&format!("slipstream.source=oci:/nonexistent {}", machine.source()))?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let endpoints = status.map(|status| status["endpoints"].clone()).unwrap_or_default();
    ensure!(endpoints[0]["error"].as_str().is_some_and(|error| error.contains("/nonexistent")), "{endpoints}");
    ensure!(endpoints[1]["error"].is_null(), "{endpoints}");
    Ok(())
}

fn not_bootable(machine: &mut Machine) -> Result<()> {
    let mut image = node_image(NEW_KERNEL, |_| {})?;
    image.config["config"]["Labels"] = serde_json::json!({});
    machine.stage("plain", image)?;
    let (output, status) = machine.boot(&machine.request(&machine.source_at("plain"))?)?;
    ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("image is not bootable"), "{output:?}");
    Ok(())
}

fn no_request(machine: &mut Machine) -> Result<()> {
    let before = machine.listing()?;
    let (output, status) = machine.boot(&machine.options()?.swap_remove(0))?;
    ensure!(output.status.success() && status.is_none(), "{status:?}, {output:?}");
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}

/// The importer reports earlier tries, whatever comes of this one; that the file goes is the launcher's work.
fn earlier_tries(machine: &mut Machine) -> Result<()> {
    let root = machine.path("sysroot");
    tries::record(&PhysicalRoot::new(&root), Digest::of(b"this"), "no network")?;
    let (output, status) = machine.boot(&machine.request("slipstream.source=oci:/nonexistent")?)?;
    let expected = serde_json::json!([{"reason": "no network"}]);
    ensure!(status.as_ref().is_some_and(|status| status["tries"] == expected), "failed: {status:?}, {output:?}");
    fs::write(root.join(tries::TRIES_FILE), "garbage")?;
    let (output, status) = machine.boot(&machine.request(&machine.source())?)?;
    ensure!(outcome(status.as_ref()) == "swapped", "{status:?}, {output:?}");
    let status = status.context("no status")?;
    ensure!(status["tries"] == serde_json::json!([]), "garbage: {}", status["tries"]);
    let link = &status["leftovers"][0];
    ensure!(link["kind"] == "link" && link["until"] == "ostree-cleanup", "leftovers: {}", status["leftovers"]);
    ensure!(status["node_image"]["etc_merged"] == false, "{status}");
    let lines = String::from_utf8_lossy(&output.stderr).lines().count();
    ensure!(lines == 2, "{lines} lines, and one more is settle's: {output:?}");
    Ok(())
}

fn service_status(machine: &mut Machine) -> Result<()> {
    let path = machine.path("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    let sources = format!("slipstream.source=oci:/nonexistent {}", machine.source());
    let output = machine.command(&machine.request(&sources)?)?.env("NOTIFY_SOCKET", &path).output()?;
    ensure!(outcome(machine.status()?.as_ref()) == "swapped", "{output:?}");
    let mut lines = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = socket.recv(&mut buffer) {
        lines.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
    }
    let starts = [
        "source: oci:/nonexistent",
        "source: oci:/",
        "import: ",
        "deploy: ",
        "swap: ostree/deploy/",
        "this boot runs example.com/os/node@",
    ];
    let right = |(line, start): (&String, &str)| line.starts_with(&format!("STATUS={start}"));
    ensure!(lines.len() == starts.len() && lines.iter().zip(starts).all(right), "{lines:?}");
    Ok(())
}
