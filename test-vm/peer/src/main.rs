// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The published `ostree-ext` library as a program: `ostree-ext-cli container …`.
//!
//! Upstream publishes the library only. The tests encapsulate their images with
//! it and compare what slipstream imports with what it imports.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match ostree_ext::cli::run_from_iter(std::env::args_os()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}
