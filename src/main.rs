// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream`: parse, start the log, call, print one error line, exit code.

use std::process::ExitCode;

use slipstream::cli::Slipstream;
use slipstream::report::run;

fn main() -> ExitCode {
    run(|| argh::from_env::<Slipstream>().run())
}
