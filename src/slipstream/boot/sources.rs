// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sources of a request, in their order: the first one that works gives the image.
//!
//! An image is verified before the disk is made writable. If its layers turn out to be damaged, the next source is asked; what
//! has been imported until then is good, whatever happened to the rest.
//!
//! Tested by `src/slipstream/tests/boot/endings.rs`, `src/slipstream/tests/boot/kernel.rs`.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use contract::files::Files;
use contract::handoff::StageName;
use contract::names::SourceSpec;
use contract::place::Place;
use contract::request::{KernelPolicy, MIN_BOOTIMAGE, Request};
use image::oci::host_architecture;
use source::containers::HostConfig;
use source::http::{EndpointLog, Limits};
use source::{Surroundings, Verified, VerifiedImage};

use super::account::Account;
use super::agree::Agreed;
use super::disk::Disk;
use crate::import::{ImportPlan, Imported, Plan, Session, import, plan};
use crate::machine::Machine;
use crate::stop::Stop;
use crate::trust::verify_signatures;

/// The sources that have not been tried, and the one that is in use.
pub struct Sources<'a> {
    place: &'a Place,
    request: &'a Request,
    config: HostConfig,
    deadline: Instant,
    waiting: std::slice::Iter<'a, SourceSpec>,
    /// The source that gave the image, and what happened at its endpoints.
    used: Option<(&'a SourceSpec, EndpointLog)>,
    last_error: Option<Error>,
}

impl<'a> Sources<'a> {
    /// Takes the sources of a request. `files` say where registries are.
    pub fn new(place: &'a Place, request: &'a Request, files: Arc<dyn Files>, deadline: Instant) -> Self {
        let (config, waiting) = (HostConfig::new(files), request.sources.iter());
        Self { place, request, config, deadline, waiting, used: None, last_error: None }
    }

    /// Returns the image from the next source that has it, or why it is not for this machine: that is so wherever it is from.
    pub fn next_image(&mut self, agreed: &Agreed, account: &mut Account) -> Result<ControlFlow<Stop, VerifiedImage>> {
        while let Some(spec) = self.waiting.next() {
            let mut log = EndpointLog::default();
            let verified = self.open(spec, &mut log, account);
            self.used = Some((spec, log));
            match verified {
                Ok(Verified::Image(image)) => match self.trusted(&image, agreed, account) {
                    Ok(Continue(())) => return Ok(Continue(*image)),
                    Ok(Break(stop)) => {
                        self.finish(account, None);
                        return Ok(Break(stop));
                    }
                    Err(error) => self.fail(account, error),
                },
                Ok(Verified::OtherArchitectures(reason)) => {
                    self.finish(account, None);
                    return Ok(Break(Stop::Architecture(reason)));
                }
                Err(error) => self.fail(account, error),
            }
        }
        Err(self.last_error.take().context("no source is given")?)
    }

    /// Imports an image that [`Self::next_image`] returned. If its source fails, the next ones are asked.
    pub fn import(
        &mut self,
        first: VerifiedImage,
        disk: &Disk,
        agreed: &Agreed,
        account: &mut Account,
    ) -> Result<ControlFlow<Stop, Imported>> {
        let mut image = first;
        loop {
            match self.import_from(&image, disk, &agreed.machine, account) {
                Ok(step) => {
                    self.finish(account, None);
                    return Ok(step);
                }
                Err(error) => self.fail(account, error),
            }
            // Its device is mounted where that of the next source will be.
            drop(image);
            image = go!(self.next_image(agreed, account)?);
        }
    }

    fn open(&self, spec: &SourceSpec, log: &mut EndpointLog, account: &mut Account) -> Result<Verified> {
        let started = Instant::now();
        account.begin(StageName::Source, &spec.to_string());
        let around = Surroundings {
            image: &self.request.image,
            run_dir: &self.place.run_dir,
            config: &self.config,
            limits: Limits::default(),
            deadline: self.deadline,
        };
        let source = source::open(spec, &around)?;
        *log = source.log();
        let verified = source::verify(source, self.request.image.digest())?;
        if let Verified::Image(image) = &verified {
            image.config.ensure_bootable()?;
            let node = account.node_image();
            node.manifest_digest = Some(image.manifest.digest.to_string());
            node.version = image.config.version().map(str::to_owned);
            account.stage(StageName::Source, started, Some(image.bytes));
        }
        Ok(verified)
    }

