// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Goes through states of a disk. It runs in the tools root, which has libostree, in a mount namespace of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use argh::FromArgs;

use super::check::{Expected, Step};
use super::log::Log;
use super::pool::{Mount, Pool};
use super::record::ONCE;
use super::states::{State, around, choose, every_set};
use super::system::System;
use crate::lab::cmd;

/// How often the states around a step are looked at when it happens often.
const SAME_STEP: usize = 5;

/// Steps of src/failpoint.rs that every recorded boot goes through.
const MARKED_STEPS: [&str; 7] = ["layer-ref", "merge-commit", "image-ref", "deployment", "default", "swap", "settle"];

/// A log has so many states at least; a short one need not have more.
const ENOUGH_STATES: usize = 1000;

/// check states of a recorded disk (power-cuts starts it)
#[derive(FromArgs)]
#[argh(subcommand, name = "power-cuts-worker")]
pub struct Worker {
    /// the disk before the recorded boot
    #[argh(option)]
    disk: PathBuf,
    /// the log of the recorded boot
    #[argh(option)]
    log: PathBuf,
    /// file system of the root
    #[argh(option)]
    fstype: String,
    /// the file system with the node image
    #[argh(option)]
    staging: PathBuf,
    /// slipstream
    #[argh(option)]
    program: PathBuf,
    /// kernel arguments of the recorded boot
    #[argh(option)]
    request: String,
    /// how many states; 0: those around the marks in the log
    #[argh(option)]
    states: usize,
    /// in their place: every set of the writes between two flushes, where these are so many at most
    #[argh(option)]
    every_set: Option<usize>,
    /// only these, FROM:TO
    #[argh(option)]
    slice: Option<String>,
    /// which states
    #[argh(option)]
    seed: u64,
    /// every so many states a further run
    #[argh(option)]
    run_every: usize,
    /// as if flushes had done nothing; then states must be bad
    #[argh(switch)]
    lying_disk: bool,
    /// where there is memory
    #[argh(option)]
    work: PathBuf,
    /// where failures are written down, and how far the disk was in every state
    #[argh(option)]
    results: PathBuf,
}

/// What one state came to.
struct Outcome {
    number: usize,
    state: State,
    result: Result<Seen>,
}

/// Of a state that is good.
struct Seen {
    step: Step,
    /// What a further run said that it did.
    run: Option<String>,
}

/// What has been counted.
#[derive(Default)]
struct Tally {
    steps: BTreeMap<Step, usize>,
    runs: BTreeMap<String, usize>,
    failed: Vec<String>,
    lines: String,
    /// What a bad state is called.
    bad: &'static str,
}

/// Check all states; an error if one is bad.
pub fn run(options: &Worker) -> Result<()> {
    let mut log = Log::read(&options.log)?;
    if options.lying_disk {
        log.forget_flushes();
    }
    let states = match (options.every_set, options.states) {
        (Some(limit), _) => every_set(&log.entries, limit),
        (None, 0) => around_marks(&log, options.seed)?,
        (None, states) => choose(&log.entries, states, options.seed),
    };
    let states = slice(states, options.slice.as_deref())?;
    ensure!(!states.is_empty(), "choosing states: there is none");
    let pool = Pool::new(&options.work)?;
    let base = pool.take(&options.disk, "base.img")?;
    let staging = pool.path("staging");
    fs::create_dir(&staging).context("creating a mount point")?;
    let size = options.staging.metadata().context("reading the size of the staging disk")?.len();
    let _staged = Mount::new(&options.staging, (0, size), "ext4", ",ro", &staging)?;
    let expected = expect(options, &log, &pool, &base)?;
    println!(
        "{}: {} requests, {} flushes, {} MiB written; {} states, seed {}",
        options.fstype,
        log.entries.len(),
        log.flushes(),
        log.bytes() >> 20,
        states.len(),
        options.seed
    );
    println!("{}: {}", options.fstype, expected.describe());
    let started = Instant::now();
    let shop = Shop { options, pool: &pool, expected: &expected };
    let tally = shop.check_all(&log, &base, states)?;
    tally.report(options, started)
}

/// States around the marks. Of a step that happens once for each layer, some are enough.
fn around_marks(log: &Log, seed: u64) -> Result<Vec<State>> {
    let (mut seen, mut states) = (BTreeMap::<String, usize>::new(), Vec::new());
    for (at, name) in log.marks()? {
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times <= SAME_STEP {
            states.extend(around(&log.entries, at, seed));
        }
    }
    println!("marked steps: {seen:?}");
    for step in MARKED_STEPS {
        ensure!(seen.contains_key(step), "reading the log: step {step} is not marked");
    }
    Ok(states)
}

