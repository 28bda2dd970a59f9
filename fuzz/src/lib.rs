// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fuzz targets call: one function for each parser that reads what comes from outside.
//!
//! None may panic, overflow, or want more time and memory than its input is worth. What a parser accepts must also be
//! what its writer would write, where there is one.

mod configs;
mod documents;
mod layers;
mod requests;
mod web;

pub use configs::containers;
pub use documents::{manifest_config, reference};
pub use import::targets::{derived, gvariant, objects};
pub use layers::{layer_stream, tar};
pub use requests::{boot_link, ignition, kargs, keyfile, machine_config};
pub use web::web;

/// The modules of slipstream that its private ones, included here and in [`requests`], know as `crate::…`.
mod oci {
    pub use slipstream::oci::*;
}
mod ostree {
    pub use slipstream::ostree::*;
}
mod stream {
    pub use slipstream::stream::*;
}

/// The importer's parsers and what they write to. Most of what else is in these files is not used.
#[allow(dead_code, unused_imports)]
#[path = "../../src/import"]
mod import {
    mod chunk;
    mod derived;
    mod gvariant;
    mod label;
    mod layer_tree;
    mod mode;
    mod path;
    mod store;
    mod tree;
    mod writer;

    // It has to be below, to see what is private.
    #[path = "../../fuzz/src/import.rs"]
    pub mod targets;
}
