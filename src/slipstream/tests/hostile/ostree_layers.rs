// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Layers with ostree objects in them that are not what they should be.

use anyhow::Result;
use tar::EntryType;
use testkit::base::{Base, honest, of_layers};
use testkit::blob::{Blob, Packing, hex, sha256};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::objects::{Object, dirmeta, dirtree, object_path, xattrs};

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        base("base", || Ok(honest())),
        Case::new("base_and_derived", |dir| {
            let mut image = honest().image()?;
            let mut layer = Layer::new();
            layer.file("usr/lib/.wh.one", "").file("usr/lib/three", "three");
            image.push(&Blob::new(layer.finish(), Packing::Zstd))?;
            image.write(dir)
        }),
        // Both are read at once, and write the same objects.
        Case::new("same_chunk_twice", |dir| {
            let base = honest();
            let chunks = [0, 0, 0, 1].map(|n| base.chunk(n));
            of_layers(base.commit_layer(), chunks.into())?.write(dir)
        }),
    ];
    cases.extend(chunks());
    cases.extend(commit_layers());
    cases.extend(trees());
    cases
}

fn base(label: &str, make: impl FnOnce() -> Result<Base> + Send + 'static) -> Case {
    Case::new(label, |dir| make()?.image()?.write(dir))
}

/// The honest base, with entries of `fill` in a chunk of their own before its last.
fn chunk(label: &str, fill: impl FnOnce(&mut Layer) + Send + 'static) -> Case {
    Case::new(label, |dir| {
        let base = honest();
        let mut bad = Layer::new();
        fill(&mut bad);
        of_layers(base.commit_layer(), vec![bad, base.chunk(0), base.chunk(1)])?.write(dir)
    })
}

/// Two entries: attributes and content, under a name of their own.
fn put(layer: &mut Layer, checksum: &[u8], xattrs: &[u8], data: &[u8]) {
    let name = object_path(checksum, "file");
    layer.mtime(0).entry(EntryType::Regular, format!("{name}-xattrs-link").as_bytes(), b"", xattrs);
    layer.mtime(0).entry(EntryType::Regular, name.as_bytes(), b"", data);
}

fn chunks() -> Vec<Case> {
    let entry = |label: &str, extension: &'static str| {
        chunk(label, move |l| {
            l.entry(EntryType::Regular, object_path(&sha256(b"x"), extension).as_bytes(), b"", b"x");
        })
    };
    let with_xattrs = |label: &str, bytes: Vec<u8>| {
        chunk(label, move |l| Object { xattrs: bytes, ..Object::file(b"odd\n") }.append(l))
    };
    let place = "importing layer 2/4 sha256:";
    vec![
        chunk("chunk_name_is_not_checksum", |l| put(l, &sha256(b"x"), b"", b"small")).refused(&[
            place,
            "object mismatch: expected ",
            ", got ",
        ]),
        chunk("chunk_large_name_is_not_checksum", |l| put(l, &sha256(b"x"), b"", &[b'x'; 300_000])).refused(&[
            place,
            "object mismatch: expected ",
            ", got ",
        ]),
        chunk("chunk_xattrs_name_mismatch", |l| {
            let name = object_path(&sha256(b"x"), "file-xattrs");
            l.entry(EntryType::Regular, name.as_bytes(), b"", b"y");
        })
        .refused(&[place, "xattrs mismatch: expected ", ", got "]),
        chunk("chunk_xattrs_of_another", |l| {
            l.entry(EntryType::Regular, object_path(&sha256(b"x"), "file-xattrs-link").as_bytes(), b"", b"");
            l.entry(EntryType::Regular, object_path(&sha256(b"y"), "file").as_bytes(), b"", b"");
        })
        .refused(&[place, "xattrs of "]),
        entry("chunk_metadata_dirtree", "dirtree").refused(&[place, "metadata object in a chunk"]),
        entry("chunk_metadata_commit", "commit").refused(&[place, "metadata object in a chunk"]),
        entry("chunk_object_alone", "file").refused(&[place, "object without xattrs before it"]),
        entry("chunk_unknown_type", "payload-link").refused(&[place, "unknown object type"]),
        chunk("chunk_name_with_dotdot", |l| {
            let path = "sysroot/ostree/repo/objects/../../../../etc/passwd.file";
            l.entry(EntryType::Regular, path.as_bytes(), b"", b"");
        })
        .refused(&[place]),
        chunk("chunk_object_twice", |l| {
            Object::file(b"twice").append(l);
            Object::file(b"twice").append(l);
        })
        .refused(&[place, "object is in the layer twice"]),
        chunk("chunk_object_is_a_device", |l| {
            let name = object_path(&sha256(b"x"), "file");
            l.entry(EntryType::Regular, format!("{name}-xattrs-link").as_bytes(), b"", b"");
            l.entry(EntryType::Char, name.as_bytes(), b"", b"");
        })
        .refused(&[place, "neither a file nor a symbolic link"]),
        chunk("chunk_uid_minus_one", |l| Object { uid: u32::MAX, ..Object::file(b"x") }.append(l))
            .refused(&[place, "uid 4294967295"]),
        with_xattrs("chunk_xattrs_garbage", b"\xff\xff\xff".to_vec()).refused(&[place, "metadata object has a bad"]),
        with_xattrs("chunk_xattrs_twice", xattrs(&[("trusted.a", b"1"), ("trusted.a", b"2")])).refused(&[place]),
        with_xattrs("chunk_xattrs_empty_value", xattrs(&[("trusted.a", b"")])).refused(&[place]),
        with_xattrs("chunk_xattrs", xattrs(&[("trusted.a", b"1"), ("trusted.b", b"2")])),
        with_xattrs("chunk_xattrs_2_mib", vec![0; 2 << 20]).refused(&[place, "over the limit of 1048576"]),
        chunk("chunk_many_tiny_xattrs", |l| {
            for n in 0..60_000_u32 {
                let bytes = n.to_le_bytes();
                l.mtime(0).entry(EntryType::Regular, shared(&bytes).as_bytes(), b"", &bytes);
            }
        }),
    ]
}

