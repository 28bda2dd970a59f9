// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the time of one pull goes: samples by perf, sorted by stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::image::BenchImage;
use super::place::{Filesystem, Place};
use super::pulls::pull_command;
use super::tools::Tools;
use crate::lab::cmd;

/// Samples per second and processor; odd, so that they do not march in step with a timer.
const FREQUENCY: &str = "997";

/// A stage, and what its samples have: a frame, and the innermost frame. The first that fits counts.
const STAGES: &[(&str, &str, &str)] = &[
    ("crc32 of gzip", "", "zlib_rs::crc32"),
    ("inflate", "zlib_rs::", ""),
    ("zstd", "ZSTD_", ""),
    ("sha256 of the blobs", "VerifyReader", "sha2::"),
    ("sha256 of the objects", "slipstream::import::", "sha2::"),
    ("sha256 of the tars (diffID)", "", "sha2::"),
    ("kernel: reading blobs", "vfs_read", "[kernel"),
    ("kernel: writing content", "vfs_write", "[kernel"),
    ("kernel: looking for objects", "newfstatat", "[kernel"),
    ("kernel: creating files", "sys_openat", "[kernel"),
    ("kernel: renaming", "sys_renameat", "[kernel"),
    ("kernel: owner, mode, time, xattrs, close", "sys_fch", "[kernel"),
    ("kernel: owner, mode, time, xattrs, close", "sys_utimens", "[kernel"),
    ("kernel: owner, mode, time, xattrs, close", "setxattr", "[kernel"),
    ("kernel: owner, mode, time, xattrs, close", "sys_close", "[kernel"),
    ("kernel: passing blocks between threads", "sys_futex", "[kernel"),
    ("kernel: page faults", "page_fault", "[kernel"),
    ("kernel: the rest", "", "[kernel"),
    ("SELinux labels", "", "libselinux"),
    ("SELinux labels", "", "libpcre2"),
    ("copying and allocating", "", "libc.so"),
    ("tar, names, lists", "", "/slipstream)"),
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
        cmd::words("perf", ["script", "--no-inline", "-F", "comm,ip,sym,dso", "--comms", "slipstream", "-i"])
            .arg(&data),
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

/// `sample`: a line with the program's name, then the frames, the innermost first.
fn stage(sample: &str) -> &'static str {
    let leaf = sample.lines().nth(1).unwrap_or_default();
    let fits = |(_, frame, innermost): &&(&str, &str, &str)| leaf.contains(innermost) && sample.contains(frame);
    STAGES.iter().find(fits).map_or("other", |(name, ..)| name)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("copying {}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::stage;

    #[test]
    fn stages() {
        for (sample, expected) in [
            ("slipstream\n 1 sha2::x (/b/slipstream)\n 2 VerifyReader::read (/b/slipstream)", "sha256 of the blobs"),
            ("slipstream\n 1 memcpy (/l/libc.so.6)\n 2 zlib_rs::inflate (/b/slipstream)", "inflate"),
            ("slipstream\n 1 shmem ([kernel.kallsyms])\n 2 vfs_write ([kernel.kallsyms])", "kernel: writing content"),
            ("slipstream\n 1 f (/l/libglib.so)", "other"),
        ] {
            assert_eq!(stage(sample), expected, "{sample}");
        }
    }
}
