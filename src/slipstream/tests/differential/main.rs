// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The differential test: slipstream and the published importer of upstream pull the
//! same small images into fresh repositories, which must then hold the same.
//!
//! It needs root, and from the environment `SLIPSTREAM_TOOLS_ROOT` (a root directory
//! with ostree and skopeo) and `SLIPSTREAM_PEER` (the program of `test-vm/peer`).
//! `SLIPSTREAM_KEEP` keeps the repositories.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod commit;
mod compare;
mod corpus;
mod judge;
mod lab;
mod metadata;
mod side;
mod tools;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use testkit::suite::{self, Shared, Suite, module, say};

use corpus::{Case, Expect, cases};
use lab::Lab;

fn main() -> ExitCode {
    let lab = Shared::new(Lab::make);
    let mut tests = Vec::new();
    for (name, cases) in cases() {
        tests.extend(module(name, cases.into_iter().map(|case| test(name, case, Arc::clone(&lab)))));
    }
    // It goes with the last case.
    drop(lab);
    Suite::new("differential", tools::ready).run(tests)
}

/// Returns the test of a case. Known differences are marked, and say why with `--nocapture`.
fn test(module: &str, case: Case, lab: Arc<Shared<Lab>>) -> suite::Case {
    let (kind, why) = match case.expect {
        Expect::Same => ("", ""),
        Expect::Refused => ("refused", ""),
        Expect::Differs { why, .. } => ("differs", why),
        Expect::OursOnly { why, .. } => ("ours only", why),
        Expect::PeerOnly { why } => ("peer only", why),
    };
    let (name, place) = (case.name, format!("{module}-{}", case.name.replace('_', "-")));
    let run = move || {
        let faults = judge::run(lab.get()?, case, &place)?;
        ensure!(faults.is_empty(), "{}", faults.join("\n    "));
        if !why.is_empty() {
            say(format!("{name}: {why}"));
        }
        Ok(())
    };
    suite::Case::new(name, run).kind(kind)
}
