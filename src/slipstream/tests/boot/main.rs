// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream boot` on a directory that is a sysroot: every way in which it can end, without a VM.
//!
//! With the cargo feature `failpoints` there are also the boots after one that has died at one of its steps.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod agreement;
mod case;
mod check;
mod endings;
#[cfg(feature = "failpoints")]
mod failpoints;
mod handoff;
mod ignition;
mod image_settings;
mod kernel;
mod kernels;
mod leftovers;
mod occasion;
mod others;
mod prepare_root;
mod registry;
mod rehearsal;
mod room;
mod secure_boot;
mod signatures;
mod skew;

use std::process::ExitCode;

use testkit::programs::needs;
use testkit::sandbox::enter;
use testkit::suite::{Suite, module};

fn main() -> ExitCode {
    let mut cases = endings::cases();
    cases.extend(module("skew", skew::cases()));
    cases.extend(module("signatures", signatures::cases()));
    cases.extend(module("kernel", kernel::cases()));
    cases.extend(module("kernels", kernels::cases()));
    cases.extend(module("rehearsal", rehearsal::cases()));
    cases.extend(module("image_settings", image_settings::cases()));
    cases.extend(module("secure_boot", secure_boot::cases()));
    cases.extend(module("room", room::cases()));
    cases.extend(module("ignition", ignition::cases()));
    cases.extend(module("ignition", registry::cases()));
    cases.extend(module("check", check::cases()));
    cases.extend(module("check_and_boot_agree", agreement::cases()));
    cases.extend(module("request_of_the_past", occasion::cases()));
    cases.extend(module("others", others::cases()));
    cases.extend(module("leftovers", leftovers::cases()));
    cases.extend(module("handoff", handoff::cases()));
    cases.extend(module("prepare_root", prepare_root::cases()));
    #[cfg(feature = "failpoints")]
    cases.extend(module("failpoints", failpoints::cases()));
    Suite::new("boot", || needs(&["ostree"]).and_then(|()| enter())).run(cases)
}
