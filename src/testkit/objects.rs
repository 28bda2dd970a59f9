// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Objects of ostree made by hand, honest or not, and the entries that they are in the layers of a container.
//!
//! A writer of its own, so that objects can be wrong in ways that no tool writes.

use tar::EntryType;

use crate::blob::{hex, sha256};
use crate::layer::Layer;

const OBJECTS: &str = "sysroot/ostree/repo/objects";

/// Writes members one after another, then where each ends: all of an array's, in order; of a tuple's all but the last,
/// backwards.
fn framed(members: &[&[u8]], tuple: bool) -> Vec<u8> {
    let mut bytes = members.concat();
    let mut ends: Vec<usize> = members
        .iter()
        .scan(0, |end, member| {
            *end += member.len();
            Some(*end)
        })
        .collect();
    if tuple {
        ends.pop();
        ends.reverse();
    }
    let fits = |width: &usize| (bytes.len() + ends.len() * width) >> (8 * width) == 0;
    let width = [1, 2, 4].into_iter().find(fits).unwrap_or(8);
    for end in ends {
        bytes.extend_from_slice(&end.to_le_bytes()[..width]);
    }
    bytes
}

/// Writes extended attributes, `a(ayay)`, in the order given.
pub fn xattrs(list: &[(&str, &[u8])]) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> =
        list.iter().map(|(name, value)| framed(&[&[name.as_bytes(), &[0]].concat(), value], true)).collect();
    framed(&pairs.iter().map(Vec::as_slice).collect::<Vec<_>>(), false)
}

/// Writes a directory's owner, which is root, mode and attributes.
pub fn dirmeta(mode: u32, xattrs: &[u8]) -> Vec<u8> {
    [&[0; 8][..], &mode.to_be_bytes(), xattrs].concat()
}

/// Writes a directory: names of files, then names of directories with their dirtree and dirmeta.
pub fn dirtree(files: &[(&str, [u8; 32])], dirs: &[(&str, [u8; 32], [u8; 32])]) -> Vec<u8> {
    let name = |name: &str| [name.as_bytes(), &[0]].concat();
    let files: Vec<_> = files.iter().map(|(file, sum)| framed(&[&name(file), sum], true)).collect();
    let dirs: Vec<_> = dirs.iter().map(|(dir, tree, meta)| framed(&[&name(dir), tree, meta], true)).collect();
    let array = |list: &[Vec<u8>]| framed(&list.iter().map(Vec::as_slice).collect::<Vec<_>>(), false);
    framed(&[&array(&files), &array(&dirs)], true)
}

/// Writes a commit that has no text and no metadata.
pub fn commit(tree: &[u8; 32], meta: &[u8; 32]) -> Vec<u8> {
    let (texts, padding, time) = ([0, 0], [0; 6], 1_700_000_000_u64.to_be_bytes());
    // Ends of: root tree, body, subject, related, parent, metadata.
    [&texts[..], &padding, &time, tree, meta, &[48, 2, 1, 0, 0, 0]].concat()
}

/// A content object as its tar entries give it.
#[derive(Clone, Debug)]
pub struct Object {
    /// The content of a file.
    pub data: Vec<u8>,
    /// The target of a symbolic link.
    pub target: Option<String>,
    /// The owner.
    pub uid: u32,
    /// Extended attributes, as [`xattrs`] writes them.
    pub xattrs: Vec<u8>,
}

impl Object {
    /// Makes a regular file of root's.
    pub fn file(data: &[u8]) -> Self {
        Self { data: data.to_vec(), target: None, uid: 0, xattrs: Vec::new() }
    }

    /// Makes a symbolic link.
    pub fn symlink(target: &str) -> Self {
        Self { target: Some(target.to_owned()), ..Self::file(b"") }
    }

    /// Returns the checksum that ostree names it by.
    pub fn checksum(&self) -> [u8; 32] {
        let mode: u32 = if self.target.is_some() { 0o120_777 } else { 0o100_644 };
        let numbers: Vec<u8> = [self.uid, 0, mode, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
        let target = [&numbers, self.target.as_deref().unwrap_or_default().as_bytes(), &[0]].concat();
        let header = framed(&[&target, &self.xattrs], true);
        let size = u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes();
        sha256(&[&size[..], &[0; 4], &header, &self.data].concat())
    }

    /// Adds the two entries of the object: attributes, then content.
    pub fn append(&self, layer: &mut Layer) {
        let name = object_path(&self.checksum(), "file");
        layer.mtime(0).mode(0o644).entry(
            EntryType::Regular,
            format!("{name}-xattrs-link").as_bytes(),
            b"",
            &self.xattrs,
        );
        layer.mtime(0).owner(u64::from(self.uid), 0);
        match &self.target {
            Some(target) => layer.symlink(&name, target),
            None => layer.entry(EntryType::Regular, name.as_bytes(), b"", &self.data),
        };
    }
}

/// Returns where an object is in a layer.
pub fn object_path(checksum: &[u8], extension: &str) -> String {
    let hex = hex(checksum);
    format!("{OBJECTS}/{}/{}.{extension}", &hex[..2], &hex[2..])
}

#[cfg(test)]
mod tests {
    use super::{Object, dirtree};
    use crate::blob::{hex, sha256};

    /// As `ostree commit --owner-uid=0 --owner-gid=0` names them.
    #[test]
    fn names_objects_as_ostree_does() {
        let file = Object::file(b"x\n").checksum();
        assert_eq!(hex(&file), "90bb74838c1594a2bcad43400970f0d03e4e0b8fcdd9398c86fc92e3d0506f9c");
        let tree = sha256(&dirtree(&[("a", file)], &[]));
        assert_eq!(hex(&tree), "f476e4eba1c2a6230028acbfa0e5b426f64eb2b74852116fa4f450e02874dd0d");
    }
}
