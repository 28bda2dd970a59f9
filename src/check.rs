// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream check`: what a boot would do, and whether OpenShift's MCO would reboot the node all the same. Nothing is
//! written and nothing downloaded, so it can be run in a cluster's CI: with the Ignition config that a new node would
//! get, and a disk on which nothing has booted yet.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::deploy::carried_kargs;
use crate::report::VERSION;
use crate::request::ignition::Ignition;
use crate::request::mco::{self, Decision};
use crate::request::{McoReboot, Request, Settings, kargs};
use crate::root::bls;
use crate::root::swap::BootLink;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The Ignition config.
    pub ignition: PathBuf,
    /// The physical root.
    pub sysroot: PathBuf,
    /// The kernel command line; without it that of the default boot loader entry, after Ignition has changed it.
    pub cmdline: Option<PathBuf>,
    /// The root below which keyfiles are looked for; without it the deployment that this command line boots.
    pub root: Option<PathBuf>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reboot would be saved.
    Saved,
    /// The MCO would reboot.
    Reboot,
    /// There is no MachineConfig: who knows what will follow.
    Unknown,
    /// No image is asked for.
    NotRequested,
}

impl Verdict {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Reboot => "reboot",
            Self::Unknown => "unknown",
            Self::NotRequested => "not-requested",
        }
    }

    /// The exit code of `check`. 1 is for failures.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Saved => 0,
            Self::Reboot => 2,
            Self::Unknown | Self::NotRequested => 3,
        })
    }
}

/// What `check` has found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    settings: Settings,
    request: Option<Request>,
    decision: Option<Decision>,
}

/// Ask what a boot would do.
pub fn check(options: &CheckOptions) -> Result<CheckReport> {
    // A boot may be without one. Who checks one has named it, and may have mistyped.
    ensure!(options.ignition.exists(), "there is no Ignition config {}", options.ignition.display());
    let ignition = Ignition::load(&options.ignition)?;
    let entry = bls::default_options(&options.sysroot)?;
    let first_boot = ignition.kargs(kargs::split(&entry).map(str::to_owned).collect());
    let cmdline = match &options.cmdline {
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => first_boot.join(" "),
    };
    let root = match &options.root {
        Some(root) => root.clone(),
        None => {
            let karg = kargs::value(&cmdline, "ostree").context("the kernel command line has no ostree=")?;
            options.sysroot.join(BootLink::parse(&karg)?.resolve(&options.sysroot)?)
        }
    };
    let settings = Settings::read(&cmdline, &root, &ignition)?;
    let request = settings.request(&ignition)?;
    let decision = request.as_ref().and_then(|request| {
        let machine = request.machine.as_ref()?;
        let entry = carried_kargs(&first_boot.join(" "));
        // Of a disk that has not booted: rhcos-fips does what the MachineConfig says, and reboots, before we start.
        let fips = mco::Node::is_fips(&cmdline) || (options.cmdline.is_none() && machine.fips);
        let image = request.image.as_str();
        Some(mco::decide(machine, &mco::Node { image, entry: &entry, cmdline: &cmdline, fips, force: false }))
    });
    Ok(CheckReport { settings, request, decision })
}

impl CheckReport {
    /// The answer in a word.
    pub fn verdict(&self) -> Verdict {
        match (&self.request, &self.decision) {
            (None, _) => Verdict::NotRequested,
            (_, None) => Verdict::Unknown,
            (_, Some(decision)) if decision.reboot => Verdict::Reboot,
            _ => Verdict::Saved,
        }
    }

    /// Whether a boot would take the image from its source.
    fn pulls(&self) -> bool {
        let Some(request) = &self.request else { return false };
        self.verdict() != Verdict::Reboot || request.mco_reboot == McoReboot::Pull
    }

    fn machine(&self) -> Option<&str> {
        Some(self.request.as_ref()?.machine.as_ref()?.name.as_str())
    }

    fn reasons(&self) -> &[String] {
        self.decision.as_ref().map_or(&[], |decision| decision.reasons.as_slice())
    }

    /// Each argument that would wait for the next boot, and why it can.
    fn deferred(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let added = self.decision.iter().flat_map(|decision| &decision.kargs_to_add);
        added.map(|karg| (karg.as_str(), mco::why_harmless(karg).unwrap_or("the running kernel has it")))
    }

    /// For programs.
    pub fn json(&self) -> Result<String> {
        let deferred: Vec<Value> = self.deferred().map(|(karg, why)| json!({"karg": karg, "why": why})).collect();
        let value = json!({
            "slipstream": VERSION,
            "request": self.settings.requested(),
            "image": self.request.as_ref().map(|request| request.image.as_str()),
            "machine_config": self.machine(),
            "verdict": self.verdict().name(),
            "reasons": self.reasons(),
            "deferred_kargs": deferred,
            "pull": self.pulls(),
        });
        Ok(serde_json::to_string_pretty(&value).context("writing the answer as JSON")? + "\n")
    }

    /// For people.
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
            Verdict::Reboot => "decision: the MCO would reboot the node all the same".to_owned(),
            Verdict::Unknown => "decision: not known: there is no MachineConfig".to_owned(),
            Verdict::NotRequested => format!("decision: nothing to do: {}", self.settings.why_no_request()),
        });
        lines.extend(self.reasons().iter().map(|reason| format!("  because: {reason}")));
        lines.extend(self.deferred().map(|(karg, why)| format!("  for the next boot: {karg}  ({why})")));
        if self.request.is_some() {
            lines.push(format!("image would be pulled: {}", if self.pulls() { "yes" } else { "no" }));
        }
        // Names come from the config; a line feed or an escape would write something else.
        lines.iter().map(|line| line.replace(char::is_control, "?") + "\n").collect()
    }
}
