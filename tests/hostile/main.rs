// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that are damaged, that lie, or that want too much: each ends with an error that says what is wrong, in
//! bounded time and memory, and leaves nothing behind but objects that a prune removes.
//!
//! It needs root and the program ostree. `SLIPSTREAM_CASE` names a part of the labels to run.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod bombs;
mod case;
mod damage;
mod documents;
mod ostree_layers;
mod places;
mod tars;

use std::time::Instant;

use anyhow::{Result, ensure};

use case::Case;
use testkit::programs::needs;
use testkit::sandbox::{Sandbox, enter};

#[test]
fn hostile_images_end_with_an_error() {
    // Not returned: the harness would print a backtrace in place of the chain.
    if let Err(error) = run_all() {
        panic!("{error:#}");
    }
}

fn run_all() -> Result<()> {
    let sandbox = match needs(&["ostree"]).and_then(|()| enter()) {
        Ok(()) => Sandbox::new(env!("CARGO_BIN_EXE_slipstream"))?,
        Err(reason) => {
            eprintln!("SKIPPED: the hostile images: {reason}");
            return Ok(());
        }
    };
    let wanted = std::env::var("SLIPSTREAM_CASE").unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for case in cases().into_iter().filter(|case| case.label.contains(&wanted)) {
        let (label, started) = (case.label.clone(), Instant::now());
        match case.run(&sandbox) {
            Ok(said) => {
                passed += 1;
                println!("ok      {label} ({:.1} s): {said}", started.elapsed().as_secs_f32());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {label}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0 && passed > 0, "{failed} cases failed, {passed} passed");
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = damage::cases();
    cases.extend(tars::cases());
    cases.extend(bombs::cases());
    cases.extend(documents::cases());
    cases.extend(ostree_layers::cases());
    cases.extend(places::cases());
    cases
}
