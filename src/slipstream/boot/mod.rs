// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The story of a boot: request, machine, agreement, image, disk, import, deployment, and into the node image.
//!
//! Two processes share it. `slipstream-initrd enter` reads the request in the initramfs; when there is one it runs [`boot`]
//! in the bootimage's deployment, where libostree is, and treats its failures. Each stage takes what the stage before it
//! returns. A stage that refuses returns a [`Stop`]; an error is a failure.
//!
//! Tested by `src/slipstream/tests/boot/`.

/// Takes the value of a step, or ends the stage with the refusal in it.
macro_rules! go {
    ($step:expr) => {
        match $step {
            std::ops::ControlFlow::Continue(value) => value,
            std::ops::ControlFlow::Break(stop) => return Ok(std::ops::ControlFlow::Break(stop)),
        }
    };
}

mod account;
mod agree;
mod disk;
mod guard;
mod sources;

use std::fs;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use contract::VERSION;
use contract::files::RootFiles;
use contract::handoff::{self, BootLoaderUpdate, Ending, StageName};
use contract::log_lines::set_debug;
use contract::names::Digest;
use contract::place::{Place, how_mounted, read_request, why_no_reboot};
use contract::prepare_root::PrepareRoot;
use contract::request::ignition::{Ignition, IgnitionFiles};
use contract::request::{KernelPolicy, McoReboot, OnFailure, Request, mco};
use contract::tries;

pub use self::agree::{Agreed, Sight, agree, is_forced};

use self::account::Account;
use self::disk::Disk;
use self::sources::Sources;
use crate::boot_partition::kernels::{Kernel, kernels, without_initramfs};
use crate::boot_partition::room::ensure_boot_room;
use crate::deploy::{Deployed, Wanted, deploy};
use crate::image_settings::{EntryKargs, bound_images, kargs_of};
use crate::import::{Imported, OtherKernel};
use crate::machine::running_kernel;
use crate::secure_boot::{self, Need};
use crate::stop::Stop;
use crate::way;

/// Runs in the bootimage's deployment, before ostree-prepare-root.
pub fn boot(place: &Place) -> Result<()> {
    let started = Instant::now();
    guard::ensure_first_in_initramfs(place)?;
    let (settings, ignition) = read_request(place)?;
    let Some(request) = settings.request(&ignition)? else {
        log::info!("{}: nothing to do", settings.why_no_request());
        return Ok(());
    };
    set_debug(request.debug);
    log::info!("slipstream {VERSION}: {} is requested", request.image);
    let mut account = Account::new(place, settings.requested(), tries::reported(&place.sysroot));
    let result = run(place, &request, ignition, started + request.deadline, &mut account);
    account.end(ending(&result));
    result.map(drop)
}

/// The whole story. Nothing is written before the disk is opened, and a refusal until then leaves no trace. Once an image has
/// been asked for, what earlier runs have left is removed if it comes to nothing.
fn run(
    place: &Place,
    request: &Request,
    ignition: Ignition,
    deadline: Instant,
    account: &mut Account,
) -> Result<ControlFlow<Stop, handoff::Way>> {
    let way = way::chosen();
    let no_reboot = why_no_reboot(place, &ignition);
    let cmdline = fs::read_to_string(&place.cmdline).context("reading the kernel command line")?;
    let sight = Sight {
        root: &place.sysroot,
        cmdline: &cmdline,
        kernel: running_kernel(),
        fips: mco::Node::is_fips(&cmdline),
        // Beside the run directory.
        force: is_forced(place.run_dir.parent().unwrap_or(Path::new("/")), &ignition),
        // The deployment's: this process has changed its root to it.
        files: Arc::new(IgnitionFiles::new(Arc::new(ignition), RootFiles::new(Path::new("/")))),
        way,
        mount: Some(deadline),
        efivars: &place.efivars,
    };
    let agreed = go!(agree(request, &sight, &mut account.facts)?);
    let machine = &agreed.machine;

    // Read before the work, in case that there is a mistake in it.
    let this_boot = how_mounted(place)?;
    let mut sources = Sources::new(place, request, Arc::clone(&sight.files), deadline);
    let mut disk = None;
    let mut bring = || {
        let image = go!(sources.next_image(&agreed, account)?);
        let opened = Disk::open(machine, deadline).inspect_err(|_| sources.finish(account, None))?;
        let disk = disk.insert(opened);
        disk.remove_unfinished(machine, &place.run_dir);
        let imported = go!(sources.import(image, disk, &agreed, account)?);
        deploy_image(request, &agreed, disk, &imported, &this_boot, account)
    };
    let deployed = match bring() {
        Ok(Continue(deployed)) => deployed,
        unfinished => {
            let unfinished = unfinished.map(|step| step.map_continue(|_| way.name()));
            // First: cleaning up may take longer than there is time.
            account.write_early(ending(&unfinished));
            let keep_layers = unfinished.is_err() && no_reboot.is_none() && has_another_try(place, request);
            disk::give_up(disk, machine, &place.run_dir, &request.image, keep_layers);
            return unfinished;
        }
    };

    let started = Instant::now();
    account.begin(StageName::Swap, &deployed.path.to_string());
    account.write_before(way, machine)?;
    if let Err(error) = way.enter(machine, &deployed) {
        account.take_back();
        way.undo(machine).unwrap_or_else(|error| log::warn!("{error:#}"));
        return Err(error);
    }
    account.entered(way, machine, started);
    Ok(Continue(way.name()))
}

