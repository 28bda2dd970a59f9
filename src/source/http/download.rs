// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A blob as one stream, whatever happens to the streams below it.
//!
//! A stream that breaks is opened again where it broke. A place that fails for good, or again and again, is left for
//! the next one, in the middle of the blob if need be: what names it is its digest. It ends with the deadline, or when
//! nothing comes any more.
//!
//! Tested by `src/slipstream/tests/http/cases.rs`.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::http::backoff::{GiveUp, Trouble, seed};
use crate::http::places::{Shared, Want};
use crate::http::{Backoff, Failure, Kind, Response};

/// Failures in a row at one place after which the next one is asked, if there is one.
const TRIES_AT_A_PLACE: u32 = 3;
/// What has to come through, in bytes, for a failure to be the first one again: a server that breaks off after every
/// few bytes must not keep us until the deadline.
const PROGRESS: u64 = 64 << 10;
/// Largest document by name, in bytes: that of a manifest.
const MAX_NAMED: usize = image::oci::MAX_JSON_SIZE as usize;

/// A place as one download sees it.
#[derive(Debug)]
struct Candidate {
    place: usize,
    /// Failures since it was chosen.
    tries: u32,
    /// It does not serve ranges, or not the right ones.
    whole: bool,
    /// It will not work any more.
    out: bool,
    /// It has nothing by this name.
    lacks: bool,
    /// It has something by this name, but not a document that could be used.
    sent: bool,
    error: Option<String>,
}

/// The reader of a blob.
#[derive(Debug)]
pub(super) struct Download {
    shared: Arc<Shared>,
    want: Want,
    candidates: Vec<Candidate>,
    /// Which of them is asked.
    current: usize,
    response: Option<Response>,
    /// Bytes handed on.
    at: u64,
    /// Where the last failure was.
    failed_at: u64,
    /// Bytes of the response that were handed on before.
    skip: u64,
    backoff: Backoff,
    /// Why it has failed, to be said again to who reads on.
    over: Option<String>,
}

impl Download {
    /// Wait until the blob begins to come.
    pub(super) fn open(shared: Arc<Shared>, want: Want) -> Result<Self> {
        let mut download = Self::new(shared, want);
        download.connect().map_err(|error| anyhow!("{error}"))?;
        Ok(download)
    }

    /// Begins with no place asked.
    fn new(shared: Arc<Shared>, want: Want) -> Self {
        let candidate = |place| {
            let error = want.digest().and_then(|digest| shared.blame.sentence(digest, place));
            Candidate { place, tries: 0, whole: false, out: error.is_some(), lacks: false, sent: false, error }
        };
        let candidates: Vec<_> = shared.order().into_iter().map(candidate).collect();
        let backoff = Backoff::new(shared.limits.retry, seed());
        let current = candidates.iter().position(|candidate| !candidate.out).unwrap_or_default();
        let (at, failed_at, skip) = (0, 0, 0);
        let (response, over) = (None, None);
        Self { shared, want, candidates, current, response, at, failed_at, skip, backoff, over }
    }

    /// Reads a document by its name, from the first place whose document `read` can use. For `read`, `None` is a document
    /// that is as good as none; the result is `None` if no place has one.
    ///
    /// A stream that breaks begins again, as the rest may be that of another document.
    pub(super) fn read_named<T>(
        shared: Arc<Shared>,
        name: &str,
        read: impl Fn(&str, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut download = Self::new(shared, Want::Named(name.to_owned()));
        loop {
            match download.try_to_read(&read) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(text) => return download.nothing_by_name(text),
            }
        }
    }

    /// Reads the document at one place. `Ok(None)`: try again, elsewhere perhaps.
    fn try_to_read<T>(&mut self, read: impl Fn(&str, &[u8]) -> Result<Option<T>>) -> Result<Option<T>, String> {
        self.connect()?;
        let (Some(response), Some(candidate)) = (self.response.take(), self.candidates.get_mut(self.current)) else {
            return Ok(None);
        };
        let (shared, place) = (&self.shared, candidate.place);
        let result = response.read_all(MAX_NAMED).and_then(|bytes| {
            shared.worked(place, &self.want);
            Ok(read(shared.name(place), &bytes)?)
        });
        let failure = match result {
            Ok(None) => Failure::new(Kind::Missing, "there is nothing of use in it"),
            Ok(found) => return Ok(found),
            Err(failure) => {
                candidate.sent = true;
                if failure.kind == Kind::Final {
                    shared.was_useless(place, &failure.to_string());
                }
                failure
            }
        };
        self.failed(&failure).map(|()| None)
    }

