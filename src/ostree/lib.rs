// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The only FFI: safe `Repo`, `SePolicy` and `Sysroot` over libostree.
//!
//! Each unsafe block is one C call, or a few on the same value. No pointer type leaves this module. Strings and
//! variants are copied at the border. libostree's objects are used from the thread that made them.

mod malloc;
mod raw;
mod repository;
mod selinux_log;
mod sepolicy;
mod sysroot;

pub use malloc::give_back_large_blocks;
pub use repository::{Repo, RepoLock};
pub use selinux_log::log_selinux_messages;
pub use sepolicy::SePolicy;
pub use sysroot::{Deployment, Sysroot};
