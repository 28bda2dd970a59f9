// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layers of plain files whose tar is honest about its digests and hostile in what it holds.

use tar::EntryType;
use testkit::layer::{Layer, LongNames};

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(times());
    cases.extend(kinds());
    cases.extend(owners());
    cases.extend(attributes());
    cases.extend(numbers());
    cases.extend(no_content());
    cases.extend(many());
    cases
}

/// Paths that lead elsewhere, or to no place at all.
fn paths() -> Vec<Case> {
    let long = |length: usize| format!("usr/{}", "n".repeat(length));
    let pax = |label: &str, path: &'static [u8]| {
        Case::layer(label, move |l| {
            l.pax("path", path).file("usr/short", "x");
        })
    };
    let file = |label: &str, path: String| {
        Case::layer(label, move |l| {
            l.long_names(LongNames::Pax).file(&path, "x");
        })
    };
    vec![
        file("path_dotdot", "usr/../../etc/passwd".to_owned()).refused(&["path has .. in it"]),
        file("path_dotdot_only", "..".to_owned()).refused(&["path has .. in it"]),
        // Below the root of the tree, wherever that is.
        file("path_absolute", "/usr/lib/a".to_owned()),
        file("path_root_is_a_file", "./".to_owned()).refused(&["importing ./"]),
        file("path_empty", String::new()).refused(&["importing "]),
        file("path_255", long(255)),
        file("path_256", long(256)).refused(&["importing layer 1/1", "256"]),
        file("path_5000", long(5000)).refused(&["importing layer 1/1"]),
        file("path_70000", long(70_000)).refused(&["importing layer 1/1"]),
        pax("path_not_utf8", b"usr/\xff\xfe").refused(&["path is not UTF-8"]),
        pax("path_with_nul", b"usr/a\0b").refused(&["importing usr/a\\x00b"]),
        Case::layer("path_with_nul_gnu", |l| {
            l.entry(EntryType::new(b'L'), b"././@LongLink", b"", b"usr/a\0b\0").file("usr/short", "x");
        })
        .refused(&["importing usr/a\\x00b"]),
        Case::layer("dir_is_a_root_symlink", |l| {
            l.symlink("./", "/etc");
        })
        .refused(&["importing ./"]),
        Case::layer("file_below_a_symlink", |l| {
            l.symlink("usr/lib", "/etc").file("usr/lib/passwd", "x");
        })
        .refused(&["importing usr/lib/passwd", "is a file, not a directory"]),
        Case::layer("hardlink_outside", |l| {
            l.hardlink("usr/shadow", "../../../etc/shadow");
        })
        .refused(&["path has .. in it"]),
        Case::layer("hardlink_absolute", |l| {
            l.hardlink("usr/passwd", "/etc/passwd");
        })
        .refused(&["hard link usr/passwd to usr/etc/passwd, which is not in the layer"]),
        Case::layer("hardlink_to_itself", |l| {
            l.hardlink("usr/a", "usr/a");
        })
        .refused(&["which is not in the layer"]),
        Case::layer("hardlink_circle", |l| {
            l.hardlink("usr/a", "usr/b").hardlink("usr/b", "usr/a");
        })
        .refused(&["which is not in the layer"]),
        Case::layer("hardlink_to_the_root", |l| {
            l.file("usr/x", "").hardlink("usr/a", "/");
        })
        .refused(&["which is not in the layer"]),
        Case::layer("whiteout_without_a_name", |l| {
            l.file("usr/.wh.", "");
        })
        .refused(&["whiteout without a name"]),
    ]
}

/// Times that are none, or long ago: nobody needs them.
fn times() -> Vec<Case> {
    let time = |label: &str, bytes: &'static [u8]| {
        Case::layer(label, move |l| {
            l.field(136, bytes).file("usr/x", "x").field(136, bytes).dir("usr").field(136, bytes).symlink("usr/y", "x");
        })
    };
    vec![
        time("time_base_256_lowest", b"\x80\0\0\0\x80\0\0\0\0\0\0\0"),
        time("time_base_256_minus_one", &[0xff; 12]),
        time("time_no_number", b"not a number"),
        Case::layer("time_pax_no_number", |l| {
            l.pax("mtime", b"99999999999999999999999999x").file("usr/x", "x");
        }),
        Case::layer("time_of_changed_object_before_1970", |l| {
            let object = "sysroot/ostree/repo/objects/ab/1.file";
            l.field(136, &[0xff; 12]).file(object, "x").field(136, &[0xff; 12]).hardlink("usr/x", object);
        }),
    ]
}

