// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a content object is besides its content.

/// Extended attributes as the serialized GVariant `a(ayay)`, which is what checksums are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(pub Vec<u8>);

/// What a file is, besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode with the type in it: `S_IFREG` or `S_IFLNK`.
    pub mode: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
}
