// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests against checksums of libostree, and of what a damaged object does.

use super::*;

fn digest(c: char) -> Digest {
    Digest::from_hex(&String::from(c).repeat(64)).unwrap()
}

/// The root directory of every chunk's commit, as libostree hashes it.
#[test]
fn golden_dirmeta() {
    let bytes = dirmeta(0, 0, 0o040755, &xattrs(&[]));
    assert_eq!(Digest::of(&bytes).hex(), "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488");
}

/// The empty directory, as libostree hashes it.
#[test]
fn golden_empty_dirtree() {
    let bytes = dirtree(std::iter::empty(), std::iter::empty());
    assert_eq!(Digest::of(&bytes).hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

#[test]
fn what_is_written_can_be_read() {
    for count in [0_usize, 1, 3, 10, 3000] {
        let names: Vec<String> = (0..count).map(|n| format!("name-{n:05}")).collect();
        let dirs: Vec<String> = (0..count).map(|n| format!("dir-{n:05}")).collect();
        let bytes = dirtree(
            names.iter().map(|name| (name.as_str(), digest('a'))),
            dirs.iter().map(|name| (name.as_str(), digest('b'), digest('c'))),
        );
        let tree = parse_dirtree(&bytes).unwrap();
        assert_eq!(tree.files, names.iter().map(|name| (name.clone(), digest('a'))).collect::<Vec<_>>());
        assert_eq!(tree.dirs.len(), count);
        assert!(tree.dirs.iter().all(|(_, tree, meta)| (*tree, *meta) == (digest('b'), digest('c'))));
    }
    let list = vec![(b"user.b".to_vec(), b"2".to_vec()), (b"security.selinux".to_vec(), vec![0; 300])];
    let read = parse_xattrs(&xattrs(&list)).unwrap();
    assert_eq!(read, [list[1].clone(), list[0].clone()], "sorted");
    let long = "x".repeat(70_000);
    let bytes = commit(&[("a", "1"), ("key", &long)], Some(&digest('d')), 5, &digest('e'), &digest('f'));
    let read = parse_commit(&bytes).unwrap();
    assert_eq!((read.tree, read.meta), (digest('e'), digest('f')));
    assert_eq!((read.get("a"), read.get("key"), read.get("b")), (Some("1"), Some(long.as_str()), None));
}

/// Every cut and every flipped byte either reads as something or is an error; none panics.
#[test]
fn damaged_objects_do_no_harm() {
    let tree = dirtree([("a", digest('a'))].into_iter(), [("b", digest('b'), digest('c'))].into_iter());
    let commit = commit(&[("k", "v")], None, 0, &digest('e'), &digest('f'));
    let attributes = xattrs(&[(b"user.a".to_vec(), b"1".to_vec())]);
    for object in [tree, commit, attributes] {
        for cut in 0..object.len() {
            read_all(&object[..cut]);
            for bit in 0..8 {
                let mut flipped = object.clone();
                flipped[cut] ^= 1 << bit;
                read_all(&flipped);
            }
        }
    }
}

fn read_all(bytes: &[u8]) {
    drop(parse_dirtree(bytes));
    drop(parse_commit(bytes));
    drop(parse_xattrs(bytes));
    drop(parse_dirmeta(bytes));
}

#[test]
fn a_name_may_be_there_once() {
    let bytes = dirtree([("a", digest('a'))].into_iter(), [("a", digest('b'), digest('c'))].into_iter());
    assert_eq!(parse_dirtree(&bytes).unwrap_err().to_string(), "directory has two entries named \"a\"");
}

#[test]
fn metadata_of_others_is_checked() {
    let good = dirmeta(0, 0, 0o040755, &xattrs(&[(b"user.a".to_vec(), b"1".to_vec())]));
    check_metadata(ObjectType::DirMeta, &good).unwrap();
    let twice = serialize_xattrs([(&b"a".to_vec(), &b"1".to_vec()), (&b"a".to_vec(), &b"2".to_vec())].into_iter());
    for (label, bytes, expected) in [
        ("a file's mode", dirmeta(0, 0, 0o100644, &[]), "dirmeta has mode 100644"),
        ("an xattr twice", dirmeta(0, 0, 0o040755, &twice), "extended attribute a is given twice"),
        ("garbage", vec![0; 5], "dirmeta is cut"),
    ] {
        let error = check_metadata(ObjectType::DirMeta, &bytes).unwrap_err().to_string();
        assert_eq!(error, expected, "{label}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["..", ".", "", "a/b"] {
        let bytes = dirtree([(name, digest('a'))].into_iter(), std::iter::empty());
        let error = parse_dirtree(&bytes).unwrap_err().to_string();
        assert_eq!(error, format!("directory has an entry named {name:?}"));
    }
}
