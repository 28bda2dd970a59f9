// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The account of a run, as it grows. It watches the stages and decides nothing.
//!
//! Tested by `src/slipstream/tests/boot/handoff.rs`, `src/slipstream/tests/boot/endings.rs`.

use std::time::Instant;

use anyhow::{Context, Result};
use contract::handoff::{Ending, Endpoint, Facts, NodeImage, Outcome, Requested, Stage, StageName, Status, Try};
use contract::place::Place;
use contract::report::{Record, log_summary, send_event, set_service_status, summary};

use crate::machine::Machine;
use crate::way::Way;

/// The account of a run.
#[derive(Debug)]
pub struct Account {
    record: Record,
    /// What is known so far.
    pub facts: Facts,
}

impl Account {
    /// Begins the account of a boot.
    pub fn new(place: &Place, request: Requested, tries: Vec<Try>) -> Self {
        Self { record: Record::new(&place.run_dir), facts: Facts { request, tries, ..Facts::default() } }
    }

    /// Shows that a stage begins, and what it works on.
    pub fn begin(&self, name: StageName, what: &str) {
        set_service_status(&format!("{name}: {what}"));
    }

    /// Adds a stage that began at `started` and has just ended.
    pub fn stage(&mut self, name: StageName, started: Instant, bytes: Option<u64>) {
        let stage = Stage::new(name, started.elapsed(), bytes);
        log::debug!("{name}: {:.1} s", stage.seconds);
        self.facts.stages.push(stage);
    }

    /// Adds a source that was tried, or an endpoint of it.
    pub fn endpoint(&mut self, source: String, error: Option<String>) {
        self.facts.endpoints.push(Endpoint { source, error });
    }

    /// Adds a warning, and logs it.
    pub fn warn(&mut self, text: String) {
        log::warn!("{text}");
        self.facts.warnings.push(text);
    }

    /// Returns what is known of the node image, to be added to.
    pub fn node_image(&mut self) -> &mut NodeImage {
        self.facts.node_image.get_or_insert_default()
    }

    /// Writes the account in case that this process is stopped. It is written again at the end.
    pub fn write_early(&self, ending: Ending) {
        self.record.write_or_warn(&Status::new(self.facts.clone(), ending));
    }

    /// Writes the hand-off before the root is changed: there must be no swap without it ([`Record`] says why).
    pub fn write_before(&self, way: &dyn Way, machine: &Machine) -> Result<()> {
        let leftovers = way.leftovers(machine);
        let facts = Facts { leftovers, ..self.facts.clone() };
        let status = Status::new(facts, Ending::Swapped(way.name()));
        self.record.write(&status).context("writing the status before the swap")
    }

    /// Adds that the root was changed, which began at `started`.
    pub fn entered(&mut self, way: &dyn Way, machine: &Machine, started: Instant) {
        self.facts.leftovers = way.leftovers(machine);
        self.stage(StageName::Swap, started, None);
    }

    /// Takes back what [`Self::write_before`] has written.
    pub fn take_back(&self) {
        if let Err(error) = self.record.forget() {
            log::warn!("taking the status back: {error:#}");
        }
    }

    /// Writes how the run ended, and reports it.
    pub fn end(self, ending: Ending) {
        let is_failure = matches!(ending, Ending::Failed(_));
        let status = Status::new(self.facts, ending);
        self.record.write_or_warn(&status);
        set_service_status(&summary(&status));
        // A swap is reported when it is settled, an error by main.
        if status.outcome() == Outcome::Swapped {
            return;
        }
        send_event(&status);
        if !is_failure {
            log_summary(&status);
        }
    }
}
