// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How far the bootimage may be from the node image, and what the node image itself asks for.
//!
//! A swap runs the node image's programs on the bootimage's kernel and boot loader, and the bootimage's programs of the
//! initramfs on the node image's root. The further apart the two are, the fewer people have tried them together.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// Label of a node image: the oldest bootimage that it may be swapped in on.
pub const MIN_BOOTIMAGE: &str = "slipstream.min-bootimage";
/// Longest version that is looked at, in bytes.
const MAX_VERSION: usize = 128;

/// The value of `skew=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SkewPolicy {
    /// The same major version: what has been shown to work.
    #[default]
    Major,
    /// The same major and minor version.
    Minor,
    /// Whatever the bootimage is.
    Any,
    /// A bootimage of this version or a later one.
    AtLeast(Version),
}

impl SkewPolicy {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "any" => Ok(Self::Any),
            "minor" => Ok(Self::Minor),
            "major" => Ok(Self::Major),
            _ => {
                let wrong = || format!("skew={text} is not supported: write major, minor, any, or N.M..");
                let oldest = text.strip_suffix("..").with_context(wrong)?;
                Version::parse(oldest).map(Self::AtLeast).with_context(wrong)
            }
        }
    }

    /// Refuses a bootimage that may not be swapped for any node image: known before there is one.
    pub fn allows_bootimage(self, bootimage: Option<&str>) -> Result<(), String> {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(_) => self.allows(bootimage, None, None),
            Self::Minor | Self::Major => known("bootimage", bootimage).map(drop),
        }
    }

    /// Whether a bootimage may be swapped for a node image; if not, why. Versions as the images tell them; `oldest` is
    /// the node image's label [`MIN_BOOTIMAGE`], which counts whatever the policy is.
    pub fn allows(self, bootimage: Option<&str>, node: Option<&str>, oldest: Option<&str>) -> Result<(), String> {
        if let Some(oldest) = oldest {
            let needed = Version::parse(oldest).map_err(|error| format!("label {MIN_BOOTIMAGE}: {error:#}"))?;
            let own = known("bootimage", bootimage)?;
            if own < needed {
                return Err(format!("the node image asks for a bootimage of {needed} or later, and this one is {own}"));
            }
        }
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(needed) => {
                let own = known("bootimage", bootimage)?;
                if own < needed { Err(format!("skew={needed}.., and the bootimage is {own}")) } else { Ok(()) }
            }
            Self::Minor | Self::Major => {
                let (own, other) = (known("bootimage", bootimage)?, known("node image", node)?);
                let (word, same) = match self {
                    Self::Minor => ("minor", own == other),
                    _ => ("major", own.major == other.major),
                };
                if same {
                    Ok(())
                } else {
                    Err(format!("skew={word}, the bootimage is {own} and the node image {other}"))
                }
            }
        }
    }
}

fn known(what: &str, version: Option<&str>) -> Result<Version, String> {
    let text = version.ok_or_else(|| format!("the {what} does not say its version"))?;
    Version::parse(text).map_err(|error| format!("the version of the {what}: {error:#}"))
}

/// What of a version says how far apart two systems are: for RHEL CoreOS, the version of RHEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u64,
    minor: u64,
}

