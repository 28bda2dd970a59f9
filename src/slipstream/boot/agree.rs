// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first half of a boot: whether to work on the node image at all. It writes and downloads nothing, and
//! `slipstream check` is this half alone.
//!
//! Tested by `src/slipstream/tests/boot/agreement.rs`, `src/slipstream/tests/boot/check.rs`,
//! `src/slipstream/tests/boot/ignition.rs`.

use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use contract::files::Files;
use contract::handoff::{Facts, Foreseen, NodeImage};
use contract::names::SourceSpec;
use contract::places::PhysicalRoot;
use contract::request::ignition::Ignition;
use contract::request::mco::{self, Decision};
use contract::request::{McoReboot, Request, is_first_boot};
use image::oci::host_architecture;
use signature::Sigstore;
use source::containers::HostConfig;

use crate::boot_partition::BootPartition;
use crate::boot_partition::support::why_unsupported;
use crate::deploy::carried_kargs;
use crate::machine::{Booted, Machine};
use crate::origin::is_of_image;
use crate::stop::{Stop, mco_reboots};
use crate::trust::required;
use crate::way::Way;

/// Name of the file that tells the MCO's daemon to reboot whatever it finds.
const MCO_FORCE: &str = "machine-config-daemon-force";

/// Returns whether the MCO's daemon is told to reboot: it looks in `run`, older ones in `/etc`.
pub fn is_forced(run: &Path, ignition: &Ignition) -> bool {
    run.join(MCO_FORCE).exists() || ignition.has_file(&format!("/etc/{MCO_FORCE}"))
}

/// What the first half looks at.
pub struct Sight<'a> {
    /// The physical root.
    pub root: &'a PhysicalRoot,
    /// The kernel command line of the boot.
    pub cmdline: &'a str,
    /// The version of its kernel.
    pub kernel: String,
    /// Whether that kernel is in FIPS mode.
    pub fips: bool,
    /// Whether the MCO's daemon is told to reboot.
    pub force: bool,
    /// The files that say where images come from, as they are when Ignition has run.
    pub files: Arc<dyn Files>,
    /// How the boot gets into the node image.
    pub way: &'a dyn Way,
    /// The variables of the firmware.
    pub efivars: &'a Path,
    /// Mount the boot partition, and wait for it until then; `None`: take it as it is.
    pub mount: Option<Instant>,
}

impl fmt::Debug for Sight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its files have secrets in them.
        f.debug_struct("Sight").field("root", &self.root).field("cmdline", &self.cmdline).finish_non_exhaustive()
    }
}

/// What the first half has come to: nothing keeps the boot from the node image.
#[derive(Debug)]
pub struct Agreed {
    /// The machine.
    pub machine: Machine,
    /// The kernel arguments of the node image's boot loader entry.
    pub kargs: Vec<String>,
    /// The kernel command line of this boot.
    pub cmdline: String,
    /// The variables of the firmware.
    pub efivars: PathBuf,
    /// Whether Ignition's units work on the root that this boot enters.
    pub first_boot: bool,
    /// What OpenShift's MCO will do; `None` without a MachineConfig.
    pub decision: Option<Decision>,
    /// The signatures that the image has to have.
    pub signatures: Vec<Sigstore>,
}

