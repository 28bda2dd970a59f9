// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a repository's `config` says about writing to it (ostree.repo-config(5)).

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::mode::RepoMode;

/// The part of the configuration that concerns us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepoConfig {
    /// How files are kept.
    pub mode: RepoMode,
    /// `min-free-space-percent`.
    pub min_free_percent: Option<u64>,
    /// `min-free-space-size`, in bytes.
    pub min_free_size: Option<u64>,
}

impl RepoConfig {
    /// Read the configuration of the repository at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path.join("config")).context("reading the repository's config")?;
        Self::parse(&text).context("reading the repository's config")
    }

    fn parse(config: &str) -> Result<Self> {
        let mut parsed = Self { mode: RepoMode::Bare, min_free_percent: None, min_free_size: None };
        for (section, key, value) in values(config) {
            match (section, key) {
                ("core", "mode") => parsed.mode = parse_mode(value)?,
                ("core", "min-free-space-percent") => {
                    parsed.min_free_percent = Some(value.parse().context("min-free-space-percent is not a number")?);
                }
                ("core", "min-free-space-size") => parsed.min_free_size = Some(parse_size(value)?),
                // Every object would have to be sealed. `maybe` allows that it is not.
                ("ex-integrity", "fsverity") => ensure!(
                    matches!(value, "no" | "false" | "0" | "maybe"),
                    "the repository wants fs-verity, which is not supported"
                ),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// Returns `sysroot.bootloader` of the repository at `path`: which boot loader libostree writes for.
pub fn bootloader(path: &Path) -> Result<Option<String>> {
    let text = std::fs::read_to_string(path.join("config")).context("reading the repository's config")?;
    // The last one counts, as for GLib's keyfiles.
    let last = values(&text).filter(|(section, key, _)| (*section, *key) == ("sysroot", "bootloader")).last();
    Ok(last.map(|(_, _, value)| value.to_owned()))
}

/// Returns section, key and value of each line that has one.
fn values(config: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut section = "";
    config.lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let (key, value) = line.split_once('=')?;
        Some((section, key.trim(), value.trim()))
    })
}

fn parse_mode(value: &str) -> Result<RepoMode> {
    Ok(match value {
        "bare" => RepoMode::Bare,
        "bare-user" => RepoMode::BareUser,
        other => bail!("the repository has mode {other}; only bare and bare-user can be written"),
    })
}

/// A number with MB, GB or TB, as libostree wants it.
fn parse_size(value: &str) -> Result<u64> {
    let bad = || format!("min-free-space-size={value} is not a size");
    let split = value.len().saturating_sub(2);
    ensure!(value.is_char_boundary(split), bad());
    let (number, unit) = value.split_at(split);
    let shift = match unit {
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => bail!(bad()),
    };
    let number: u64 = number.parse().with_context(bad)?;
    number.checked_mul(1 << shift).with_context(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs() {
        let plain = RepoConfig { mode: RepoMode::Bare, min_free_percent: None, min_free_size: None };
        for (config, expected) in [
            ("[core]\nrepo_version=1\nmode=bare\n", Ok(plain)),
            ("[core]\nmode = bare-user", Ok(RepoConfig { mode: RepoMode::BareUser, ..plain })),
            ("[core]\nmin-free-space-percent=5", Ok(RepoConfig { min_free_percent: Some(5), ..plain })),
            ("[core]\nmin-free-space-size=2GB", Ok(RepoConfig { min_free_size: Some(2 << 30), ..plain })),
            ("[core]\nmode=bare\n[ex-integrity]\nfsverity=maybe", Ok(plain)),
            ("[core]\nmin-free-space-size=é", Err("min-free-space-size=é is not a size")),
            (
                "[core]\nmode=archive-z2",
                Err("the repository has mode archive-z2; only bare and bare-user can be written"),
            ),
            ("[ex-integrity]\nfsverity=yes", Err("the repository wants fs-verity, which is not supported")),
        ] {
            let got = RepoConfig::parse(config).map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{config}");
        }
    }
}