impl Version {
    /// Parse a version in any of the forms that CoreOS systems have:
    ///
    /// - `9.6.20250701-0`: RHEL CoreOS, and CentOS Stream CoreOS with a minor version of 0;
    /// - `418.94.202501221327-0`, `48.84.…`: RHEL CoreOS until OpenShift 4.18, where OpenShift's version comes first and
    ///   RHEL's second (the MCO reads it in the same way);
    /// - `41.20250117.3.0`: Fedora CoreOS, whose second number is a date and no minor version;
    /// - `1.2.3-rc.1+build`, `9.6`: all others, as SemVer without its third part and what follows.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.len() <= MAX_VERSION, "a version of {} bytes is over the limit of {MAX_VERSION}", text.len());
        let wrong = || format!("{text:?} is not a version like 9.6.20250701-0 or 41.20250117.3.0");
        ensure!(!text.ends_with(['.', '-', '+']), wrong());
        let mut parts = text.split(['.', '-', '+']);
        let mut number = || -> Result<(u64, usize)> {
            let part = parts.next().with_context(wrong)?;
            ensure!(!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()), wrong());
            Ok((part.parse().with_context(wrong)?, part.len()))
        };
        let ((first, digits), (second, more)) = (number()?, number()?);
        let is_date = more == 8;
        let has_openshift = matches!(digits, 2 | 3) && text.starts_with('4') && more <= 2 && second >= 8;
        Ok(match (is_date, has_openshift) {
            (true, _) => Self { major: first, minor: 0 },
            (_, true) if second >= 80 => Self { major: second / 10, minor: second % 10 },
            (_, true) => Self { major: second, minor: 0 },
            _ => Self { major: first, minor: second },
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("9.6.20250701-0", Some("9.6")),
            ("10.2.20260801-1", Some("10.2")),
            ("418.94.202501221327-0", Some("9.4")),
            ("48.84.202109241334-0", Some("8.4")),
            ("410.84.202201251210-0", Some("8.4")),
            ("419.9.202503101234-0", Some("9.0")),
            ("41.20250117.3.0", Some("41.0")),
            ("34.20210518.3", Some("34.0")),
            ("9.0.20250515-0", Some("9.0")),
            ("10.0.20260226-0", Some("10.0")),
            ("412.86.202209211256-0", Some("8.6")),
            ("414.9.202401091452-0", Some("9.0")),
            ("418.9.202504300632-0", Some("9.0")),
            ("4.19.0-okd-scos.1", Some("4.19")),
            ("4.20.0-okd-scos.ec.1", Some("4.20")),
            ("4.7.0-0.okd-2021-06-04-191031", Some("4.7")),
            ("1.2.3-rc.1+build.5", Some("1.2")),
            ("0.1.0", Some("0.1")),
            ("1.2.3+build", Some("1.2")),
            ("9.6", Some("9.6")),
            ("9", None),
            ("", None),
            ("9.x", None),
            (".6", None),
            ("-9.6", None),
            ("99999999999999999999.1", None),
        ] {
            assert_eq!(Version::parse(text).ok().map(|version| version.to_string()).as_deref(), expected, "{text}");
        }
        assert!(Version::parse(&"9".repeat(129)).is_err(), "a long one");
        assert!(Version::parse("9.10").unwrap() > Version::parse("9.9").unwrap());
    }

    #[test]
    fn policies() {
        let old = Some("418.94.202501221327-0");
        let new = Some("9.6.20250701-0");
        for (label, policy, bootimage, node, oldest, expected) in [
            ("any", "any", old, new, None, None),
            ("any and unknown", "any", None, None, None, None),
            ("minor", "minor", old, Some("9.4.20250510-0"), None, None),
            ("minor differs", "minor", old, new, None, Some("skew=minor, the bootimage is 9.4 and the node image 9.6")),
            ("major", "major", old, new, None, None),
            (
                "major differs",
                "major",
                new,
                Some("10.2.20260801-0"),
                None,
                Some("skew=major, the bootimage is 9.6 and"),
            ),
            ("at least", "9.4..", old, new, None, None),
            ("too old", "9.5..", old, new, None, Some("skew=9.5.., and the bootimage is 9.4")),
            ("bootimage unknown", "9.5..", None, new, None, Some("the bootimage does not say its version")),
            ("node unknown", "major", new, None, None, Some("the node image does not say its version")),
            ("odd version", "major", new, Some("rawhide"), None, Some("the version of the node image: \"rawhide\" is")),
            ("label", "any", new, new, Some("9.6"), None),
            ("label, too old", "any", old, new, Some("9.6"), Some("asks for a bootimage of 9.6 or later, and this")),
            ("odd label", "any", old, new, Some("newest"), Some("label slipstream.min-bootimage: \"newest\" is not")),
        ] {
            let result = SkewPolicy::parse(policy).unwrap().allows(bootimage, node, oldest);
            match (result, expected) {
                (Ok(()), None) => {}
                (Err(reason), Some(text)) => assert!(reason.contains(text), "{label}: {reason}"),
                (result, _) => panic!("{label}: {result:?}"),
            }
        }
        for text in ["", "none", "9.6", "..", "9..", "9.6...", "Minor"] {
            let error = SkewPolicy::parse(text).unwrap_err().to_string();
            assert!(error.contains("write major, minor, any, or N.M.."), "{text}: {error}");
        }
    }
}
