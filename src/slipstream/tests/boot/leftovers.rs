// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a boot leaves for the next one, and what the next one removes if it comes to nothing, even without an image.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layout::Layout;
use testkit::machine::{Machine, NEW_KERNEL, node_image, outcome};
use testkit::programs::run;
use testkit::suite::Case;

use crate::case::case;
use crate::others::hold;

const NO_SOURCE: &str = "slipstream.source=oci:/nonexistent";

pub fn cases() -> Vec<Case> {
    vec![
        case("keeps_whole_layers_if_there_is_a_next_try", |machine| {
            leave_layer(machine)?;
            fails(machine, &machine.source_at("cut"), 0)
        }),
        case("keeps_whole_layers_if_the_next_try_has_no_source", |machine| {
            leave_layer(machine)?;
            fails(machine, &format!("{NO_SOURCE} slipstream.on-failure=reboot"), 1)
        }),
        case("removes_what_is_left_if_there_is_no_source", |machine| {
            leave_layer(machine)?;
            let deployment = leave_deployment(machine)?;
            fails(machine, NO_SOURCE, 0)?;
            ensure!(!deployment.exists(), "{} is left", deployment.display());
            Ok(())
        }),
        case("removes_a_deployment_that_is_left", |machine| {
            let deployment = leave_deployment(machine)?;
            fails(machine, NO_SOURCE, 0)?;
            ensure!(!deployment.exists(), "{} is left", deployment.display());
            Ok(())
        }),
        case("removes_what_is_left_if_the_image_is_refused", refused),
        case("has_an_account_while_it_removes_what_is_left", account),
        case("leaves_a_disk_alone_on_which_nothing_is_left", untouched),
    ]
}

fn layers(machine: &Machine) -> Result<usize> {
    Ok(machine.refs()?.lines().filter(|name| name.starts_with("ostree/container/")).count())
}

/// A boot that fails, after which there are this many refs of layers.
fn fails(machine: &Machine, kargs: &str, left: usize) -> Result<()> {
    let (output, status) = machine.boot(&machine.request(kargs)?)?;
    ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
    let found = layers(machine)?;
    ensure!(found == left, "{found} refs of layers instead of {left}: {}, {output:?}", machine.refs()?);
    Ok(())
}

/// A first try, of two layers of which the second is damaged, leaves the first.
fn leave_layer(machine: &mut Machine) -> Result<()> {
    let (mut image, size) = (Image::plain(), 4 << 20);
    image.push(&Blob::of(Packing::Tar, |layer| {
        layer.dir("usr").file("usr/file", "text");
    }))?;
    image.push(&Blob::of(Packing::Tar, |layer| {
        let noise = (0..size).map(|n: u32| char::from((n.wrapping_mul(n) >> 7) as u8 & 63));
        layer.file("usr/noise", &noise.collect::<String>());
    }))?;
    machine.stage("cut", image)?;
    let layout = Layout::at(&machine.path("cut"));
    let cut = layout.image()?.layers()?.pop().context("no layer")?;
    let mut bytes = layout.read(&cut)?;
    bytes.pop();
    layout.write_as(&cut, &bytes)?;
    fails(machine, &format!("{} slipstream.on-failure=reboot", machine.source_at("cut")), 1)
}

/// What a run leaves that was cut before its entry was written.
fn leave_deployment(machine: &Machine) -> Result<PathBuf> {
    let booted = machine.linked(&machine.options()?[0])?;
    let checksum = booted.file_stem().context("no checksum")?.to_string_lossy().into_owned();
    let copy = booted.with_file_name(format!("{checksum}.7"));
    run(&["cp", "--archive", &booted.display().to_string(), &copy.display().to_string()])?;
    Ok(copy)
}

fn refused(machine: &mut Machine) -> Result<()> {
    leave_layer(machine)?;
    let mut image = node_image(NEW_KERNEL, |_| {})?;
    image.config["config"]["Labels"]["org.opencontainers.image.version"] = "42.1.0".into();
    machine.stage("skewed", image)?;
    let request = machine.request(&format!("{} slipstream.skew=major", machine.source_at("skewed")))?;
    let (output, status) = machine.boot(&request)?;
    ensure!(outcome(status.as_ref()) == "skipped", "{status:?}, {output:?}");
    ensure!(layers(machine)? == 0, "{}", machine.refs()?);
    Ok(())
}

/// The importer may be stopped at its deadline meanwhile.
fn account(machine: &mut Machine) -> Result<()> {
    leave_layer(machine)?;
    let _lock = hold(&machine.path("sysroot/ostree/lock"))?;
    let mut boot = machine.command(&machine.request(NO_SOURCE)?)?.stderr(Stdio::null()).spawn()?;
    let started = Instant::now();
    let status = loop {
        match machine.status()? {
            Some(status) => break status,
            None => ensure!(started.elapsed() < Duration::from_secs(60), "there is no account"),
        }
        sleep(Duration::from_millis(20));
    };
    let ended = boot.try_wait()?;
    boot.kill()?;
    boot.wait()?;
    ensure!(ended.is_none(), "it has ended: {ended:?}");
    ensure!(outcome(Some(&status)) == "failed", "{status}");
    Ok(())
}

fn untouched(machine: &mut Machine) -> Result<()> {
    let before = machine.listing()?;
    fails(machine, NO_SOURCE, 0)?;
    ensure!(machine.listing()? == before, "something was written");
    fs::create_dir(machine.path("empty"))?;
    fails(machine, &machine.source_at("empty"), 0)?;
    ensure!(machine.listing()? == before, "something was written");
    Ok(())
}
