// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Derived layers: what a tar entry becomes in the layer's tree and in the merge tree.

use tar::EntryType;
use testkit::layer::Layer;

use super::base::Base::{Composefs, Plain};
use super::case::{Case, case};

pub fn cases() -> Vec<Case> {
    [content(), sizes(), whiteouts(), replacements(), hardlinks()].into_iter().flatten().collect()
}

fn content() -> Vec<Case> {
    vec![
        case("add_files", Composefs).layer(|l| {
            l.file("usr/bin/new", "new\n")
                .dir("usr/lib/new")
                .file("usr/lib/new/f", "f\n")
                .file("usr/lib/new/empty", "");
        }),
        case("add_files_no_composefs", Plain).layer(|l| {
            l.dir("usr").dir("usr/bin").file("usr/bin/new", "new\n");
        }),
        case("replace_file", Composefs).layer(|l| {
            l.mode(0o755).file("usr/bin/tool", "tool of the layer\n");
        }),
        case("same_content", Composefs).layer(|l| {
            l.file("usr/lib/data/a", "a of the base\n");
        }),
        case("two_layers", Composefs)
            .layer(|l| {
                l.file("usr/lib/one", "1\n").file("usr/lib/both", "1\n");
            })
            .layer(|l| {
                l.file("usr/lib/two", "2\n").file("usr/lib/both", "2\n").file("usr/lib/.wh.one", "");
            }),
        case("missing_parents", Composefs).layer(|l| {
            l.owner(7, 8).file("usr/lib/p/q/r/f", "f\n").owner(9, 10).file("usr/lib/p/g", "g\n");
        }),
        case("parents_come_late", Composefs).layer(|l| {
            l.file("usr/lib/p/f", "f\n").mode(0o700).owner(3, 4).dir("usr/lib/p");
        }),
        case("implied_parents_reset_explicit", Composefs).layer(|l| {
            l.mode(0o700).owner(5, 6).dir("usr/lib/n").owner(7, 8).file("usr/lib/n/implied/f", "f\n");
            l.mode(0o700).owner(5, 6).dir("usr/lib/m").owner(7, 8).file("usr/lib/m/f", "f\n");
        }),
        case("dir_keeps_base_mode", Composefs).layer(|l| {
            l.mode(0o700).owner(5, 6).dir("usr/lib/data").file("usr/lib/data/n", "n\n").mode(0o711).dir("usr/lib/n");
        }),
        case("big_file", Composefs).layer(|l| {
            l.file("usr/lib/big", &numbers(400_000)).file("usr/lib/after", "after\n");
        }),
        case("sparse_pax", Composefs).layer(|l| {
            // As GNU tar writes it: a map in lines, then what is not a hole.
            let mut data = b"3\n0\n5\n5242880\n3\n6291456\n0\n".to_vec();
            data.resize(512, 0);
            data.extend(b"startend");
            for (key, value) in [("major", "1"), ("minor", "0"), ("name", "usr/lib/holes"), ("realsize", "6291456")] {
                l.pax(&format!("GNU.sparse.{key}"), value.as_bytes());
            }
            l.entry(EntryType::Regular, b"usr/lib/GNUSparseFile.7/holes", b"", &data).file("usr/lib/after", "after\n");
        }),
        case("many_files", Composefs).layer(|l| {
            for n in 0..1500 {
                l.file(&format!("usr/lib/many/{}/{n}", n % 7), &numbers(n));
            }
        }),
        case("empty_layer", Composefs).layer(|_| ()),
        case("empty_hostname", Composefs)
            .layer(|l| {
                l.file("etc/hostname", "").file("etc/resolv.conf", "");
            })
            .differs(
                "the published peer does not yet clean these two",
                &["merge -/usr/etc/hostname", "merge -/usr/etc/resolv.conf"],
            ),
        case("filled_hostname", Composefs).layer(|l| {
            l.file("etc/hostname", "node\n").symlink("etc/resolv.conf", "../run/resolv.conf");
        }),
    ]
}

/// A size of 512 bytes, in octal, and where it is in a header.
const SIZE: (usize, &[u8]) = (124, b"00000001000\0");

/// Sizes of what has no content. Of a directory the peer hands as many bytes on to libarchive, which reads them as entries;
/// after others it skips them.
fn sizes() -> Vec<Case> {
    const SKIPS: &str = "the peer skips as many bytes as the size says, as if they were content";
    const LINES: &[&str] = &["layer +/usr/lib/nothing", "merge +/usr/lib/nothing"];
    fn rest(l: &mut Layer) {
        l.file("usr/lib/nothing", "").file("usr/lib/f", "f\n");
    }
    vec![
        case("size_of_dir", Composefs).layer(|l| {
            rest(l.field(SIZE.0, SIZE.1).dir("usr/lib/d"));
        }),
        case("size_of_dir_before_a_file", Composefs)
            .layer(|l| {
                l.field(SIZE.0, SIZE.1).dir("usr/lib/d").file("usr/lib/f", "f\n").file("usr/lib/g", "g\n");
            })
            .ours_only(
                "the peer is between two headers then",
                &["d00755 0 0      0 /usr/lib/d", "-00644 0 0      2 /usr/lib/f", "-00644 0 0      2 /usr/lib/g"],
            ),
        case("data_of_dir", Composefs)
            .layer(|l| {
                rest(l.entry(EntryType::Directory, b"usr/lib/d", b"", b"data"));
            })
            .refused(),
        case("size_of_symlink", Composefs)
            .layer(|l| rest(l.field(SIZE.0, SIZE.1).symlink("usr/lib/s", "data")))
            .differs(SKIPS, LINES),
        case("size_of_hardlink", Composefs)
            .layer(|l| rest(l.file("usr/lib/a", "a\n").field(SIZE.0, SIZE.1).hardlink("usr/lib/b", "usr/lib/a")))
            .differs(SKIPS, LINES),
        case("size_of_dropped_fifo", Composefs)
            .layer(|l| rest(l.field(SIZE.0, SIZE.1).entry(EntryType::Fifo, b"run/p", b"", b"")))
            .differs(SKIPS, LINES),
        case("data_of_symlink", Composefs)
            .layer(|l| rest(l.entry(EntryType::Symlink, b"usr/lib/s", b"data", b"data")))
            .peer_only(SKIPS),
    ]
}

