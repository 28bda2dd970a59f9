// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The program; everything is in the library, so that tests of their own can use a part of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    test_vm::main()
}
