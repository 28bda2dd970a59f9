// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bases: tiny trees, committed by ostree and encapsulated by the peer.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, json};
use testkit::blob::hex;
use testkit::layout::Layout;
use testkit::objects::{Object, object_path};

use crate::tools::{INSIDE, Tools, put};

/// A base image that cases build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// composefs on, so that layers may bring any top-level directory; in chunks.
    Composefs,
    /// composefs off: what is not `/usr`, `/etc` or `/var` is dropped; one layer.
    Plain,
    /// composefs off, but the root is a transient overlay: any top-level directory too.
    Transient,
    /// As `Composefs`, and labelled with a real SELinux policy.
    Selinux,
    /// As `Plain`, with the empty `/etc/hostname` that container builds leave behind.
    Hostname,
}

/// A file of the bases.
const FILE_A: (&str, &str) = ("usr/lib/data/a", "a of the base\n");

/// Returns where a layer shows the content object of [`FILE_A`]: a container build that sees its base's object store may
/// change it.
pub fn object_a() -> String {
    object_path(&Object::file(FILE_A.1.as_bytes()).checksum(), "file")
}

impl Base {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Returns the layout of the base, as the host sees it.
    pub fn layout(self, tools: &Tools) -> Layout {
        Layout::at(&tools.work().join("bases").join(self.name()).join("oci"))
    }

    fn is_chunked(self) -> bool {
        matches!(self, Base::Composefs | Base::Selinux)
    }

    /// Commits and encapsulates the base.
    pub fn build(self, tools: &Tools) -> Result<()> {
        let dir = tools.work().join("bases").join(self.name());
        self.write_tree(&dir.join("tree")).with_context(|| format!("writing the tree of {self:?}"))?;
        let inside = format!("{INSIDE}/bases/{}", self.name());
        let selinux = if self == Base::Selinux { "yes" } else { "no" };
        let listing = tools.shell(COMMIT, &[&inside, selinux]).with_context(|| format!("committing {self:?}"))?;
        let objects = parse_listing(&listing)?;
        let meta = dir.join("contentmeta.json");
        fs::write(&meta, content_meta(&objects)).context("writing contentmeta.json")?;
        let chunked = if self.is_chunked() { "yes" } else { "no" };
        tools.shell(ENCAPSULATE, &[&inside, chunked]).with_context(|| format!("encapsulating {self:?}"))?;
        let (checksum, _) =
            objects.iter().find(|(_, path)| path == FILE_A.0).with_context(|| format!("finding {}", FILE_A.0))?;
        // Others have a label, or may have.
        let is_plain = self != Base::Selinux;
        let expected = hex(&Object::file(FILE_A.1.as_bytes()).checksum());
        ensure!(!is_plain || *checksum == expected, "{} is {checksum}, not {expected}", FILE_A.0);
        Ok(())
    }

    fn write_tree(self, tree: &Path) -> Result<()> {
        for (path, data) in FILES {
            put(tree, path, data)?;
        }
        for dir in DIRS {
            fs::create_dir_all(tree.join(dir)).with_context(|| format!("creating {dir}"))?;
        }
        for (path, target) in LINKS {
            symlink(target, tree.join(path)).with_context(|| format!("linking {path}"))?;
        }
        for (path, mode) in MODES {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(*mode))
                .with_context(|| format!("setting the mode of {path}"))?;
        }
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.join("usr/share/noted"), "user.corpus", b"a\0b", flags)
            .context("setting an xattr")?;
        if matches!(self, Base::Composefs | Base::Selinux) {
            put(tree, "usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = yes\n")?;
        }
        if self == Base::Transient {
            put(tree, "usr/lib/ostree/prepare-root.conf", "[root]\ntransient = true\n")?;
        }
        if self == Base::Hostname {
            put(tree, "usr/etc/hostname", "")?;
        }
        Ok(())
    }
}

const FILES: &[(&str, &str)] = &[
    ("usr/bin/tool", "tool of the base\n"),
    ("usr/bin/su", "set-uid of the base\n"),
    ("usr/lib/libx.so.1", "library\n"),
    ("usr/lib/empty", ""),
    FILE_A,
    ("usr/lib/data/b", "b of the base\n"),
    ("usr/lib/data/-x", "x of the base\n"),
    ("usr/lib/data/sub/c", "c of the base\n"),
    ("usr/lib/data/sub/deeper/d", "d of the base\n"),
    ("usr/lib/copy/a", "a of the base\n"),
    ("usr/lib/modules/6.1.0/vmlinuz", "kernel\n"),
    ("usr/lib/modules/6.1.0/initramfs.img", "initramfs\n"),
    ("usr/lib/os-release", "NAME=corpus\n"),
    ("usr/share/noted", "with an xattr\n"),
    ("usr/etc/conf", "conf of the base\n"),
    ("usr/etc/conf.d/x", "x\n"),
    ("usr/etc/conf.d/y", "y\n"),
];

const DIRS: &[&str] = &["boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var", "usr/lib/restricted"];

const LINKS: &[(&str, &str)] = &[
    ("opt", "var/opt"),
    ("ostree", "sysroot/ostree"),
    ("bin", "usr/bin"),
    ("usr/lib/libx.so", "libx.so.1"),
    ("usr/lib/to-data", "data"),
];

const MODES: &[(&str, u32)] =
    &[("usr/bin/tool", 0o755), ("usr/bin/su", 0o4755), ("usr/lib/restricted", 0o750), ("tmp", 0o1777)];

/// The policy is the one of the tools root; `/usr/etc` is labelled as `/etc`, as the
/// distributions that ship ostree arrange it.
const COMMIT: &str = r#"
cd "$1"; selinux=$2; set --
if [ "$selinux" = yes ]; then
  cp -a /etc/selinux tree/usr/etc/selinux
  echo '/usr/etc /etc' >> tree/usr/etc/selinux/default/contexts/files/file_contexts.subs_dist
  set -- --selinux-policy=tree
fi
ostree init --repo=repo --mode=bare
ostree commit --repo=repo --branch=base --tree=dir=tree --owner-uid=0 --owner-gid=0 --bootable \
  --add-metadata-string=version=1.2.3 --timestamp=@1700000000 --subject='the base' "$@" >commit
ostree ls --repo=repo -R -C base
"#;

const ENCAPSULATE: &str = r#"
cd "$1"; chunked=$2; set --
if [ "$chunked" = yes ]; then set -- --contentmeta=contentmeta.json; fi
ostree-ext-cli container encapsulate --repo=repo "$@" base oci:"$PWD/oci"
"#;

/// Returns checksum and path of every file in the output of `ostree ls -R -C`.
fn parse_listing(listing: &str) -> Result<Vec<(String, String)>> {
    let files = listing.lines().filter(|line| line.starts_with(['-', 'l']));
    files
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let path = words.get(5).with_context(|| format!("reading {line:?}"))?;
            Ok((words[4].to_owned(), path.trim_start_matches('/').to_owned()))
        })
        .collect()
}

/// Returns the peer's description of chunks: one for each directory of `/usr` and one for the
/// rest. It has to name every content object; the peer stops otherwise.
fn content_meta(objects: &[(String, String)]) -> String {
    let (mut layers, mut mapping) = (Map::new(), Map::new());
    for (checksum, path) in objects {
        let below = path.strip_prefix("usr/").and_then(|path| path.split('/').next());
        let chunk = below.unwrap_or("rest");
        layers.insert(chunk.to_owned(), json!(format!("all of {chunk}")));
        mapping.insert(checksum.clone(), json!(chunk));
    }
    json!({"version": 1, "layers": layers, "mapping": mapping}).to_string()
}