/// Short enough for the header's own field, so that many of them fit in a test.
fn shared(bytes: &[u8]) -> String {
    format!("sysroot/ostree/repo/xattrs/{}", hex(&sha256(bytes)))
}

fn commit_layers() -> Vec<Case> {
    let layer = |label: &str, fill: fn(&mut Layer)| {
        Case::new(label, move |dir| {
            let mut layer = honest().commit_layer();
            fill(&mut layer);
            of_layers(layer, Vec::new())?.write(dir)
        })
    };
    fn add(l: &mut Layer, extension: &str) {
        l.entry(EntryType::Regular, object_path(&sha256(b"x"), extension).as_bytes(), b"", b"x");
    }
    let place = "importing layer 1/1 sha256:";
    vec![
        layer("commit_chunks_missing", |_| {}).refused(&["checking commit ", " is missing"]),
        layer("commit_second", |l| {
            let mut base = Base::default();
            let empty = base.dirtree(&dirtree(&[], &[]));
            let other = base.finish(empty).commit;
            l.entry(EntryType::Regular, object_path(&sha256(&other), "commit").as_bytes(), b"", &other);
        })
        .refused(&[place, "layer has a second commit"]),
        layer("commit_metadata_of_another", |l| add(l, "commitmeta")).refused(&[place, "of another commit"]),
        layer("commit_metadata_too_large", |l| {
            let name = object_path(&sha256(b"x"), "dirtree");
            l.entry(EntryType::Regular, name.as_bytes(), b"", &vec![0; 11 << 20]);
        })
        .refused(&[place, "over the limit of 10485760"]),
        Case::new("commit_none", |dir| {
            let mut layer = Layer::new();
            layer.file("usr/x", "x");
            of_layers(layer, Vec::new())?.write(dir)
        })
        .refused(&[place, "layer has no commit"]),
        Case::new("commit_garbage", |dir| {
            let mut layer = Layer::new();
            let name = object_path(&sha256(b"garbage"), "commit");
            layer.entry(EntryType::Regular, name.as_bytes(), b"", b"garbage");
            of_layers(layer, Vec::new())?.write(dir)
        })
        .refused(&["metadata object"]),
        Case::new("commit_is_a_layer_of_files", |dir| {
            let mut image: Image = honest().image()?;
            image.config["rootfs"]["diff_ids"][0] = image.config["rootfs"]["diff_ids"][1].clone();
            image.write(dir)
        })
        .refused(&[place.trim_end_matches("1/1 sha256:"), "diffID mismatch"]),
    ]
}

