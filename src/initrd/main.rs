// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream-initrd`: parse, start the log, call, print one error line, exit code.
//!
//! Tested by `test-vm/src/suite/`.

use std::process::ExitCode;

use contract::log_lines::run;
use initrd::cli::Initrd;

fn main() -> ExitCode {
    run(|| argh::from_env::<Initrd>().run())
}