    /// Refuses a verified image that is not for this machine, or does not have the signatures that the policy asks for.
    fn trusted(&self, image: &VerifiedImage, agreed: &Agreed, account: &mut Account) -> Result<ControlFlow<Stop>> {
        if let Some(stop) = self.refuse(image, &agreed.machine) {
            return Ok(Break(stop));
        }
        account.node_image().signatures = go!(verify_signatures(&agreed.signatures, &self.request.image, image)?);
        Ok(Continue(()))
    }

    /// Returns why a verified image is not for this machine.
    fn refuse(&self, image: &VerifiedImage, machine: &Machine) -> Option<Stop> {
        let (architecture, here) = (image.config.architecture(), host_architecture());
        if architecture != here {
            return Some(Stop::Architecture(format!("image is for {architecture}, this machine is {here}")));
        }
        let (bootimage, oldest) = (machine.bootimage.version.as_deref(), image.config.label(MIN_BOOTIMAGE));
        self.request.skew.allows(bootimage, image.config.version(), oldest).err().map(Stop::Skew)
    }

    fn import_from(
        &self,
        image: &VerifiedImage,
        disk: &Disk,
        machine: &Machine,
        account: &mut Account,
    ) -> Result<ControlFlow<Stop, Imported>> {
        let session = disk.session(self.deadline)?;
        let imported = go!(self.import_verified(&session, image, machine, account)?);
        // This removes what earlier runs have left. The image was imported; a problem with another one is not fatal.
        if let Err(error) = disk.collect(&session, Some(&self.request.image)) {
            log::warn!("cleaning up: {error:#}");
        }
        Ok(Continue(imported))
    }

    fn import_verified(
        &self,
        session: &Session<'_>,
        image: &VerifiedImage,
        machine: &Machine,
        account: &mut Account,
    ) -> Result<ControlFlow<Stop, Imported>> {
        let started = Instant::now();
        account.begin(StageName::Import, "looking for what is missing");
        let mut plan = match plan(session, image, &self.request.image)? {
            Plan::AlreadyPresent(commit) => {
                log::info!("the repository has the image");
                account.stage(StageName::Import, started, Some(0));
                return Ok(Continue(Imported { commit }));
            }
            Plan::Ready(plan) => plan,
        };
        if self.request.kernel == KernelPolicy::Same {
            plan.kernel = Some(machine.bootimage.kernel.clone());
        }
        log_plan(&plan);
        match import(session, image, &self.request.image, &plan, self.deadline)? {
            Continue(imported) => {
                account.stage(StageName::Import, started, Some(plan.missing_bytes()));
                Ok(Continue(imported))
            }
            Break(other) => {
                account.node_image().kernel = other.found.first().cloned();
                Ok(Break(Stop::Kernel(other)))
            }
        }
    }

    /// Records that the source in use has failed.
    fn fail(&mut self, account: &mut Account, error: Error) {
        let Some((spec, _)) = &self.used else { return };
        let error = error.context(format!("using source {spec}"));
        self.finish(account, Some(format!("{error:#}")));
        if let Some(earlier) = self.last_error.replace(error) {
            log::warn!("{earlier:#}");
        }
    }

    /// Puts the source in use, and its endpoints, into the account.
    pub fn finish(&mut self, account: &mut Account, error: Option<String>) {
        let Some((spec, log)) = self.used.take() else { return };
        account.endpoint(spec.to_string(), error);
        for (source, error) in log.entries() {
            account.endpoint(source, error);
        }
    }
}

fn log_plan(plan: &ImportPlan) {
    log::info!(
        "importing {} of {} layers, {} MiB; {} MiB are there",
        plan.missing().count(),
        plan.present.len(),
        plan.missing_bytes() >> 20,
        plan.present_bytes() >> 20
    );
}
