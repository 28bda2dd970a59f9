// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Derived layers: what a tar entry becomes in the layer's tree and in the merge tree.

use tar::EntryType;

use super::base::Base::{Composefs, Plain, Transient};
use super::{Case, case};
use testkit::layer::{Layer, LongNames};

pub fn cases() -> Vec<Case> {
    [content(), whiteouts(), replacements(), hardlinks(), attributes(), names(), places(), oddities()]
        .into_iter()
        .flatten()
        .collect()
}

fn content() -> Vec<Case> {
    vec![
        case("add-files", Composefs).layer(|l| {
            l.file("usr/bin/new", "new\n")
                .dir("usr/lib/new")
                .file("usr/lib/new/f", "f\n")
                .file("usr/lib/new/empty", "");
        }),
        case("add-files-no-composefs", Plain).layer(|l| {
            l.dir("usr").dir("usr/bin").file("usr/bin/new", "new\n");
        }),
        case("replace-file", Composefs).layer(|l| {
            l.mode(0o755).file("usr/bin/tool", "tool of the layer\n");
        }),
        case("same-content", Composefs).layer(|l| {
            l.file("usr/lib/data/a", "a of the base\n");
        }),
        case("two-layers", Composefs)
            .layer(|l| {
                l.file("usr/lib/one", "1\n").file("usr/lib/both", "1\n");
            })
            .layer(|l| {
                l.file("usr/lib/two", "2\n").file("usr/lib/both", "2\n").file("usr/lib/.wh.one", "");
            }),
        case("missing-parents", Composefs).layer(|l| {
            l.owner(7, 8).file("usr/lib/p/q/r/f", "f\n").owner(9, 10).file("usr/lib/p/g", "g\n");
        }),
        case("parents-come-late", Composefs).layer(|l| {
            l.file("usr/lib/p/f", "f\n").mode(0o700).owner(3, 4).dir("usr/lib/p");
        }),
        case("implied-parents-reset-explicit", Composefs).layer(|l| {
            l.mode(0o700).owner(5, 6).dir("usr/lib/n").owner(7, 8).file("usr/lib/n/implied/f", "f\n");
            l.mode(0o700).owner(5, 6).dir("usr/lib/m").owner(7, 8).file("usr/lib/m/f", "f\n");
        }),
        case("dir-keeps-base-mode", Composefs).layer(|l| {
            l.mode(0o700).owner(5, 6).dir("usr/lib/data").file("usr/lib/data/n", "n\n").mode(0o711).dir("usr/lib/n");
        }),
        case("big-file", Composefs).layer(|l| {
            l.file("usr/lib/big", &numbers(400_000)).file("usr/lib/after", "after\n");
        }),
        case("sparse-pax", Composefs).layer(|l| {
            // As GNU tar writes it: a map in lines, then what is not a hole.
            let mut data = b"3\n0\n5\n5242880\n3\n6291456\n0\n".to_vec();
            data.resize(512, 0);
            data.extend(b"startend");
            for (key, value) in [("major", "1"), ("minor", "0"), ("name", "usr/lib/holes"), ("realsize", "6291456")] {
                l.pax(&format!("GNU.sparse.{key}"), value.as_bytes());
            }
            l.entry(EntryType::Regular, b"usr/lib/GNUSparseFile.7/holes", b"", &data).file("usr/lib/after", "after\n");
        }),
        case("many-files", Composefs).layer(|l| {
            for n in 0..1500 {
                l.file(&format!("usr/lib/many/{}/{n}", n % 7), &numbers(n));
            }
        }),
        case("empty-layer", Composefs).layer(|_| ()),
        case("empty-hostname", Composefs)
            .layer(|l| {
                l.file("etc/hostname", "").file("etc/resolv.conf", "");
            })
            .differs(
                "the published peer does not yet clean these two",
                &["merge -/usr/etc/hostname", "merge -/usr/etc/resolv.conf"],
            ),
        case("filled-hostname", Composefs).layer(|l| {
            l.file("etc/hostname", "node\n").symlink("etc/resolv.conf", "../run/resolv.conf");
        }),
    ]
}