/// Some text that is long and not all the same.
fn numbers(count: u32) -> String {
    (0..count).map(|n| format!("{n}\n")).collect()
}

fn whiteouts() -> Vec<Case> {
    vec![
        case("whiteout_file", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.a", "");
        }),
        case("whiteout_dir", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.sub", "");
        }),
        case("whiteout_symlink", Composefs).layer(|l| {
            l.file("usr/lib/.wh.to-data", "");
        }),
        case("whiteout_missing", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.nothing", "").file("usr/lib/nowhere/.wh.nothing", "");
        }),
        case("whiteout_etc", Composefs).layer(|l| {
            l.file("etc/conf.d/.wh.x", "").file("etc/.wh.conf", "");
        }),
        case("whiteout_top", Composefs).layer(|l| {
            l.file(".wh.opt", "").file(".wh.boot", "");
        }),
        case("whiteout_order", Composefs).layer(|l| {
            l.file("usr/lib/data/-x", "x of the layer\n").file("usr/lib/data/.wh.-x", "");
            l.file("usr/lib/data/b", "b of the layer\n").file("usr/lib/data/.wh.b", "");
        }),
        case("whiteout_symlink_named_so", Composefs).layer(|l| {
            l.symlink("usr/lib/data/.wh.a", "b");
        }),
        case("whiteout_dir_named_so", Composefs).layer(|l| {
            l.dir("usr/lib/data/.wh.a").file("usr/lib/data/.wh.a/f", "f\n");
        }),
        case("whiteout_with_content", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh.a", "content\n");
        }),
        case("opaque", Composefs).layer(|l| {
            l.mode(0o711).owner(1, 2).dir("usr/lib/data").file("usr/lib/data/.wh..wh..opq", "");
            l.file("usr/lib/data/n", "n\n");
        }),
        case("opaque_no_dir_entry", Composefs).layer(|l| {
            l.file("usr/lib/data/.wh..wh..opq", "").file("usr/lib/data/sub/n", "n\n");
        }),
        case("opaque_etc", Composefs).layer(|l| {
            l.dir("etc/conf.d").file("etc/conf.d/.wh..wh..opq", "").file("etc/conf.d/n", "n\n");
        }),
        case("opaque_over_file", Composefs).layer(|l| {
            l.dir("usr/lib/data/a").file("usr/lib/data/a/.wh..wh..opq", "").file("usr/lib/data/a/f", "f\n");
        }),
    ]
}

fn replacements() -> Vec<Case> {
    vec![
        case("dir_by_file", Composefs).layer(|l| {
            l.file("usr/lib/data", "now a file\n");
        }),
        case("dir_by_symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/data", "copy");
        }),
        case("file_by_dir", Composefs).layer(|l| {
            l.mode(0o700).dir("usr/lib/data/a").file("usr/lib/data/a/f", "f\n");
        }),
        case("file_by_symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/data/a", "b");
        }),
        case("symlink_by_file", Composefs).layer(|l| {
            l.file("usr/lib/to-data", "now a file\n");
        }),
        case("symlink_by_dir", Composefs).layer(|l| {
            l.dir("opt").dir("opt/vendor").file("opt/vendor/f", "f\n");
        }),
        case("through_symlink", Composefs).layer(|l| {
            l.file("usr/lib/to-data/n", "where does it go\n");
        }),
        case("usr_merge_symlink", Composefs).layer(|l| {
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
        case("hardlink_chain", Composefs)
            .layer(|l| {
                l.file("usr/bin/one", "one\n")
                    .hardlink("usr/bin/two", "usr/bin/one")
                    .hardlink("usr/lib/three", "usr/bin/two");
            })
            .ours_only("the peer resolves the last hardlink first", &["-00644 0 0      4 /usr/lib/three"]),
        case("hardlink_forms", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").hardlink("usr/lib/two", "./usr/lib/one");
            l.hardlink("usr/lib/three", "/usr/lib/one").hardlink("usr/lib/four", "usr//lib/./one");
        }),
        case("hardlink_etc", Composefs).layer(|l| {
            l.file("etc/one", "one\n").hardlink("etc/two", "etc/one").hardlink("etc/three", "./etc/one");
            l.hardlink("usr/lib/four", "/etc/one");
        }),
        case("hardlink_before_target", Composefs).layer(|l| {
            l.hardlink("usr/lib/two", "usr/lib/one").file("usr/lib/one", "one\n");
        }),
        case("hardlink_to_symlink", Composefs).layer(|l| {
            l.symlink("usr/lib/one", "data").hardlink("usr/lib/two", "usr/lib/one");
        }),
        case("hardlink_over_file", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").file("usr/lib/two", "two\n").hardlink("usr/lib/two", "usr/lib/one");
        }),
        case("hardlink_target_replaced", Composefs).layer(|l| {
            l.file("usr/lib/one", "one\n").hardlink("usr/lib/two", "usr/lib/one").file("usr/lib/one", "again\n");
        }),
    ]
}
