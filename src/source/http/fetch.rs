// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blobs that can be in several places.
//!
//! A blob is asked for at the place that worked last, then at the others in their order. What a place is, and how one
//! asks it, is the business of [`Places`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use contract::names::Digest;

use crate::Source;
use crate::http::blame::Blame;
use crate::http::download::Download;
use crate::http::{Failure, Limits, Response};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes, if it is known.
    pub size: Option<u64>,
    /// A manifest or an index, not a blob: registries have them under another name.
    pub manifest: bool,
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.manifest { "manifest" } else { "blob" }, self.digest)
    }
}

/// Where blobs can be.
pub trait Places: Send + Sync + fmt::Debug {
    /// The names of the places, in the order in which to ask them.
    fn names(&self) -> Vec<String>;
    /// Ask one of them, by its number, for what is wanted, from byte `from` on.
    fn open(&self, place: usize, want: &Want, from: u64) -> Result<Response, Failure>;
}

/// What has happened at each place, for the status: its name, and its last error if nothing came from it.
#[derive(Clone, Debug, Default)]
pub struct EndpointLog(Arc<Mutex<BTreeMap<usize, (String, Record)>>>);

#[derive(Debug, Default)]
struct Record {
    used: bool,
    error: Option<String>,
    /// It delivered wrong bytes: that has to be known even if others were right.
    wrong: Option<String>,
}

impl EndpointLog {
    /// The places that were tried, in their order; with the last error of each that gave nothing, or wrong bytes.
    pub fn entries(&self) -> Vec<(String, Option<String>)> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |record: &Record| record.wrong.clone().or(record.error.clone().filter(|_| !record.used));
        log.values().map(|(name, record)| (name.clone(), error(record))).collect()
    }

    fn record(&self, place: usize, name: &str, change: impl FnOnce(&mut Record)) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut log.entry(place).or_insert_with(|| (name.to_owned(), Record::default())).1);
    }
}

/// Hands out blobs from places.
#[derive(Debug)]
pub struct Fetcher(Arc<Shared>);

/// What the readers of one fetcher share.
#[derive(Debug)]
pub(super) struct Shared {
    places: Box<dyn Places>,
    names: Vec<String>,
    pub(super) limits: Limits,
    pub(super) deadline: Instant,
    /// The place that worked last.
    preferred: AtomicUsize,
    pub(super) blame: Blame,
    log: EndpointLog,
}

impl Fetcher {
    /// A fetcher that gives up at `deadline`.
    pub fn new(places: Box<dyn Places>, limits: Limits, deadline: Instant) -> Self {
        let names = places.names();
        Self(Arc::new(Shared {
            places,
            names,
            limits,
            deadline,
            preferred: AtomicUsize::new(0),
            blame: Blame::default(),
            log: EndpointLog::default(),
        }))
    }

    fn open(&self, want: Want) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Download::open(Arc::clone(&self.0), want)?))
    }
}

impl Source for Fetcher {
    fn open_blob(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want { digest, size, manifest: false })
    }

    fn open_manifest(&self, digest: Digest, size: Option<u64>) -> Result<Box<dyn Read + Send>> {
        self.open(Want { digest, size, manifest: true })
    }

    fn blame(&self, digest: Digest, why: &str) -> bool {
        let guilty = self.0.blame.wrong(digest, why);
        for place in &guilty {
            self.0.log.record(*place, self.0.name(*place), |record| record.wrong = Some(why.to_owned()));
        }
        !guilty.is_empty()
    }

    fn log(&self) -> EndpointLog {
        self.0.log.clone()
    }
}

impl Shared {
    /// The places in the order in which to ask them.
    pub(super) fn order(&self) -> Vec<usize> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let others = (0..self.names.len()).filter(|place| *place != preferred);
        std::iter::once(preferred).filter(|place| *place < self.names.len()).chain(others).collect()
    }

    pub(super) fn name(&self, place: usize) -> &str {
        self.names.get(place).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn open(&self, place: usize, want: &Want, from: u64) -> Result<Response, Failure> {
        self.places.open(place, want, from)
    }

    /// Something came from this place.
    pub(super) fn worked(&self, place: usize, want: &Want) {
        self.preferred.store(place, Ordering::Relaxed);
        self.blame.delivered(want.digest, place);
        self.log.record(place, self.name(place), |record| record.used = true);
    }

    pub(super) fn failed(&self, place: usize, want: &Want, failure: &Failure) {
        log::debug!("{want} from {}: {failure}", self.name(place));
        self.log.record(place, self.name(place), |record| {
            record.error = Some(failure.after(record.error.as_deref()));
        });
    }
}
