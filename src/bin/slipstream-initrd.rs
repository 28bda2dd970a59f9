// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `slipstream-initrd`: what of slipstream is in the initramfs. It does without libostree.

use std::process::ExitCode;

use slipstream::cli::Initrd;
use slipstream::report::run;

fn main() -> ExitCode {
    run(|| argh::from_env::<Initrd>().run())
}

/// Takes the place of libcurl's function of this name, which the crate `curl` calls before `main` in every program that
/// is linked with it, used or not. Nothing here opens a connection; with the call, libcurl and the 20 MB of libraries
/// that it needs would be copied into every initramfs.
#[allow(unsafe_code)] // No block of it: the attribute alone counts, as the name may clash.
#[unsafe(no_mangle)]
pub extern "C" fn curl_global_init(_: std::ffi::c_long) -> std::ffi::c_int {
    0
}
