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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The blob with this digest, and its size in bytes if it is known.
    Blob(Digest, Option<u64>),
    /// A manifest or an index: registries have them under another name.
    Manifest(Digest, Option<u64>),
    /// A document with a name, which no digest verifies: the manifest of a tag, or a file of a layout.
    Named(String),
}

impl Want {
    /// Returns the digest, if one is known.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Blob(digest, _) | Self::Manifest(digest, _) => Some(*digest),
            Self::Named(_) => None,
        }
    }

    /// Returns the size in bytes, if it is known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Blob(_, size) | Self::Manifest(_, size) => *size,
            Self::Named(_) => None,
        }
    }

    /// Returns whether a failure means no more than that a place lacks what may be lacking.
    pub(super) fn may_lack(&self, failure: &Failure) -> bool {
        matches!(self, Self::Named(_)) && failure.kind == Kind::Missing
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest, _) => write!(f, "blob {digest}"),
            Self::Manifest(digest, _) => write!(f, "manifest {digest}"),
            Self::Named(name) => f.write_str(name),
        }
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

#[derive(Clone, Debug, Default)]
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

    /// Adds what has happened at the places of another log.
    pub(crate) fn append(&self, other: &Self) {
        // Not both at once: they may be the same.
        let more = other.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, record) in more.into_values() {
            let known = log.iter().find(|(_, (known, _))| *known == name).map(|(place, _)| *place);
            let place = known.or_else(|| log.last_key_value().map(|(last, _)| last + 1)).unwrap_or_default();
            let (_, before) = log.entry(place).or_insert_with(|| (name, Record::default()));
            before.used |= record.used;
            before.error = record.error.or(before.error.take());
            before.wrong = record.wrong.or(before.wrong.take());
        }
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

    /// Returns the place that is asked first.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Chooses the place that is asked first.
    pub(super) fn prefer(&self, place: usize) {
        self.preferred.store(place, Ordering::Relaxed);
    }

    /// The places in the order in which to ask them.
    pub(super) fn order(&self) -> Vec<usize> {
        let preferred = self.preferred();
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
        self.prefer(place);
        if let Some(digest) = want.digest() {
            self.blame.delivered(digest, place);
        }
        self.log.record(place, self.name(place), |record| record.used = true);
    }

    pub(super) fn failed(&self, place: usize, want: &Want, failure: &Failure) {
        log::debug!("{want} from {}: {failure}", self.name(place));
        self.log.record(place, self.name(place), |record| {
            if !want.may_lack(failure) {
                record.error = Some(failure.after(record.error.as_deref()));
            }
        });
    }

    /// Notes that what came from this place is of no use.
    pub(super) fn was_useless(&self, place: usize, why: &str) {
        self.log.record(place, self.name(place), |record| record.wrong = Some(why.to_owned()));
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