/// Those from FROM to before TO.
pub fn slice<T>(all: Vec<T>, range: Option<&str>) -> Result<Vec<T>> {
    let Some(range) = range else { return Ok(all) };
    let reading = || format!("reading --slice {range}");
    let (from, to) = range.split_once(':').with_context(reading)?;
    let (from, to): (usize, usize) = (from.parse().with_context(reading)?, to.parse().with_context(reading)?);
    Ok(all.into_iter().skip(from).take(to.saturating_sub(from)).collect())
}

/// The disk before and after the recorded boot.
fn expect(options: &Worker, log: &Log, pool: &Pool, base: &File) -> Result<Expected> {
    let last = pool.copy(base, "last.img")?;
    pool.copy(base, "first.img")?;
    for entry in &log.entries {
        log.apply(entry, &last, None)?;
    }
    let mount = |name: &str| System::mount(&pool.disk(&format!("{name}.img")), &options.fstype, &pool.path(name));
    let (first, last) = (mount("first")?, mount("last")?);
    let once = options.request.split_whitespace().any(|karg| karg == ONCE);
    let expected = Expected::from(&first, &last, once).context("reading the recorded disk")?;
    first.end()?;
    last.end()?;
    pool.remove("first.img")?;
    pool.remove("last.img")?;
    Ok(expected)
}

struct Shop<'a> {
    options: &'a Worker,
    pool: &'a Pool,
    expected: &'a Expected,
}

impl Shop<'_> {
    /// Build the states one after the other; as many are checked at the same time as there are processors.
    fn check_all(&self, log: &Log, base: &File, states: Vec<State>) -> Result<Tally> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (to_check, jobs) = sync_channel::<(usize, State)>(threads);
        let (to_count, outcomes) = sync_channel(threads);
        let jobs = Arc::new(Mutex::new(jobs));
        thread::scope(|scope| {
            for _ in 0..threads {
                let (jobs, to_count) = (Arc::clone(&jobs), to_count.clone());
                scope.spawn(move || self.checker(&jobs, &to_count));
            }
            drop(to_count);
            let total = states.len();
            let tally = Tally { bad: if self.options.lying_disk { "bad" } else { "FAILED" }, ..Tally::default() };
            let counter = scope.spawn(move || tally.collect(outcomes, total));
            let built = self.build_all(log, base, states, to_check);
            let tally = counter.join().map_err(|_| anyhow!("counting the results: the thread panicked"))?;
            built.map(|()| tally)
        })
    }

    fn build_all(
        &self,
        log: &Log,
        base: &File,
        states: Vec<State>,
        to_check: SyncSender<(usize, State)>,
    ) -> Result<()> {
        let mut done = 0;
        for (number, state) in states.into_iter().enumerate() {
            for entry in &log.entries[done..state.durable] {
                log.apply(entry, base, None)?;
            }
            done = state.durable;
            let disk = self.pool.copy(base, &format!("{number}.img"))?;
            state.apply(log, &disk)?;
            to_check.send((number, state)).map_err(|_| anyhow!("checking a state: no thread is left"))?;
        }
        Ok(())
    }

    fn checker(&self, jobs: &Mutex<Receiver<(usize, State)>>, to_count: &SyncSender<Outcome>) {
        loop {
            let next = jobs.lock().map(|jobs| jobs.recv());
            let Ok(Ok((number, state))) = next else { return };
            let result = self.check(number).and_then(|seen| self.pool.remove(&format!("{number}.img")).map(|()| seen));
            if to_count.send(Outcome { number, state, result }).is_err() {
                return;
            }
        }
    }

    fn check(&self, number: usize) -> Result<Seen> {
        let (disk, at) = (self.pool.disk(&format!("{number}.img")), self.pool.path(&format!("at-{number}")));
        let seen = self.expected.check_loader(&disk, &at).context("as the boot loader reads it")?;
        let system = System::mount(&disk, &self.options.fstype, &at)?;
        for bootable in &seen {
            self.expected.check_bootable(&system, bootable).context("the entry that the boot loader reads")?;
        }
        let default = self.expected.check(&system)?;
        let step = self.expected.step(&system, &default)?;
        self.expected.check_request(&system, step)?;
        let run = if number.is_multiple_of(self.options.run_every) {
            Some(self.run_again(&system, &at, &default).with_context(|| format!("a further run, after {step:?}"))?)
        } else {
            None
        };
        system.end()?;
        fs::remove_dir_all(&at).with_context(|| format!("removing {}", at.display()))?;
        Ok(Seen { step, run })
    }

    /// What the next boot with the same request does. Returns the outcome that it reports.
    fn run_again(&self, system: &System, at: &Path, default: &Path) -> Result<String> {
        let options = system.default_options()?;
        let (run, cmdline) = (at.join("run"), at.join("cmdline"));
        fs::create_dir(&run).context("creating the run directory")?;
        let source = format!("slipstream.source=oci:{}", self.pool.path("staging/node").display());
        let image = self.options.request.split_whitespace().find(|karg| karg.starts_with("slipstream.image="));
        let text =
            format!("ignition.firstboot {} {} {source}\n", options, image.context("the request names no image")?);
        fs::write(&cmdline, text).context("writing the command line")?;
        let mut command = cmd::words(&self.options.program.to_string_lossy(), ["boot"]);
        command.arg("--sysroot").arg(&system.root).arg("--cmdline").arg(&cmdline);
        command.arg("--run-dir").arg(&run).arg("--root").arg(&run);
        cmd::run(&mut command)?;
        let status = fs::read(run.join("status.json")).context("reading the status")?;
        let status: serde_json::Value = serde_json::from_slice(&status).context("parsing the status")?;
        let outcome = status["outcome"].as_str().context("reading the outcome")?.to_owned();
        let wanted = if self.expected.is_node(default)? { "already-booted" } else { "swapped" };
        ensure!(outcome == wanted, "the outcome is {outcome} instead of {wanted}: {}", status["reason"]);
        self.expected.check_finished(system).context("after it")?;
        Ok(outcome)
    }
}

