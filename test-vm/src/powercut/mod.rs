// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Power cuts: the disk's writes are recorded once while a real boot swaps, and replayed to any moment. See
//! docs/reliability.md.

mod boots;
mod check;
mod log;
mod pool;
mod record;
mod states;
mod system;
mod whole;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;

pub use worker::Worker;

use crate::images::Images;
use crate::images::trees;

/// For the worker: the states around the marks in the log, however many they are.
const AROUND_MARKS: usize = 0;

/// The most writes of which every set is a state: 65536 of them for one interval are hours.
const MAX_SET: usize = 16;

/// record a swap's writes to the disk, and check what a power cut at any moment leaves; exit code 1 if a state is bad
#[derive(FromArgs)]
#[argh(subcommand, name = "power-cuts")]
pub struct PowerCuts {
    /// only this file system of the root: ext4 or xfs
    #[argh(option)]
    fstype: Option<String>,
    /// how many states of each disk; 1000 if not given, 0: none
    #[argh(option, default = "1000")]
    states: usize,
    /// instead, every set of the writes between two flushes, where these are so many at most (of N writes: 2^N states)
    #[argh(option)]
    every_set: Option<usize>,
    /// only these of them, or of the boots if there are none of them, FROM:TO: a long run in pieces
    #[argh(option)]
    slice: Option<String>,
    /// which states: the same for the same number
    #[argh(option, default = "1")]
    seed: u64,
    /// every so many states slipstream is run again on the disk; 5 if not given
    #[argh(option, default = "5")]
    run_every: usize,
    /// how many disks are also booted; 0 if not given. The recorded slipstream then marks its steps, and those are cut
    #[argh(option, default = "0")]
    boots: usize,
    /// prove that bad states are found: as if flushes had done nothing. Exit code 1 if all states are good
    #[argh(switch)]
    lying_disk: bool,
    /// record and replay a request with when=once, and check what the disk says of it; these disks are not booted
    #[argh(switch)]
    once: bool,
    /// where disks are built: memory if it is /dev/shm
    #[argh(option, default = "PathBuf::from(\"/dev/shm\")")]
    work: PathBuf,
}

/// The worker's part; without the images.
pub fn work(options: &Worker) -> Result<()> {
    worker::run(options)
}

/// Check states of each disk, and boot some. True if all are good.
pub fn run(images: &Images<'_>, options: &PowerCuts) -> Result<bool> {
    ensure!(options.run_every > 0, "reading --run-every: 0 is no distance");
    ensure!(options.every_set.is_none_or(|limit| limit <= MAX_SET), "reading --every-set: more than {MAX_SET}");
    ensure!(
        !options.once || options.boots == 0,
        "reading --once: a request that has had its boot has no other, no --boots"
    );
    let mut good = true;
    for fstype in
        ["ext4", "xfs"].into_iter().filter(|name| options.fstype.as_deref().is_none_or(|wanted| wanted == *name))
    {
        let replayed = options.states > 0 || options.every_set.is_some();
        if replayed {
            good &= replay(images, options, fstype, false)?;
        }
        if options.boots > 0 {
            let slice = options.slice.as_deref().filter(|_| !replayed);
            if slice.is_none() {
                good &= replay(images, options, fstype, true)?;
            }
            good &= boots::run(images, fstype, options.boots, slice, options.seed)?;
        }
    }
    Ok(good)
}

/// Check the states that are asked for; with `marked`, those around the marks of a recording that has them.
fn replay(images: &Images<'_>, options: &PowerCuts, fstype: &str, marked: bool) -> Result<bool> {
    let lab = images.lab;
    let recording = record::recording(images, fstype, marked, options.once)?;
    let states = if marked { AROUND_MARKS } else { options.states };
    let dir = lab.logs.join("power-cuts");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    // The tools root sees the logs, not where this program was built.
    let place = tempfile::tempdir_in(&dir).context("creating a directory for this program")?;
    let program = place.path().join("test-vm");
    let own = std::env::current_exe().context("finding this program")?;
    fs::copy(own, &program).context("copying this program")?;
    let mut command = lab.tool([&program]);
    command.arg("power-cuts-worker").args(["--fstype", fstype]);
    for (option, path) in [
        ("--disk", recording.disk),
        ("--log", recording.log),
        ("--staging", images.node.staging.clone()),
        ("--program", trees::slipstream(lab)?.join("usr/bin/slipstream")),
        ("--work", options.work.clone()),
        ("--results", dir.join(fstype)),
    ] {
        command.arg(option).arg(path);
    }
    if options.lying_disk {
        command.arg("--lying-disk");
    }
    if let Some(limit) = options.every_set.filter(|_| !marked) {
        command.args(["--every-set", &limit.to_string()]);
    }
    if let Some(slice) = &options.slice {
        command.args(["--slice", slice]);
    }
    command.args(["--request", &record::request_kargs(images, options.once)]);
    for (option, number) in
        [("--states", states as u64), ("--seed", options.seed), ("--run-every", options.run_every as u64)]
    {
        command.arg(option).arg(number.to_string());
    }
    let status = command.stdin(Stdio::null()).status().context("starting the worker")?;
    Ok(status.success())
}
