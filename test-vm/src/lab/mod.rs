// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The laboratory: the places, the host's and the tools' programs, the machine and its guest, and servers for it. It
//! knows nothing of the images.

pub mod bls;
pub mod cache;
pub mod cmd;
pub mod guest;
pub mod host;
pub mod kernels;
pub mod machine;
pub mod peer;
mod places;
pub mod qemu;
pub mod registry;

pub use places::{Lab, workspace};