/// Looks at the machine, and decides. What it finds goes to the account as well, whatever the decision.
pub fn agree(request: &Request, sight: &Sight<'_>, facts: &mut Facts) -> Result<ControlFlow<Stop, Agreed>> {
    facts.node_image = Some(NodeImage { image: request.image.to_string(), ..NodeImage::default() });
    go!(refuse_boot_loader(sight)?);
    let booted = Booted::read(sight.root, sight.cmdline)?;
    let bootimage = booted.report(sight.root, sight.kernel.clone());
    facts.bootimage = Some(bootimage.clone());
    // Known without the boot partition, which may be missing on a machine that has its node image.
    go!(refuse_booted(request, &booted));
    let boot_partition = match sight.mount {
        Some(deadline) => BootPartition::mount(sight.root, sight.cmdline, deadline)?,
        None => BootPartition::as_it_is(),
    };
    let machine = Machine::read(sight.root, booted, bootimage, boot_partition)?;
    go!(refuse_deployed(request, &machine));
    let decision = decide(request, &machine, sight);
    facts.foreseen = decision.as_ref().map(Foreseen::from).unwrap_or_default();
    go!(refuse_mco(request, decision.as_ref()));
    let signatures = go!(required(sight.files.as_ref(), &request.image)?);
    go!(refuse_blocked(request, &HostConfig::new(Arc::clone(&sight.files)))?);
    go!(refuse_skew(request, &machine));
    if let Some(stop) = sight.way.check(&machine)? {
        return Ok(Break(stop));
    }
    let kargs = match &decision {
        Some(decision) => decision.kargs.clone(),
        None => carried_kargs(&machine.options),
    };
    let first_boot = is_first_boot(sight.cmdline);
    let cmdline = sight.cmdline.to_owned();
    Ok(Continue(Agreed {
        machine,
        kargs,
        cmdline,
        efivars: sight.efivars.to_owned(),
        first_boot,
        decision,
        signatures,
    }))
}

/// Before the boot link is read: another boot loader may have none.
fn refuse_boot_loader(sight: &Sight<'_>) -> Result<ControlFlow<Stop>> {
    let why = why_unsupported(sight.root, sight.cmdline, host_architecture())?;
    Ok(why.map_or(Continue(()), |why| Break(Stop::BootLoader(why))))
}

fn refuse_booted(request: &Request, booted: &Booted) -> ControlFlow<Stop> {
    let is_node_image = booted.image.as_deref().is_some_and(|origin| is_of_image(origin, &request.image));
    if is_node_image { Break(Stop::AlreadyBooted) } else { Continue(()) }
}

fn refuse_deployed(request: &Request, machine: &Machine) -> ControlFlow<Stop> {
    let deployed = machine
        .deployments
        .iter()
        .filter_map(|(_, image)| image.as_deref())
        .any(|origin| is_of_image(origin, &request.image));
    if deployed { Break(Stop::OtherDeployment) } else { Continue(()) }
}

/// Asks whether the MCO would reboot the node when it runs the node image.
fn decide(request: &Request, machine: &Machine, sight: &Sight<'_>) -> Option<Decision> {
    let config = request.machine.as_ref()?;
    let (entry, image) = (carried_kargs(&machine.options), request.image.as_str());
    let node = mco::Node { image, entry: &entry, cmdline: sight.cmdline, fips: sight.fips, force: sight.force };
    let decision = mco::decide(config, &node);
    for karg in &decision.kargs_to_add {
        let why = mco::why_harmless(karg).unwrap_or("the running kernel has it");
        log::debug!("kernel argument {karg} is for the next boot: {why}");
    }
    Some(decision)
}

fn refuse_mco(request: &Request, decision: Option<&Decision>) -> ControlFlow<Stop> {
    match (decision.filter(|decision| decision.reboot), request.mco_reboot) {
        (Some(decision), McoReboot::Skip) => Break(Stop::Mco(decision.clone())),
        (Some(decision), McoReboot::Pull) => {
            log::warn!("{}", mco_reboots(decision));
            Continue(())
        }
        (None, _) => Continue(()),
    }
}

fn refuse_blocked(request: &Request, config: &HostConfig) -> Result<ControlFlow<Stop>> {
    // A staged image needs no registry, and a broken registries.conf is not a reason to refuse it.
    if request.sources.iter().any(|source| *source != SourceSpec::Registry) {
        return Ok(Continue(()));
    }
    Ok(config.blocked(&request.image)?.map_or(Continue(()), |reason| Break(Stop::Blocked(reason))))
}

fn refuse_skew(request: &Request, machine: &Machine) -> ControlFlow<Stop> {
    match request.skew.allows_bootimage(machine.bootimage.version.as_deref()) {
        Ok(()) => Continue(()),
        Err(reason) => Break(Stop::Skew(reason)),
    }
}
