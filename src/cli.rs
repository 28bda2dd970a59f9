// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands and their options.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argh::FromArgs;

use crate::boot::BootOptions;
use crate::check::{CheckOptions, check};
use crate::import::{Plan, Purpose, Session, collect_layers, import, plan};
use crate::oci::ImageReference;
use crate::ostree::{Repo, give_back_large_blocks};
use crate::report::{RUN_DIR, Record, describe};
use crate::request::files::RootFiles;
use crate::request::ignition::IGNITION_JSON;
use crate::request::parse_time_span;
use crate::root::settle::SettleOptions;
use crate::source::containers::HostConfig;
use crate::source::http::Limits;
use crate::source::{self, SourceSpec, Surroundings};
use crate::{boot, launch, root};

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
}

/// Tell what boot would do, and whether the MCO would reboot the node all the same. Nothing is written or downloaded.
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

/// Tell what happened on this boot.
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
        match self.command {
            Command::Boot(command) => boot::boot(&command.options())?,
            Command::Pull(command) => command.run()?,
            Command::Check(command) => return command.run(),
            Command::Status(command) => command.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl BootCommand {
    fn options(self) -> BootOptions {
        BootOptions {
            sysroot: self.sysroot,
            cmdline: self.cmdline,
            run_dir: self.run_dir,
            root: self.root,
            ignition: self.ignition,
        }
    }
}

/// `pull` is not on the way of a boot, but in that of others who want the repository.
const PULL_TIME: Duration = Duration::from_secs(60 * 60);

fn time_span(text: &str) -> Result<Duration, String> {
    parse_time_span(text).map_err(|error| format!("{error:#}"))
}

impl PullCommand {
    fn run(self) -> Result<()> {
        let reference = ImageReference::parse(&self.image)?;
        let deadline = Instant::now() + self.deadline;
        let config = HostConfig::new(Arc::new(RootFiles::new(&self.root)));
        let around = Surroundings {
            image: &reference,
            run_dir: &self.run_dir,
            config: &config,
            limits: Limits::default(),
            deadline,
        };
        let source = source::open(&SourceSpec::parse(&self.source)?, &around)?;
        let image = source::verify(source, reference.digest())?;
        let repo = Repo::open(&self.repo)?;
        let session = Session::open(&repo, &self.repo, Purpose::Pull, deadline)?;
        let commit = match plan(&session, &image, &reference)? {
            Plan::AlreadyPresent(commit) => commit,
            Plan::Ready(plan) => import(&session, &image, &reference, &plan, deadline)?.commit,
        };
        // The image is there, whatever is odd about another one.
        if let Err(error) = collect_layers(&session) {
            log::warn!("cleaning up: {error:#}");
        }
        println!("{}", commit.hex());
        Ok(())
    }
}

impl CheckCommand {
    fn run(self) -> Result<ExitCode> {
        let report = check(&CheckOptions {
            ignition: self.ignition,
            sysroot: self.sysroot,
            cmdline: self.cmdline,
            root: self.root,
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

/// The part of slipstream that is in the initramfs.
#[derive(FromArgs, Debug)]
pub struct Initrd {
    #[argh(subcommand)]
    command: InitrdCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum InitrdCommand {
    Enter(EnterCommand),
    Settle(SettleCommand),
    Emergency(EmergencyCommand),
    Reboot(RebootCommand),
}

/// Read the request; if there is one, run `slipstream boot` in the bootimage's deployment.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "enter")]
struct EnterCommand {}

/// After ostree-prepare-root: bring the running kernel's modules into the new root.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "settle")]
struct SettleCommand {}

/// Say why the boot stops, and fail.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "emergency")]
struct EmergencyCommand {}

/// Say why the boot starts again; slipstream-reboot.service then reboots.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "reboot")]
struct RebootCommand {}

impl Initrd {
    /// Run the command.
    pub fn run(self) -> Result<()> {
        let defaults = BootOptions {
            sysroot: "/sysroot".into(),
            cmdline: "/proc/cmdline".into(),
            run_dir: RUN_DIR.into(),
            root: "/".into(),
            ignition: IGNITION_JSON.into(),
        };
        match self.command {
            InitrdCommand::Enter(_) => launch::launch(&defaults),
            InitrdCommand::Settle(_) => root::settle::settle(&SettleOptions::default()),
            InitrdCommand::Emergency(_) => {
                // The unit is started because of a failure, whether its status could be written or not.
                let status = Record::new(Path::new(RUN_DIR)).read()?;
                let status = status.context("booting the node image has failed: the journal says why")?;
                anyhow::bail!("{}", describe(Some(&status)).lines().next().unwrap_or_default())
            }
            InitrdCommand::Reboot(_) => launch::announce_reboot(&defaults),
        }
    }
}
