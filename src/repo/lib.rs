// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects and trees of an ostree repository, read and written without libostree.
//!
//! Nothing here knows of images: [`store`] has the objects and the staging area, [`gvariant`] their serialized forms,
//! [`tree`] the directories of a commit, [`writer`] what an import has written, [`refs`] and [`mark`] the names by which
//! the importer finds it again, [`lock`] how long to wait for others.

pub mod config;
mod file_header;
pub mod file_type;
pub mod gvariant;
pub mod lock;
pub mod mark;
pub mod mode;
mod object_type;
pub mod refs;
pub mod store;
pub mod tree;
pub mod writer;

pub use file_header::{FileHeader, Xattrs};
pub use object_type::ObjectType;
