// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sources and repositories that are not what they should be.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use testkit::base::{honest, of_layers};
use testkit::blob::{Blob, Packing};
use testkit::image::Image;
use testkit::layer::Layer;
use testkit::repo;
use testkit::sandbox::tmpfs;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let mut cases = sources();
    cases.extend(repositories());
    cases.extend(full_disks());
    cases
}

fn one_layer(image: &mut Image) -> Result<()> {
    let mut layer = Layer::new();
    layer.file("usr/x", "x");
    image.push(&Blob::new(layer.finish(), Packing::Gzip))
}

/// The blob of the only layer: the one that is neither manifest nor config.
fn layer_blob(layout: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(layout.join("blobs/sha256")).context("listing blobs")? {
        let path = entry.context("listing blobs")?.path();
        if fs::read(&path).context("reading a blob")?.starts_with(&[0x1f, 0x8b]) {
            return Ok(path);
        }
    }
    anyhow::bail!("finding the layer's blob")
}

/// Puts something else in place of the layer's blob.
fn instead(label: &str, put: fn(&Path) -> Result<()>) -> Case {
    Case::image(label, one_layer).prepare(move |layout, _| {
        let path = layer_blob(layout)?;
        fs::rename(&path, layout.join("moved")).context("moving the blob")?;
        put(&path)
    })
}

/// Puts something else in place of a file of the layout.
fn marker(label: &str, put: fn(&Path) -> Result<()>) -> Case {
    Case::image(label, one_layer).prepare(move |layout, _| {
        let path = layout.join("oci-layout");
        fs::remove_file(&path).context("removing the marker")?;
        put(&path)
    })
}

fn fifo(path: &Path) -> Result<()> {
    mkfifo(path, Mode::S_IRWXU).context("making a fifo")
}

fn sources() -> Vec<Case> {
    let no_file = "not a regular file";
    vec![
        instead("blob_is_a_directory", |path| fs::create_dir(path).context("creating a directory")).refused(&[no_file]),
        instead("blob_is_a_fifo", fifo).refused(&[no_file]),
        instead("blob_is_a_symlink", |path| symlink("../../moved", path).context("linking"))
            .refused(&["opening blob "]),
        instead("blob_is_missing", |_| Ok(())).refused(&["importing layer 1/1", "No such file or directory"]),
        marker("marker_is_a_fifo", fifo).refused(&["oci-layout"]),
        marker("marker_is_missing", |_| Ok(())).refused(&["is no OCI layout"]),
        marker("marker_is_endless", |path| symlink("/dev/zero", path).context("linking")).refused(&["oci-layout"]),
        marker("marker_of_version_2", |path| {
            fs::write(path, r#"{"imageLayoutVersion":"2.0.0"}"#).context("writing the marker")
        })
        .refused(&["OCI layout has version \"2.0.0\", not 1.0.0"]),
    ]
}

/// Puts another repository in place of the good one.
fn repository(label: &str, make: fn(&Path) -> Result<()>) -> Case {
    Case::image(label, one_layer).prepare(move |_, repo| {
        fs::remove_dir_all(repo).context("removing the repository")?;
        make(repo)
    })
}

fn repositories() -> Vec<Case> {
    vec![
        repository("repo_bare_user", |repo| repo::init(repo, "bare-user")),
        repository("repo_archive", |repo| repo::init(repo, "archive")).refused(&["the repository has mode archive-z2"]),
        repository("repo_bare_user_only", |repo| repo::init(repo, "bare-user-only"))
            .refused(&["the repository has mode bare-user-only"]),
        repository("repo_is_no_repo", |repo| fs::create_dir(repo).context("creating a directory"))
            .refused(&["opening repository"])
            .without_fsck(),
        repository("repo_is_a_file", |repo| {
            fs::create_dir(repo).context("creating a directory")?;
            fs::write(repo.join("config"), "x").context("writing a file")
        })
        .refused(&["opening repository"])
        .without_fsck(),
        repository("repo_without_objects", |repo| {
            repo::init(repo, "bare")?;
            fs::remove_dir(repo.join("objects")).context("removing objects")
        })
        .refused(&["objects"])
        .without_fsck(),
        repository("repo_read_only", |repo| {
            fs::create_dir(repo).context("creating a directory")?;
            tmpfs(repo, "mode=0755")?;
            repo::init(repo, "bare")?;
            let flags = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
            let none: Option<&str> = None;
            nix::mount::mount(none, repo, none, flags, none).context("remounting")
        })
        .refused(&["Read-only file system"]),
    ]
}

/// A repository on a file system of so many KiB.
pub fn small(case: Case, kib: u64) -> Case {
    case.prepare(move |_, repo| {
        fs::remove_dir_all(repo).context("removing the repository")?;
        fs::create_dir(repo).context("creating the mount point")?;
        tmpfs(repo, &format!("size={kib}k,nr_inodes=2000,mode=0755"))?;
        repo::init(repo, "bare")
    })
}

/// More files or bytes than the estimate thinks: text that packs well.
fn filling(image: &mut Image) -> Result<()> {
    let mut first = Layer::new();
    first.file("usr/first", "first");
    image.push(&Blob::new(first.finish(), Packing::Gzip))?;
    let mut layer = Layer::new();
    for n in 0..400 {
        layer.file(&format!("usr/{n}"), &format!("{n}\n").repeat(10_000));
    }
    image.push(&Blob::new(layer.finish(), Packing::Gzip))
}

fn large(image: &mut Image) -> Result<()> {
    let mut layer = Layer::new();
    layer.file("usr/x", &"x".repeat(3 << 20));
    image.push(&Blob::new(layer.finish(), Packing::Tar))
}

fn full_disks() -> Vec<Case> {
    let no_space = "No space left on device";
    let place = "importing layer 2/2 sha256:";
    let mut cases = vec![
        small(Case::image("full_disk_in_the_middle", filling), 6000).refused(&[place, no_space]),
        small(Case::image("full_disk_before_the_start", large), 1000)
            .refused(&["not enough space on ", " MiB are needed, "]),
        small(
            Case::layer("full_disk_large_file", |l| {
                l.file("usr/x", &"x".repeat(12 << 20));
            }),
            6000,
        )
        .refused(&["importing layer 1/1 sha256:", "not enough space: a file of 12582912 bytes"]),
        small(
            Case::layer("full_disk_inodes", |l| {
                for n in 0..3000 {
                    l.file(&format!("usr/{n}"), &n.to_string());
                }
            }),
            60_000,
        )
        .refused(&["importing layer 1/1 sha256:", no_space]),
    ];
    // Layers side by side, at every moment. What one has begun, the other must not take for done.
    for kib in (320..640).step_by(16) {
        let case = Case::new(&format!("full_disk_same_chunks_{kib}"), |dir| {
            let base = honest();
            of_layers(base.commit_layer(), [1, 1, 0].map(|n| base.chunk(n)).into())?.write(dir)
        });
        cases.push(small(case, kib).either());
    }
    cases
}
