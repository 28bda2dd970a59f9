// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layers become one tree, and the tree the merge commit.

pub(crate) mod commit;
mod overlay;
pub(crate) mod relabel;
pub(crate) mod selinux_policy;