fn trees() -> Vec<Case> {
    let with_root = |label: &str, files: &'static [&'static str], dirs: &'static [&'static str]| {
        base(label, move || {
            let mut base = Base::default();
            let (empty, meta) = (base.dirtree(&dirtree(&[], &[])), base.plain_meta());
            let file = Object::file(b"x");
            let files: Vec<_> = files.iter().map(|name| (*name, file.checksum())).collect();
            let dirs: Vec<_> = dirs.iter().map(|name| (*name, empty, meta)).collect();
            let root = base.dirtree(&dirtree(&files, &dirs));
            base.chunks.push(vec![file]);
            Ok(base.finish(root))
        })
    };
    let with_meta = |label: &str, meta: Vec<u8>| {
        base(label, move || {
            let mut base = Base::default();
            let (empty, meta) = (base.dirtree(&dirtree(&[], &[])), base.dirmeta(&meta));
            let root = base.dirtree(&dirtree(&[], &[("usr", empty, meta)]));
            Ok(base.finish(root))
        })
    };
    vec![
        with_root("tree", &["a", "b"], &["c", "d"]),
        with_root("tree_dotdot", &[".."], &[]).refused(&["directory has an entry named \"..\""]),
        with_root("tree_slash", &["a/b"], &[]).refused(&["directory has an entry named \"a/b\""]),
        with_root("tree_slash_dir", &[], &["../x"]).refused(&["directory has an entry named \"../x\""]),
        with_root("tree_empty_name", &[""], &[]).refused(&["directory has an entry named \"\""]),
        with_root("tree_nul", &["a\0b"], &[]).refused(&["NUL byte"]),
        with_root("tree_name_twice", &["a", "a"], &[]).refused(&["two entries named \"a\""]),
        with_root("tree_file_and_dir", &["a"], &["a"]).refused(&["two entries named \"a\""]),
        with_meta("dirmeta_garbage", b"garbage".to_vec()).refused(&["dirmeta"]),
        with_meta("dirmeta_of_a_file", dirmeta(0o100_644, &[])).refused(&["dirmeta"]),
        with_meta("dirmeta_bad_xattrs", dirmeta(0o040_755, b"\xff\xff\xff")).refused(&["metadata object has a bad"]),
        base("tree_300_deep", || {
            let mut base = Base::default();
            let empty = base.dirtree(&dirtree(&[], &[]));
            let root = base.below(empty, &["d"; 300]);
            Ok(base.finish(root))
        })
        .refused(&["directories are nested deeper than 256"]),
        base("tree_bomb", || {
            let mut base = Base::default();
            let (mut tree, meta) = (base.dirtree(&dirtree(&[], &[])), base.plain_meta());
            for _ in 0..60 {
                tree = base.dirtree(&dirtree(&[], &[("a", tree, meta), ("b", tree, meta)]));
            }
            Ok(base.finish(tree))
        })
        .refused(&["checking commit"]),
        policy_that_leads_outside(),
    ]
}

/// The policy is unpacked for libselinux: `x` is a link to a directory of the machine, and a directory.
fn policy_that_leads_outside() -> Case {
    const OUTSIDE: &str = "/run/slipstream-hostile-test";
    base("policy_leads_outside", || {
        let mut base = Base::default();
        let (link, file) = (Object::symlink(OUTSIDE), Object::file(b"put here by an image\n"));
        let inner = base.dirtree(&dirtree(&[("new", file.checksum())], &[]));
        let meta = base.plain_meta();
        let selinux = base.dirtree(&dirtree(&[("x", link.checksum())], &[("x", inner, meta)]));
        let root = base.below(selinux, &["selinux", "etc", "usr"]);
        base.chunks.push(vec![link, file]);
        Ok(base.finish(root))
    })
    .prepare(|_, _| {
        std::fs::create_dir_all(OUTSIDE)?;
        Ok(())
    })
    .refused(&["two entries named \"x\""])
    .after(|| {
        let found = std::path::Path::new(OUTSIDE).join("new").exists();
        std::fs::remove_dir_all(OUTSIDE)?;
        anyhow::ensure!(!found, "the image has written to {OUTSIDE}");
        Ok(())
    })
}