    /// Decides what it means that there is no document: it need not exist, but one that cannot be used is an error.
    fn nothing_by_name<T>(&self, text: String) -> Result<Option<T>> {
        let lacking = self.candidates.iter().filter(|candidate| candidate.lacks).count();
        if lacking == 0 || self.candidates.iter().any(|candidate| candidate.sent) {
            return Err(anyhow!(text));
        }
        if lacking < self.candidates.len() {
            log::warn!("looking for {}: {text}", self.want);
        }
        Ok(None)
    }

    /// Have a response.
    fn connect(&mut self) -> Result<(), String> {
        while self.response.is_none() {
            let Some(candidate) = self.candidates.get(self.current).filter(|candidate| !candidate.out) else {
                return Err(self.give_up(""));
            };
            let place = candidate.place;
            let from = if candidate.whole { 0 } else { self.at };
            let first_byte = self.first_byte();
            match self.shared.open(place, &self.want, from, first_byte).and_then(|response| self.accept(response, from))
            {
                Ok(response) => self.response = Some(response),
                Err(failure) => self.failed(&failure)?,
            }
        }
        Ok(())
    }

    /// Returns how long to wait for the first byte: not for long if another place has not failed yet.
    fn first_byte(&self) -> Duration {
        let limits = &self.shared.limits;
        let mut others = self.candidates.iter().enumerate().filter(|(index, _)| *index != self.current);
        match others.any(|(_, other)| !other.out && other.error.is_none()) {
            true => limits.first_byte,
            false => limits.alone(self.shared.deadline.saturating_duration_since(Instant::now())),
        }
    }

    /// Check that an answer is the one to the question.
    fn accept(&mut self, response: Response, from: u64) -> Result<Response, Failure> {
        let head = &response.head;
        let total = match (head.status, head.range) {
            (206, Some((first, total))) if from > 0 && first == from => total,
            (206, Some((first, _))) => {
                let text = format!("it sent the range from byte {first} instead of {from}");
                return Err(Failure::new(Kind::BadRange, text));
            }
            (206, None) => return Err(Failure::new(Kind::BadRange, "it sent a range and does not say which")),
            _ => head.length,
        };
        if let (Some(total), Some(size)) = (total, self.want.size())
            && total != size
        {
            let coding = head.coding.as_ref().map(|coding| format!(", in the content coding {coding:?}"));
            return Err(Failure::last(format!("it has {total} bytes instead of {size}{}", coding.unwrap_or_default())));
        }
        self.skip = if head.status == 206 { 0 } else { self.at };
        Ok(response)
    }

    /// Decides what to do about a failure: wait, or go on to the next place, or give up.
    fn failed(&mut self, failure: &Failure) -> Result<(), String> {
        self.response = None;
        if self.at.saturating_sub(self.failed_at) >= PROGRESS {
            self.backoff.progress();
            self.candidates.iter_mut().for_each(|candidate| candidate.tries = 0);
        }
        self.failed_at = self.at;
        let Some(candidate) = self.candidates.get_mut(self.current) else { return Err(failure.to_string()) };
        let place = candidate.place;
        self.shared.failed(place, &self.want, failure);
        candidate.error = Some(failure.after(candidate.error.as_deref()));
        candidate.lacks |= self.want.may_lack(failure);
        candidate.tries += 1;
        let (enough, trouble) = match failure.kind {
            Kind::NoConnection | Kind::Broken | Kind::Unwell => (TRIES_AT_A_PLACE, Trouble::Broken),
            Kind::Silent => (1, Trouble::Broken),
            Kind::Busy(after) => (TRIES_AT_A_PLACE, Trouble::Busy(after)),
            Kind::BadRange if !candidate.whole => {
                candidate.whole = true;
                return Ok(());
            }
            Kind::BadRange | Kind::Denied(_) | Kind::Forbidden | Kind::Missing | Kind::Final | Kind::Late => {
                candidate.out = true;
                return self.leave(place, failure, u32::MAX).then_some(()).ok_or_else(|| self.give_up(""));
            }
        };
        if candidate.tries >= enough && self.leave(place, failure, enough) {
            return Ok(());
        }
        self.wait(place, failure, trouble)
    }

