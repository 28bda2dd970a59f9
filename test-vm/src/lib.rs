// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds real ostree disks and node images from Debian packages and boots them in QEMU. See README.md.
// This program is made of other programs.
#![allow(clippy::disallowed_methods)]

mod bench;
mod demo;
mod differential;
mod images;
mod kola;
mod lab;
mod powercut;
mod suite;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use argh::FromArgs;

pub use images::label_tree;
use lab::{Lab, host};

/// Build test images and boot them.
#[derive(FromArgs)]
struct Options {
    /// where console logs and results go; target/vm-logs if not given
    #[argh(option)]
    log_dir: Option<PathBuf>,
    /// take the newest node image there is, even if its inputs have changed: saves minutes while one works on the swap
    #[argh(switch)]
    keep_node_image: bool,
    #[argh(subcommand)]
    command: Subcommand,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Subcommand {
    Bench(bench::Bench),
    Images(Images),
    KolaImage(KolaImage),
    Test(Test),
    Demo(Demo),
    Differential(Differential),
    Timing(Timing),
    Boot(Boot),
    PowerCuts(powercut::PowerCuts),
    PowerCutsWorker(powercut::Worker),
}

/// build every image that is missing
#[derive(FromArgs)]
#[argh(subcommand, name = "images")]
struct Images {}

/// build a disk and a node image for the real kola, or take these; prints the directory for its option --workdir
#[derive(FromArgs)]
#[argh(subcommand, name = "kola-image")]
struct KolaImage {
    /// a CoreOS disk image that has slipstream, .qcow2 or .raw
    #[argh(option)]
    disk: Option<PathBuf>,
    /// the node image for it, an OCI archive; kola injects it
    #[argh(option)]
    archive: Option<PathBuf>,
}

/// run the VM tests; exit code 1 if one fails
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
struct Test {
    /// only the tests whose name contains one of these
    #[argh(positional)]
    filters: Vec<String>,
    /// list the tests and stop
    #[argh(switch)]
    list: bool,
}

/// boot once into the node image and show what happened
#[derive(FromArgs)]
#[argh(subcommand, name = "demo")]
struct Demo {}

/// measure sizes and times; Markdown tables on stdout
#[derive(FromArgs)]
#[argh(subcommand, name = "timing")]
struct Timing {
    /// how often each boot is measured; 0: only the sizes
    #[argh(option, default = "3")]
    runs: usize,
}

/// compare the importer with the reference importer; exit code 1 if they differ
#[derive(FromArgs)]
#[argh(subcommand, name = "differential")]
struct Differential {
    /// only cases with this in their names
    #[argh(positional)]
    cases: Option<String>,
}

/// boot a copy of the disk with its console on this terminal
#[derive(FromArgs)]
#[argh(subcommand, name = "boot")]
struct Boot {
    /// kernel arguments to add
    #[argh(option, default = "String::new()")]
    append: String,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let options: Options = argh::from_env();
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the options say, and returns whether all is well.
fn run(options: Options) -> Result<bool> {
    let lab = || {
        host::check()?;
        Lab::open(options.log_dir.clone())
    };
    let keep = options.keep_node_image;
    match options.command {
        Subcommand::Test(Test { list: true, .. }) => suite::list().map(|()| true),
        Subcommand::Bench(bench) => bench::run(options.log_dir, &bench).map(|()| true),
        Subcommand::PowerCutsWorker(worker) => powercut::work(&worker).map(|()| true),
        Subcommand::Differential(differential) => differential::run(&lab()?, differential.cases.as_deref()),
        Subcommand::KolaImage(image) => kola_image(&lab()?, &image).map(|()| true),
        Subcommand::Images(_) => list_images(&images::Images::build(&lab()?, keep)?).map(|()| true),
        Subcommand::Test(test) => suite::run(&images::Images::build(&lab()?, keep)?, &test.filters),
        Subcommand::Demo(_) => demo::run(&images::Images::build(&lab()?, keep)?).map(|()| true),
        Subcommand::Timing(timing) => timing::run(&images::Images::build(&lab()?, keep)?, timing.runs).map(|()| true),
        Subcommand::PowerCuts(cuts) => powercut::run(&images::Images::build(&lab()?, keep)?, &cuts),
        Subcommand::Boot(boot) => demo::boot(&images::Images::build(&lab()?, keep)?, &boot.append).map(|()| true),
    }
}

/// Prints the directory in which the real kola finds a disk and a node image.
fn kola_image(lab: &Lab, image: &KolaImage) -> Result<()> {
    let workdir = match (&image.disk, &image.archive) {
        (None, None) => kola::build(lab)?,
        (Some(disk), Some(archive)) => kola::link(lab, disk, archive)?,
        _ => bail!("taking an image: --disk and --archive go together, the archive is what kola injects"),
    };
    println!("{}", workdir.display());
    Ok(())
}

/// Prints where the images are.
fn list_images(images: &images::Images<'_>) -> Result<()> {
    for fstype in ["ext4", "xfs"] {
        println!("{}", images.disk(fstype)?.display());
    }
    println!("{}", images.node.staging.display());
    Ok(())
}
