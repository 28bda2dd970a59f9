// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The places where a blob can be, and what has happened at each of them.
//!
//! Tested by `src/slipstream/tests/http/cases.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::names::Digest;

use crate::http::blame::Blame;
use crate::http::{Failure, Kind, Limits, Response};

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
    /// Asks one of them, by its number, for what is wanted, from byte `from` on. The first byte may take `first_byte`.
    fn open(&self, place: usize, want: &Want, from: u64, first_byte: Duration) -> Result<Response, Failure>;
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
    /// A failure of it was logged.
    logged: bool,
}

impl EndpointLog {
    /// The places that were tried, in their order; with the last error of each that gave nothing, or wrong bytes.
    pub fn entries(&self) -> Vec<(String, Option<String>)> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |record: &Record| record.wrong.clone().or(record.error.clone().filter(|_| !record.used));
        log.values().map(|(name, record)| (name.clone(), error(record))).collect()
    }

    fn record<T>(&self, place: usize, name: &str, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut log.entry(place).or_insert_with(|| (name.to_owned(), Record::default())).1)
    }
}

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

impl Shared {
    /// Begins with no place preferred.
    pub(super) fn new(places: Box<dyn Places>, limits: Limits, deadline: Instant) -> Self {
        let names = places.names();
        let (preferred, blame, log) = (AtomicUsize::new(0), Blame::default(), EndpointLog::default());
        Self { places, names, limits, deadline, preferred, blame, log }
    }

    /// Returns what has happened at each place.
    pub(super) fn log(&self) -> EndpointLog {
        self.log.clone()
    }

    /// Notes that what was last read as `digest` is something else. Returns whether a place is known that delivered it.
    pub(super) fn was_wrong(&self, digest: Digest, why: &str) -> bool {
        let guilty = self.blame.wrong(digest, why);
        for place in &guilty {
            self.log.record(*place, self.name(*place), |record| record.wrong = Some(why.to_owned()));
        }
        !guilty.is_empty()
    }

    /// The places in the order in which to ask them.
    pub(super) fn order(&self) -> Vec<usize> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let others = (0..self.names.len()).filter(|place| *place != preferred);
        std::iter::once(preferred).filter(|place| *place < self.names.len()).chain(others).collect()
    }

    pub(super) fn name(&self, place: usize) -> &str {
        self.names.get(place).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn open(&self, place: usize, want: &Want, from: u64, first_byte: Duration) -> Result<Response, Failure> {
        self.places.open(place, want, from, first_byte)
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
    /// Logs the first failure of each place, and what is done about it: otherwise nothing would be heard of a server that does
    /// not answer before the deadline.
    pub(super) fn warn_once(&self, place: usize, failure: &Failure, next: &str) {
        let name = self.name(place);
        // A mirror need not have everything.
        let is_news = failure.kind != Kind::Missing;
        if is_news && !self.log.record(place, name, |record| std::mem::replace(&mut record.logged, true)) {
            log::warn!("{name}: {failure}; {next}");
        }
    }
}
