// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fuzz targets call: one function for each parser that reads what comes from outside.
//!
//! None may panic, overflow, or want more time and memory than its input is worth. What a parser accepts must also be
//! what its writer would write, where there is one.

mod configs;
mod documents;
mod import;
mod layers;
mod requests;
mod signatures;
mod web;

pub use configs::containers;
pub use documents::{manifest_config, reference};
pub use import::{derived, gvariant, objects};
pub use layers::{layer_stream, tar};
pub use requests::{boot_link, ignition, kargs, keyfile, machine_config};
pub use signatures::{payload, policy, set};
pub use web::web;
