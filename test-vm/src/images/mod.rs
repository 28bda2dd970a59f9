// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The images: trees, node images and disks, and what a boot of them is to do.

pub mod chunks;
pub mod crash;
pub mod disk;
pub mod ignition;
pub mod job;
mod label;
pub mod layout;
pub mod node;
mod set;
pub mod trees;

pub use label::label_tree;
pub use set::Images;