impl Tally {
    fn collect(mut self, outcomes: Receiver<Outcome>, total: usize) -> Self {
        let started = Instant::now();
        for (done, Outcome { number, state, result }) in outcomes.into_iter().enumerate() {
            match result {
                Ok(Seen { step, run }) => {
                    *self.steps.entry(step).or_default() += 1;
                    self.lines.push_str(&format!("{number}\t{}\t{:?}\n", state.durable, step));
                    if let Some(run) = run {
                        *self.runs.entry(run).or_default() += 1;
                    }
                }
                Err(error) => {
                    let text = format!("state {number}, {state}: {error:#}");
                    println!("{} {text}", self.bad);
                    self.failed.push(text);
                }
            }
            if (done + 1).is_multiple_of(100) {
                println!("{} of {total} states after {:.0} s", done + 1, started.elapsed().as_secs_f64());
            }
        }
        self
    }

    fn report(&self, options: &Worker, started: Instant) -> Result<()> {
        let checked = self.steps.values().sum::<usize>();
        let mut text = String::new();
        for step in Step::ALL {
            text.push_str(&format!("| {} | {} |\n", step.name(), self.steps.get(&step).copied().unwrap_or_default()));
        }
        print!("{text}");
        println!(
            "{}: {checked} states are good, {} are not; further runs: {:?}; {:.0} s",
            options.fstype,
            self.failed.len(),
            self.runs,
            started.elapsed().as_secs_f64()
        );
        let file = |kind: &str| {
            let slice = options.slice.as_ref().map(|slice| format!(".{slice}")).unwrap_or_default();
            let sets = options.every_set.map(|limit| format!(".sets-{limit}")).unwrap_or_default();
            let lying = if options.lying_disk { ".lying" } else { "" };
            options.results.with_extension(format!("{}{sets}{lying}{slice}.{kind}", options.seed))
        };
        fs::write(file("failed"), self.failed.join("\n")).context("writing the failures")?;
        fs::write(file("states"), &self.lines).context("writing the states")?;
        if options.lying_disk {
            ensure!(
                !self.failed.is_empty(),
                "checking states of a disk that lies: all are good, so the checks see nothing"
            );
            // It is the control that has passed; bad states are what it looks for.
            println!("1 passed, 0 failed");
            return Ok(());
        }
        println!("{checked} passed, {} failed", self.failed.len());
        ensure!(self.failed.is_empty(), "checking states of {}: {} are bad", options.fstype, self.failed.len());
        // A log that hardly has states would be a short way to good figures.
        let all = options.slice.is_none() && options.every_set.is_none() && options.states >= ENOUGH_STATES;
        ensure!(!all || checked == options.states, "checking states: {checked} of {} are there", options.states);
        Ok(())
    }
}