/// Entries that are no files.
fn kinds() -> Vec<Case> {
    let kind = |label: &str, kind: EntryType| {
        Case::layer(label, move |l| {
            l.entry(kind, b"usr/x", b"", b"");
        })
    };
    let devices = "devices, fifos and sockets cannot be in an ostree tree";
    vec![
        kind("kind_char", EntryType::Char).refused(&["importing usr/x", devices]),
        kind("kind_block", EntryType::Block).refused(&["importing usr/x", devices]),
        kind("kind_fifo", EntryType::Fifo).refused(&["importing usr/x", devices]),
        kind("kind_unknown", EntryType::new(b'Z')).refused(&["importing usr/x", devices]),
        kind("kind_sparse", EntryType::GNUSparse).refused(&["sparse files are not supported"]),
        Case::layer("kind_ends_after_extension", |l| {
            l.entry(EntryType::XHeader, b"x", b"", b"12 path=a/b\n");
        })
        .refused(&["archive ends after an extension header"]),
        Case::layer("symlink_empty", |l| {
            l.symlink("usr/x", "");
        })
        .refused(&["importing usr/x"]),
        Case::layer("symlink_5000", |l| {
            l.symlink("usr/x", &"t".repeat(5000));
        })
        .refused(&["importing usr/x", "File name too long"]),
        Case::layer("symlink_with_nul", |l| {
            l.pax("linkpath", b"a\0b").symlink("usr/x", "short");
        })
        .refused(&["importing usr/x"]),
    ]
}

/// Owners that are none.
fn owners() -> Vec<Case> {
    vec![
        Case::layer("uid_minus_one", |l| {
            l.owner(0xffff_ffff, 0).file("usr/x", "x");
        })
        .refused(&["uid 4294967295"]),
        Case::layer("gid_minus_one", |l| {
            l.owner(0, 0xffff_ffff).dir("usr");
        })
        .refused(&["gid 4294967295"]),
        Case::layer("uid_2_to_the_32", |l| {
            l.pax("uid", b"4294967296").file("usr/x", "x");
        })
        .refused(&["uid 4294967296 is out of range"]),
        Case::layer("gid_base_256_minus_one", |l| {
            l.field(116, &[0xff; 8]).file("usr/x", "x");
        })
        .refused(&["gid -1 is out of range"]),
        Case::layer("uid_minus_2_to_the_32", |l| {
            l.pax("uid", b"-4294967296").file("usr/x", "x");
        })
        .refused(&["uid -4294967296 is out of range"]),
        Case::layer("uid_base_256_lowest", |l| {
            l.field(108, b"\xc0\0\0\0\0\0\0\0").file("usr/x", "x");
        })
        .refused(&["uid -4611686018427387904 is out of range"]),
        Case::layer("uid_no_number", |l| {
            l.field(108, b"nobody\0").file("usr/x", "x");
        })
        .refused(&["reading uid", "is not an octal number"]),
    ]
}

/// Extended attributes that no file system takes, or that it changes.
fn attributes() -> Vec<Case> {
    let xattr = |label: &str, name: &'static str, value: &'static [u8]| {
        Case::layer(label, move |l| {
            l.xattr(name, value).file("usr/x", "x");
        })
    };
    // Version 2; user::rwx, group::rwx, other::rwx: no more than a mode, so that the kernel makes a mode of it.
    const ACL: &[u8] =
        b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x07\0\xff\xff\xff\xff\x20\0\x07\0\xff\xff\xff\xff";
    vec![
        xattr("xattr_bad_namespace", "nonsense.x", b"y").refused(&["importing usr/x", "nonsense.x"]),
        xattr("xattr_acl_that_is_a_mode", "system.posix_acl_access", ACL).refused(&["importing usr/x"]),
        xattr("xattr_acl_broken", "system.posix_acl_access", b"x").refused(&["importing usr/x"]),
        xattr("xattr_capability_broken", "security.capability", b"x").refused(&["importing usr/x"]),
        Case::layer("xattr_name_300", |l| {
            l.xattr(&format!("trusted.{}", "n".repeat(300)), b"y").file("usr/x", "x");
        })
        .refused(&["importing usr/x"]),
        Case::layer("xattr_70000_bytes", |l| {
            l.xattr("trusted.x", &[b'y'; 70_000]).file("usr/x", "x");
        })
        .refused(&["importing usr/x", "of 70000 bytes"]),
        Case::layer("xattrs_1000", |l| {
            for n in 0..1000 {
                l.xattr(&format!("trusted.{n}"), b"y");
            }
            l.file("usr/x", "x");
        })
        .refused(&["more than 256 extended attributes"]),
        Case::layer("pax_3_mib", |l| {
            l.pax("comment", &vec![b'c'; 3 << 20]).file("usr/x", "x");
        })
        .refused(&["PAX records of ", "over the limit"]),
        Case::layer("pax_record_too_long", |l| {
            l.entry(EntryType::XHeader, b"x", b"", b"99999999999999999999 path=a\n").file("usr/x", "x");
        })
        .refused(&["reading PAX records"]),
    ]
}

