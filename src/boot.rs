// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The story of a boot: request, source, import, deploy, swap.
//!
//! Two processes tell it. [`launch`](crate::launch) is in the initramfs: it reads the request, and when there is one it
//! runs [`boot`] in the bootimage's deployment, where libostree is, and treats its failures.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::deploy::{self, Deployed};
use crate::failpoint;
use crate::import::{
    Imported, OtherKernel, Plan, Purpose, Session, collect_layers, commit_version, ensure_boot_room, forget_images,
    import, kernels, plan,
};
use crate::label::{Labeller, labelled_or_warn};
use crate::oci::{Digest, ImageReference, host_architecture};
use crate::ostree::{Deployment, PrepareRoot, Repo, Sysroot};
use crate::report::{
    Bootimage, Ending, Endpoint, Facts, Foreseen, Leftover, LeftoverKind, NodeImage, Outcome, Record, Stage, StageName,
    Status, Until, VERSION, Way, send_event, set_debug, summary,
};
use crate::request::files::{Files, RootFiles};
use crate::request::ignition::{Ignition, IgnitionFiles};
use crate::request::mco::{self, Decision};
use crate::request::{KernelPolicy, MIN_BOOTIMAGE, McoReboot, OnFailure, Request, Settings, kargs};
use crate::root::swap::BootLink;
use crate::root::tries;
use crate::root::writable::{BootPartition, WritableRoot};
use crate::source::containers::HostConfig;
use crate::source::http::{EndpointLog, Limits};
use crate::source::{self, SourceSpec, Surroundings, VerifiedImage};

/// Beside the run directory, and in an Ignition config: the MCO's daemon reboots, whatever it finds.
const MCO_FORCE: &str = "machine-config-daemon-force";
/// The ending of a run that nothing has stopped.
const SWAPPED: Ending = Ending::Swapped(Way::BootLink);
/// For cleaning up, when the deadline may be over.
const CLEAN_UP_TIME: Duration = Duration::from_secs(2);

/// Where everything is. The defaults are those of the initramfs.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The physical root.
    pub sysroot: PathBuf,
    /// The kernel command line.
    pub cmdline: PathBuf,
    /// Where the status file goes.
    pub run_dir: PathBuf,
    /// The root below which keyfiles are looked for.
    pub root: PathBuf,
    /// The Ignition config.
    pub ignition: PathBuf,
}

/// How the initramfs that runs will mount a deployment.
pub(crate) fn how_mounted(options: &BootOptions) -> Result<PrepareRoot> {
    let cmdline = fs::read_to_string(&options.cmdline).context("reading the kernel command line")?;
    PrepareRoot::of_initramfs(&options.root, &cmdline)
}

/// Everything that is asked for, understood or not.
pub(crate) fn read_request(options: &BootOptions) -> Result<(Settings, Ignition)> {
    let ignition = Ignition::load(&options.ignition)?;
    Ok((Settings::load(&options.cmdline, &options.root, &ignition)?, ignition))
}

/// Run in the bootimage's deployment, before ostree-prepare-root.
pub fn boot(options: &BootOptions) -> Result<()> {
    let started = Instant::now();
    let (settings, ignition) = read_request(options)?;
    let Some(request) = settings.request(&ignition)? else {
        log::info!("{}: nothing to do", settings.why_no_request());
        return Ok(());
    };
    set_debug(request.debug);
    log::info!("slipstream {VERSION}: {} is requested", request.image);
    let mut story = Story {
        options,
        request: &request,
        force: force_file(options, &ignition),
        // The deployment's: this process has changed its root to it.
        files: Arc::new(IgnitionFiles::new(Arc::new(ignition), RootFiles::new(Path::new("/")))),
        deadline: started + request.deadline,
        record: Record::new(&options.run_dir),
        facts: Facts { request: settings.requested(), tries: tries::reported(&options.sysroot), ..Facts::default() },
    };
    let result = story.tell();
    let status = story.status(&result);
    story.record.write_or_warn(&status);
    // A swap is reported when it is settled.
    if status.outcome() != Outcome::Swapped {
        send_event(&status);
    }
    // An error is reported by main.
    result?;
    if status.outcome() != Outcome::Swapped {
        log::info!("{}", summary(&status));
    }
    Ok(())
}

