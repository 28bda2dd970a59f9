// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream-initrd`: what of slipstream is in the initramfs. It does without libostree.

use std::process::ExitCode;

use slipstream::cli::Initrd;
use slipstream::report::run;

fn main() -> ExitCode {
    run(|| argh::from_env::<Initrd>().run())
}
