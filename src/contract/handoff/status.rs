// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The document, and the ways to get one: from facts and an ending, from its text, from another one.
//!
//! Tested by `src/slipstream/tests/docs/main.rs`, `src/contract/report/record.rs`.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::VERSION;

use super::{
    Bootimage, Ending, Endpoint, Foreseen, Kernels, Leftover, NodeImage, Outcome, Reboot, Requested, Stage, Try, Way,
    shorten,
};

/// Version of the schema. A further field does not change it; a field less, another value or another meaning does.
const SCHEMA_VERSION: u64 = 1;

/// Holds what is known of a run, however it ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The request, as it was written.
    pub request: Requested,
    /// The deployment that was to boot.
    pub bootimage: Option<Bootimage>,
    /// The node image.
    pub node_image: Option<NodeImage>,
    /// The stages that were finished, in order.
    pub stages: Vec<Stage>,
    /// The sources that were tried, in order, each before its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The reboot that OpenShift's MCO would do, or not.
    pub foreseen: Foreseen,
    /// The tries on the boots before this one, each ended by `on-failure=reboot`.
    pub tries: Vec<Try>,
    /// Everything that remains of us.
    pub leftovers: Vec<Leftover>,
    /// What this boot, or the node image on it, lacks.
    pub warnings: Vec<String>,
}

/// Describes a boot: the document in the status file.
///
/// It is made as a whole, so that what follows from its facts (`kernel`, `reboot`) cannot contradict them, and a change is a
/// new document. A field of it that is not known is passed over, and not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    version: u64,
    slipstream: String,
    outcome: Outcome,
    way: Option<Way>,
    reason: Option<String>,
    request: Requested,
    bootimage: Option<Bootimage>,
    node_image: Option<NodeImage>,
    kernel: Kernels,
    stages: Vec<Stage>,
    endpoints: Vec<Endpoint>,
    reboot: Reboot,
    tries: Vec<Try>,
    leftovers: Vec<Leftover>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// Finds the version, whatever else the document has.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u64,
}

impl Status {
    /// Describes a run with these facts that ended like this.
    pub fn new(facts: Facts, ending: Ending) -> Self {
        let (outcome, way, reason) = ending.into_fields();
        let short = |text: String| shorten(&text).into_owned();
        let reason = reason.map(short);
        let deployed = facts.node_image.as_ref().is_some_and(|node| node.deployment.is_some());
        let endpoint = |Endpoint { source, error }| Endpoint { source, error: error.map(short) };
        Self {
            version: SCHEMA_VERSION,
            slipstream: VERSION.to_owned(),
            outcome,
            way,
            kernel: Kernels::of(outcome, facts.bootimage.as_ref(), facts.node_image.as_ref()),
            reboot: Reboot::of(outcome, reason.as_deref(), deployed, facts.foreseen),
            reason,
            request: facts.request,
            bootimage: facts.bootimage,
            node_image: facts.node_image,
            stages: facts.stages,
            endpoints: facts.endpoints.into_iter().map(endpoint).collect(),
            tries: facts.tries,
            leftovers: facts.leftovers,
            warnings: facts.warnings.into_iter().map(short).collect(),
        }
    }

    /// Reads a document. One of another version is an error, whatever is in it.
    pub fn parse(text: &str) -> Result<Self> {
        // As bytes, like the JSON of Ignition and images: serde_json has another copy of itself for texts.
        let bytes = text.as_bytes();
        let Versioned { version } = serde_json::from_slice(bytes).context("parsing it")?;
        ensure!(version == SCHEMA_VERSION, "it has version {version}, not {SCHEMA_VERSION}");
        serde_json::from_slice(bytes).context("parsing it")
    }

    /// Returns the text of the document.
    pub fn to_text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing the status as JSON")? + "\n")
    }

    /// Returns the account of a swap whose root is settled: what was done for that, and what it leaves.
    #[must_use]
    pub fn settled(mut self, stage: Stage, leftovers: Vec<Leftover>) -> Self {
        self.stages.push(stage);
        self.leftovers.extend(leftovers);
        self
    }

    /// Returns the account of a swap that could not be settled. The root may be another one than was wanted.
    #[must_use]
    pub fn settling_failed(self, reason: &str) -> Self {
        let facts = Facts {
            request: self.request,
            bootimage: self.bootimage,
            node_image: self.node_image,
            stages: self.stages,
            endpoints: self.endpoints,
            foreseen: self.reboot.into_foreseen(self.reason.as_deref()),
            tries: self.tries,
            leftovers: self.leftovers,
            warnings: self.warnings,
        };
        let failed = Self::new(facts, Ending::Failed(format!("settling the root: {reason}")));
        Self { slipstream: self.slipstream, ..failed }
    }

    /// Returns the account with something more that remains.
    #[must_use]
    pub fn with_leftover(mut self, leftover: Leftover) -> Self {
        self.leftovers.push(leftover);
        self
    }

    /// Returns the version of the program that wrote it.
    pub fn slipstream(&self) -> &str {
        &self.slipstream
    }

    /// Returns how the run ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns how the node image became the root, if it did.
    pub fn way(&self) -> Option<Way> {
        self.way
    }

    /// Returns why the outcome is not `swapped`.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns what was asked for.
    pub fn request(&self) -> &Requested {
        &self.request
    }

    /// Returns the deployment that was to boot, if it is known.
    pub fn bootimage(&self) -> Option<&Bootimage> {
        self.bootimage.as_ref()
    }

    /// Returns the node image, as far as the run got with it.
    pub fn node_image(&self) -> Option<&NodeImage> {
        self.node_image.as_ref()
    }

    /// Returns which kernels there are, and whether they differ.
    pub fn kernel(&self) -> &Kernels {
        &self.kernel
    }

    /// Returns the stages that were finished, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns the sources that were tried, in order.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns whether the reboot was avoided.
    pub fn reboot(&self) -> &Reboot {
        &self.reboot
    }

    /// Returns what this boot, or the node image on it, lacks.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns what was tried on earlier boots, the first one first.
    pub fn tries(&self) -> &[Try] {
        &self.tries
    }

    /// Returns what of ours is still there.
    pub fn leftovers(&self) -> &[Leftover] {
        &self.leftovers
    }
}
