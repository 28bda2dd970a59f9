// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the time of one pull goes: samples by perf, sorted by stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::image::BenchImage;
use super::place::{Filesystem, Place};
use super::pulls::pull_command;
use super::tools::Tools;
use crate::cmd;

/// Samples per second and processor; odd, so that they do not march in step with a timer.
const FREQUENCY: &str = "997";

/// A stage, and what a frame of its stack is called; the first that fits counts.
const STAGES: &[(&str, &[&str])] = &[
    ("inflate", &["zlib_rs::inflate", "zlib_rs::crc32"]),
    ("sha256 of the tar (diffID)", &["stream::layer::run_hash"]),
];

/// Print a table for the first image, on tmpfs.
pub fn run(tools: &Tools<'_>, images: &[BenchImage]) -> Result<()> {
    if cmd::output(&mut cmd::words("perf", ["--version"])).is_err() {
        eprintln!("no profile: perf is not installed");
        return Ok(());
    }
    let image = images.first().context("no image")?;
    let binary = with_symbols(tools)?;
    let place = Place::mount(tools, Filesystem::Tmpfs)?;
    let repo = tools.init_repo(&place.dir, "ours")?;
    let data = tools.work().join("perf.data");
    let mut command = cmd::words("perf", ["record", "-q", "-F", FREQUENCY, "-g", "-o"]);
    command.arg(&data).arg("--");
    let mut pull = pull_command(tools, image, &repo);
    pull[0] = binary.to_string_lossy().into_owned();
    let inside = tools.command(&place.dir, &pull);
    cmd::run(command.arg(inside.get_program()).args(inside.get_args()))?;
    let script = cmd::stdout(
        cmd::words("perf", ["script", "--no-inline", "-F", "comm,ip,sym", "--comms", "slipstream", "-i"]).arg(&data),
    )?;
    place.close()?;
    if let Ok(d) = std::env::var("DUMP") {
        std::fs::write(d, &script)?;
    }
    print(&script);
    Ok(())
}

/// slipstream with the names of its functions.
fn with_symbols(tools: &Tools<'_>) -> Result<PathBuf> {
    let target = tools.lab.source.join("target/profile");
    let mut build = cmd::words("cargo", ["build", "--release", "--locked", "--bin", "slipstream"]);
    build.args(["--config", "profile.release.strip=false", "--manifest-path"]);
    build.arg(tools.lab.source.join("Cargo.toml")).arg("--target-dir").arg(&target);
    cmd::run(build.env("RUSTFLAGS", "-C force-frame-pointers=yes"))?;
    let to = tools.work().join("symbols");
    std::fs::create_dir_all(&to).with_context(|| format!("creating {}", to.display()))?;
    let to = to.join("slipstream");
    copy(&target.join("release/slipstream"), &to)?;
    Ok(to)
}

/// Stage and share of the samples, the largest first.
fn print(script: &str) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut total = 0;
    for sample in script.split("\n\n").filter(|sample| sample.lines().count() > 1) {
        *counts.entry(stage(sample)).or_default() += 1;
        total += 1;
    }
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    println!("\n| stage | share of CPU, % |\n| --- | ---: |");
    for (stage, count) in rows {
        println!("| {stage} | {:.1} |", f64::from(count) * 100.0 / f64::from(total));
    }
}

fn stage(sample: &str) -> &'static str {
    STAGES
        .iter()
        .find(|(_, frames)| frames.iter().any(|frame| sample.contains(frame)))
        .map_or("other", |(name, _)| name)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("copying {}", from.display()))
}
