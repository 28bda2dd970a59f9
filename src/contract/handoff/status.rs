// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `status.json`: the hand-off to the real root, and the account for people. Its schema is `docs/status.schema.json`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::handoff::metrics::{METRICS_FILE, metrics};
use crate::handoff::send_event;
use crate::log_lines::shorten;
use crate::names::Digest;
use crate::request::Settings;
use crate::request::mco::Decision;

/// Name of the status file in the run directory.
pub const STATUS_FILE: &str = "status.json";
/// Version of the schema. A field more does not change it; a field less, or another meaning, does.
const SCHEMA_VERSION: u64 = 1;

/// A try on an earlier boot, which has ended with a reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// What was asked for.
    pub request: Digest,
    /// Why it failed.
    pub reason: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This boot runs the node image because of us.
    Swapped,
    /// The node image was booted before we came.
    AlreadyBooted,
    /// A policy said no.
    Skipped,
    /// We failed; the bootimage boots.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Swapped, Self::AlreadyBooted, Self::Skipped, Self::Failed];

    /// The word in the status file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::AlreadyBooted => "already-booted",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// The deployment that was to boot.
#[derive(Clone, Debug, Default)]
pub struct BootimageReport {
    /// Path of the deployment, relative to the physical root.
    pub deployment: String,
    /// Its commit.
    pub commit: String,
    /// Its version, from its os-release.
    pub version: Option<String>,
    /// The running kernel.
    pub kernel: String,
}

/// The node image as far as we got with it.
#[derive(Clone, Debug, Default)]
pub struct NodeImageReport {
    /// The pullspec.
    pub image: String,
    /// Digest of the manifest for this machine.
    pub manifest_digest: Option<String>,
    /// The merge commit.
    pub commit: Option<String>,
    /// The version that the image claims.
    pub version: Option<String>,
    /// The kernel in it.
    pub kernel: Option<String>,
    /// Path of the deployment, relative to the physical root.
    pub deployment: Option<String>,
    /// Whether local changes of the bootimage's `/etc` were merged into its own.
    pub etc_merged: Option<bool>,
}

/// Something of ours that is still there.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// `mount`, `file` or `link`.
    pub kind: &'static str,
    /// Where it is.
    pub path: String,
    /// Until when: `reboot`, `ostree-cleanup` or `next-request`.
    pub until: &'static str,
}

/// The account of one run.
#[derive(Clone, Debug)]
pub struct Status {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when it is not `swapped`.
    pub reason: Option<String>,
    /// What was asked for, and where each key came from.
    pub settings: Settings,
    /// The deployment that was to boot.
    pub bootimage: Option<BootimageReport>,
    /// The node image.
    pub node_image: Option<NodeImageReport>,
    /// Each stage: name, time, bytes if it moved any.
    pub stages: Vec<(&'static str, Duration, Option<u64>)>,
    /// Each source that was tried, its endpoints after it, and why it did not do.
    pub endpoints: Vec<(String, Option<String>)>,
    /// Whether OpenShift's MCO would reboot all the same; `None` without a MachineConfig, or when we did not ask.
    pub decision: Option<Decision>,
    /// What was tried on the boots before this one, each ended by `on-failure=reboot`.
    pub tries: Vec<Try>,
    /// What remains of us.
    pub leftovers: Vec<Leftover>,
}

impl Status {
    /// An empty account.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            settings: Settings::default(),
            bootimage: None,
            node_image: None,
            stages: Vec::new(),
            endpoints: Vec::new(),
            decision: None,
            tries: Vec::new(),
            leftovers: Vec::new(),
        }
    }

    /// One line for the console.
    pub fn summary(&self) -> String {
        summary(&self.to_json())
    }

    /// The account as it is written.
    pub fn to_json(&self) -> Value {
        let reason = self.reason.as_deref().map(shorten);
        let stages: Vec<Value> = self
            .stages
            .iter()
            .map(|(name, time, bytes)| json!({"name": name, "seconds": round(time.as_secs_f64()), "bytes": bytes}))
            .collect();
        let endpoints: Vec<Value> = self
            .endpoints
            .iter()
            .map(|(source, error)| json!({"source": source, "error": error.as_deref().map(shorten)}))
            .collect();
        let tries: Vec<Value> = self.tries.iter().map(|earlier| json!({"reason": earlier.reason})).collect();
        let leftovers: Vec<Value> = self.leftovers.iter().map(Leftover::to_json).collect();
        json!({
            "version": SCHEMA_VERSION,
            "slipstream": VERSION,
            "outcome": self.outcome.name(),
            "reason": reason,
            "request": request_json(&self.settings),
            "bootimage": self.bootimage.as_ref().map(BootimageReport::to_json),
            "node_image": self.node_image.as_ref().map(NodeImageReport::to_json),
            "kernel": self.kernel(),
            "stages": stages,
            "endpoints": endpoints,
            "reboot": self.reboot(),
            "tries": tries,
            "leftovers": leftovers,
        })
    }

    fn kernel(&self) -> Value {
        let running = self.bootimage.as_ref().map(|bootimage| bootimage.kernel.as_str());
        let own = self.node_image.as_ref().and_then(|node| node.kernel.as_deref());
        let differs = self.outcome == Outcome::Swapped && own.is_some() && own != running;
        json!({"running": running, "own": own, "differs": differs})
    }

    fn reboot(&self) -> Value {
        let none = Decision::default();
        let (mco, decision) = match &self.decision {
            None => ("unknown", &none),
            Some(decision) if decision.reboot => ("reboots", decision),
            Some(decision) => ("nothing-to-do", decision),
        };
        // A policy that follows from the reasons would only repeat them.
        let own = self.reason.iter().filter(|_| self.outcome != Outcome::Skipped || decision.reasons.is_empty());
        let reasons: Vec<_> = own.chain(&decision.reasons).map(|reason| shorten(reason)).collect();
        // Without a deployment there is no entry that they could be in.
        let deferred = if self.outcome == Outcome::Swapped { decision.kargs_to_add.as_slice() } else { &[] };
        json!({
            "avoided": self.outcome == Outcome::Swapped && !decision.reboot,
            "reasons": reasons,
            "mco": mco,
            "deferred_kargs": deferred,
        })
    }

    /// Write the status file, whole or not at all.
    pub fn write(&self, run_dir: &Path) -> Result<()> {
        write_json(run_dir, &self.to_json())
    }
}

