// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One request on a thread of its own, and its answer as a stream.
//!
//! libcurl pushes, our readers pull: between them is a short queue of blocks. When it is full libcurl waits, TCP's
//! window closes, and the server waits.
//!
//! Tested by `src/slipstream/tests/http/cases.rs`, `src/slipstream/tests/servers/`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use curl::easy::{Easy2, Handler, WriteError};

use crate::http::curl_error::{clean, judge};
use crate::http::head::{Head, HeadParser};
use crate::http::pace::Pace;
use crate::http::{Failure, Kind, Limits};

/// libcurl's time limit is the time until the deadline, in milliseconds.
const ROUNDING: Duration = Duration::from_millis(50);
/// Size of a block, and blocks in a queue: 512 KiB a stream.
const BLOCK: usize = 64 << 10;
const QUEUE: usize = 7;
/// How much of the body of an answer that is no success is read, in bytes: it may say why.
const MAX_ERROR_BODY: usize = 16 << 10;
/// Idle handles with open connections that are kept.
const MAX_IDLE: usize = 4;

/// What passes through the queue.
#[derive(Debug)]
enum Event {
    /// The head; for one that is not a success also the body.
    Head(Head, Vec<u8>),
    Data(Vec<u8>),
    End(Result<(), Failure>),
}

/// What libcurl calls. Between transfers it is empty.
#[derive(Debug, Default)]
pub(super) struct Sink {
    parser: HeadParser,
    queue: Option<SyncSender<Event>>,
    cancelled: Arc<AtomicBool>,
    block: Vec<u8>,
    /// The head was handed on.
    started: bool,
    /// The head was too much.
    flooded: bool,
    pace: Pace,
    /// The body came too slowly.
    stalled: bool,
}

impl Sink {
    fn succeeded(&self) -> bool {
        matches!(self.parser.head.status, 200 | 206)
    }

    /// Hands something on. `false`: nobody wants it any more.
    fn send(&mut self, event: Event) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(event) {
            Err(TrySendError::Full(event)) => {
                let taken = queue.send(event).is_ok();
                self.pace.resume(Instant::now());
                taken
            }
            result => result.is_ok(),
        }
    }

    fn start(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.started, true);
        !first || self.send(Event::Head(self.parser.head.clone(), Vec::new()))
    }

    fn flush(&mut self) -> bool {
        let block = std::mem::take(&mut self.block);
        block.is_empty() || self.send(Event::Data(block))
    }
}

impl Handler for Sink {
    fn header(&mut self, data: &[u8]) -> bool {
        self.flooded |= !self.parser.line(data);
        !self.flooded
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.pace.came(data.len(), Instant::now());
        if !self.succeeded() {
            let room = MAX_ERROR_BODY.saturating_sub(self.block.len()).min(data.len());
            self.block.extend_from_slice(data.get(..room).unwrap_or_default());
            // Less than all of it ends the transfer. What it was about is known.
            return Ok(room);
        }
        if self.block.capacity() == 0 {
            self.block.reserve(BLOCK + data.len());
        }
        self.block.extend_from_slice(data);
        let wanted = self.start() && (self.block.len() < BLOCK || self.flush());
        Ok(if wanted { data.len() } else { 0 })
    }

    fn progress(&mut self, _: f64, _: f64, _: f64, _: f64) -> bool {
        self.stalled = self.pace.has_stalled(Instant::now());
        !self.stalled && !self.cancelled.load(Ordering::Relaxed)
    }
}

/// A handle, and the origin that it has been connected to.
type Idle = (String, Easy2<Sink>);

/// Handles that are not in use. Their connections are still open.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Idle>>>);

impl Pool {
    /// A handle without options, if possible with a connection to `origin`.
    pub(super) fn take(&self, origin: &str) -> Easy2<Sink> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(known, _)| known == origin) {
            Some(at) => idle.swap_remove(at).1,
            None => Easy2::new(Sink::default()),
        }
    }

    fn put(&self, origin: String, mut easy: Easy2<Sink>) {
        *easy.get_mut() = Sink::default();
        easy.reset();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push((origin, easy));
    }
}

/// An answer that is a success, and its body.
#[derive(Debug)]
pub struct Response {
    /// The head.
    pub(super) head: Head,
    events: Receiver<Event>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
    deadline: Instant,
    _cancel: Cancel,
}

/// Ends the transfer when it is dropped: libcurl asks at least once a second.
#[derive(Debug)]
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An answer, when its head is there.
#[derive(Debug)]
pub(super) enum Answer {
    /// 200 or 206.
    Success(Response),
    /// Anything else: head, and start of the body.
    Other(Head, Vec<u8>),
}

/// How long a transfer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience<'a> {
    /// For the body.
    pub(super) limits: &'a Limits,
    /// Until its first byte.
    pub(super) first_byte: Duration,
    /// For everything.
    pub(super) deadline: Instant,
    /// Whether a long wait was logged: once is enough.
    pub(super) logged: &'a AtomicBool,
}

/// Starts the transfer that `easy` is set up for, and waits for the head of its answer and the first byte of its body.
pub(super) fn start(pool: &Pool, origin: String, easy: Easy2<Sink>, patience: Patience<'_>) -> Result<Answer, Failure> {
    let deadline = patience.deadline;
    if Instant::now() >= deadline {
        return Err(Failure::late());
    }
    let (events, cancel) = spawn(pool, origin.clone(), easy, patience).context("starting a thread for a transfer")?;
    match first_event(&events, &origin, patience)? {
        Event::Head(head, body) if !matches!(head.status, 200 | 206) => Ok(Answer::Other(head, body)),
        Event::Head(head, ..) => {
            let block = Vec::new();
            Ok(Answer::Success(Response { head, events, block, at: 0, ended: false, deadline, _cancel: cancel }))
        }
        Event::End(Err(failure)) => Err(failure),
        Event::End(Ok(())) | Event::Data(_) => Err(Failure::new(Kind::Broken, "the answer has no head")),
    }
}

