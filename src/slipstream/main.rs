// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream`: parse, start the log, call, print one error line, exit code.
//!
//! Tested by `src/slipstream/tests/boot/`.

use std::process::ExitCode;

use contract::log_lines::run;
use slipstream::cli::Slipstream;

fn main() -> ExitCode {
    run(|| argh::from_env::<Slipstream>().run())
}
