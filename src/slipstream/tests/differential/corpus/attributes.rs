// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Derived layers: owners, modes, extended attributes, and names of every form.

use testkit::layer::{Layer, LongNames};

use super::base::Base::Composefs;
use super::case::{Case, case};

/// Where a header has these fields.
const UID: usize = 108;
const GID: usize = 116;
const MTIME: usize = 136;

pub fn cases() -> Vec<Case> {
    [attributes(), names()].into_iter().flatten().collect()
}

fn attributes() -> Vec<Case> {
    vec![
        case("xattrs", Composefs).layer(|l| {
            l.xattr("user.a", b"\0\xff=").xattr("user.z", b"z").file("usr/bin/x", "x\n");
            l.xattr("security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
                .file("usr/bin/ping", "p\n");
            l.xattr("user.d", b"d").dir("usr/lib/xd").xattr("trusted.t", b"t").file("usr/lib/xd/t", "t\n");
            l.xattr("user.h", b"h").file("usr/lib/h1", "h\n").hardlink("usr/lib/h2", "usr/lib/h1");
        }),
        case("xattr_empty", Composefs)
            .layer(|l| {
                l.xattr("user.e", b"").file("usr/bin/x", "x\n");
            })
            .differs(
                "the peer's object is corrupt: libostree does not read an xattr back that has no value",
                &["layer +/usr/bin/x", "layer -/usr/bin/x", "merge +/usr/bin/x", "merge -/usr/bin/x"],
            ),
        case("xattrs_unsorted", Composefs).layer(|l| {
            l.xattr("user.z", b"z").xattr("user.a", b"a").file("usr/bin/x", "x\n");
        }),
        case("xattr_newline", Composefs)
            .layer(|l| {
                l.xattr("user.a", b"one\ntwo").file("usr/bin/x", "x\n");
            })
            .ours_only("the peer ends a record at the first line feed", &["-00644 0 0      2 /usr/bin/x"]),
        case("xattr_twice", Composefs)
            .layer(|l| {
                l.xattr("user.a", b"1").xattr("user.a", b"2").file("usr/bin/x", "x\n");
            })
            .differs(
                "the peer's object is corrupt: it was hashed with both values",
                &["layer +/usr/bin/x", "layer -/usr/bin/x", "merge +/usr/bin/x", "merge -/usr/bin/x"],
            ),
        case("xattr_selinux_no_policy", Composefs).layer(|l| {
            l.xattr("security.selinux", b"system_u:object_r:bin_t:s0\0").file("usr/bin/x", "x\n");
        }),
        case("modes", Composefs).layer(|l| {
            l.mode(0o4755)
                .file("usr/bin/m1", "m\n")
                .mode(0)
                .file("usr/bin/m2", "m\n")
                .mode(0o2711)
                .file("usr/bin/m3", "m\n");
            l.mode(0o7777).file("usr/bin/m4", "m\n").mode(0o1777).dir("usr/lib/t").mode(0o2755).dir("usr/lib/g");
            l.mode(0o100644).file("usr/bin/m5", "m\n").mode(0).dir("usr/lib/z").symlink("usr/bin/m6", "m1");
        }),
        case("symlink_mode", Composefs)
            .layer(|l| {
                l.mode(0o640).symlink("usr/bin/s", "tool");
            })
            .differs(
                "the peer's object is corrupt: a symlink on disk has mode 0777, whatever the tar says",
                &["layer +/usr/bin/s", "layer -/usr/bin/s", "merge +/usr/bin/s", "merge -/usr/bin/s"],
            ),
        case("owners", Composefs).layer(|l| {
            l.owner(70_000, 65_534).file("usr/bin/o1", "o\n").owner(4_000_000, 4_000_001).file("usr/bin/o2", "o\n");
            l.owner(12, 13).symlink("usr/bin/o3", "o1").owner(14, 15).dir("usr/lib/o");
        }),
        case("owners_pax", Composefs).layer(|l| {
            l.pax("uid", b"4000000").pax("gid", b"77").owner(1, 2).file("usr/bin/o", "o\n");
        }),
        case("owners_negative", Composefs).layer(|l| {
            l.field(UID, b"\xff\xff\xff\xff\xff\xff\xff\xfe").file("usr/bin/o1", "o\n");
            l.field(GID, b"\xff\xff\xff\xff\xff\xff\xff\x06").dir("usr/lib/o");
            l.pax("uid", b"-2").pax("gid", b"-3").file("usr/bin/o2", "o\n");
        }),
        case("mtimes", Composefs).layer(|l| {
            l.mtime(0).file("usr/bin/t0", "t\n").pax("mtime", b"1700000000.123456789").file("usr/bin/t1", "t\n");
            // A date of 1960 as GNU tar writes it, and one that is none.
            l.field(MTIME, b"\xff\xff\xff\xff\xff\xff\xff\xff\xed\x31\x6a\x00").file("usr/bin/t2", "t\n");
            l.pax("mtime", b"-315532800.5").file("usr/bin/t3", "t\n").pax("mtime", b"").file("usr/bin/t4", "t\n");
            l.field(MTIME, b"not a number").file("usr/bin/t5", "t\n");
        }),
    ]
}

/// A path of more than 100 bytes, and one whose last part alone is longer.
fn long(part: &str) -> String {
    format!("usr/lib/{}/{part}", "long-directory-name/".repeat(7).trim_end_matches('/'))
}

fn long_entries(l: &mut Layer) {
    let (file, wide) = (long("file"), format!("usr/lib/{}", "w".repeat(200)));
    l.file(&file, "long\n").file(&wide, "wide\n").hardlink(&long("hardlink"), &file);
    l.symlink("usr/lib/to-long", &format!("../../{file}")).dir(&long("dir"));
    l.xattr("user.a", b"a").file(&long("x"), "x\n");
}

fn names() -> Vec<Case> {
    vec![
        case("long_names_gnu", Composefs).layer(|l| {
            long_entries(l);
            l.file(&format!("etc/{}", "e".repeat(150)), "etc\n");
        }),
        case("etc_name_pax", Composefs)
            .layer(|l| {
                l.pax("path", b"etc/n").file("etc/n", "n\n");
            })
            .differs(
                "the peer hands the old record on, and the name in it wins",
                &[
                    "layer +/usr",
                    "layer +/usr/etc",
                    "layer +/usr/etc/n",
                    "layer -/etc",
                    "layer -/etc/n",
                    "merge +/usr/etc/n",
                    "merge -/etc",
                    "merge -/etc/n",
                ],
            ),
        case("long_names_pax", Composefs).layer(|l| {
            long_entries(l.long_names(LongNames::Pax));
        }),
        case("long_symlink_denormal", Composefs).layer(|l| {
            l.symlink("usr/lib/s", &format!("..//./{}/", long("x")));
        }),
        case("path_forms", Composefs).layer(|l| {
            l.file("./usr/lib/p1", "1\n").file("/usr/lib/p2", "2\n").file(".//usr/./lib//p3", "3\n");
            l.dir("./").dir("usr/lib/p4/").file("./etc/p5", "5\n").file("/etc/p6", "6\n").file("//usr/lib/p7", "7\n");
        }),
        case("file_with_slash", Composefs).layer(|l| {
            l.file("usr/lib/slash/", "data\n");
        }),
        case("symlink_forms", Composefs).layer(|l| {
            l.symlink("usr/lib/s1", "..//..//usr/./lib/")
                .symlink("usr/lib/s2", "./data")
                .symlink("usr/lib/s3", "data/");
            l.symlink("usr/lib/s4", "//usr//bin").symlink("usr/lib/s5", "/etc/conf").symlink("etc/s6", "conf");
            l.symlink("usr/lib/s7", "../../../../..").symlink("usr/lib/s8", ".").symlink("usr/lib/s9", "a/../b");
        }),
        case("names_utf8", Composefs).layer(|l| {
            l.file("usr/lib/na\u{ef}ve", "1\n").file("usr/lib/with space", "2\n").file("usr/lib/new\nline", "3\n");
            l.file("usr/lib/back\\slash", "4\n").file("usr/lib/\u{1f600}", "5\n").file("usr/lib/...", "6\n");
        }),
        case("duplicates", Composefs).layer(|l| {
            l.file("usr/lib/d", "first\n").mode(0o600).file("usr/lib/d", "second\n");
            l.mode(0o700).dir("usr/lib/dd").mode(0o711).owner(1, 1).dir("usr/lib/dd");
            l.file("usr/lib/df", "f\n").symlink("usr/lib/df", "d");
        }),
    ]
}
