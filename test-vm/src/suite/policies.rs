// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests of the suite: what a failure leads to, by `on-failure` and `deadline`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::auto::{no_secret, node};
use super::case::{Report, refusal};
use crate::images::Images;
use crate::images::ignition::{self, Node};
use crate::images::job::{job, request};
use crate::lab::guest::error_lines;
use crate::lab::machine::{Loader, Machine};
use crate::lab::registry::Registry;

/// What the node with a source that hangs may take, in seconds.
const DEADLINE: &str = "30";
/// Where dracut looks for what to run before its emergency shell.
const EMERGENCY_HOOK: &str = "var/lib/dracut/hooks/emergency/99-last-words.sh";

/// Boots with a wrong digest and `on-failure=emergency`: the shell, with the cause in sight. Then the same machine
/// without the policy.
pub fn emergency(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.attach(&images.node.damaged);
    machine.initramfs = Some(with_hook(images, &machine)?);
    let request = request(images, "oci:LABEL=nodeimage:/node");
    machine.append = format!("{request} slipstream.on-failure=emergency");
    let before = machine.boot_partition().entries()?;
    let boot = machine.boot_to_emergency(&job(images, &[], "", &[])?)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    let (_, shown) = boot.console.split_once("last words begin").context("finding what the shell shows")?;
    let (shown, _) = shown.split_once("last words end").context("finding the end of what the shell shows")?;
    println!("   the shell shows:{}", shown.trim_end().replace('\n', "\n     "));
    ensure!(shown.contains("failed: slipstream-emergency.service"), "no word about the unit: {shown}");
    let lines = error_lines(shown);
    let says = |line: &String| ["sha256 mismatch: expected ", ", got "].iter().all(|words| line.contains(words));
    ensure!(lines.iter().any(says), "no word about the two digests: {lines:?}");
    report.pass();

    machine.initramfs = None;
    machine.append = request;
    refusal(&mut machine, &job(images, &["checks/failed.sh"], "", &[("EXPECT_REASON", "sha256 mismatch: expected")])?)?;
    report.pass();
    Ok(())
}

/// Boots without the device and with `on-failure=reboot`: three times, of which the last one goes on.
pub fn reboot(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.append =
        request(images, "oci:LABEL=nodeimage:/node") + " slipstream.on-failure=reboot slipstream.deadline=20s";
    let before = machine.boot_partition().entries()?;
    for this in 1..3 {
        let boot = machine.boot_to_reset(&job(images, &[], "", &[])?)?;
        ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
        let line = format!("on-failure=reboot: rebooting, try {this} of 3 has failed: ");
        let said = boot.console.lines().find(|said| said.contains(&line));
        let said = said.with_context(|| format!("reading the console: nothing like {line:?}"))?;
        println!("   console: {}", said.trim());
        ensure!(said.contains("LABEL=nodeimage did not appear"), "reading the console: no reason in {said:?}");
        report.pass();
    }
    let scripts = ["checks/failed.sh", "checks/tries.sh"];
    refusal(&mut machine, &job(images, &scripts, "", &[("EXPECT_REASON", "LABEL=nodeimage did not appear")])?)?;
    report.pass();
    Ok(())
}

/// Names a mirror where no server listens, and a registry that takes a connection and says nothing: the bootimage is
/// booted, and soon.
pub fn source_hangs(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let (registry, absent) = (Registry::new(images.lab)?, Registry::new(images.lab)?);
    let address = registry.address();
    take_and_keep(&address)?;
    let image = registry.image(&images.node.reference)?;
    let keys = format!("deadline = {DEADLINE}s\n");
    let config =
        ignition::config(images.lab, &registry, &absent.address(), &image, Node { keys: &keys, ..Node::default() })?;
    let mut machine = node(images, name, &config)?;
    let more = [("EXPECT_REASON", address.as_str()), ("DEADLINE", DEADLINE)];
    let boot = refusal(&mut machine, &job(images, &["checks/failed.sh", "checks/deadline.sh"], "", &more)?)?;
    let shown = boot.answer.fact("status")?;
    no_secret(&boot.console, "the console")?;
    no_secret(shown, "the status")?;
    let status: Value = serde_json::from_str(shown).context("parsing the status")?;
    for address in [absent.address(), address] {
        let endpoints = status["endpoints"].as_array().context("reading the endpoints")?;
        let of = |entry: &&Value| entry["source"].as_str().is_some_and(|source| source.starts_with(&address));
        let error = endpoints.iter().find(of).and_then(|entry| entry["error"].as_str());
        let error = error.with_context(|| format!("finding the error of {address} in {endpoints:?}"))?;
        println!("   endpoint: {error}");
        // The mirror is asked again while there is time; what it had said is not lost then.
        let expected = if address == absent.address() { "Failed to connect" } else { "the deadline is over" };
        ensure!(error.contains(expected), "endpoint {address}: {error:?}");
    }
    report.pass();
    Ok(())
}

/// Takes every connection at the port of `address` on this host, and never says anything.
fn take_and_keep(address: &str) -> Result<()> {
    let (_, port) = address.split_once(':').context("splitting an address")?;
    let port: u16 = port.parse().context("parsing a port")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listening")?;
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push(stream);
        }
    });
    Ok(())
}

/// Returns the bootimage's initramfs with a hook as CoreOS has it, which shows the journal of failed units.
fn with_hook(images: &Images<'_>, machine: &Machine<'_>) -> Result<PathBuf> {
    let entry = machine.boot_partition().default_entry()?;
    let path = images.lab.logs.join("emergency-initramfs.img");
    machine.boot_partition().dump(&entry.initrd, &path)?;
    let hook = fs::read(images.lab.own("guest/emergency-hook.sh")).context("reading the hook")?;
    let mut initramfs = fs::read(&path).context("reading the initramfs")?;
    // The kernel takes a further archive where one could start.
    initramfs.resize(initramfs.len().next_multiple_of(512), 0);
    cpio_member(&mut initramfs, EMERGENCY_HOOK, &hook);
    cpio_member(&mut initramfs, "TRAILER!!!", b"");
    fs::write(&path, initramfs).context("writing the initramfs")?;
    Ok(path)
}

/// Adds a regular file in the format that the kernel unpacks:
/// Documentation/driver-api/early-userspace/buffer-format.rst.
fn cpio_member(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let fields = [0, 0o100_755, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
    archive.extend_from_slice(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
