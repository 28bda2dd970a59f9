// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands and their options.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use argh::FromArgs;
use contract::RUN_DIR;
use contract::log_lines::set_debug;
use contract::names::{ImageReference, SourceSpec};
use contract::place::{EFIVARS, Place};
use contract::places::PhysicalRoot;
use contract::report::{Record, describe};
use contract::request::ignition::IGNITION_JSON;
use contract::request::parse_time_span;
use ostree::{give_back_large_blocks, log_selinux_messages};

use crate::boot;
use crate::check::{CheckOptions, check};
use crate::pull::{PullOptions, pull};

/// Boot a CoreOS bootimage straight into the node image.
#[derive(FromArgs, Debug)]
pub struct Slipstream {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Boot(BootCommand),
    Pull(PullCommand),
    Check(CheckCommand),
    Status(StatusCommand),
}

/// Import and deploy the requested node image, and point this boot at it. For the initramfs: slipstream.service runs
/// it before ostree-prepare-root.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "boot")]
struct BootCommand {
    /// the physical root (default: /sysroot)
    #[argh(option, default = "PathBuf::from(\"/sysroot\")")]
    sysroot: PathBuf,
    /// the kernel command line (default: /proc/cmdline)
    #[argh(option, default = "PathBuf::from(\"/proc/cmdline\")")]
    cmdline: PathBuf,
    /// where the status file goes (default: /run/slipstream)
    #[argh(option, default = "PathBuf::from(RUN_DIR)")]
    run_dir: PathBuf,
    /// the root below which keyfiles are looked for (default: /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
    /// the Ignition config (default: /run/ignition.json)
    #[argh(option, default = "PathBuf::from(IGNITION_JSON)")]
    ignition: PathBuf,
    /// the variables of the EFI firmware (default: /sys/firmware/efi/efivars)
    #[argh(option, default = "PathBuf::from(EFIVARS)")]
    efivars: PathBuf,
}

/// Import an image into an ostree repository. Prints the merge commit.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "pull")]
struct PullCommand {
    /// where the image is: registry, https://host/dir, oci:[DEV:]/dir or oci-archive:[DEV:]/file
    #[argh(positional)]
    source: String,
    /// the image: registry/repo@sha256:…
    #[argh(option)]
    image: String,
    /// the repository
    #[argh(option)]
    repo: PathBuf,
    /// where devices are mounted (default: /run/slipstream)
    #[argh(option, default = "PathBuf::from(RUN_DIR)")]
    run_dir: PathBuf,
    /// the root below which registries.conf, credentials and certificates are looked for (default: /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
    /// time for the whole of it, during which nobody can prune the repository (default: 1h)
    #[argh(option, default = "PULL_TIME", from_str_fn(time_span))]
    deadline: Duration,
    /// log more
    #[argh(switch)]
    debug: bool,
}

/// Show what boot would do, and whether the MCO would reboot the node anyway. Nothing is written or downloaded.
/// Exit code 0: a reboot would be saved, 2: it would not, 3: nothing is requested, or it cannot be known.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "check")]
struct CheckCommand {
    /// the Ignition config (default: /run/ignition.json)
    #[argh(option, default = "PathBuf::from(IGNITION_JSON)")]
    ignition: PathBuf,
    /// the physical root (default: /sysroot)
    #[argh(option, default = "PathBuf::from(\"/sysroot\")")]
    sysroot: PathBuf,
    /// the kernel command line (default: that of the first boot of the default boot loader entry)
    #[argh(option)]
    cmdline: Option<PathBuf>,
    /// the root below which keyfiles are looked for (default: the deployment of that entry)
    #[argh(option)]
    root: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// Show what happened on this boot.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "status")]
struct StatusCommand {
    /// where the status file is (default: /run/slipstream)
    #[argh(option, default = "PathBuf::from(RUN_DIR)")]
    run_dir: PathBuf,
    /// print the status file itself
    #[argh(switch)]
    json: bool,
}

impl Slipstream {
    /// Run the command.
    pub fn run(self) -> Result<ExitCode> {
        give_back_large_blocks();
        log_selinux_messages();
        match self.command {
            Command::Boot(command) => boot::boot(&command.options()?)?,
            Command::Pull(command) => command.run()?,
            Command::Check(command) => return command.run(),
            Command::Status(command) => command.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl BootCommand {
    fn options(self) -> Result<Place> {
        Ok(Place {
            sysroot: PhysicalRoot::new(self.sysroot),
            cmdline: self.cmdline,
            run_dir: self.run_dir,
            root: existing_root(self.root)?,
            ignition: self.ignition,
            efivars: self.efivars,
        })
    }
}

/// Returns the path if it is that of a directory. Below one that does not exist there is no policy either: a typing mistake
/// would be taken for a machine without one.
fn existing_root(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_dir(), "--root {} is not a directory", path.display());
    Ok(path)
}

/// `pull` is not on the way of a boot, but in that of others who want the repository.
const PULL_TIME: Duration = Duration::from_secs(60 * 60);

fn time_span(text: &str) -> Result<Duration, String> {
    parse_time_span(text).map_err(|error| format!("{error:#}"))
}

impl PullCommand {
    fn run(self) -> Result<()> {
        set_debug(self.debug);
        let commit = pull(&PullOptions {
            source: SourceSpec::parse(&self.source)?,
            image: ImageReference::parse(&self.image)?,
            repo: self.repo,
            run_dir: self.run_dir,
            root: existing_root(self.root)?,
            deadline: self.deadline,
        })?;
        println!("{}", commit.hex());
        Ok(())
    }
}

impl CheckCommand {
    fn run(self) -> Result<ExitCode> {
        let report = check(&CheckOptions {
            ignition: self.ignition,
            sysroot: PhysicalRoot::new(self.sysroot),
            cmdline: self.cmdline,
            root: self.root.map(existing_root).transpose()?,
        })?;
        print!("{}", if self.json { report.json()? } else { report.words() });
        Ok(report.verdict().exit_code())
    }
}

impl StatusCommand {
    fn run(self) -> Result<()> {
        let record = Record::new(&self.run_dir);
        print!("{}", if self.json { record.text()? } else { describe(record.read()?.as_ref()) });
        Ok(())
    }
}
