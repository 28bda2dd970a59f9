// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The base: chunks and the commit layer, side by side, and what their commit says about the layers above.

use std::collections::VecDeque;
use std::io::Read;
use std::num::NonZero;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use image::oci::Layer;
use repo::store::Store;
use repo::tree::Dir;

use crate::import::layers::job::{Finished, Job};

/// Most layers that are imported at once. Each has three threads, about 2 MiB of blocks, and the window of a zstd frame,
/// which may be 8 MiB, and 128 MiB for one of them: more would be more memory than we want to need.
const MAX_WORKERS: usize = 3;
/// Where a base commit says what kind of root it boots with (ostree-ext `container/store.rs` looks here).
const PREPARE_ROOT: [&[&str]; 2] =
    [&["etc", "ostree", "prepare-root.conf"], &["usr", "lib", "ostree", "prepare-root.conf"]];
/// Largest prepare-root.conf, in bytes.
const MAX_CONF: u64 = 64 << 10;

/// What a layer of the base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Content objects.
    Chunk,
    /// The commit and its metadata.
    Commit,
}

/// Import layers on as many threads as there are processors, the largest first: it takes longest. `done` is called, on
/// this thread, for each that is finished.
pub fn import_side_by_side(
    job: &Job<'_>,
    mut layers: Vec<(&Layer, Role)>,
    mut done: impl FnMut(Finished) -> Result<()>,
) -> Result<()> {
    layers.sort_by_key(|(layer, _)| std::cmp::Reverse(layer.descriptor.size));
    let workers = available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS).min(layers.len());
    let queue = Mutex::new(VecDeque::from(layers));
    let mut first_error = None;
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..workers {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || work(job, queue, &sender));
        }
        drop(sender);
        for result in receiver {
            // After the first failure the others fail because of it.
            if let Err(error) = result.and_then(&mut done) {
                job.cancelled.store(true, Ordering::Relaxed);
                first_error.get_or_insert(error);
            }
        }
    });
    first_error.map_or(Ok(()), Err)
}

fn work(job: &Job<'_>, queue: &Mutex<VecDeque<(&Layer, Role)>>, sender: &Sender<Result<Finished>>) {
    while !job.cancelled.load(Ordering::Relaxed) {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((layer, role)) = next else { return };
        let result = match role {
            Role::Chunk => job.chunk(layer),
            Role::Commit => job.commit_layer(layer),
        };
        if sender.send(result).is_err() {
            return;
        }
    }
}

/// Whether the base boots with a root in which any top-level directory can be: a transient one, or composefs.
pub fn has_open_root(store: &Store, root: &mut Dir) -> Result<bool> {
    for path in PREPARE_ROOT {
        let Some(checksum) = root.find(store, path)? else { continue };
        let mut text = String::new();
        let read = store.open_file(&checksum)?.take(MAX_CONF).read_to_string(&mut text);
        read.context("reading prepare-root.conf of the base")?;
        return Ok(is_open(&text));
    }
    Ok(false)
}

fn is_open(conf: &str) -> bool {
    let mut section = "";
    conf.lines().map(str::trim).any(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        match (section, key) {
            ("root", "transient") => matches!(value, "true" | "1"),
            ("composefs", "enabled") => matches!(value, "yes" | "true" | "1" | "maybe" | "signed" | "verity"),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_roots() {
        for (conf, expected) in [
            ("[composefs]\nenabled = yes\n", true),
            ("[composefs]\nenabled=maybe", true),
            ("[composefs]\nenabled=no", false),
            ("[root]\ntransient=true", true),
            ("[etc]\ntransient=true", false),
            ("enabled=yes", false),
            ("", false),
        ] {
            assert_eq!(is_open(conf), expected, "{conf}");
        }
    }
}
