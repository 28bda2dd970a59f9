// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test of the suite: a node of OpenShift whose Ignition config alone says what to boot, from a registry.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::case::Report;
use crate::images::Images;
use crate::images::ignition::{self, Node};
use crate::images::job::job;
use crate::lab::guest::error_lines;
use crate::lab::machine::{Loader, Machine};
use crate::lab::registry::{self, Registry, SECRETS};

/// What CoreOS's GRUB adds on the first boot of a cloud image.
const FIRST_BOOT: &str = "rd.neednet=1 ip=dhcp";

/// Returns a machine on its first boot, with the network and Ignition.
pub fn node<'a>(images: &Images<'a>, name: &str, config: &str) -> Result<Machine<'a>> {
    let mut machine = Machine::new(images.lab, name, &images.disk("ext4")?, Loader::Direct)?;
    machine.initramfs = Some(ignition::initramfs(images.lab)?);
    machine.set_firstboot(FIRST_BOOT)?;
    machine.connect(config)?;
    Ok(machine)
}

/// Boots the node image that the registry serves, which has to be signed: first it is not.
pub fn from_registry(images: &Images<'_>, name: &str, report: &mut Report) -> Result<()> {
    let storage = registry::storage(images.lab, &images.node.staging, &images.node.reference)?;
    let mut registry = Registry::new(images.lab)?;
    let image = registry.image(&images.node.reference)?;
    let key = registry.make_key()?;
    let told = Node { signer: Some(&key), ..Node::default() };
    let config = ignition::config(images.lab, &registry, &registry.address(), &image, told)?;
    let signed = registry.sign(images.lab, &storage, &image)?;
    let log = images.lab.logs.join(name).join("registry.log");
    let mut machine = node(images, name, &config)?;
    registry.serve(&storage, &log)?;
    let boot = machine.boot(&job(images, &["checks/bootimage.sh"], "", &[])?)?;
    let status: Value = serde_json::from_str(boot.answer.fact("status")?).context("parsing the status")?;
    let reason = status["reason"].as_str().context("reading the reason")?;
    println!("   reason: {reason}");
    ensure!(status["outcome"] == "skipped" && reason.contains("has no signature"), "reading the status: {status}");
    report.pass();

    let mut machine = node(images, name, &config)?;
    registry.serve(&signed, &log)?;
    let secrets = SECRETS.join("\n");
    let boot =
        machine.boot(&job(images, &["checks/auto.sh"], "", &[("NODE_IMAGE", &image), ("SECRETS", &secrets)])?)?;

    let lines = error_lines(&boot.console);
    ensure!(lines.is_empty(), "reading the console: {lines:?}");
    no_secret(&boot.console, "the console")?;
    no_secret(boot.answer.fact("status")?, "the status")?;
    let served = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    let count = |request: &str, answer: &str| {
        served.lines().filter(|line| line.contains(request) && line.contains(answer)).count() as u64
    };
    let (_, digest) = image.split_once('@').context("splitting the image's name")?;
    let manifests = count(&format!("\"GET /v2/os/node/manifests/{digest} "), "\" 200 ");
    ensure!(manifests == 1, "reading the registry's log: it served the manifest {manifests} times");
    // The layers, the config, and what was signed.
    let (blobs, due) = (count("\"GET /v2/os/node/blobs/sha256:", "\" 200 "), images.node.layers + 2);
    ensure!(blobs == due, "reading the registry's log: it served {blobs} blobs, not {due}");
    report.pass();
    Ok(())
}

/// Checks that a text shows no password.
pub fn no_secret(text: &str, name: &str) -> Result<()> {
    for secret in SECRETS {
        ensure!(!text.contains(secret), "reading {name}: it shows {secret:?}");
    }
    Ok(())
}
