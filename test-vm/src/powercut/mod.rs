// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Power cuts: the disk's writes are recorded once while a real boot swaps, and replayed to any moment. See
//! docs/reliability.md.

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
use crate::trees;

/// record a swap's writes to the disk, and check what a power cut at any moment leaves; exit code 1 if a state is bad
#[derive(FromArgs)]
#[argh(subcommand, name = "power-cuts")]
pub struct PowerCuts {
    /// only this file system of the root: ext4 or xfs
    #[argh(option)]
    fstype: Option<String>,
    /// how many states of each disk; 1000 if not given
    #[argh(option, default = "1000")]
    states: usize,
    /// only these of them, FROM:TO: a long run in pieces
    #[argh(option)]
    slice: Option<String>,
    /// which states: the same for the same number
    #[argh(option, default = "1")]
    seed: u64,
    /// every so many states slipstream is run again on the disk; 5 if not given
    #[argh(option, default = "5")]
    run_every: usize,
    /// where disks are built: memory if it is /dev/shm
    #[argh(option, default = "PathBuf::from(\"/dev/shm\")")]
    work: PathBuf,
}

/// The worker's part; without the images.
pub fn work(options: &Worker) -> Result<()> {
    worker::run(options)
}

/// Check the states of each disk. True if all are good.
pub fn run(images: &Images<'_>, options: &PowerCuts) -> Result<bool> {
    ensure!(options.run_every > 0, "reading --run-every: 0 is no distance");
    let mut good = true;
    for fstype in ["ext4", "xfs"] {
        if options.fstype.as_deref().is_none_or(|wanted| wanted == fstype) {
            good &= replay(images, options, fstype)?;
        }
    }
    Ok(good)
}

fn replay(images: &Images<'_>, options: &PowerCuts, fstype: &str) -> Result<bool> {
    let lab = images.lab;
    let log = record::log(images, fstype)?;
    let dir = lab.logs.join("power-cuts");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    // The tools root sees the logs, not where this program was built.
    let program = dir.join("test-vm");
    let own = std::env::current_exe().context("finding this program")?;
    fs::copy(own, &program).context("copying this program")?;
    let mut command = lab.tool([&program]);
    command.arg("power-cuts-worker").args(["--fstype", fstype]);
    for (option, path) in [
        ("--disk", images.disk(fstype)?),
        ("--log", log),
        ("--staging", images.node.staging.clone()),
        ("--program", trees::slipstream(lab)?.join("usr/bin/slipstream")),
        ("--work", options.work.clone()),
        ("--results", dir.join(fstype)),
    ] {
        command.arg(option).arg(path);
    }
    if let Some(slice) = &options.slice {
        command.args(["--slice", slice]);
    }
    command.args(["--request", &record::request_kargs(images)]);
    for (option, number) in
        [("--states", options.states as u64), ("--seed", options.seed), ("--run-every", options.run_every as u64)]
    {
        command.arg(option).arg(number.to_string());
    }
    let status = command.stdin(Stdio::null()).status().context("starting the worker")?;
    Ok(status.success())
}
