// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an image runs on, and how well that fits a machine.
//!
//! Instances of an index are ranked as containers/image ranks them (container-libs, `image/internal/pkg/platform` and
//! `image/internal/manifest/oci_index.go`), since that is what pulls the image where slipstream does not: the variants
//! that the architecture has, the best first, and after them what names no platform.

use std::fmt;

use serde_json::Value;

/// The only operating system whose images are of use.
const LINUX: &str = "linux";
/// Most platforms that a message names, and most characters of each part: an index may have thousands of any length.
const MAX_NAMED: usize = 16;
const MAX_PART: usize = 32;

/// Returns the architecture of this machine in OCI (Go) terms.
pub fn host_architecture() -> &'static str {
    go_architecture(std::env::consts::ARCH, cfg!(target_endian = "little"))
}

/// Returns Go's name of an architecture that Rust calls `name`. Those that are not here have one name.
fn go_architecture(name: &'static str, little_endian: bool) -> &'static str {
    match (name, little_endian) {
        ("x86_64", _) => "amd64",
        ("x86", _) => "386",
        ("aarch64", _) => "arm64",
        ("powerpc64", true) => "ppc64le",
        ("powerpc64", false) => "ppc64",
        ("loongarch64", _) => "loong64",
        (other, _) => other,
    }
}

/// Returns the variants of an architecture that run on every machine that has it, the best first.
fn variants(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "arm64" => &["v8", ""],
        // Levels of x86-64 exist as variants, but not upstream: without a variant is what runs everywhere.
        _ => &[""],
    }
}

/// What an instance of an index runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Platform<'a> {
    os: &'a str,
    architecture: &'a str,
    variant: &'a str,
}

impl<'a> Platform<'a> {
    /// Reads the platform of an instance; `None` if it names none.
    pub(super) fn of(instance: &'a Value) -> Option<Self> {
        let platform = instance.get("platform")?;
        let field = |name: &str| platform.get(name).and_then(Value::as_str).unwrap_or_default();
        Some(Self { os: field("os"), architecture: field("architecture"), variant: field("variant") })
    }

    /// Returns how well it fits a machine, 0 for best; `None` if it does not.
    pub(super) fn rank(&self, architecture: &str) -> Option<usize> {
        let fits = (self.os, self.architecture) == (LINUX, architecture);
        variants(architecture).iter().position(|variant| fits && *variant == self.variant)
    }
}

impl fmt::Display for Platform<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| text.chars().take(MAX_PART).flat_map(char::escape_debug).collect::<String>();
        write!(f, "{}/{}", part(self.os), part(self.architecture))?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", part(self.variant)) }
    }
}

/// Returns for a message that there is nothing for this architecture, and for which platforms there is something.
pub(super) fn describe_others(architecture: &str, found: &[Platform<'_>]) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in found.iter().map(ToString::to_string) {
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > MAX_NAMED {
            break;
        }
    }
    let rest = if names.len() > MAX_NAMED { " and others" } else { "" };
    names.truncate(MAX_NAMED);
    let list = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!("index has no manifest for {LINUX}/{architecture}, only for: {list}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures() {
        for (rust, little_endian, go) in [
            ("x86_64", true, "amd64"),
            ("aarch64", true, "arm64"),
            ("powerpc64", true, "ppc64le"),
            ("powerpc64", false, "ppc64"),
            ("s390x", false, "s390x"),
            ("riscv64", true, "riscv64"),
            ("loongarch64", true, "loong64"),
        ] {
            assert_eq!(go_architecture(rust, little_endian), go, "{rust}");
        }
    }

    #[test]
    fn ranks() {
        for (architecture, os, other, variant, expected) in [
            ("amd64", "linux", "amd64", "", Some(0)),
            ("amd64", "linux", "amd64", "v1", None),
            ("amd64", "linux", "amd64", "v3", None),
            ("amd64", "linux", "arm64", "", None),
            ("amd64", "windows", "amd64", "", None),
            ("amd64", "", "", "", None),
            ("amd64", "unknown", "unknown", "", None),
            ("arm64", "linux", "arm64", "v8", Some(0)),
            ("arm64", "linux", "arm64", "", Some(1)),
            ("arm64", "linux", "arm64", "v9", None),
            ("arm64", "linux", "arm", "v8", None),
            ("s390x", "linux", "s390x", "", Some(0)),
            ("ppc64le", "linux", "ppc64le", "power9", None),
        ] {
            let platform = Platform { os, architecture: other, variant };
            assert_eq!(platform.rank(architecture), expected, "{platform} on {architecture}");
        }
    }

    #[test]
    fn messages_are_short() {
        let long = "a".repeat(10_000);
        let names: Vec<String> = (0..100).map(|n| format!("{n}\n{long}")).collect();
        let found: Vec<_> =
            names.iter().map(|name| Platform { os: "linux", architecture: name, variant: &long }).collect();
        let text = describe_others("amd64", &found);
        assert!(text.len() < 2048 && text.ends_with(" and others") && !text.contains('\n'), "{text}");
        assert!(describe_others("amd64", &[]).ends_with("only for: nothing"));
    }
}
