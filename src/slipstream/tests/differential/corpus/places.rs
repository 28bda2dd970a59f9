// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Derived layers: what is kept of which directory, and what a layer has of the base's object store.

use tar::EntryType;
use testkit::layer::Layer;

use super::base::Base::{Composefs, Plain, Transient};
use super::base::object_a;
use super::case::{Case, case};

pub fn cases() -> Vec<Case> {
    [places(), oddities(), sysroot()].into_iter().flatten().collect()
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
        case("places_composefs", Composefs).layer(place_entries),
        case("places_no_composefs", Plain).layer(place_entries),
        case("places_transient", Transient).layer(place_entries),
        case("run_is_a_file", Composefs).layer(|l| {
            l.file("run", "a file\n").symlink("tmp", "var/tmp");
        }),
    ]
}

fn pax_global(l: &mut Layer) {
    l.entry(EntryType::XGlobalHeader, b"pax_global_header", b"", b"19 comment=0123456\n").file("usr/lib/f", "f\n");
}

fn oddities() -> Vec<Case> {
    vec![
        case("pax_global", Composefs)
            .layer(pax_global)
            .ours_only("the peer hands the header on as if it were a file", &["-00644 0 0      2 /usr/lib/f"]),
        case("pax_global_no_composefs", Plain).layer(pax_global),
        case("contiguous", Composefs).layer(|l| {
            l.entry(EntryType::Continuous, b"usr/lib/f", b"", b"f\n");
        }),
    ]
}

/// Changes an object of the base, as a container build does that sees the object store.
fn modified(l: &mut Layer) {
    l.mode(0o640).owner(3, 4).xattr("user.lost", b"1").file(&object_a(), "changed\n");
}

/// Layers that a build makes when it touches files which the base's layers show as
/// hardlinks into the object store.
fn sysroot() -> Vec<Case> {
    vec![
        case("sysroot_modified", Composefs).layer(|l| {
            modified(l);
            l.hardlink("usr/lib/data/a", &object_a()).hardlink("usr/lib/copy/a", &object_a());
        }),
        case("sysroot_modified_no_composefs", Plain).layer(|l| {
            modified(l);
            l.hardlink("usr/lib/data/a", &object_a()).hardlink("usr/lib/copy/a", &object_a());
        }),
        case("sysroot_modified_unused", Composefs).layer(|l| {
            modified(l);
            l.file("usr/lib/n", "n\n");
        }),
        case("sysroot_link_unmodified", Composefs).layer(|l| {
            l.hardlink("usr/lib/data/n", &object_a()).file("usr/lib/n", "n\n");
        }),
        case("sysroot_mtime_zero", Composefs).layer(|l| {
            l.mtime(0).file(&object_a(), "kept\n").mtime(0).hardlink("usr/lib/n", &object_a());
        }),
        case("sysroot_modified_etc", Composefs)
            .layer(|l| {
                modified(l);
                l.hardlink("etc/linked", &object_a()).hardlink("usr/lib/data/a", &object_a());
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
