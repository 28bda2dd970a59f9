// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream check`: what a boot would do, and whether OpenShift's MCO would reboot the node anyway. Nothing is
//! written and nothing downloaded, so it can be run in a cluster's CI: with the Ignition config that a new node would
//! get, and a disk on which nothing has booted yet.
//!
//! Tested by `src/slipstream/tests/boot/check.rs`, `src/slipstream/tests/boot/agreement.rs`.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use contract::VERSION;
use contract::boot_link::BootLink;
use contract::entries::entries;
use contract::files::RootFiles;
use contract::handoff::Facts;
use contract::names::{ImageReference, SourceSpec};
use contract::once;
use contract::place::EFIVARS;
use contract::places::PhysicalRoot;
use contract::request::ignition::{Ignition, IgnitionFiles};
use contract::request::mco::{self, Decision};
use contract::request::{FIRST_BOOT, Request, Settings, When, kargs};
use serde_json::{Value, json};
use signature::Sigstore;
use source::containers::{Endpoint, HostConfig};

use crate::boot::{Sight, agree, is_forced};
use crate::machine::running_kernel;
use crate::stop::Stop;
use crate::way;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The Ignition config.
    pub ignition: PathBuf,
    /// The physical root.
    pub sysroot: PhysicalRoot,
    /// The kernel command line; without it that of the default boot loader entry, after Ignition has changed it. One without
    /// `ostree=` is for the deployment of that entry.
    pub cmdline: Option<PathBuf>,
    /// The root below which keyfiles are looked for, the initramfs of a boot; without it the deployment that this command line
    /// boots. What says where images come from is that deployment's, as it is for a boot.
    pub root: Option<PathBuf>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reboot would be saved.
    Saved,
    /// The MCO would reboot.
    Reboot,
    /// The boot would leave the image alone, for another reason.
    Skipped,
    /// The disk boots the node image already.
    AlreadyBooted,
    /// There is no MachineConfig, so that what follows the boot is not known.
    Unknown,
    /// No image is requested.
    NotRequested,
}

impl Verdict {
    /// Returns the word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Reboot => "reboot",
            Self::Skipped => "skipped",
            Self::AlreadyBooted => "already-booted",
            Self::Unknown => "unknown",
            Self::NotRequested => "not-requested",
        }
    }

    /// Returns the exit code of `check`. 1 is for failures.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Saved => 0,
            Self::Reboot | Self::Skipped => 2,
            Self::AlreadyBooted | Self::Unknown | Self::NotRequested => 3,
        })
    }
}

/// What `check` has found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    settings: Settings,
    request: Option<Request>,
    /// Why there is no request.
    why_none: &'static str,
    /// Why the boot would leave the image alone.
    stop: Option<Stop>,
    decision: Option<Decision>,
    /// The signatures that the image would have to have.
    signatures: Vec<Sigstore>,
    /// The places that a boot would ask for the image or its signatures, in order, each with why it could not be asked.
    endpoints: Vec<(String, Option<String>)>,
}