/// Some text that is long and not all the same.
fn numbers(count: u32) -> String {
    (0..count).map(|n| format!("{n}\n")).collect()
}

fn whiteouts() -> Vec<Case> {
    vec![
        case("whiteout-file", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.a", "");
        }),
        case("whiteout-dir", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.sub", "");
        }),
        case("whiteout-symlink", Composefs).layer(|l| {
            l.file("usr/lib/.wh.to-data", "");
        }),
        case("whiteout-missing", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.nothing", "").file("usr/lib/nowhere/.wh.nothing", "");
        }),
        case("whiteout-etc", Composefs).layer(|l| {
            l.file("etc/conf.d/.wh.x", "").file("etc/.wh.conf", "");
        }),
        case("whiteout-top", Composefs).layer(|l| {
            l.file(".wh.opt", "").file(".wh.boot", "");
        }),
        case("whiteout-order", Composefs).layer(|l| {
            l.file("usr/lib/data/-x", "x of the layer\n").file("usr/lib/data/.wh.-x", "");
            l.file("usr/lib/data/b", "b of the layer\n").file("usr/lib/data/.wh.b", "");
        }),
        case("whiteout-symlink-named-so", Composefs).layer(|l| {
            l.symlink("usr/lib/data/.wh.a", "b");
        }),
        case("whiteout-dir-named-so", Composefs).layer(|l| {
            l.dir("usr/lib/data/.wh.a").file("usr/lib/data/.wh.a/f", "f\n");
        }),
        case("whiteout-with-content", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.a", "content\n");
        }),
        case("opaque", Composefs).layer(|l| {
            l.mode(0o711).owner(1, 2).dir("usr/lib/data").file("usr/lib/data/.wh..wh..opq", "");
            l.file("usr/lib/data/n", "n\n");
        }),
        case("opaque-no-dir-entry", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh..wh..opq", "").file("usr/lib/data/sub/n", "n\n");
        }),
        case("opaque-etc", Composefs).layer(|l| {
            l.dir("etc/conf.d").file("etc/conf.d/.wh..wh..opq", "").file("etc/conf.d/n", "n\n");
        }),
        case("opaque-over-file", Composefs).layer(|l| {
            l.dir("usr/lib/data/a").file("usr/lib/data/a/.wh..wh..opq", "").file("usr/lib/data/a/f", "f\n");
        }),
    ]
}

fn replacements() -> Vec<Case> {
    vec![
        case("dir-by-file", Composefs).layer(|l| {
            l.file("usr/lib/data", "now a file\n");
        }),
        case("dir-by-symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/data", "copy");
        }),
        case("file-by-dir", Composefs).layer(|l| {
            l.mode(0o700).dir("usr/lib/data/a").file("usr/lib/data/a/f", "f\n");
        }),
        case("file-by-symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/data/a", "b");
        }),
        case("symlink-by-file", Composefs).layer(|l| {
            l.file("usr/lib/to-data", "now a file\n");
        }),
        case("symlink-by-dir", Composefs).layer(|l| {
            l.dir("opt").dir("opt/vendor").file("opt/vendor/f", "f\n");
        }),
        case("through-symlink", Composefs).layer(|l| {
            l.file("usr/lib/to-data/n", "where does it go\n");
        }),
        case("usr-merge-symlink", Composefs).layer(|l| {
            l.file("bin/n", "over the symlink /bin\n");
        }),
    ]
}

