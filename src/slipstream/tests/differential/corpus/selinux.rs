// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Labels: layers on a base that carries a real policy.

use super::base::Base::Selinux;
use super::case::{Case, case};

/// Where a policy's own additions are read from.
const LOCAL: &str = "etc/selinux/default/contexts/files/file_contexts.local";

pub fn cases() -> Vec<Case> {
    vec![
        case("add", Selinux).layer(|l| {
            l.mode(0o755).file("usr/bin/n", "n\n").file("usr/sbin/n", "n\n").file("etc/shadow", "s\n");
            l.dir("usr/lib/systemd").file("usr/lib/systemd/system/n.service", "u\n").symlink("usr/lib/s", "data");
            l.file("var/log/n", "n\n").file("opt/n", "n\n").file("stray", "s\n").dir("run").dir("proc");
        }),
        case("tar_has_label", Selinux)
            .layer(|l| {
                l.xattr("security.selinux", b"system_u:object_r:tmp_t:s0\0").file("usr/bin/n", "n\n");
                l.xattr("user.a", b"a").file("usr/bin/o", "o\n");
            })
            .differs(
                "the peer's object is corrupt: it was hashed with both labels",
                &["layer +/usr/bin/n", "layer -/usr/bin/n", "merge +/usr/bin/n", "merge -/usr/bin/n"],
            ),
        case("hardlink_two_labels", Selinux)
            .layer(|l| {
                l.file("usr/bin/one", "one\n")
                    .hardlink("etc/two", "usr/bin/one")
                    .hardlink("usr/share/three", "usr/bin/one");
            })
            .differs(
                "the published peer leaves all links of the layer's commit with the label of the first",
                &["layer +/usr/etc/two", "layer +/usr/share/three", "layer -/usr/etc/two", "layer -/usr/share/three"],
            ),
        case("replace", Selinux).layer(|l| {
            l.file("usr/bin/tool", "tool of the layer\n")
                .file("usr/lib/data/.wh.a", "")
                .dir("opt")
                .file("opt/f", "f\n");
        }),
        case("opaque", Selinux).layer(|l| {
            l.mode(0o700).dir("etc/conf.d").file("etc/conf.d/.wh..wh..opq", "").file("etc/conf.d/n", "n\n");
        }),
        case("local_rule", Selinux)
            .layer(|l| {
                l.file(LOCAL, "/usr/lib/data(/.*)?  system_u:object_r:etc_t:s0\n");
                l.file("usr/lib/data/n", "n\n");
            })
            .differs(
                "the published peer leaves the layer's commit as the base's policy labelled it",
                &["layer +/usr/lib/data", "layer +/usr/lib/data/n", "layer -/usr/lib/data", "layer -/usr/lib/data/n"],
            ),
        case("policy_removed", Selinux).layer(|l| {
            l.file("etc/.wh.selinux", "").file("usr/bin/n", "n\n");
        }),
    ]
}