/// Asks what a boot would do.
pub fn check(options: &CheckOptions) -> Result<CheckReport> {
    // A boot may be without one. A user who checks one has named it, and may have mistyped.
    ensure!(options.ignition.exists(), "there is no Ignition config {}", options.ignition.display());
    let ignition = Ignition::load(&options.ignition)?;
    let default = entries(&options.sysroot)?.into_iter().next().context("there is no boot loader entry")?;
    let cmdline = match &options.cmdline {
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        // As Ignition leaves it, which reboots if it has to change it. It is there on a first boot.
        None => {
            let entry = kargs::split(&default.options).map(str::to_owned).collect();
            format!("{} {FIRST_BOOT}", ignition.kargs(entry).join(" "))
        }
    };
    // Whoever asks about some arguments need not know the link.
    let cmdline = match kargs::value(&cmdline, "ostree") {
        Some(_) => cmdline,
        None => format!(
            "{} {cmdline} {FIRST_BOOT}",
            kargs::split(&default.options).find(|karg| karg.starts_with("ostree=")).unwrap_or_default()
        ),
    };
    let link = BootLink::of_cmdline(&cmdline).context("reading the kernel command line")?;
    let deployment = options.sysroot.at(&link.resolve(&options.sysroot)?);
    let settings = Settings::read(&cmdline, options.root.as_deref().unwrap_or(&deployment), &ignition)?;
    let had_its_boot = |request: &Request| match request.when {
        When::FirstBoot => Ok(false),
        When::Once => once::has_had_its_boot(&options.sysroot, request.digest()),
    };
    let request = match settings.request(&ignition)? {
        Some(request) if !had_its_boot(&request)? => request,
        had => {
            let why = if had.is_some() { once::HAD_ITS_BOOT } else { settings.why_no_request() };
            return Ok(CheckReport::without_request(settings, why));
        }
    };
    // Of a disk that has not booted: rhcos-fips does what the MachineConfig says, and reboots, before slipstream starts.
    let wants_fips = request.machine.as_ref().is_some_and(|machine| machine.fips);
    let sight = Sight {
        root: &options.sysroot,
        cmdline: &cmdline,
        kernel: running_kernel(),
        fips: mco::Node::is_fips(&cmdline) || (options.cmdline.is_none() && wants_fips),
        // A disk that has not booted has no /run.
        force: is_forced(Path::new("/nonexistent"), &ignition),
        files: Arc::new(IgnitionFiles::new(Arc::new(ignition), RootFiles::new(&deployment))),
        way: way::chosen(),
        mount: None,
        // What an image has is not known here.
        efivars: Path::new(EFIVARS),
    };
    let (stop, decision, signatures) = match agree(&request, &sight, &mut Facts::default())? {
        Continue(agreed) => (None, agreed.decision, agreed.signatures),
        Break(Stop::Mco(decision)) => (Some(Stop::Mco(decision.clone())), Some(decision), Vec::new()),
        Break(stop) => (Some(stop), None, Vec::new()),
    };
    let asks_registry = request.sources.contains(&SourceSpec::Registry) || !signatures.is_empty();
    let endpoints = match (&stop, asks_registry) {
        (None, true) => endpoints(&HostConfig::new(Arc::clone(&sight.files)), &request.image)?,
        _ => Vec::new(),
    };
    Ok(CheckReport { settings, request: Some(request), why_none: "", stop, decision, signatures, endpoints })
}

/// Returns the places where an image may be, in order, and why one cannot be asked.
fn endpoints(config: &HostConfig, image: &ImageReference) -> Result<Vec<(String, Option<String>)>> {
    let why = |endpoint: &Endpoint| {
        if let Some(reason) = &endpoint.blocked {
            return Some(reason.clone());
        }
        let host = endpoint.location.split('/').next().unwrap_or_default();
        let set_up = config.credentials(&endpoint.location).and_then(|_| config.certs(host));
        set_up.err().map(|error| format!("{error:#}"))
    };
    Ok(config.endpoints(image)?.iter().map(|endpoint| (endpoint.location.clone(), why(endpoint))).collect())
}

impl CheckReport {
    fn without_request(settings: Settings, why_none: &'static str) -> Self {
        let (signatures, endpoints) = (Vec::new(), Vec::new());
        Self { settings, request: None, why_none, stop: None, decision: None, signatures, endpoints }
    }

    /// Returns the answer in a word.
    pub fn verdict(&self) -> Verdict {
        match (&self.request, &self.stop, &self.decision) {
            (None, ..) => Verdict::NotRequested,
            (_, Some(Stop::AlreadyBooted), _) => Verdict::AlreadyBooted,
            (_, _, Some(decision)) if decision.reboot => Verdict::Reboot,
            (_, Some(_), _) => Verdict::Skipped,
            (_, None, Some(_)) => Verdict::Saved,
            (_, None, None) => Verdict::Unknown,
        }
    }

