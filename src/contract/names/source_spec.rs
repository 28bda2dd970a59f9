// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `source=`: `registry`, `http(s)://host/dir`, `oci:[DEV:]/dir`, `oci-archive:[DEV:]/file`.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::names::Device;
use crate::names::Url;

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
    /// The registry that the image's name says, and its mirrors.
    Registry,
    /// An OCI image layout behind a web server.
    Web(Url),
}

impl SourceSpec {
    /// Parse the value of `source=`.
    pub fn parse(text: &str) -> Result<Self> {
        let (transport, rest) = text.split_once(':').unwrap_or((text, ""));
        match (transport, text) {
            (_, "registry") => return Ok(Self::Registry),
            ("http" | "https", _) => {
                // It is shown in full by the status, so it must not have secrets.
                ensure!(
                    !text.contains(['?', '#', '@']),
                    "source is a URL with a user, a query or a fragment: {transport}"
                );
                return Ok(Self::Web(Url::parse(text).with_context(|| format!("parsing source {text:?}"))?));
            }
            ("oci" | "oci-archive", _) => {}
            _ => bail!(
                "source {text:?} is not supported: write registry, https://host/dir, oci:[DEV:]/dir or \
                 oci-archive:[DEV:]/file"
            ),
        }
        // The path is absolute, so it starts at the first `:/`; what comes before names the device.
        let (device, path) = if rest.starts_with('/') && !rest.contains(":/") {
            (None, rest)
        } else if let Some(at) = rest.find(":/") {
            (Some(Device::parse(&rest[..at])?), &rest[at + 1..])
        } else {
            bail!("source {text:?} has no absolute path");
        };
        let path = PathBuf::from(path);
        ensure!(
            !path.components().any(|part| part == std::path::Component::ParentDir),
            "source {text:?} has .. in its path"
        );
        Ok(match transport {
            "oci" => Self::Layout { device, path },
            _ => Self::Archive { device, path },
        })
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, device, path) = match self {
            Self::Registry => return f.write_str("registry"),
            Self::Web(url) => return write!(f, "{url}"),
            Self::Layout { device, path } => ("oci", device, path),
            Self::Archive { device, path } => ("oci-archive", device, path),
        };
        write!(f, "{transport}:")?;
        if let Some(device) = device {
            write!(f, "{device}:")?;
        }
        write!(f, "{}", path.display())
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
            ("registry", true),
            ("registry:", false),
            ("http://host:8080/dir", true),
            ("https://host/a/b/", true),
            ("https://user:password@host/a", false),
            ("https://host/a?b", false),
            ("https:///a", false),
            ("ftp://host/a", false),
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
