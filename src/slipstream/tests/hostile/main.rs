// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that are damaged, that lie, or that want too much: each ends with an error that says what is wrong, in
//! bounded time and memory, and leaves nothing behind but objects that a prune removes.

// A test may start programs; the ban is for the code that runs at boot.
#![allow(clippy::disallowed_methods)]

mod bombs;
mod case;
mod damage;
mod documents;
mod ostree_layers;
mod places;
mod tars;
mod windows;

use std::process::ExitCode;

use testkit::programs::needs;
use testkit::sandbox::enter;
use testkit::suite::{Suite, module};

use case::Case;

fn main() -> ExitCode {
    let cases = [
        ("damage", damage::cases()),
        ("tars", tars::cases()),
        ("bombs", bombs::cases()),
        ("documents", documents::cases()),
        ("ostree_layers", ostree_layers::cases()),
        ("places", places::cases()),
        ("windows", windows::cases()),
    ];
    let tests = cases.into_iter().flat_map(|(name, cases)| module(name, cases.into_iter().map(Case::test)));
    Suite::new("hostile", || needs(&["ostree"]).and_then(|()| enter())).run(tests.collect())
}