/// Sizes that are not there.
fn numbers() -> Vec<Case> {
    let pax = |label: &str, size: &'static [u8]| {
        Case::layer(label, move |l| {
            l.file("usr/a", "a").pax("size", size).file("usr/x", "x");
        })
    };
    let directory = |label: &str, size: &'static [u8]| {
        Case::layer(label, move |l| {
            l.pax("size", size).dir("usr").file("usr/x", "x");
        })
    };
    vec![
        pax("size_8_eib", b"9223372036854775807").refused(&["importing usr/x", "not enough space: a file of 92"]),
        pax("size_16_eib", b"18446744073709551615").refused(&["importing layer 1/1"]),
        pax("size_over_64_bit", b"18446744073709551616").refused(&["is not a number"]),
        directory("size_of_directory_8_eib", b"9223372036854775807"),
        // With its padding this is 2^64: a reader that adds them up goes on as if nothing was there.
        directory("size_of_directory_16_eib", b"18446744073709551615").refused(&["size 18446744073709551615 is too"]),
        Case::layer("size_base_256_16_eib", |l| {
            l.field(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").dir("usr").dir("var");
        })
        .refused(&["importing layer 1/1"]),
    ]
}

/// Content of what has none. What is no header is not skipped as content either.
fn no_content() -> Vec<Case> {
    vec![
        Case::layer("data_of_directory", |l| {
            l.entry(EntryType::Directory, b"usr/d", b"", b"data").file("usr/x", "x");
        })
        .refused(&["header checksum mismatch"]),
        Case::layer("data_of_symlink", |l| {
            l.entry(EntryType::Symlink, b"usr/l", b"x", b"data").file("usr/x", "x");
        })
        .refused(&["header checksum mismatch"]),
        Case::layer("data_of_hardlink", |l| {
            l.file("usr/x", "x").entry(EntryType::Link, b"usr/l", b"usr/x", b"data");
        })
        .refused(&["header checksum mismatch"]),
        Case::layer("data_of_dropped_device", |l| {
            l.entry(EntryType::Char, b"dev/null", b"", b"data").file("usr/x", "x");
        })
        .refused(&["header checksum mismatch"]),
        // A header in the place of content is one: nothing hides there from who reads by the same rule.
        Case::layer("entry_in_data_of_directory", |l| {
            let mut hidden = Layer::new();
            hidden.file("../x", "");
            l.entry(EntryType::Directory, b"usr/d", b"", &hidden.finish()[..512]).file("usr/x", "x");
        })
        .refused(&["importing ../x", "path has .. in it"]),
    ]
}

/// More than any image has.
fn many() -> Vec<Case> {
    vec![
        Case::layer("dirs_5000_deep", |l| {
            l.long_names(LongNames::Pax).dir(&"d/".repeat(5000));
        })
        .refused(&["path of 10000 bytes is over the limit of 4096"]),
        Case::layer("dirs_1500_deep", |l| {
            l.long_names(LongNames::Pax).dir(&"d/".repeat(1500));
        })
        .refused(&["directories are nested deeper than 256"]),
        Case::layer("dirs_200_deep", |l| {
            l.long_names(LongNames::Pax).file(&format!("usr/{}x", "d/".repeat(199)), "x");
        }),
        Case::layer("100000_entries_of_one_path", |l| {
            for _ in 0..100_000 {
                l.file("usr/x", "");
            }
        }),
        Case::layer("10000_names", |l| {
            for n in 0..10_000 {
                l.file(&format!("usr/{n}"), "");
            }
        }),
        // Objects of the base that a build has changed, as container/storage shows them.
        Case::layer("2000_changed_objects", |l| {
            for n in 0..2000 {
                let object = format!("sysroot/ostree/repo/objects/ab/{n}.file");
                l.file(&object, &n.to_string()).hardlink(&format!("usr/{n}"), &object);
            }
        }),
    ]
}
