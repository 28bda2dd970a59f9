// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hand-off: what a boot says about itself, as values. A [`Status`] is the JSON document in the status file, field by
//! field; its schema is `docs/status.schema.json`. The importer makes it, the programs of the initramfs read it back as the
//! same type, and so does everything that shows it.
//!
//! Nothing in here reads or writes a file, and nothing knows the rest of the program: what a document is made of comes in as
//! [`Facts`], how the run ended as an [`Ending`].

#[macro_use]
mod words;

mod course;
mod images;
mod leftover;
mod reboot;
mod request;
mod status;
mod text;

#[cfg(test)]
mod tests;

pub use course::{Ending, Endpoint, Outcome, Stage, StageName, Try, Way};
pub use images::{BootLoaderUpdate, Bootimage, Kernels, NodeImage, Signature};
pub use leftover::{Leftover, LeftoverKind, Until};
pub use reboot::{Foreseen, Mco, Reboot};
pub use request::{Requested, RequestedKey, Values};
pub use status::{Facts, Status};
pub use text::shorten;
