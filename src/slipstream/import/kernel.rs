// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernels in a commit, and whether the one that runs is among them: known before most of the image is read.

use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use image::oci::Layer;
use image::stream::{Entry, Kind};

use crate::boot_partition::kernels::{KERNEL, MODULES, versions};
use crate::import::layers::job::{Finished, Job};
use crate::import::layers::path::normalize;
use crate::import::plan::ImportPlan;
use crate::import::progress::Progress;

/// Most kernels of a layer that are remembered, for the reason. An image has one or two.
const MAX_FOUND: usize = 8;

/// Says that the image does not have the required kernel, or not that one alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherKernel {
    /// The required kernel.
    pub wanted: String,
    /// The kernels that it has.
    pub found: Vec<String>,
}

impl fmt::Display for OtherKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = if self.found.is_empty() { "none".to_owned() } else { self.found.join(", ") };
        if self.found.contains(&self.wanted) {
            return write!(f, "kernel=same, and the node image has {found}: its next boot may start any of them");
        }
        write!(f, "kernel=same, and the node image has {found} instead of {}", self.wanted)
    }
}

/// Stops with [`OtherKernel`], before the chunks are read, if no layer has the kernel that the plan wants.
///
/// Only the layers tell: the label `ostree.linux` is the base's, and a build on top of it may have replaced the kernel.
/// But the commit layer has the names of all files of the base, and is small; and what a derived layer brings is known
/// when its tar was read. Derived layers are imported after the chunks, whose SELinux policy they need, so their tars
/// are only looked through here, and read again in the rare case that one does bring the kernel.
///
/// Returns the commit layer if it was imported.
pub(crate) fn look_ahead(job: &Job<'_>, plan: &ImportPlan) -> Result<ControlFlow<OtherKernel, Option<Finished>>> {
    let Some(wanted) = &plan.kernel else { return Ok(Continue(None)) };
    let Some(commit_layer) = &plan.layers.commit else { return Ok(Continue(None)) };
    let nothing_to_save = plan.layers.chunks.iter().all(|layer| plan.present(layer).is_some());
    // The label is believed when it promises the kernel: if it is wrong, the finished tree will tell.
    if nothing_to_save || job.image.config.kernel() == Some(wanted) {
        return Ok(Continue(None));
    }
    let finished = match plan.present(commit_layer) {
        Some(_) => None,
        None => Some(job.commit_layer(commit_layer)?),
    };
    let base = finished.as_ref().map(|finished| finished.commit).or(plan.present(commit_layer));
    let mut found = versions(job.store, &base.context("the commit layer gave no commit")?)?;
    if found.contains(wanted) {
        return Ok(Continue(finished));
    }
    let (there, missing): (Vec<_>, Vec<_>) =
        plan.layers.derived.iter().partition(|layer| plan.present(layer).is_some());
    for layer in there {
        let own = plan.present(layer).map(|commit| versions(job.store, &commit)).transpose()?;
        if replace(&mut found, own.unwrap_or_default(), wanted) {
            return Ok(Continue(finished));
        }
    }
    if look_through(job, &missing, &mut found, wanted)? {
        return Ok(Continue(finished));
    }
    Ok(Break(OtherKernel { wanted: wanted.clone(), found }))
}

/// What a layer brings is in place of what was there before. Whether it brings `wanted`.
fn replace(found: &mut Vec<String>, own: Vec<String>, wanted: &str) -> bool {
    let brings = own.iter().any(|version| version == wanted);
    if !own.is_empty() {
        *found = own;
    }
    brings
}

/// Look through the tars of layers for the kernel.
fn look_through(job: &Job<'_>, layers: &[&Layer], found: &mut Vec<String>, wanted: &str) -> Result<bool> {
    let bytes = layers.iter().map(|layer| layer.descriptor.size).sum();
    if !layers.is_empty() {
        let (number, mib) = (layers.len(), bytes >> 20);
        log::info!("the base has kernel {}: looking for {wanted} in {number} layers, {mib} MiB", found.join(", "));
    }
    // These bytes are none of the import's.
    let job = Job { progress: Progress::new(bytes), cancelled: AtomicBool::new(false), ..*job };
    for layer in layers {
        let own = job.read(layer, |tar| {
            let mut own = Vec::new();
            while let Some(entry) = tar.next_entry()? {
                let Some(version) = kernel_of(&entry)? else { continue };
                if version == wanted || own.len() < MAX_FOUND {
                    own.push(version);
                }
            }
            Ok(own)
        })?;
        if replace(found, own, wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The kernel whose `vmlinuz` an entry is.
fn kernel_of(entry: &Entry) -> Result<Option<String>> {
    if !matches!(entry.kind, Kind::File | Kind::Symlink | Kind::Hardlink) {
        return Ok(None);
    }
    let path = normalize(&entry.path)?;
    let mut names = path.split('/');
    if !MODULES.iter().all(|name| names.next() == Some(name)) {
        return Ok(None);
    }
    Ok(match (names.next(), names.next(), names.next()) {
        (Some(version), Some(file), None) if file == KERNEL => Some(version.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_a_kernel() {
        for (label, path, kind, expected) in [
            ("a file", "usr/lib/modules/6.1/vmlinuz", Kind::File, Some("6.1")),
            ("as some tools write it", "./usr/lib//modules/6.1+rt/vmlinuz", Kind::File, Some("6.1+rt")),
            ("a link to an object", "/usr/lib/modules/6.1/vmlinuz", Kind::Hardlink, Some("6.1")),
            ("a link to elsewhere", "usr/lib/modules/6.1/vmlinuz", Kind::Symlink, Some("6.1")),
            ("a directory", "usr/lib/modules/6.1/vmlinuz/", Kind::Directory, None),
            ("an initramfs", "usr/lib/modules/6.1/initramfs.img", Kind::File, None),
            ("deeper", "usr/lib/modules/6.1/kernel/vmlinuz", Kind::File, None),
            ("no version", "usr/lib/modules/vmlinuz", Kind::File, None),
            ("a whiteout", "usr/lib/modules/6.1/.wh.vmlinuz", Kind::File, None),
            ("elsewhere", "lib/modules/6.1/vmlinuz", Kind::File, None),
        ] {
            let (path, link, xattrs) = (path.as_bytes().to_vec(), Vec::new(), Vec::new());
            let entry = Entry { path, link, kind, mode: 0, uid: 0, gid: 0, mtime: 0, size: 0, xattrs };
            assert_eq!(kernel_of(&entry).unwrap().as_deref(), expected, "{label}");
        }
    }

    #[test]
    fn what_is_on_top_counts() {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (label, own, brings, left) in [
            ("no kernel", vec![], false, vec!["1"]),
            ("another", vec!["2"], false, vec!["2"]),
            ("the one", vec!["2", "3"], true, vec!["2", "3"]),
        ] {
            let mut found = texts(&["1"]);
            assert_eq!(replace(&mut found, texts(&own), "3"), brings, "{label}");
            assert_eq!(found, texts(&left), "{label}");
        }
        let other = OtherKernel { wanted: "3".to_owned(), found: Vec::new() };
        assert_eq!(other.to_string(), "kernel=same, and the node image has none instead of 3");
        let several = OtherKernel { wanted: "3".to_owned(), found: texts(&["3", "4"]) };
        assert_eq!(
            several.to_string(),
            "kernel=same, and the node image has 3, 4: its next boot may start any of them"
        );
    }
}
