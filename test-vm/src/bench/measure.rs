// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Time and memory of one program. Inside the tools root a small process starts it and asks the kernel afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use super::tools::Tools;
use crate::lab::cmd;

/// How often the memory of the processes is read. The kernel keeps the peak itself; only what a process adds in its
/// last moments is missed, and only where there are several: a single one is asked for by rusage.
const WATCH: Duration = Duration::from_millis(100);

/// run a program and write what it used to a file
#[derive(FromArgs)]
#[argh(subcommand, name = "measure")]
pub struct Measure {
    /// the file
    #[argh(option)]
    out: PathBuf,
    /// program and arguments
    #[argh(positional, greedy)]
    command: Vec<String>,
}

/// What a run took.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU in user mode, children included.
    pub user: f64,
    /// Seconds of CPU in the kernel, children included.
    pub system: f64,
    /// Peak memory of the largest process, in KiB.
    pub rss: u64,
    /// Peak memory of each program by its name, in KiB, as it was seen.
    pub programs: BTreeMap<String, u64>,
}

impl Sample {
    /// Seconds of CPU.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Run `words` in the tools root and measure it there. Returns also what it printed.
pub fn measure(tools: &Tools<'_>, place: &Path, words: &[String]) -> Result<(Sample, String)> {
    let out = tools.work().join("sample.json");
    let mut command = tools.command(place, [&tools.own]);
    command.args(["bench", "measure", "--out"]).arg(&out).args(words);
    let printed = cmd::stdout(&mut command)?;
    let text = fs::read(&out).context("reading the sample")?;
    let value: Value = serde_json::from_slice(&text).context("parsing the sample")?;
    let number = |key: &str| value[key].as_f64().with_context(|| format!("reading {key} of the sample"));
    let programs = value["programs"].as_object().into_iter().flatten();
    let sample = Sample {
        wall: number("wall")?,
        user: number("user")?,
        system: number("system")?,
        rss: value["rss"].as_u64().context("reading rss of the sample")?,
        programs: programs.filter_map(|(name, rss)| Some((name.clone(), rss.as_u64()?))).collect(),
    };
    Ok((sample, printed))
}

/// The process that starts the program.
pub fn run(measure: &Measure) -> Result<()> {
    let (program, arguments) = measure.command.split_first().context("no program to measure")?;
    let start = Instant::now();
    let mut child = Command::new(program).args(arguments).spawn().with_context(|| format!("starting {program}"))?;
    let done = AtomicBool::new(false);
    let (status, wall, programs) = thread::scope(|scope| {
        let id = child.id();
        let done = &done;
        let watch = scope.spawn(move || watch(id, done));
        let status = child.wait();
        let wall = start.elapsed();
        done.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        (status, wall, watch.join().unwrap_or_default())
    });
    let status = status.with_context(|| format!("waiting for {program}"))?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("reading what the program used")?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let sample = json!({
        "wall": wall.as_secs_f64(),
        "user": seconds(usage.user_time()),
        "system": seconds(usage.system_time()),
        "rss": usage.max_rss(),
        "programs": programs,
    });
    fs::write(&measure.out, sample.to_string()).context("writing the sample")?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

/// Peak memory by program name of a process and its descendants.
fn watch(root: u32, done: &AtomicBool) -> BTreeMap<String, u64> {
    let mut peaks = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        for (name, rss) in family(root) {
            let peak = peaks.entry(name).or_insert(0);
            *peak = rss.max(*peak);
        }
        thread::park_timeout(WATCH);
    }
    peaks
}

/// Name and peak memory of a process and its descendants. A process may be gone at any step.
fn family(root: u32) -> Vec<(String, u64)> {
    let mut parents = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let Some(parent) = field("PPid:").and_then(|text| text.parse().ok()) else { continue };
        parents.insert(id, parent);
        let peak = field("VmHWM:").and_then(|text| text.trim_end_matches(" kB").parse().ok());
        if let (Some(name), Some(peak)) = (field("Name:"), peak) {
            found.insert(id, (name.to_owned(), peak));
        }
    }
    let descends = |id: u32| {
        let mut at = id;
        while at != root {
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        true
    };
    found.into_iter().filter(|(id, _)| descends(*id)).map(|(_, value)| value).collect()
}