/// Deploys an imported image next to the bootimage, and makes it the default of the boot loader.
fn deploy_image(
    request: &Request,
    agreed: &Agreed,
    disk: &Disk,
    imported: &Imported,
    this_boot: &PrepareRoot,
    account: &mut Account,
) -> Result<ControlFlow<Stop, Deployed>> {
    let machine = &agreed.machine;
    let node_kernels = kernels(&disk.root.repo(), &imported.commit)?;
    let found: Vec<String> = node_kernels.iter().map(|kernel| kernel.version.clone()).collect();
    let running = &machine.bootimage.kernel;
    let node = account.node_image();
    node.commit = Some(imported.commit.hex());
    // Of several libostree takes one.
    node.kernel = if let [only] = &found[..] { Some(only.clone()) } else { None };
    if request.kernel == KernelPolicy::Same && found != [running.as_str()] {
        return Ok(Break(Stop::Kernel(OtherKernel { wanted: running.clone(), found })));
    }
    let bootimage = disk.bootimage(machine)?;
    let bootimage_kernels = kernels(&disk.root.repo(), &bootimage.commit)?;
    if let Some(stop) = why_unbootable(&node_kernels, &bootimage_kernels) {
        return Ok(Break(stop));
    }
    account.node_image().boot_loader_update =
        go!(boot_loader_update(&agreed.efivars, disk, &bootimage.commit, &imported.commit)?);
    let kargs = go!(entry_kargs(request, agreed, disk, (&bootimage.commit, &imported.commit), account)?);
    let started = Instant::now();
    account.begin(StageName::Deploy, &imported.commit.hex());
    ensure_boot_room(&disk.root.boot(), &bootimage_kernels, &node_kernels)?;
    let wanted = Wanted { commit: imported.commit, image: &request.image, kargs: &kargs, rehearse: agreed.first_boot };
    let deployed = go!(deploy(&disk.sysroot, &disk.root, &bootimage, &wanted, this_boot)?);
    let node = account.node_image();
    node.deployment = Some(deployed.path.to_string());
    node.kernel.clone_from(&deployed.kernel);
    node.kargs.clone_from(&kargs);
    node.etc_merged = Some(deployed.etc_merged);
    account.stage(StageName::Deploy, started, None);
    Ok(Continue(deployed))
}

/// Refuses an image that would not boot by itself, as the bootimage does.
fn why_unbootable(node: &[Kernel], bootimage: &[Kernel]) -> Option<Stop> {
    if node.is_empty() {
        return Some(Stop::Unbootable("the node image has no kernel in /usr/lib/modules".to_owned()));
    }
    let kernel = without_initramfs(node, bootimage)?;
    let reason = format!("the node image has no initramfs in /usr/lib/modules/{}", kernel.version);
    Some(Stop::Unbootable(reason))
}

/// Returns what has to bring the boot loader up to date. An image that cannot do that is refused: with Secure Boot its next boot may
/// not be allowed.
fn boot_loader_update(
    efivars: &Path,
    disk: &Disk,
    bootimage: &Digest,
    node: &Digest,
) -> Result<ControlFlow<Stop, Option<BootLoaderUpdate>>> {
    if !secure_boot::is_on(efivars) {
        return Ok(Continue(None));
    }
    Ok(match secure_boot::compare(&disk.store()?, bootimage, node)? {
        Need::Nothing => Continue(None),
        Need::Update(update) => {
            log::info!("Secure Boot is on: {update} updates the boot loader on this boot");
            Continue(Some(update))
        }
        Need::Impossible => Break(Stop::BootLoader(
            "Secure Boot is on, the node image has another boot loader, and neither bootloader-update.service nor bootupctl to \
             install it"
                .to_owned(),
        )),
    })
}

/// Returns the kernel arguments of the node image's boot loader entry: what the images themselves set is brought up to date. One that
/// cannot wait for the next boot is a refusal, unless the image is left to the MCO, which does not ask for it.
fn entry_kargs(
    request: &Request,
    agreed: &Agreed,
    disk: &Disk,
    (bootimage, node): (&Digest, &Digest),
    account: &mut Account,
) -> Result<ControlFlow<Stop, Vec<String>>> {
    let store = disk.store()?;
    let of = |commit| kargs_of(&store, commit).map_err(|error| Stop::Kargs(format!("{error:#}")));
    let (old, new) = match (of(bootimage), of(node)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(stop), _) | (_, Err(stop)) => return Ok(Break(stop)),
    };
    let entry = EntryKargs::new(agreed.kargs.clone(), &old, &new, &agreed.cmdline);
    if let Some(karg) = entry.cannot_wait() {
        let why = format!("the node image sets the kernel argument {karg}, which the running kernel does not have");
        if agreed.decision.is_none() && request.mco_reboot == McoReboot::Skip {
            return Ok(Break(Stop::Kargs(why)));
        }
        account.warn(why);
    }
    account.facts.foreseen.deferred_kargs.extend(entry.waiting);
    match bound_images(&store, node)? {
        0 => {}
        number => {
            account.warn(format!("the node image has {number} logically bound images, which bootc would have fetched"))
        }
    }
    Ok(Continue(entry.kargs))
}

/// Returns how a run ended that came to this result.
fn ending(result: &Result<ControlFlow<Stop, handoff::Way>>) -> Ending {
    match result {
        Ok(Continue(way)) => Ending::Swapped(*way),
        Ok(Break(stop)) => stop.ending(),
        Err(error) => Ending::Failed(format!("{error:#}")),
    }
}

/// Returns whether the machine will reboot to try a request that has failed once more.
fn has_another_try(place: &Place, request: &Request) -> bool {
    request.on_failure == OnFailure::Reboot && tries::has_another(&place.sysroot, request.digest())
}
