// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The figures of docs/performance.md: the importer against the reference importer and against the floor, its memory
//! on hostile images, and where its time goes.

mod floor;
mod hostile;
mod image;
mod inflate;
mod layout;
mod measure;
mod object;
mod place;
mod profile;
mod pulls;
mod report;
mod tools;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;

use crate::lab::Lab;
use crate::lab::host;
use place::Filesystem;
use tools::Tools;

/// measure the importer; Markdown tables on stdout
#[derive(FromArgs)]
#[argh(subcommand, name = "bench")]
pub struct Bench {
    /// how often each pull is measured (default: 5)
    #[argh(option, default = "5")]
    rounds: usize,
    /// where to: any of ext4, xfs, tmpfs (default: all)
    #[argh(option, default = "String::from(\"ext4,xfs,tmpfs\")")]
    filesystems: String,
    /// what: any of pulls, memory, profile, inflate (default: the first three; inflate compiles four C libraries)
    #[argh(option, default = "String::from(\"pulls,memory,profile\")")]
    parts: String,
    /// set by the command itself: it is in a mount namespace of its own
    #[argh(switch)]
    in_namespace: bool,
    #[argh(subcommand)]
    inner: Option<Inner>,
}

/// What the benchmark runs of itself.
#[derive(FromArgs)]
#[argh(subcommand)]
enum Inner {
    Floor(floor::Floor),
    Measure(measure::Measure),
}

/// Run the command.
pub fn run(log_dir: Option<PathBuf>, bench: &Bench) -> Result<()> {
    match &bench.inner {
        Some(Inner::Floor(floor)) => return floor::run(floor),
        Some(Inner::Measure(measure)) => return measure::run(measure),
        None => host::check()?,
    }
    if !bench.in_namespace {
        // What is mounted below goes with the process, however it ends.
        let mut again = Command::new("unshare");
        again.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().context("finding myself")?);
        let error = again.args(std::env::args_os().skip(1)).arg("--in-namespace").exec();
        return Err(error).context("starting unshare");
    }
    let filesystems = bench.filesystems.split(',').map(Filesystem::parse).collect::<Result<Vec<_>>>()?;
    let parts: Vec<&str> = bench.parts.split(',').collect();
    for part in &parts {
        ensure!(["pulls", "memory", "profile", "inflate"].contains(part), "there is no part {part:?}");
    }
    let lab = Lab::open(log_dir)?;
    let tools = Tools::new(&lab)?;
    let images = image::build(&tools)?;
    report::machine()?;
    image::describe(&images)?;
    let mut bars = report::Bars::default();
    if parts.contains(&"pulls") {
        pulls::run(&tools, &images, &filesystems, bench.rounds, &mut bars)?;
    }
    if parts.contains(&"memory") {
        hostile::run(&tools, &mut bars)?;
    }
    if parts.contains(&"profile") {
        profile::run(&tools, &images)?;
    }
    if parts.contains(&"inflate") {
        inflate::run(&lab, &images)?;
    }
    bars.print();
    Ok(())
}