/// Every key that was set, and where.
pub fn request_json(settings: &Settings) -> Value {
    let request: Map<String, Value> = settings
        .iter()
        .map(|(key, setting)| {
            let value = match (key.repeatable(), setting.values.first()) {
                (false, Some(value)) => json!(value),
                _ => json!(setting.values),
            };
            (key.name().to_owned(), json!({"value": value, "from": setting.from}))
        })
        .collect();
    request.into()
}

/// An account in one line.
pub(super) fn summary(status: &Value) -> String {
    let outcome = status["outcome"].as_str().unwrap_or_default();
    if outcome == Outcome::Swapped.name() {
        let stages = status["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let seconds = |stage: &Value| stage["seconds"].as_f64().unwrap_or_default();
        let total: f64 = stages.iter().map(seconds).sum();
        let image = status["node_image"]["image"].as_str().unwrap_or_default();
        let reboot = if status["reboot"]["avoided"] == true { "without a reboot" } else { "but the MCO will reboot" };
        let each = stages.iter().map(|s| format!("{} {:.1}", s["name"].as_str().unwrap_or_default(), seconds(s)));
        let each = each.collect::<Vec<_>>().join(", ");
        return format!("this boot runs {image}, {reboot}, after {total:.1} s of work ({each})");
    }
    match status["reason"].as_str() {
        Some(reason) => format!("{outcome}: {reason}"),
        None => outcome.to_owned(),
    }
}

impl BootimageReport {
    fn to_json(&self) -> Value {
        json!({
            "deployment": self.deployment, "commit": self.commit, "version": self.version, "kernel": self.kernel,
        })
    }
}

impl NodeImageReport {
    fn to_json(&self) -> Value {
        json!({
            "image": self.image, "manifest_digest": self.manifest_digest, "commit": self.commit,
            "version": self.version, "kernel": self.kernel, "deployment": self.deployment,
            "etc_merged": self.etc_merged,
        })
    }
}

impl Leftover {
    fn to_json(&self) -> Value {
        json!({"kind": self.kind, "path": self.path, "until": self.until})
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Add to the account of a swap what was done after ostree-prepare-root, and tell the journal.
pub fn append_settled(run_dir: &Path, time: Duration, bytes: Option<u64>, leftovers: &[Leftover]) -> Result<()> {
    let mut status = read_status(run_dir)?.context("the status file is gone")?;
    let stage = json!({"name": "settle", "seconds": round(time.as_secs_f64()), "bytes": bytes});
    status["stages"].as_array_mut().context("status has no stages")?.push(stage);
    let list = status["leftovers"].as_array_mut().context("status has no leftovers")?;
    list.extend(leftovers.iter().map(Leftover::to_json));
    write_json(run_dir, &status)?;
    send_event(&status);
    log::info!("{}", summary(&status));
    Ok(())
}

/// Add something that remains to the account, if there is one.
pub fn append_leftover(run_dir: &Path, leftover: &Leftover) -> Result<()> {
    let Some(mut status) = read_status(run_dir)? else { return Ok(()) };
    status["leftovers"].as_array_mut().context("status has no leftovers")?.push(leftover.to_json());
    write_json(run_dir, &status)
}

/// Say in the account of a swap that it could not be settled. The root may be another than we wanted.
pub fn append_failure(run_dir: &Path, reason: &str) -> Result<()> {
    let mut status = read_status(run_dir)?.context("the status file is gone")?;
    status["outcome"] = json!(Outcome::Failed.name());
    status["reason"] = json!(format!("settling the root: {reason}"));
    status["kernel"]["differs"] = json!(false);
    status["reboot"]["avoided"] = json!(false);
    status["reboot"]["reasons"] = json!([status["reason"]]);
    write_json(run_dir, &status)?;
    send_event(&status);
    Ok(())
}

/// Replace the status file, and the metrics made of it.
fn write_json(run_dir: &Path, status: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(status).context("writing the status as JSON")?;
    text.push('\n');
    replace(run_dir, STATUS_FILE, &text)?;
    replace(run_dir, METRICS_FILE, &metrics(status))
}

/// Write a file of the run directory, whole or not at all.
pub fn replace(run_dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = run_dir.join(name);
    let temporary = run_dir.join(format!(".{name}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .with_context(|| format!("creating {}", temporary.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", temporary.display()))?;
    fs::rename(&temporary, &path).with_context(|| format!("renaming to {}", path.display()))
}

/// Read the status file; `None` if there is none.
pub fn read_status(run_dir: &Path) -> Result<Option<Value>> {
    let path = run_dir.join(STATUS_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let value: Value = serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
    let version = value.get("version").and_then(Value::as_u64).unwrap_or_default();
    ensure!(version == SCHEMA_VERSION, "{} has version {version}, not {SCHEMA_VERSION}", path.display());
    Ok(Some(value))
}
