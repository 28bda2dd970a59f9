// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A layer becomes objects: a chunk as it is, the files of a derived layer labelled by the base's policy.

pub(crate) mod base;
pub mod chunk;
pub mod derived;
pub(crate) mod job;
pub(crate) mod label;
pub mod layer_tree;
pub(crate) mod path;
pub(crate) mod publish;
