// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A request that outlives the boot that it was for: kernel arguments that every deployment inherits, a keyfile in the image.

use std::fs;

use anyhow::{Context, Result, ensure};
use contract::place::Place;
use contract::places::PhysicalRoot;
use initrd::launch::launch;
use testkit::machine::{Machine, first_boot, outcome};
use testkit::programs::run;
use testkit::suite::Case;

use crate::case::{SLIPSTREAM, case};

pub fn cases() -> [Case; 5] {
    [
        case("does_nothing_after_a_first_boot_that_failed", |machine| outlives(machine, false)),
        case("does_nothing_when_the_image_has_it_in_a_keyfile", |machine| outlives(machine, true)),
        case("counts_on_any_boot_that_is_told_so", told),
        case("starts_nothing_in_the_initramfs", not_started),
        case("is_started_once_in_the_initramfs", started_once),
    ]
}

fn admin(machine: &Machine, words: &[&str]) -> Result<String> {
    let sysroot = format!("--sysroot={}", machine.path("sysroot").display());
    run(&[&["ostree", "admin"], words, &[sysroot.as_str()]].concat())
}

/// Writes the request where it stays.
fn write_request(machine: &Machine, keyfile: bool) -> Result<()> {
    let source = machine.source_at("gone");
    if keyfile {
        let dir = machine.path("run/usr/lib");
        fs::create_dir_all(&dir)?;
        let source = source.trim_start_matches("slipstream.source=");
        let text = format!("[slipstream]\nimage = {}\nsource = {source}\n", machine.image);
        return Ok(fs::write(dir.join("slipstream.conf"), text)?);
    }
    let image = format!("slipstream.image={}", machine.image);
    admin(machine, &["instutil", "set-kargs", "--merge", &image, &source]).map(drop)
}

/// Pulls the node image and deploys it, as rpm-ostree and the MCO do: the new entry inherits the arguments of the old one.
fn pivot(machine: &Machine) -> Result<String> {
    let (source, repo) = (format!("oci:{}", machine.path("node").display()), machine.repo().display().to_string());
    let root = machine.path("run").display().to_string();
    let commit = run(&[SLIPSTREAM, "pull", &source, "--image", &machine.image, "--repo", &repo, "--root", &root])?;
    let commit = commit.trim().to_owned();
    admin(machine, &["deploy", "--os=testos", &commit])?;
    Ok(commit)
}

/// The first boot fails; the machine gets its image, and then the next one, and is cleaned up. Each boot has the request.
fn outlives(machine: &mut Machine, keyfile: bool) -> Result<()> {
    fs::create_dir_all(machine.path("run"))?;
    write_request(machine, keyfile)?;
    let first = machine.options()?.swap_remove(0);
    let (output, status) = machine.boot(&first)?;
    ensure!(outcome(status.as_ref()) == "failed", "{status:?}, {output:?}");
    // From now on the image could be had.
    fs::rename(machine.path("node"), machine.path("gone"))?;
    std::os::unix::fs::symlink("gone", machine.path("node"))?;
    nothing_happens(machine, "the bootimage again", keyfile)?;
    let commit = pivot(machine)?;
    nothing_happens(machine, "the node image", keyfile)?;
    let tree = format!("--tree=ref={commit}");
    machine.ostree(&["commit", "--branch=update", "--add-metadata-string=version=43.1", &tree])?;
    admin(machine, &["deploy", "--os=testos", "update"])?;
    admin(machine, &["undeploy", "1"])?;
    machine.ostree(&["refs", "--delete", "ostree/container"])?;
    admin(machine, &["cleanup"])?;
    nothing_happens(machine, "the update", keyfile)
}

/// A boot of the default entry: nothing is written, and one line is said.
fn nothing_happens(machine: &Machine, label: &str, keyfile: bool) -> Result<()> {
    let options = machine.options()?.swap_remove(0);
    ensure!(keyfile || options.contains("slipstream.image="), "{label}: the entry has not inherited: {options}");
    let command = &mut machine.command_as(&options)?;
    let before = machine.listing()?;
    let output = command.output().context("running slipstream")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && said.lines().count() == 1, "{label}: {output:?}");
    ensure!(said.contains("this is not a first boot: nothing to do"), "{label}: {said}");
    ensure!(machine.status()?.is_none() && machine.listing()? == before, "{label}: something was written");
    Ok(())
}

/// Where Ignition has no say, or the machine has had its first boot.
fn told(machine: &mut Machine) -> Result<()> {
    let options = machine.options()?.swap_remove(0);
    let request = format!("{options} slipstream.image={} {}", machine.image, machine.source());
    for (more, expected) in [("slipstream.when=first-boot", "none"), ("slipstream.when=once", "swapped")] {
        let output = machine.command_as(&format!("{request} {more}"))?.output()?;
        ensure!(outcome(machine.status()?.as_ref()) == expected, "{more}: {output:?}");
    }
    Ok(())
}

/// Runs what the unit in the initramfs runs. Returns the directory for the account, which is not there before.
fn launched(machine: &Machine, cmdline: &str, run: &str) -> Result<std::path::PathBuf> {
    fs::write(machine.path("cmdline"), cmdline)?;
    let run_dir = machine.path(run);
    launch(&Place {
        sysroot: PhysicalRoot::new(machine.path("sysroot")),
        cmdline: machine.path("cmdline"),
        root: machine.path("tree"),
        ignition: machine.path("ignition.json"),
        efivars: machine.path("efivars"),
        run_dir: run_dir.clone(),
    })?;
    Ok(run_dir)
}

fn not_started(machine: &mut Machine) -> Result<()> {
    let options = machine.options()?.swap_remove(0);
    let before = machine.listing()?;
    // A mistake is none on such a boot.
    for more in ["", "slipstream.source=ftp://x slipstream.on-failure=reboot", "slipstream.sauce=x"] {
        let cmdline = format!("{options} slipstream.image={} {more}", machine.image);
        let run_dir = launched(machine, &cmdline, "nothing")?;
        ensure!(!run_dir.exists() && machine.listing()? == before, "{more}: something was written");
    }
    Ok(())
}

/// The bootimage of these tests has no importer: a request that is started fails.
fn started_once(machine: &mut Machine) -> Result<()> {
    let options = first_boot(&machine.options()?.swap_remove(0)).replace("ignition.firstboot", "slipstream.when=once");
    let cmdline = format!("{options} slipstream.image={} {}", machine.image, machine.source());
    let first = launched(machine, &cmdline, "first")?;
    ensure!(
        fs::read_to_string(first.join("status.json"))?.contains("the bootimage has no /usr/bin/slipstream"),
        "no failure"
    );
    ensure!(machine.path("sysroot/ostree/slipstream-once").exists(), "nothing is written down");
    let before = machine.listing()?;
    let second = launched(machine, &cmdline, "second")?;
    ensure!(!second.exists() && machine.listing()? == before, "it was started again");
    // Another request is one of its own, until it has had its boot; the first one still has.
    let other = launched(machine, &format!("{cmdline} slipstream.kernel=same"), "third")?;
    ensure!(other.join("status.json").exists(), "another request was not started");
    ensure!(!launched(machine, &cmdline, "fourth")?.exists(), "the first request was started again");
    Ok(())
}
