// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a test of the suite is, and what several of them do.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::images::Images;
use crate::lab::guest::{Job, error_lines};
use crate::lab::machine::{Boot, Machine};

/// The kola test that runs here as it does there.
pub const PRESTAGED: &str = "kola/prestaged/test.sh";

/// One machine.
pub struct Case {
    /// What a filter is looked for in; also the name of the machine's directory among the logs.
    pub name: &'static str,
    /// What its boots prove, one line each.
    pub steps: &'static [&'static str],
    /// Boots the machine, and reports each step.
    pub run: fn(&Images<'_>, &str, &mut Report) -> Result<()>,
}

impl Case {
    /// Runs the case.
    pub fn prove(&'static self, images: &Images<'_>) -> Proof {
        let mut report = Report { case: self, done: 0, ignored: false, since: Instant::now() };
        let ended = (self.run)(images, self.name, &mut report);
        if let Err(error) = &ended {
            let step = self.steps.get(report.done).unwrap_or(&"ends well");
            println!("FAILED {}: {step}\n  {error:#}", self.name);
        }
        Proof { steps: report.done, ended_well: ended.is_ok(), ignored: report.ignored }
    }
}

/// What has come of a case.
pub struct Proof {
    /// How many of its steps were proved.
    pub steps: usize,
    /// Whether it came to its end.
    pub ended_well: bool,
    /// Whether it could not run here.
    pub ignored: bool,
}

/// Counts the steps of a case that have been proved.
pub struct Report {
    case: &'static Case,
    done: usize,
    ignored: bool,
    since: Instant,
}

impl Report {
    /// Notes that the case cannot run here, and why.
    pub fn ignore(&mut self, reason: &str) {
        println!("ignored {}: {reason}", self.case.name);
        self.ignored = true;
    }

    /// Notes that the next step is proved.
    pub fn pass(&mut self) {
        let step = self.case.steps.get(self.done).expect("every step has a name");
        println!("ok {}: {step} ({:.0} s)", self.case.name, self.since.elapsed().as_secs_f64());
        self.done += 1;
        self.since = Instant::now();
    }
}

/// Boots with a request that cannot be met: that leaves the boot loader entries alone, and one line on the console.
pub fn refusal(machine: &mut Machine<'_>, job: &Job) -> Result<Boot> {
    let before = machine.boot_partition().entries()?;
    let boot = machine.boot(job)?;
    ensure!(machine.boot_partition().entries()? == before, "comparing the BLS entries: they have changed");
    let lines = error_lines(&boot.console);
    ensure!(lines.len() == 1, "reading the console: {} error lines where one is due: {lines:?}", lines.len());
    println!("   console: {}", lines[0]);
    Ok(boot)
}
