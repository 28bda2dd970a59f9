// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real boots of disks that lost power: at each step that slipstream has marked, between them, and anywhere.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::log::{Entry, Log};
use super::record::{self, Recording};
use super::states::{Random, State, around, choose};
use super::worker::slice;
use crate::images::Images;
use crate::images::job::job;
use crate::lab::cmd;
use crate::lab::machine::{Loader, Machine};

/// A step that happens many times is tried at one of them.
const LAYER_STEP: &str = "layer-ref";

/// Boot the recorded disk as `count` power cuts left it, or as many as there are named steps; of these only the `range`
/// FROM:TO. True if all boots end on the node image.
pub fn run(images: &Images<'_>, fstype: &str, count: usize, range: Option<&str>, seed: u64) -> Result<bool> {
    let recording = record::recording(images, fstype, true, false)?;
    let log = Log::read(&recording.log)?;
    let cuts = slice(cuts(&log, count, seed)?.into_iter().enumerate().collect(), range)?;
    let (mut passed, total) = (0, cuts.len());
    for (number, (name, state)) in cuts {
        match boot(images, &recording, &log, &format!("cut-{fstype}-{number}"), &state) {
            Ok(answer) => {
                println!("ok {fstype}: cut at {name}, {} of what was not flushed: {answer}", describe(&log, &state));
                passed += 1;
            }
            Err(error) => println!("FAILED {fstype}: cut at {name}, {state}\n  {error:#}"),
        }
    }
    println!("{passed} passed, {} failed", total - passed);
    Ok(passed == total)
}

/// Where to cut: a name and the state.
fn cuts(log: &Log, count: usize, seed: u64) -> Result<Vec<(String, State)>> {
    let (marks, mut random) = (log.marks()?, Random::new(seed));
    let layers: Vec<_> = marks.iter().filter(|(_, name)| name == LAYER_STEP).collect();
    ensure!(!layers.is_empty(), "reading the log: no step is marked in it");
    let mut at = vec![layers[random.below(layers.len())].clone()];
    at.extend(marks.iter().filter(|(_, name)| name != LAYER_STEP).cloned());
    // libostree's own steps are between these two: kernel, boot loader entry, loader link.
    let find = |name: &str| {
        let found = marks.iter().find(|(_, found)| found == name).map(|(at, _)| *at);
        found.with_context(|| format!("reading the log: step {name} is not marked in it"))
    };
    let (start, end) = (find("deployment")?, find("default")?);
    for _ in 0..count.saturating_sub(at.len()).div_ceil(2) {
        at.push((
            start + 1 + random.below(end - start - 1),
            "a moment while libostree writes boot loader entries".into(),
        ));
    }
    let mut cuts: Vec<_> = at.into_iter().map(|(at, name)| (name, at)).collect::<Vec<_>>();
    cuts.sort_by_key(|(_, at)| *at);
    let mut cuts: Vec<_> = cuts
        .into_iter()
        .filter_map(|(name, at)| around(&log.entries, at, seed).pop().map(|state| (name, state)))
        .collect();
    let missing = count.saturating_sub(cuts.len());
    cuts.extend(choose(&log.entries, missing, seed).into_iter().map(|state| ("any moment".to_owned(), state)));
    Ok(cuts)
}

fn boot(images: &Images<'_>, recording: &Recording, log: &Log, name: &str, state: &State) -> Result<String> {
    let dir = tempfile::tempdir_in(images.lab.cache.dir()).context("creating a directory for the disk")?;
    let disk = dir.path().join("cut.raw");
    cmd::run(cmd::words("cp", ["--sparse=always", "--reflink=auto"]).args([&recording.disk, &disk]))?;
    build(log, state, &disk)?;
    let mut machine = Machine::new(images.lab, name, &disk, Loader::Direct)?;
    machine.attach(&images.node.staging);
    machine.append = record::request_kargs(images, false);
    let boot = machine.boot(&job(images, &["checks/after-cut.sh"], "", &[])?)?;
    Ok(format!("{} on kernel {}, {:.0} s", boot.answer.fact("outcome")?, boot.answer.fact("kernel")?, boot.seconds))
}

/// Bring a copy of the disk to a state.
fn build(log: &Log, state: &State, disk: &Path) -> Result<()> {
    let file = File::options().write(true).open(disk).with_context(|| format!("opening {}", disk.display()))?;
    for entry in &log.entries[..state.durable] {
        log.apply(entry, &file, None)?;
    }
    state.apply(log, &file)
}

/// How many of the writes since the last flush are there.
fn describe(log: &Log, state: &State) -> String {
    let open = log.entries[state.durable..].iter().take_while(|entry| **entry != Entry::Flush).count();
    format!("{} of {open} writes", state.more.len())
}
