// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands and their options.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use argh::FromArgs;

use crate::boot::BootOptions;
use crate::import::{Plan, import, plan};
use crate::oci::ImageReference;
use crate::ostree::Repo;
use crate::report::{RUN_DIR, describe};
use crate::request::files::RootFiles;
use crate::root::settle::SettleOptions;
use crate::source::containers::HostConfig;
use crate::source::http::Limits;
use crate::source::{self, SourceSpec, Surroundings};
use crate::{boot, root};

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
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Boot(command) => boot::boot(&command.options()),
            Command::Pull(command) => command.run(),
            Command::Status(command) => command.run(),
        }
    }
}

impl BootCommand {
    fn options(self) -> BootOptions {
        BootOptions { sysroot: self.sysroot, cmdline: self.cmdline, run_dir: self.run_dir, root: self.root }
    }
}

/// `pull` is not on the way of a boot: it may take as long as it takes.
const PULL_TIME: Duration = Duration::from_secs(24 * 60 * 60);

impl PullCommand {
    fn run(self) -> Result<()> {
        let reference = ImageReference::parse(&self.image)?;
        let deadline = Instant::now() + PULL_TIME;
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
        let commit = match plan(&repo, &self.repo, &image, &reference)? {
            Plan::AlreadyPresent(commit) => commit,
            Plan::Ready(plan) => import(&repo, &self.repo, &image, &reference, &plan, deadline)?.commit,
        };
        println!("{}", commit.hex());
        Ok(())
    }
}

impl StatusCommand {
    fn run(self) -> Result<()> {
        print!("{}", if self.json { read_text(&self.run_dir)? } else { describe(&self.run_dir)? });
        Ok(())
    }
}

fn read_text(run_dir: &Path) -> Result<String> {
    use anyhow::Context;
    let path = run_dir.join(crate::report::STATUS_FILE);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
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

impl Initrd {
    /// Run the command.
    pub fn run(self) -> Result<()> {
        let defaults = BootOptions {
            sysroot: "/sysroot".into(),
            cmdline: "/proc/cmdline".into(),
            run_dir: RUN_DIR.into(),
            root: "/".into(),
        };
        match self.command {
            InitrdCommand::Enter(_) => boot::launch(&defaults),
            InitrdCommand::Settle(_) => root::settle::settle(&SettleOptions::default()),
            InitrdCommand::Emergency(_) => {
                anyhow::bail!("{}", describe(Path::new(RUN_DIR))?.lines().next().unwrap_or_default())
            }
        }
    }
}