    /// Returns whether a boot would take the image from its source.
    fn pulls(&self) -> bool {
        self.request.is_some() && self.stop.is_none()
    }

    fn machine(&self) -> Option<&str> {
        Some(self.request.as_ref()?.machine.as_ref()?.name.as_str())
    }

    /// Returns why the reboot would not be saved.
    fn reasons(&self) -> Vec<String> {
        match (&self.stop, &self.decision) {
            (Some(Stop::Mco(decision)), _) | (None, Some(decision)) => decision.reasons.clone(),
            (Some(stop), _) => vec![stop.to_string()],
            (None, None) => Vec::new(),
        }
    }

    /// Returns each argument that would wait for the next boot, and why it can.
    fn deferred(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let added = self.decision.iter().flat_map(|decision| &decision.kargs_to_add);
        added.map(|karg| (karg.as_str(), mco::why_harmless(karg).unwrap_or("the running kernel has it")))
    }

    /// Returns the answer for programs.
    pub fn json(&self) -> Result<String> {
        let deferred: Vec<Value> = self.deferred().map(|(karg, why)| json!({"karg": karg, "why": why})).collect();
        let signatures: Vec<Value> = self.signatures.iter().map(|needed| {
            json!({"requirement": needed.name(), "keys": needed.fingerprints(), "identity": needed.identity().to_string()})
        }).collect();
        let endpoints: Vec<Value> =
            self.endpoints.iter().map(|(source, error)| json!({"source": source, "error": error})).collect();
        let value = json!({
            "slipstream": VERSION,
            "request": self.settings.requested(),
            "image": self.request.as_ref().map(|request| request.image.as_str()),
            "machine_config": self.machine(),
            "verdict": self.verdict().name(),
            "reasons": self.reasons(),
            "deferred_kargs": deferred,
            "signatures": signatures,
            "endpoints": endpoints,
            "pull": self.pulls(),
        });
        Ok(serde_json::to_string_pretty(&value).context("writing the answer as JSON")? + "\n")
    }

    /// Returns the answer for people.
    pub fn words(&self) -> String {
        let mut lines = vec!["request:".to_owned()];
        for (key, setting) in self.settings.iter() {
            lines.extend(setting.values.iter().map(|value| format!("  {key} = {value}  (from {})", setting.from)));
        }
        if let Some(request) = &self.request {
            lines.push(format!("image: {}", request.image));
        }
        lines.extend(self.machine().map(|name| format!("MachineConfig: {name}")));
        lines.push(match self.verdict() {
            Verdict::Saved => "decision: the reboot would be saved".to_owned(),
            Verdict::Reboot => "decision: the MCO would reboot the node anyway".to_owned(),
            Verdict::Skipped => "decision: the boot would leave the image alone".to_owned(),
            Verdict::AlreadyBooted => "decision: nothing to do: the disk boots the node image".to_owned(),
            Verdict::Unknown => "decision: not known: there is no MachineConfig".to_owned(),
            Verdict::NotRequested => format!("decision: nothing to do: {}", self.why_none),
        });
        lines.extend(self.reasons().iter().map(|reason| format!("  because: {reason}")));
        lines.extend(self.deferred().map(|(karg, why)| format!("  for the next boot: {karg}  ({why})")));
        for needed in &self.signatures {
            let keys = needed.fingerprints().join(" or ");
            let key = if keys.is_empty() { String::new() } else { format!(", key {keys}") };
            lines.push(format!("signature needed: {}, {}{key}", needed.name(), needed.identity()));
        }
        lines.extend(self.endpoints.iter().map(|(source, error)| match error {
            Some(error) => format!("endpoint: {source}  (not asked: {error})"),
            None => format!("endpoint: {source}"),
        }));
        if self.request.is_some() {
            lines.push(format!("image would be pulled: {}", if self.pulls() { "yes" } else { "no" }));
        }
        // Names come from the config; a line feed or an escape would write something else.
        lines.iter().map(|line| line.replace(char::is_control, "?") + "\n").collect()
    }
}
