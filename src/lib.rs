// SPDX-License-Identifier: Apache-2.0 OR MIT
//! slipstream boots a CoreOS bootimage straight into the node image.
//!
//! The modules stand in the order in which an image passes through them: [`request`], [`source`], [`oci`], [`stream`],
//! [`import`], [`ostree`], [`label`], [`deploy`], [`root`]. [`boot`] calls them in turn, [`launch`] runs it and treats failures,
//! [`report`] says what happened; [`check`] only asks.
//! `docs/boot-flow.md` tells when they run.

pub mod boot;
pub mod check;
pub mod cli;
pub mod deploy;
pub mod failpoint;
pub mod import;
pub mod label;
pub mod launch;
pub mod lock;
pub mod oci;
pub mod ostree;
pub mod report;
pub mod request;
pub mod root;
pub mod source;
pub mod stream;