/// Starts a transfer in a thread of its own. Returns what comes from it.
fn spawn(
    pool: &Pool,
    origin: String,
    mut easy: Easy2<Sink>,
    patience: Patience<'_>,
) -> io::Result<(Receiver<Event>, Cancel)> {
    let (sender, events) = sync_channel(QUEUE);
    let cancelled = Arc::new(AtomicBool::new(false));
    let (queue, pace) = (Some(sender), Pace::new(patience.limits));
    *easy.get_mut() = Sink { queue, pace, cancelled: Arc::clone(&cancelled), ..Sink::default() };
    let (pool, deadline) = (pool.clone(), patience.deadline);
    std::thread::Builder::new().name("http".to_owned()).spawn(move || run(&pool, origin, easy, deadline))?;
    Ok((events, Cancel(cancelled)))
}

/// Waits for the first event. A wait that is longer than usual is logged.
fn first_event(events: &Receiver<Event>, origin: &str, patience: Patience<'_>) -> Result<Event, Failure> {
    let Patience { limits, first_byte, deadline, logged } = patience;
    let start = Instant::now();
    for limit in [limits.first_byte.min(first_byte), first_byte] {
        let until = start + limit;
        match wait(events, deadline.min(until)) {
            Err(failure) if failure.kind == Kind::Late && until < deadline => {}
            result => return result,
        }
        if limit < first_byte && !logged.swap(true, Ordering::Relaxed) {
            let (so_far, in_all) = (in_seconds(limit), in_seconds(first_byte));
            log::info!("{origin}: no answer after {so_far}, waiting up to {in_all}");
        }
    }
    Err(Failure::new(Kind::Silent, format!("no answer after {}", in_seconds(first_byte))))
}

/// Returns a time in seconds: whole ones, but for those of a test.
fn in_seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 10.0).round() / 10.0)
}

/// libcurl has the same deadline, but it may hang in a resolver of the system.
fn wait(events: &Receiver<Event>, deadline: Instant) -> Result<Event, Failure> {
    events.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|error| match error {
        RecvTimeoutError::Timeout => Failure::late(),
        RecvTimeoutError::Disconnected => Failure::new(Kind::Broken, "the transfer ended without a word"),
    })
}

/// The thread of a transfer.
fn run(pool: &Pool, origin: String, mut easy: Easy2<Sink>, deadline: Instant) {
    let result = easy.perform();
    let connect = easy.http_connectcode().unwrap_or_default();
    let sink = easy.get_mut();
    let answered = sink.parser.head.status >= 300;
    if sink.flooded {
        sink.send(Event::End(Err(Failure::last("the head of the answer has too many lines or bytes"))));
    } else if answered && (result.is_ok() || !sink.block.is_empty()) {
        let body = std::mem::take(&mut sink.block);
        sink.send(Event::Head(sink.parser.head.clone(), body));
    } else {
        let end = match result {
            Ok(()) if !sink.succeeded() => {
                Err(Failure::last(format!("HTTP status {} is no answer to this", sink.parser.head.status)))
            }
            Ok(()) => Ok(()),
            Err(error) if error.is_operation_timedout() && Instant::now() + ROUNDING >= deadline => {
                Err(Failure::late())
            }
            Err(_) if sink.stalled => Err(sink.pace.stall()),
            Err(error) => Err(judge(&error, connect)),
        };
        // A head alone is worth nothing: with it the transfer would count as one that had begun.
        let handed_on = sink.started || end.is_ok();
        if !handed_on || sink.start() && sink.flush() {
            sink.send(Event::End(end));
        }
    }
    pool.put(origin, easy);
}

impl Response {
    /// Returns the values of WWW-Authenticate.
    pub fn challenges(&self) -> &[String] {
        &self.head.challenges
    }

    /// Read some of the body; 0 bytes at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        while self.at == self.block.len() {
            if self.ended {
                return Ok(0);
            }
            match wait(&self.events, self.deadline)? {
                Event::Data(block) => (self.block, self.at) = (block, 0),
                Event::End(result) => {
                    self.ended = true;
                    result?;
                }
                Event::Head(..) => return Err(Failure::new(Kind::Broken, "the answer has a second head")),
            }
        }
        let left = self.block.get(self.at..).unwrap_or_default();
        let n = left.len().min(buffer.len());
        let (from, to) = (left.get(..n).unwrap_or_default(), buffer.get_mut(..n).unwrap_or_default());
        to.copy_from_slice(from);
        self.at += n;
        Ok(n)
    }

    /// Read all of a small body.
    pub fn read_all(mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let n = self.read(&mut buffer)?;
            bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
            if bytes.len() > limit {
                return Err(Failure::last(format!("the answer is larger than {limit} bytes")));
            }
            if n == 0 {
                return Ok(bytes);
            }
        }
    }
}

/// What a server says in the body of an answer that is no success: a registry's JSON, or nothing we would repeat.
pub(super) fn explain(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = value.get("errors")?.get(0)?;
    let field = |name: &str| error.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    Some(clean(&format!("{} {}", field("code"), field("message")))).filter(|text| !text.is_empty())
}
