// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `source=`: `oci:[DEV:]/dir`, `oci-archive:[DEV:]/file`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::Device;

/// A parsed `source=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// An OCI image layout in a directory.
    Layout {
        /// The device that holds it; `None`: a path of this system.
        device: Option<Device>,
        /// Absolute path, on the device if there is one.
        path: PathBuf,
    },
    /// An OCI image layout in an uncompressed tar.
    Archive {
        /// The device that holds it; `None`: a path of this system.
        device: Option<Device>,
        /// Absolute path, on the device if there is one.
        path: PathBuf,
    },
}

impl SourceSpec {
    /// Parse the value of `source=`.
    pub fn parse(text: &str) -> Result<Self> {
        let (transport, rest) = text.split_once(':').unwrap_or((text, ""));
        ensure!(
            matches!(transport, "oci" | "oci-archive"),
            "source {text:?} is not supported: write oci:[DEV:]/dir or oci-archive:[DEV:]/file"
        );
        // The path is absolute, so it starts at the first `:/`; what comes before names the device.
        let (device, path) = if rest.starts_with('/') && !rest.contains(":/") {
            (None, rest)
        } else if let Some(at) = rest.find(":/") {
            (Some(Device::parse(&rest[..at])?), &rest[at + 1..])
        } else {
            bail!("source {text:?} has no absolute path");
        };
        let (path, _) = (PathBuf::from(path), ());
        ensure!(
            !path.components().any(|part| part == std::path::Component::ParentDir),
            "source {text:?} has .. in its path"
        );
        Ok(match transport {
            "oci" => Self::Layout { device, path },
            _ => Self::Archive { device, path },
        })
    }

    /// The device to mount.
    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Layout { device, .. } | Self::Archive { device, .. } => device.as_ref(),
        }
    }

    /// The path on the device, or of this system.
    pub fn path(&self) -> &Path {
        match self {
            Self::Layout { path, .. } | Self::Archive { path, .. } => path,
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layout { .. } => "oci:",
            Self::Archive { .. } => "oci-archive:",
        })?;
        if let Some(device) = self.device() {
            write!(f, "{device}:")?;
        }
        write!(f, "{}", self.path().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_table() {
        for (text, ok) in [
            ("oci:/srv/node", true),
            ("oci:LABEL=node:/", true),
            ("oci:LABEL=node image:/dir", true),
            ("oci-archive:UUID=1234-ABCD:/node.tar", true),
            ("oci:PARTLABEL=node:/a/b", true),
            ("oci:/dev/disk/by-path/pci-0000:00:1f.2:/dir", true),
            ("oci:LABEL=a/b:/dir", false),
            ("oci:/dev/../etc:/dir", false),
            ("oci:vda:/dir", false),
            ("oci:LABEL=:/dir", false),
            ("oci:LABEL=node:dir", false),
            ("oci:LABEL=node:/../dir", false),
            ("oci:", false),
            ("docker://quay.io/a", false),
            ("", false),
        ] {
            let parsed = SourceSpec::parse(text);
            assert_eq!(parsed.is_ok(), ok, "{text}: {parsed:?}");
            if let Ok(spec) = parsed {
                assert_eq!(spec.to_string(), text);
            }
        }
    }
}
