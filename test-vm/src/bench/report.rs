// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Figures as text: medians, tables, and the bars that they have to meet.

use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context, Result};

/// Peak memory for any image, in KiB.
pub const MAX_RSS: u64 = 48 << 10;

/// A median with its extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Result<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first().context("no value")?, *sorted.last().context("no value")?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Ok(Self { median, least, most })
    }

    /// `median (least-most)`.
    pub fn text(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.median, self.least, self.most)
    }
}

/// What was promised, and what was measured.
#[derive(Default)]
pub struct Bars(Vec<String>);

impl Bars {
    /// A figure must not be over a bar.
    pub fn check(&mut self, what: &str, figure: f64, bar: f64, unit: &str) {
        let verdict = if figure <= bar { "ok" } else { "**over**" };
        self.0.push(format!("| {what} | {figure:.2}{unit} | {bar:.2}{unit} | {verdict} |"));
    }

    /// Peak memory, in KiB, must not be over [`MAX_RSS`].
    pub fn check_rss(&mut self, what: &str, rss: u64) {
        self.check(&format!("peak RSS, {what}"), mib(rss), mib(MAX_RSS), " MiB");
    }

    /// All of them.
    pub fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        println!("\n| bar | figure | at most | |\n| --- | ---: | ---: | --- |");
        for line in &self.0 {
            println!("{line}");
        }
    }
}

/// MiB of KiB.
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What it runs on, and what else runs there.
pub fn machine() -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([':', ' ', '\t']);
    let memory = read("/proc/meminfo")?;
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    println!(
        "{} processors ({model}), {} MiB of memory, Linux {}, loadavg at the start {}",
        available_parallelism().context("counting processors")?,
        memory >> 10,
        read("/proc/sys/kernel/osrelease")?.trim(),
        loadavg()?
    );
    Ok(())
}

/// The load averages: how quiet the machine is.
pub fn loadavg() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::{Bars, Spread};

    #[test]
    fn spreads() {
        for (values, expected) in [(vec![3.0, 1.0, 2.0], (2.0, 1.0, 3.0)), (vec![4.0, 1.0], (2.5, 1.0, 4.0))] {
            let spread = Spread::of(values.into_iter()).expect("values");
            assert_eq!((spread.median, spread.least, spread.most), expected);
        }
        assert!(Spread::of(std::iter::empty()).is_err());
    }

    #[test]
    fn verdicts() {
        let mut bars = Bars::default();
        bars.check("a", 0.2, 0.25, "");
        bars.check_rss("b", 49 << 10);
        assert_eq!(bars.0, ["| a | 0.20 | 0.25 | ok |", "| peak RSS, b | 49.00 MiB | 48.00 MiB | **over** |"]);
    }
}
