// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compiles the one C function of this crate.
//!
//! Tested by `src/ostree/tests/selinux_messages.rs`.

fn main() {
    println!("cargo::rerun-if-changed=selinux_log.c");
    cc::Build::new().file("selinux_log.c").warnings_into_errors(true).compile("slipstream_selinux_log");
}
