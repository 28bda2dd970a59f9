// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands of the program in the initramfs. They have no options: the units and the generator call them.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `test-vm/src/suite/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use argh::FromArgs;
use contract::RUN_DIR;
use contract::place::{EFIVARS, Place};
use contract::places::PhysicalRoot;
use contract::report::{Record, describe};
use contract::request::ignition::IGNITION_JSON;

use crate::generator::{Surroundings, generate};
use crate::launch::{announce_reboot, launch};
use crate::settle::{SettleOptions, settle};
use crate::way_back::{WayBack, keep_way_back};

/// The part of slipstream that is in the initramfs.
#[derive(FromArgs, Debug)]
pub struct Initrd {
    #[argh(subcommand)]
    command: InitrdCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum InitrdCommand {
    Generate(GenerateCommand),
    Enter(EnterCommand),
    Settle(SettleCommand),
    WayBack(WayBackCommand),
    Emergency(EmergencyCommand),
    Reboot(RebootCommand),
}

/// As a systemd generator: make our units part of a boot on which a request may count.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "generate")]
struct GenerateCommand {
    /// where the links go: the first of the directories that systemd gives to its generators
    #[argh(positional)]
    directory: PathBuf,
}

/// Read the request; if there is one, run `slipstream boot` in the bootimage's deployment.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "enter")]
struct EnterCommand {}

/// After ostree-prepare-root: bring the running kernel's modules into the new root.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "settle")]
struct SettleCommand {}

/// After CoreOS's boot-edit: give the bootimage's boot loader entry what that has added to the node image's.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "way-back")]
struct WayBackCommand {}

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
        let defaults = Place {
            sysroot: PhysicalRoot::new("/sysroot"),
            cmdline: "/proc/cmdline".into(),
            run_dir: RUN_DIR.into(),
            root: "/".into(),
            ignition: IGNITION_JSON.into(),
            efivars: EFIVARS.into(),
        };
        match self.command {
            InitrdCommand::Generate(command) => generate(&Surroundings::default(), &command.directory),
            InitrdCommand::Enter(_) => launch(&defaults),
            InitrdCommand::Settle(_) => settle(&SettleOptions::default()),
            InitrdCommand::WayBack(_) => keep_way_back(&WayBack::default()),
            InitrdCommand::Emergency(_) => {
                // The unit is started because of a failure, whether its status could be written or not.
                let status = Record::new(Path::new(RUN_DIR)).read()?;
                let status = status.context("booting the node image has failed: the journal says why")?;
                anyhow::bail!("{}", describe(Some(&status)).lines().next().unwrap_or_default())
            }
            InitrdCommand::Reboot(_) => announce_reboot(&defaults),
        }
    }
}
