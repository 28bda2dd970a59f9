// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds real ostree disks and node images from Debian packages and boots them in QEMU. See README.md.
// This program is made of other programs.
#![allow(clippy::disallowed_methods)]

mod auto;
mod bench;
mod bls;
mod cache;
mod chunks;
mod cmd;
mod composefs;
mod demo;
mod differential;
mod guest;
mod host;
mod ignition;
mod images;
mod kola;
mod lab;
mod layout;
mod node;
mod peer;
mod policies;
mod powercut;
mod qemu;
mod registry;
mod selinux;
mod suite;
mod timing;
mod trees;

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

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

/// boot once into the node image and tell what happened
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

fn main() -> ExitCode {
    let options: Options = argh::from_env();
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Subcommand::Test(Test { list: true, .. }) = options.command {
        suite::list()?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Subcommand::Bench(bench) = &options.command {
        bench::run(options.log_dir, bench)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Subcommand::PowerCutsWorker(worker) = &options.command {
        powercut::work(worker)?;
        return Ok(ExitCode::SUCCESS);
    }
    host::check()?;
    let lab = lab::Lab::open(options.log_dir)?;
    if let Subcommand::Differential(differential) = &options.command {
        return Ok(if differential::run(&lab, differential.cases.as_deref())? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    if let Subcommand::KolaImage(image) = &options.command {
        let workdir = match (&image.disk, &image.archive) {
            (None, None) => kola::build(&lab)?,
            (Some(disk), Some(archive)) => kola::link(&lab, disk, archive)?,
            _ => anyhow::bail!("taking an image: --disk and --archive go together, the archive is what kola injects"),
        };
        println!("{}", workdir.display());
        return Ok(ExitCode::SUCCESS);
    }
    let images = images::Images::build(&lab, options.keep_node_image)?;
    match options.command {
        Subcommand::Bench(_)
        | Subcommand::Differential(_)
        | Subcommand::KolaImage(_)
        | Subcommand::PowerCutsWorker(_) => {}
        Subcommand::Images(_) => {
            for fstype in ["ext4", "xfs"] {
                println!("{}", images.disk(fstype)?.display());
            }
            println!("{}", images.node.staging.display());
        }
        Subcommand::Test(test) => {
            if !suite::run(&images, &test.filters)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Subcommand::Demo(_) => demo::run(&images)?,
        Subcommand::Timing(timing) => timing::run(&images, timing.runs)?,
        Subcommand::PowerCuts(power_cuts) => {
            if !powercut::run(&images, &power_cuts)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Subcommand::Boot(boot) => demo::boot(&images, &boot.append)?,
    }
    Ok(ExitCode::SUCCESS)
}
