// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A case on a machine.

use anyhow::Result;
use testkit::machine::Machine;
use testkit::suite::Case;

/// The program.
pub const SLIPSTREAM: &str = env!("CARGO_BIN_EXE_slipstream");

/// Makes a case that has a machine of its own.
pub fn case(name: &str, run: impl FnOnce(&mut Machine) -> Result<()> + Send + 'static) -> Case {
    Case::new(name, || run(&mut Machine::new(SLIPSTREAM)?))
}
