// SPDX-License-Identifier: Apache-2.0 OR MIT
//! After ostree-prepare-root: what is left to do in the new root, and the account of it. What that is depends on the way by
//! which this boot got into the node image; each has a file here.
//!
//! Tested by `src/initrd/tests/settle/`, `test-vm/src/suite/swap.rs`.

mod boot_link;
mod boot_loader;
mod modules;
mod places;

use std::time::Instant;

use anyhow::Result;
use contract::failpoint;
use contract::handoff::{Outcome, Stage, StageName, Status, Way};
use contract::report::{Record, log_summary, send_event};

pub use self::places::SettleOptions;

/// Settles the root if this boot was swapped. A failure is part of the account as well.
///
/// There is no swap without a status ([`Record`]), so without one there is nothing to settle. One that cannot be read is an
/// error; like every error here it fails the unit, and not the boot.
pub fn settle(options: &SettleOptions) -> Result<()> {
    let record = Record::new(&options.run_dir());
    let Some(status) = record.read()?.filter(is_to_be_settled) else { return Ok(()) };
    let started = Instant::now();
    let settled = match status.way() {
        Some(Way::BootLink) | None => boot_link::settle(options, &status),
    };
    match settled {
        Ok((bytes, leftovers)) => {
            let stage = Stage::new(StageName::Settle, started.elapsed(), bytes);
            let status = status.settled(stage, leftovers);
            record.write_or_warn(&status);
            send_event(&status);
            log_summary(&status);
            failpoint::reached("settle");
            Ok(())
        }
        Err(error) => {
            let status = status.settling_failed(&format!("{error:#}"));
            record.write_or_warn(&status);
            send_event(&status);
            Err(error)
        }
    }
}

/// Returns whether a root waits to be settled: once, whoever starts the unit again.
fn is_to_be_settled(status: &Status) -> bool {
    let is_settled = status.stages().iter().any(|stage| stage.name == StageName::Settle);
    status.outcome() == Outcome::Swapped && !is_settled
}