fn hardlinks() -> Vec<Case> {
    vec![
        case("hardlink", Composefs).layer(|l| {
            l.mode(0o755).owner(1, 1).file("usr/bin/one", "one\n").hardlink("usr/bin/two", "usr/bin/one");
            l.mode(0).owner(2, 2).hardlink("usr/lib/three", "usr/bin/one");
        }),
        case("hardlink-chain", Composefs)
            .layer(|l| {
                l.file("usr/bin/one", "one\n")
                    .hardlink("usr/bin/two", "usr/bin/one")
                    .hardlink("usr/lib/three", "usr/bin/two");
            })
            .ours_only("the peer resolves the last hardlink first", &["-00644 0 0      4 /usr/lib/three"]),
        case("hardlink-forms", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").hardlink("usr/lib/two", "./usr/lib/one");
            l.hardlink("usr/lib/three", "/usr/lib/one").hardlink("usr/lib/four", "usr//lib/./one");
        }),
        case("hardlink-etc", Composefs).layer(|l| {
            l.file("etc/one", "one\n").hardlink("etc/two", "etc/one").hardlink("etc/three", "./etc/one");
            l.hardlink("usr/lib/four", "/etc/one");
        }),
        case("hardlink-before-target", Composefs).layer(|l| {
            l.hardlink("usr/lib/two", "usr/lib/one").file("usr/lib/one", "one\n");
        }),
        case("hardlink-to-symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/one", "data").hardlink("usr/lib/two", "usr/lib/one");
        }),
        case("hardlink-over-file", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").file("usr/lib/two", "two\n").hardlink("usr/lib/two", "usr/lib/one");
        }),
        case("hardlink-target-replaced", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").hardlink("usr/lib/two", "usr/lib/one").file("usr/lib/one", "again\n");
        }),
    ]
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
        case("xattr-empty", Composefs)
            .layer(|l| {
                l.xattr("user.e", b"").file("usr/bin/x", "x\n");
            })
            .differs(
                "the peer's object is corrupt: libostree does not read an xattr back that has no value",
                &["layer +/usr/bin/x", "layer -/usr/bin/x", "merge +/usr/bin/x", "merge -/usr/bin/x"],
            ),
        case("xattrs-unsorted", Composefs).layer(|l| {
            l.xattr("user.z", b"z").xattr("user.a", b"a").file("usr/bin/x", "x\n");
        }),
        case("xattr-newline", Composefs)
            .layer(|l| {
                l.xattr("user.a", b"one\ntwo").file("usr/bin/x", "x\n");
            })
            .ours_only("the peer ends a record at the first line feed", &["-00644 0 0      2 /usr/bin/x"]),
        case("xattr-twice", Composefs)
            .layer(|l| {
                l.xattr("user.a", b"1").xattr("user.a", b"2").file("usr/bin/x", "x\n");
            })
            .differs(
                "the peer's object is corrupt: it was hashed with both values",
                &["layer +/usr/bin/x", "layer -/usr/bin/x", "merge +/usr/bin/x", "merge -/usr/bin/x"],
            ),
        case("xattr-selinux-no-policy", Composefs).layer(|l| {
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
        case("symlink-mode", Composefs)
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
        case("owners-pax", Composefs).layer(|l| {
            l.pax("uid", b"4000000").pax("gid", b"77").owner(1, 2).file("usr/bin/o", "o\n");
        }),
        case("mtimes", Composefs).layer(|l| {
            l.mtime(0).file("usr/bin/t0", "t\n").pax("mtime", b"1700000000.123456789").file("usr/bin/t1", "t\n");
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
        case("long-names-gnu", Composefs).layer(|l| {
            long_entries(l);
            l.file(&format!("etc/{}", "e".repeat(150)), "etc\n");
        }),
        case("etc-name-pax", Composefs)
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
        case("long-names-pax", Composefs).layer(|l| {
            long_entries(l.long_names(LongNames::Pax));
        }),
        case("long-symlink-denormal", Composefs).layer(|l| {
            l.symlink("usr/lib/s", &format!("..//./{}/", long("x")));
        }),
        case("path-forms", Composefs).layer(|l| {
            l.file("./usr/lib/p1", "1\n").file("/usr/lib/p2", "2\n").file(".//usr/./lib//p3", "3\n");
            l.dir("./").dir("usr/lib/p4/").file("./etc/p5", "5\n").file("/etc/p6", "6\n").file("//usr/lib/p7", "7\n");
        }),
        case("file-with-slash", Composefs).layer(|l| {
            l.file("usr/lib/slash/", "data\n");
        }),
        case("symlink-forms", Composefs).layer(|l| {
            l.symlink("usr/lib/s1", "..//..//usr/./lib/")
                .symlink("usr/lib/s2", "./data")
                .symlink("usr/lib/s3", "data/");
            l.symlink("usr/lib/s4", "//usr//bin").symlink("usr/lib/s5", "/etc/conf").symlink("etc/s6", "conf");
            l.symlink("usr/lib/s7", "../../../../..").symlink("usr/lib/s8", ".").symlink("usr/lib/s9", "a/../b");
        }),
        case("names-utf8", Composefs).layer(|l| {
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

fn place_entries(l: &mut Layer) {
    l.file("etc/new.conf", "c\n").dir("etc").file("var/lib/x", "v\n").file("opt/app/f", "o\n");
    for top in ["run", "tmp", "proc", "sys", "dev"] {
        l.mode(0o711).dir(top).file(&format!("{top}/f"), "dropped\n").dir(&format!("{top}/d"));
    }
    l.file("stray", "s\n").dir("srv").file("srv/f", "s\n").symlink("lib64", "usr/lib").file("etcetera", "e\n");
    l.file("usr/etc/direct", "d\n").file("boot/f", "b\n").file("sysroot/f", "r\n").file("root/.profile", "p\n");
}

fn places() -> Vec<Case> {
    vec![
        case("places-composefs", Composefs).layer(place_entries),
        case("places-no-composefs", Plain).layer(place_entries),
        case("places-transient", Transient).layer(place_entries),
        case("run-is-a-file", Composefs).layer(|l| {
            l.file("run", "a file\n").symlink("tmp", "var/tmp");
        }),
    ]
}

fn pax_global(l: &mut Layer) {
    l.entry(EntryType::XGlobalHeader, b"pax_global_header", b"", b"19 comment=0123456\n").file("usr/lib/f", "f\n");
}

fn oddities() -> Vec<Case> {
    vec![
        case("pax-global", Composefs)
            .layer(pax_global)
            .ours_only("the peer hands the header on as if it were a file", &["-00644 0 0      2 /usr/lib/f"]),
        case("pax-global-no-composefs", Plain).layer(pax_global),
        case("contiguous", Composefs).layer(|l| {
            l.entry(EntryType::Continuous, b"usr/lib/f", b"", b"f\n");
        }),
    ]
}

/// Layers that a build makes when it touches files which the base's layers show as
/// hardlinks into the object store.
pub fn sysroot_cases(object: &str) -> Vec<Case> {
    let object = format!("sysroot/ostree/repo/objects/{}/{}.file", &object[..2], &object[2..]);
    let modified = |l: &mut Layer| {
        l.mode(0o640).owner(3, 4).xattr("user.lost", b"1").file(&object, "changed\n");
    };
    vec![
        case("sysroot-modified", Composefs).layer(|l| {
            modified(l);
            l.hardlink("usr/lib/data/a", &object).hardlink("usr/lib/copy/a", &object);
        }),
        case("sysroot-modified-no-composefs", Plain).layer(|l| {
            modified(l);
            l.hardlink("usr/lib/data/a", &object).hardlink("usr/lib/copy/a", &object);
        }),
        case("sysroot-modified-unused", Composefs).layer(|l| {
            modified(l);
            l.file("usr/lib/n", "n\n");
        }),
        case("sysroot-link-unmodified", Composefs).layer(|l| {
            l.hardlink("usr/lib/data/n", &object).file("usr/lib/n", "n\n");
        }),
        case("sysroot-mtime-zero", Composefs).layer(|l| {
            l.mtime(0).file(&object, "kept\n").mtime(0).hardlink("usr/lib/n", &object);
        }),
        case("sysroot-modified-etc", Composefs)
            .layer(|l| {
                modified(l);
                l.hardlink("etc/linked", &object).hardlink("usr/lib/data/a", &object);
            })
            .differs(
                "the peer does not move this path to /usr/etc",
                &[
                    "layer -/etc",
                    "layer -/etc/linked",
                    "layer +/usr/etc",
                    "layer +/usr/etc/linked",
                    "merge -/etc",
                    "merge -/etc/linked",
                    "merge +/usr/etc/linked",
                ],
            ),
    ]
}
