// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real servers: each case pulls a small image from one of them, with a configuration as a node has it, and compares the
//! merge commit with that of a pull from the local layout; or it expects an error that says what is wrong.
//!
//! The servers have a network namespace for themselves and end with the last case. They are the programs of
//! `.ci/packages.txt`.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod case;
mod cases;
mod daemons;
mod endpoints;
mod lab;
mod pki;
mod place;
mod signatures;
mod tokens;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use testkit::programs::needs;
use testkit::sandbox;
use testkit::suite::{self, Shared, Suite, module, say};

use case::Case;
use cases::cases;
use lab::Lab;

/// The programs that have to be installed.
const PROGRAMS: [&str; 9] =
    ["docker-registry", "htpasswd", "ip", "nginx", "openssl", "ostree", "setpriv", "skopeo", "tinyproxy"];

fn main() -> ExitCode {
    let lab = Shared::new(|| Lab::make().map(Mutex::new));
    let test = |case: Case| {
        let lab = Arc::clone(&lab);
        suite::Case::new(case.name, move || {
            let mut lab = lab.get()?.lock().unwrap_or_else(PoisonError::into_inner);
            lab.run(&case).map(say)
        })
    };
    let mut tests = Vec::new();
    for (name, cases) in cases() {
        tests.extend(module(name, cases.into_iter().map(test)));
    }
    // It ends with the last case.
    drop(lab);
    let ready = || needs(&PROGRAMS).and_then(|()| sandbox::enter()).and_then(|()| place::enter());
    // Each looks at the servers' logs.
    Suite::new("servers", ready).one_at_a_time().run(tests)
}