/// One run, and the account of it.
struct Story<'a> {
    options: &'a BootOptions,
    request: &'a Request,
    /// The files that say where images come from, as they are when Ignition has run.
    files: Arc<dyn Files>,
    /// The MCO's daemon has been told to reboot.
    force: bool,
    deadline: Instant,
    record: Record,
    facts: Facts,
}

impl Story<'_> {
    fn tell(&mut self) -> Result<Ending> {
        let root = &self.options.sysroot;
        let (image, kernel) = (&self.request.image, running_kernel());
        self.facts.node_image = Some(NodeImage { image: image.to_string(), ..Default::default() });
        let cmdline = fs::read_to_string(&self.options.cmdline).context("reading the kernel command line")?;
        let karg = kargs::value(&cmdline, "ostree").context("the kernel command line has no ostree=")?;
        let link = BootLink::parse(&karg)?;
        let booted = link.resolve(root)?;
        self.facts.bootimage = Some(bootimage_report(root, &booted, &kernel)?);
        // Asked before anything is mounted for writing.
        if deploy::origin_of(root, &booted)? == Some(deploy::origin(image)) {
            return Ok(Ending::AlreadyBooted("the booted deployment is the node image".to_owned()));
        }
        let _writable = WritableRoot::ensure(root)?;
        let _boot = BootPartition::ensure(root, self.deadline)?;
        let sysroot = Sysroot::open(root, self.deadline)?;
        let deployments = sysroot.deployments()?;
        let bootimage = deployments.iter().find(|deployment| deployment.path == booted);
        let bootimage = bootimage.with_context(|| format!("{} is in no boot loader entry", booted.display()))?;
        if deployments.iter().any(|deployment| deploy::is_of_image(deployment, image)) {
            let reason = "the node image is deployed, but this boot was told to use another deployment";
            return Ok(Ending::Skipped(reason.to_owned()));
        }
        let kargs = match self.decide(&cmdline, deploy::carried_kargs(&bootimage.options)) {
            Ok(kargs) => kargs,
            Err(reason) => return Ok(Ending::Skipped(reason)),
        };
        self.remove_unfinished(&sysroot, &link);
        let repo = sysroot.repo()?;
        let result = self.bring_in(&sysroot, &repo, bootimage, &kernel, &kargs);
        let deployed = match result {
            Ok(deployed) => deployed,
            Err(error) => {
                let ending = match error.downcast::<Refused>() {
                    Ok(Refused(reason)) => Ok(Ending::Skipped(reason)),
                    Err(error) => Err(error),
                };
                // First: cleaning up may take longer than there is time.
                self.record.write_or_warn(&self.status(&ending));
                self.give_up(&sysroot, &repo, &link, ending.is_err());
                return ending;
            }
        };
        self.swap(&link, &deployed)?;
        failpoint::reached("swap");
        // What is left to do may take longer than there is time, and no longer decides anything.
        labelled_or_warn("ostree", Labeller::new(&root.join(&deployed.path)).links(root));
        Ok(SWAPPED)
    }

    /// Points the boot link at the node image. The status is written before: there must be no swap without the hand-off that
    /// [`settle`](crate::root::settle) needs (see [`Record`]). It is written again at the end, then with this stage.
    fn swap(&mut self, link: &BootLink, deployed: &Deployed) -> Result<()> {
        let started = Instant::now();
        // It belongs to no boot loader entry, but this boot follows it until the end.
        let path = Path::new("/sysroot").join(link.path()).display().to_string();
        let leftover = Leftover { kind: LeftoverKind::Link, path, until: Until::OstreeCleanup };
        let status = self.status(&Ok(SWAPPED)).with_leftover(leftover.clone());
        self.record.write(&status).context("writing the status before the swap")?;
        if let Err(error) = link.point_at(&self.options.sysroot, &deployed.path) {
            if let Err(error) = self.record.forget() {
                log::warn!("taking the status back: {error:#}");
            }
            return Err(error.context("pointing the boot link at the node image"));
        }
        self.facts.leftovers.push(leftover);
        self.stage(StageName::Swap, started, None);
        Ok(())
    }

    /// Returns the account of what is known, with this ending.
    fn status(&self, ending: &Result<Ending>) -> Status {
        let ending = match ending {
            Ok(ending) => ending.clone(),
            Err(error) => Ending::Failed(format!("{error:#}")),
        };
        Status::new(self.facts.clone(), ending)
    }

    /// Ask, before anything is pulled, whether the MCO would reboot all the same. Returns the kernel arguments of the
    /// node image's entry, or why nothing is done.
    fn decide(&mut self, cmdline: &str, entry: Vec<String>) -> Result<Vec<String>, String> {
        let Some(machine) = &self.request.machine else { return Ok(entry) };
        let fips = mco::Node::is_fips(cmdline);
        let image = self.request.image.as_str();
        let node = mco::Node { image, entry: &entry, cmdline, fips, force: self.force };
        let decision = mco::decide(machine, &node);
        for karg in &decision.kargs_to_add {
            let why = mco::why_harmless(karg).unwrap_or("the running kernel has it");
            log::debug!("kernel argument {karg} is for the next boot: {why}");
        }
        let kargs = decision.kargs.clone();
        let reason = decision.reboot.then(|| mco_reason(&decision));
        self.facts.foreseen = Foreseen::from(&decision);
        match (reason, self.request.mco_reboot) {
            (Some(reason), McoReboot::Skip) => Err(reason),
            (Some(reason), McoReboot::Pull) => {
                log::warn!("{reason}");
                Ok(kargs)
            }
            (None, _) => Ok(kargs),
        }
    }

    /// Clean up after a request that came to nothing, unless it came so late that the node image is in the boot loader
    /// entries.
    fn give_up(&self, sysroot: &Sysroot, repo: &Repo, link: &BootLink, failed: bool) {
        match sysroot.load().and_then(|()| sysroot.deployments()) {
            Ok(deployments) if deployments.iter().any(|there| deploy::is_of_image(there, &self.request.image)) => {
                log::warn!("the node image is deployed: it boots next");
            }
            Ok(_) => {
                let root = &self.options.sysroot;
                self.remove_unfinished(sysroot, link);
                // The next try goes on with what this one has brought.
                let reboots = failed && self.request.on_failure == OnFailure::Reboot;
                if !(reboots && tries::has_another(root, self.request.digest())) {
                    self.clean_up(sysroot, repo);
                }
                // The bootimage boots, with the policy that it has.
                let labeller = Labeller::new(Path::new("/"));
                labelled_or_warn("boot", labeller.boot(root));
                labelled_or_warn("ostree", labeller.ostree(root));
            }
            Err(error) => log::warn!("reading the boot loader entries: {error:#}"),
        }
    }

    /// Remove what is half deployed. It is in nobody's way but for its space. The boot links that no entry names go, too:
    /// not if that of this boot is among them.
    fn remove_unfinished(&self, sysroot: &Sysroot, link: &BootLink) {
        let root = &self.options.sysroot;
        let removed = match link.is_current(root) {
            Ok(true) => deploy::remove_unfinished(sysroot, root, &self.options.run_dir),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            log::warn!("cleaning up: {error:#}");
        }
    }

    /// Remove the refs that a run that came to nothing has left. That this fails must not hide why the run failed.
    fn clean_up(&self, sysroot: &Sysroot, repo: &Repo) {
        let path = self.options.sysroot.join("ostree/repo");
        let session = Session::open(repo, &path, Purpose::Boot, Instant::now() + CLEAN_UP_TIME);
        if let Err(error) = session.and_then(|session| collect(&session, sysroot, None)) {
            log::warn!("cleaning up: {error:#}");
        }
    }

    /// Import and deploy.
    fn bring_in(
        &mut self,
        sysroot: &Sysroot,
        repo: &Repo,
        bootimage: &Deployment,
        kernel: &str,
        kargs: &[String],
    ) -> Result<Deployed> {
        // Read before the work, in case that there is a mistake in it.
        let this_boot = how_mounted(self.options)?;
        let imported = self.import_from_any(sysroot, repo)?;
        let repo_path = self.options.sysroot.join("ostree/repo");
        let own = kernels(&repo_path, &imported.commit)?;
        let versions: Vec<&str> = own.iter().map(|kernel| kernel.version.as_str()).collect();
        let node = self.facts.node_image.get_or_insert_default();
        node.commit = Some(imported.commit.hex());
        node.kernel = versions.iter().find(|version| **version == kernel).or(versions.first()).map(ToString::to_string);
        if self.request.kernel == KernelPolicy::Same && !versions.contains(&kernel) {
            let found = versions.iter().map(ToString::to_string).collect();
            return Err(Refused(OtherKernel { wanted: kernel.to_owned(), found }.to_string()).into());
        }
        let started = Instant::now();
        let root = &self.options.sysroot;
        ensure_boot_room(&root.join("boot"), &kernels(&repo_path, &bootimage.commit)?, &own)?;
        let image = &self.request.image;
        let deployed = deploy::deploy(sysroot, root, bootimage, &imported, image, kargs, &this_boot)?;
        let node = self.facts.node_image.get_or_insert_default();
        node.deployment = Some(deployed.path.display().to_string());
        node.etc_merged = Some(deployed.etc_merged);
        self.stage(StageName::Deploy, started, None);
        Ok(deployed)
    }

    /// Try the sources in order.
    fn import_from_any(&mut self, sysroot: &Sysroot, repo: &Repo) -> Result<Imported> {
        let mut last = None;
        for spec in &self.request.sources {
            let mut log = EndpointLog::default();
            let result =
                self.import_from(sysroot, repo, spec, &mut log).with_context(|| format!("using source {spec}"));
            let error = result.as_ref().err().map(|error| format!("{error:#}"));
            self.facts.endpoints.push(Endpoint { source: spec.to_string(), error });
            let endpoints = log.entries().into_iter().map(|(source, error)| Endpoint { source, error });
            self.facts.endpoints.extend(endpoints);
            match result {
                Ok(imported) => return Ok(imported),
                // The image is the same from everywhere.
                Err(error) if error.is::<Refused>() => return Err(error),
                Err(error) => {
                    if let Some(earlier) = last.replace(error) {
                        log::warn!("{earlier:#}");
                    }
                }
            }
        }
        Err(last.context("no source is given")?)
    }

    fn import_from(
        &mut self,
        sysroot: &Sysroot,
        repo: &Repo,
        spec: &SourceSpec,
        log: &mut EndpointLog,
    ) -> Result<Imported> {
        let started = Instant::now();
        let image = &self.request.image;
        let config = HostConfig::new(self.files.clone());
        let around = Surroundings {
            image,
            run_dir: &self.options.run_dir,
            config: &config,
            limits: Limits::default(),
            deadline: self.deadline,
        };
        let source = source::open(spec, &around)?;
        *log = source.log();
        let verified = source::verify(source, image.digest())?;
        verified.config.ensure_bootable(host_architecture())?;
        let node = self.facts.node_image.get_or_insert_default();
        node.manifest_digest = Some(verified.manifest.digest.to_string());
        node.version = verified.config.version().map(str::to_owned);
        self.stage(StageName::Source, started, Some(verified.bytes));
        let own = self.facts.bootimage.as_ref().and_then(|bootimage| bootimage.version.as_deref());
        let oldest = verified.config.label(MIN_BOOTIMAGE);
        self.request.skew.allows(own, verified.config.version(), oldest).map_err(Refused)?;
        let repo_path = self.options.sysroot.join("ostree/repo");
        let session = Session::open(repo, &repo_path, Purpose::Boot, self.deadline)?;
        let imported = self.import_verified(&session, &verified)?;
        // What earlier runs have left. The image is there, whatever is odd about another one.
        if let Err(error) = collect(&session, sysroot, Some(image)) {
            log::warn!("cleaning up: {error:#}");
        }
        Ok(imported)
    }

    fn import_verified(&mut self, session: &Session<'_>, verified: &VerifiedImage) -> Result<Imported> {
        let started = Instant::now();
        let mut plan = match plan(session, verified, &self.request.image)? {
            Plan::AlreadyPresent(commit) => {
                log::info!("the repository has the image");
                self.stage(StageName::Import, started, Some(0));
                return Ok(Imported { commit });
            }
            Plan::Ready(plan) => plan,
        };
        if self.request.kernel == KernelPolicy::Same {
            plan.kernel = self.facts.bootimage.as_ref().map(|bootimage| bootimage.kernel.clone());
        }
        let (missing, bytes) = (plan.missing().count(), plan.missing_bytes());
        log::info!(
            "importing {missing} of {} layers, {} MiB; {} MiB are there",
            plan.present.len(),
            bytes >> 20,
            plan.present_bytes() >> 20
        );
        let result = import(session, verified, &self.request.image, &plan, self.deadline);
        let imported = result.map_err(|error| match error.downcast::<OtherKernel>() {
            Ok(other) => {
                let node = self.facts.node_image.get_or_insert_default();
                node.kernel = other.found.first().cloned();
                Refused(other.to_string()).into()
            }
            Err(error) => error,
        })?;
        self.stage(StageName::Import, started, Some(bytes));
        Ok(imported)
    }

    fn stage(&mut self, name: StageName, started: Instant, bytes: Option<u64>) {
        let stage = Stage::new(name, started.elapsed(), bytes);
        log::debug!("{name}: {:.1} s", stage.seconds);
        self.facts.stages.push(stage);
    }
}

