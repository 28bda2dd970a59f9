// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The only FFI: safe `Repo`, `SePolicy` and `Sysroot` over libostree.
//!
//! Each unsafe block is one C call, or a few on the same value. No pointer type leaves this module. Strings and
//! variants are copied at the border. libostree's objects are used from the thread that made them.
#![allow(unsafe_code)]

mod file;
mod malloc;
mod policy;
pub mod prepare_root;
mod raw;
mod repo;
mod sysroot;

pub use file::{FileHeader, Xattrs};
pub use malloc::give_back_large_blocks;
pub use policy::SePolicy;
pub use prepare_root::PrepareRoot;
pub use repo::{ObjectType, Repo, RepoLock};
pub use sysroot::{Deployment, Sysroot};