    /// Waits until the next try, or gives up.
    fn wait(&mut self, place: usize, failure: &Failure, trouble: Trouble) -> Result<(), String> {
        let left = self.shared.deadline.saturating_duration_since(Instant::now());
        match self.backoff.failed(trouble, left) {
            Ok(wait) => {
                self.shared.warn_once(place, failure, &format!("trying again in {:.1} s", wait.as_secs_f64()));
                sleep(wait);
            }
            Err(GiveUp::Tries(tries)) => return Err(self.give_up(&format!("after {tries} tries"))),
            Err(GiveUp::Wait(wait)) => return Err(self.give_up(&out_of_time(wait, left))),
        }
        // Having waited, every place is worth asking again.
        if self.candidates.iter().all(|candidate| candidate.out || candidate.tries >= TRIES_AT_A_PLACE) {
            self.candidates.iter_mut().for_each(|candidate| candidate.tries = 0);
            self.next_place(u32::MAX);
        }
        Ok(())
    }

    /// Leaves a place because of a failure for one with fewer failures than `tries`. Returns whether there is one.
    fn leave(&mut self, place: usize, failure: &Failure, tries: u32) -> bool {
        let found = self.next_place(tries);
        if let (true, Some(next)) = (found, self.candidates.get(self.current)) {
            self.shared.warn_once(place, failure, &format!("asking {}", self.shared.name(next.place)));
        }
        found
    }

    /// Choose another place, one with fewer failures than `tries`. Whether there is one.
    fn next_place(&mut self, tries: u32) -> bool {
        let count = self.candidates.len();
        let others = (1..=count).map(|step| (self.current + step) % count.max(1));
        let good = |index: &usize| {
            self.candidates.get(*index).is_some_and(|candidate| !candidate.out && candidate.tries < tries)
        };
        match others.into_iter().find(good) {
            Some(index) => {
                self.current = index;
                true
            }
            None => false,
        }
    }

    /// It is over: what happened at each place.
    fn give_up(&mut self, why: &str) -> String {
        let errors = self.candidates.iter().filter_map(|candidate| {
            let name = self.shared.name(candidate.place);
            candidate.error.as_ref().map(|error| format!("{name}: {error}"))
        });
        let text = errors.chain((!why.is_empty()).then(|| why.to_owned())).collect::<Vec<_>>().join("; ");
        self.over = Some(text.clone());
        text
    }

    /// Read from the response. `Ok(None)`: what came was for the bin, or nothing came and it is open no more.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        self.connect()?;
        let Some(response) = &mut self.response else { return Ok(None) };
        let left = self.want.size().map_or(u64::MAX, |size| size - self.at);
        let most = usize::try_from(if self.skip > 0 { self.skip } else { left }).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = response.read(buffer.get_mut(..most).unwrap_or_default());
        let early = self.skip > 0 || self.want.size().is_some();
        match read {
            Ok(0) if early => {
                let text = format!("the stream ended {left} bytes early");
                self.failed(&Failure::new(Kind::Broken, text))?;
                Ok(None)
            }
            Ok(n) if self.skip > 0 => {
                self.skip -= n as u64;
                Ok(None)
            }
            Ok(n) => {
                let place = self.candidates.get(self.current).map(|candidate| candidate.place);
                if let (Some(place), true) = (place, self.at == self.failed_at) {
                    self.shared.worked(place, &self.want);
                }
                self.at += n as u64;
                Ok(Some(n))
            }
            Err(failure) => {
                self.failed(&failure)?;
                Ok(None)
            }
        }
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(text) = &self.over {
            return Err(io::Error::other(text.clone()));
        }
        // What comes after the last byte does not matter.
        if buffer.is_empty() || self.want.size() == Some(self.at) {
            self.response = None;
            return Ok(0);
        }
        loop {
            match self.read_some(buffer) {
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {}
                Err(text) => {
                    self.over = Some(text.clone());
                    return Err(io::Error::other(text));
                }
            }
        }
    }
}

fn out_of_time(wait: Duration, left: Duration) -> String {
    format!("the next try would be in {} s, the deadline is in {} s", wait.as_secs(), left.as_secs())
}
