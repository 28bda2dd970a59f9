// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The floor: what any importer has to do, and nothing else. Each layer is read, hashed, inflated and hashed again; each
//! object is hashed and written. Layers are dealt out to one thread for each processor, the largest first. There is no
//! check, no metadata, no commit and no ref; one sync at the end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use argh::FromArgs;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};
use testkit::layout::Layout;

use super::object::{Objects, Owner};

/// As slipstream's.
const BUFFER: usize = 128 << 10;
const OBJECTS: &str = "sysroot/ostree/repo/objects/";

/// write the objects of an image and nothing else
#[derive(FromArgs)]
#[argh(subcommand, name = "floor")]
pub struct Floor {
    /// the OCI layout
    #[argh(positional)]
    layout: PathBuf,
    /// where the objects go
    #[argh(positional)]
    out: PathBuf,
}

/// One blob.
struct Blob {
    path: PathBuf,
    size: u64,
    zstd: bool,
}

/// Do it.
pub fn run(floor: &Floor) -> Result<()> {
    let layout = Layout::at(&floor.layout);
    let manifest = layout.image()?.manifest;
    let mut blobs = Vec::new();
    for layer in manifest["layers"].as_array().context("reading the layers")? {
        let text = |key: &str| layer[key].as_str().with_context(|| format!("reading {key} of a layer"));
        let path = layout.blob(text("digest")?);
        let size = layer["size"].as_u64().context("reading the size of a layer")?;
        blobs.push(Blob { path, size, zstd: text("mediaType")?.ends_with("zstd") });
    }
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    let queue = Mutex::new(VecDeque::from(blobs));
    let objects = Objects::create(&floor.out)?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..thread::available_parallelism().map_or(1, NonZero::get))
            .map(|_| scope.spawn(|| work(&queue, &objects)))
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a thread has panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    objects.sync()
}

fn work(queue: &Mutex<VecDeque<Blob>>, objects: &Objects) -> Result<()> {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(blob) = next else { return Ok(()) };
        layer(&blob, objects).with_context(|| format!("writing the objects of {}", blob.path.display()))?;
    }
}

fn layer(blob: &Blob, objects: &Objects) -> Result<()> {
    let file = File::open(&blob.path).context("opening the blob")?;
    let inner = BufReader::with_capacity(BUFFER, Hashing { inner: file, hash: Sha256::new() });
    let inflate: Box<dyn Read> = if blob.zstd {
        Box::new(zstd::Decoder::with_buffer(inner).context("starting zstd")?)
    } else {
        Box::new(MultiGzDecoder::new(inner))
    };
    let tar = BufReader::with_capacity(BUFFER, Hashing { inner: inflate, hash: Sha256::new() });
    let mut archive = Archive::new(tar);
    let mut xattrs = Vec::new();
    for entry in archive.entries().context("reading the tar")? {
        let mut entry = entry.context("reading the tar")?;
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path);
        let header = entry.header();
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).context("reading an owner");
        let mode = header.mode().context("reading a mode")? & 0o7777;
        let owner = Owner { uid: id(header.uid())?, gid: id(header.gid())?, mode };
        let kind = header.entry_type();
        match path.strip_prefix(OBJECTS).and_then(|name| name.split_once('.')) {
            Some((_, "file-xattrs-link")) => {
                xattrs.clear();
                entry.read_to_end(&mut xattrs).context("reading xattrs")?;
            }
            Some((name, extension)) => {
                let checksum = name.replace('/', "");
                match kind {
                    EntryType::Regular if extension == "file" => {
                        objects.file(Some(&checksum), extension, owner, &xattrs, &mut entry)?;
                    }
                    EntryType::Regular => objects.file(Some(&checksum), extension, owner, &[], &mut entry)?,
                    EntryType::Symlink => {
                        let target = entry.link_name_bytes().context("reading a link")?.into_owned();
                        objects.symlink(&checksum, owner, &xattrs, &target)?;
                    }
                    other => bail!("object {checksum} has type {other:?}"),
                }
            }
            // A file of a derived layer; in a chunk only empty files have no object's name.
            None if kind == EntryType::Regular && entry.size() > 0 && !path.starts_with("sysroot/") => {
                objects.file(None, "file", owner, &[], &mut entry)?;
            }
            None => {}
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("reading the tar")?;
    Ok(())
}

/// Hashes what passes through, as a check of the digest would.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
