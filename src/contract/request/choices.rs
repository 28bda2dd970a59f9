// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The values of keys that choose between ways to go on.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Longest deadline: a day. It guards against a unit that was mistyped.
const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// What to do when we fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Boot the bootimage as if we were not there.
    #[default]
    Continue,
    /// Stop in the emergency shell.
    Emergency,
    /// Try again after a reboot, a few times.
    Reboot,
}

impl OnFailure {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "continue" => Ok(Self::Continue),
            "emergency" => Ok(Self::Emergency),
            "reboot" => Ok(Self::Reboot),
            other => bail!("on-failure={other} is not supported: write continue, emergency or reboot"),
        }
    }
}

/// What to do when the running kernel is not the node image's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelPolicy {
    /// Keep the running kernel and its modules until the next reboot.
    #[default]
    Keep,
    /// Do not swap.
    Same,
}

impl KernelPolicy {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "keep" => Ok(Self::Keep),
            "same" => Ok(Self::Same),
            other => bail!("kernel={other} is not supported: write keep or same"),
        }
    }
}

/// What to do when the MCO would reboot the node even if it runs the node image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum McoReboot {
    /// Do not pull: nothing would be saved, and the MCO would pull again.
    #[default]
    Skip,
    /// Boot the node image nevertheless.
    Pull,
}

impl McoReboot {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "skip" => Ok(Self::Skip),
            "pull" => Ok(Self::Pull),
            other => bail!("mco-reboot={other} is not supported: write skip or pull"),
        }
    }
}

/// Parse a time span as systemd writes it: numbers with units, added up. A bare number is seconds.
pub fn parse_time_span(text: &str) -> Result<Duration> {
    let bad = || format!("{text:?} is not a time span like 90s, 10min or 1h 30min");
    let mut total: u64 = 0;
    let mut rest = text.trim();
    ensure!(!rest.is_empty(), bad());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().with_context(bad)?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hr" | "hour" | "hours" => 3600,
            _ => bail!(bad()),
        };
        rest = rest[letters..].trim_start();
        total = number.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).with_context(bad)?;
    }
    let span = Duration::from_secs(total);
    ensure!(!span.is_zero() && span <= MAX_DEADLINE, "{text:?} is not between 1s and 24h");
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans() {
        for (text, expected) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("10min", Some(600)),
            ("1h 30min", Some(5400)),
            ("1h30m", Some(5400)),
            (" 2 min ", Some(120)),
            ("0", None),
            ("", None),
            ("min", None),
            ("-5s", None),
            ("5 days", None),
            ("25h", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_time_span(text).ok().map(|span| span.as_secs()), expected, "{text}");
        }
    }
}