/// Why nothing is saved, in one line.
fn mco_reason(decision: &Decision) -> String {
    format!("the MCO would reboot the node all the same: {}", decision.reasons.join("; "))
}

/// Whether the MCO's daemon is told to reboot whatever it finds: it looks in `/run`, older ones in `/etc`.
fn force_file(options: &BootOptions, ignition: &Ignition) -> bool {
    options.run_dir.with_file_name(MCO_FORCE).exists() || ignition.has_file(&format!("/etc/{MCO_FORCE}"))
}

/// A policy says no, and no other source would change that.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Remove refs of ours that came to nothing; those of `keep` stay.
fn collect(session: &Session<'_>, sysroot: &Sysroot, keep: Option<&ImageReference>) -> Result<()> {
    let deployed: Vec<Digest> = sysroot.deployments()?.iter().map(|deployment| deployment.commit).collect();
    forget_images(session, keep, &deployed)?;
    let removed = collect_layers(session)?;
    log::debug!("removed {removed} refs of layers");
    Ok(())
}

fn bootimage_report(root: &Path, deployment: &Path, kernel: &str) -> Result<Bootimage> {
    let name = deployment.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((commit, _)) = name.split_once('.') else { bail!("{} is no deployment", deployment.display()) };
    Ok(Bootimage {
        deployment: deployment.display().to_string(),
        commit: commit.to_owned(),
        version: bootimage_version(root, deployment, commit),
        kernel: kernel.to_owned(),
    })
}

/// The version of a deployment: CoreOS's own field of its os-release, else what its commit says, else the field that
/// every system has: that of a CentOS Stream CoreOS may be a bare 9, or OpenShift's version.
fn bootimage_version(root: &Path, deployment: &Path, commit: &str) -> Option<String> {
    let unreadable = |error: anyhow::Error| log::debug!("looking for the bootimage's version: {error:#}");
    let path = root.join(deployment).join("usr/lib/os-release");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
    let text = text.map_err(unreadable).unwrap_or_default();
    let field = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    field("OSTREE_VERSION")
        .or_else(|| {
            let version =
                Digest::from_hex(commit).and_then(|commit| commit_version(&root.join("ostree/repo"), &commit));
            version.map_err(unreadable).ok().flatten()
        })
        .or_else(|| field("VERSION_ID"))
}

fn running_kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
